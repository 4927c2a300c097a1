//! Looking for the stop text in a sentence that comes piece by piece.

use std::ops::ControlFlow;

/// Passes text on, but never a part of the stop text: what may be its beginning is held back.
pub(super) struct StopText {
    stop_text: Option<String>,
    held: String,
    found: bool,
}

impl StopText {
    pub fn new(stop_text: Option<String>) -> Self {
        Self {
            stop_text,
            held: String::new(),
            found: false,
        }
    }

    pub fn found(&self) -> bool {
        self.found
    }

    /// Take the next piece; breaks when the stop text is complete.
    pub fn push(&mut self, piece: &str, emit: &mut impl FnMut(&str)) -> ControlFlow<()> {
        let Some(stop_text) = self.stop_text.as_deref() else {
            emit_some(piece, emit);
            return ControlFlow::Continue(());
        };
        self.held.push_str(piece);
        if let Some(start) = self.held.find(stop_text) {
            emit_some(&self.held[..start], emit);
            self.found = true;
            return ControlFlow::Break(());
        }
        let safe = self.held.len() - beginning_at_end(&self.held, stop_text);
        emit_some(&self.held[..safe], emit);
        self.held.drain(..safe);
        ControlFlow::Continue(())
    }

    /// The sentence is over: what was held back is no stop text.
    pub fn finish(&mut self, emit: &mut impl FnMut(&str)) {
        emit_some(&self.held, emit);
        self.held.clear();
    }
}

fn emit_some(text: &str, emit: &mut impl FnMut(&str)) {
    if !text.is_empty() {
        emit(text);
    }
}

/// Length of the longest end of `text` that `stop_text` begins with.
fn beginning_at_end(text: &str, stop_text: &str) -> usize {
    let longest = stop_text.len().min(text.len());
    let lengths = (1..=longest)
        .rev()
        .filter(|&length| stop_text.is_char_boundary(length));
    lengths
        .into_iter()
        .find(|&length| text.ends_with(&stop_text[..length]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stop_text: Option<&str>, pieces: &[&str]) -> (Vec<String>, bool) {
        let mut given = Vec::new();
        let mut watch = StopText::new(stop_text.map(str::to_owned));
        let mut emit = |text: &str| given.push(text.to_owned());
        let ended = pieces
            .iter()
            .any(|piece| watch.push(piece, &mut emit).is_break());
        if !ended {
            watch.finish(&mut emit);
        }
        (given, watch.found())
    }

    #[test]
    fn cases() {
        for (stop_text, pieces, given, found) in [
            (None, &["a", "", "b"][..], &["a", "b"][..], false),
            (Some("end"), &["the e", "n", "d of"], &["the "], true),
            (Some("end"), &["the e", "nt"], &["the ", "ent"], false),
            (Some("end"), &["the en"], &["the ", "en"], false),
            (Some("end"), &["end"], &[], true),
            (Some("aab"), &["a", "a", "a", "b", "c"], &["a"], true),
            (Some("é!"), &["caf", "é", "?"], &["caf", "é?"], false),
        ] {
            assert_eq!(
                run(stop_text, pieces),
                (given.iter().map(ToString::to_string).collect(), found),
                "{stop_text:?} in {pieces:?}"
            );
        }
    }
}
