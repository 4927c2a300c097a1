//! Memory in huge pages, for weights that are read from one end to the other for each token.
//!
//! With pages of 4 KiB the processor looks up where a page is every 4 KiB.

/// So many times `value`; where the memory is large, Linux is asked to make it of huge pages.
pub(super) fn vec_of_huge_pages<T: Copy>(value: T, count: usize) -> Vec<T> {
    let mut values = Vec::with_capacity(count);
    // Before it is written: then it has no pages yet.
    #[cfg(target_os = "linux")]
    advise_huge_pages(values.spare_capacity_mut());
    values.resize(count, value);
    values
}

#[cfg(target_os = "linux")]
fn advise_huge_pages<T>(memory: &mut [std::mem::MaybeUninit<T>]) {
    use rustix::mm::{Advice, madvise};

    /// Of x86-64 and most others. Only whole ones are advised, so that no memory is added.
    const HUGE_PAGE: usize = 2 << 20;

    let size = size_of_val(memory);
    let start = memory.as_mut_ptr().cast::<u8>();
    let skipped = start.align_offset(HUGE_PAGE);
    let size = size.saturating_sub(skipped) / HUGE_PAGE * HUGE_PAGE;
    if size > 0 {
        // SAFETY: the range lies within `memory`, and the advice changes nothing but speed.
        let advised = unsafe {
            madvise(
                start.wrapping_add(skipped).cast(),
                size,
                Advice::LinuxHugepage,
            )
        };
        if let Err(error) = advised {
            tracing::debug!("no huge pages for {size} bytes of weights: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_values_are_there() {
        for count in [0, 1, 5000, 3 << 20] {
            let values = vec_of_huge_pages(0xabu8, count);
            assert_eq!(values.len(), count);
            assert!(values.iter().all(|&value| value == 0xab));
        }
    }
}
