//! Memory of this process as Linux reports it; `None` on other systems.

use std::fs;

/// Resident memory, in bytes.
pub fn resident() -> Option<u64> {
    status("VmRSS:")
}

/// Resident memory that is not backed by a file, in bytes.
pub fn anonymous() -> Option<u64> {
    status("RssAnon:")
}

/// The most resident memory since [`reset_peak`], in bytes.
pub fn peak() -> Option<u64> {
    status("VmHWM:")
}

/// Let [`peak`] begin anew (`man 5 proc_pid_clear_refs`).
pub fn reset_peak() -> Option<()> {
    fs::write("/proc/self/clear_refs", "5").ok()
}

fn status(key: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The slope of the straight line that fits these points best (least squares); `None` if they are
/// all at the same place.
pub fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let mean = |value: fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let products: f64 = points
        .iter()
        .map(|point| (point.0 - x) * (point.1 - y))
        .sum();
    let squares: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    (squares > 0.0).then(|| products / squares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes() {
        assert_eq!(slope(&[]), None);
        assert_eq!(slope(&[(1.0, 5.0)]), None);
        assert_eq!(slope(&[(1.0, 900.0), (3.0, 904.0)]), Some(2.0));
        assert_eq!(slope(&[(0.0, 1.0), (1.0, 0.0), (2.0, 5.0)]), Some(2.0));
    }

    // The tests beside this one use memory too: the block is far larger than all that they use.
    #[cfg(target_os = "linux")]
    #[test]
    fn memory_that_is_used_is_seen() {
        const BLOCK: u64 = 256 << 20;
        reset_peak().unwrap();
        let before = anonymous().unwrap();
        let half = before + BLOCK / 2;
        let block = std::hint::black_box(vec![1u8; BLOCK as usize]);
        assert!(anonymous().unwrap() > half && resident().unwrap() > half);
        drop(block);
        assert!(anonymous().unwrap() < half && peak().unwrap() > half);
    }
}
