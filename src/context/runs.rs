//! The runs of an append.

use std::ops::{ControlFlow, RangeInclusive};

use crate::error::{Error, Result};

/// Progress of an append; see [`Session::append_with`](crate::Session::append_with).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppendProgress {
    /// Sentences (in kind `opt` tokens) that were processed.
    pub done: usize,
    /// Sentences (in kind `opt` tokens) in all, at least 1.
    pub total: usize,
}

impl AppendProgress {
    /// Sentences (in kind `opt` tokens) that are left to process, at least 1.
    #[must_use]
    pub fn remaining(self) -> usize {
        self.total - self.done
    }
}

/// Called before each run: the most entries that it takes, or the end of the append.
pub(crate) type NextRun<'a> = &'a mut dyn FnMut(AppendProgress) -> ControlFlow<(), usize>;

/// The longest runs, to the end.
pub(crate) fn at_once(_: AppendProgress) -> ControlFlow<(), usize> {
    ControlFlow::Continue(usize::MAX)
}

/// Run entries, in runs of these lengths; the last may be shorter.
pub(super) fn in_runs<T>(
    entries: &[T],
    lengths: RangeInclusive<usize>,
    next_run: NextRun<'_>,
    mut run: impl FnMut(&[T]) -> Result<()>,
) -> Result<()> {
    let mut rest = entries;
    while !rest.is_empty() {
        let progress = AppendProgress {
            done: entries.len() - rest.len(),
            total: entries.len(),
        };
        let ControlFlow::Continue(length) = next_run(progress) else {
            return Err(Error::Cancelled);
        };
        let length = length.clamp(*lengths.start(), *lengths.end());
        let (now, later) = rest.split_at(length.min(rest.len()));
        run(now)?;
        rest = later;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ControlFlow::{Break, Continue};

    use super::*;

    #[test]
    fn a_run_is_as_long_as_wanted_within_its_lengths() {
        for (lengths, wanted, expected, is_ok) in [
            (1..=4, vec![], vec![4, 4, 2], true),
            (
                1..=4,
                vec![Continue(0), Continue(3)],
                vec![1, 3, 4, 2],
                true,
            ),
            (1..=4, vec![Continue(2), Break(())], vec![2], false),
            (1..=4, vec![Break(())], vec![], false),
            (10..=10, vec![Continue(3)], vec![10], true),
        ] {
            let (mut found, mut wanted) = (Vec::<usize>::new(), wanted.into_iter());
            let mut done = Vec::new();
            let mut next_run = |progress: AppendProgress| {
                assert_eq!(progress.total, 10);
                assert_eq!(progress.remaining(), 10 - progress.done);
                done.push(progress.done);
                wanted.next().unwrap_or(Continue(usize::MAX))
            };
            let ended = in_runs(&[(); 10], lengths, &mut next_run, |run| {
                found.push(run.len());
                Ok(())
            });
            assert_eq!(found, expected);
            assert_eq!(ended.is_ok(), is_ok);
            let before: Vec<usize> = (0..done.len())
                .map(|run| found[..run].iter().sum())
                .collect();
            assert_eq!(done, before);
        }
    }
}
