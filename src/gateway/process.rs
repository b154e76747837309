//! What the kernel says of this process.

use std::fs;

/// Figures of this process, each absent where the kernel does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    /// Resident memory in bytes.
    pub resident_bytes: Option<u64>,
    /// Open descriptors.
    pub descriptors: Option<u64>,
    /// Seconds of CPU, user and system together.
    pub cpu_seconds: Option<f64>,
}

/// Reads the figures.
pub fn figures() -> Figures {
    let stat = fs::read_to_string("/proc/self/stat").ok();
    Figures {
        resident_bytes: resident_bytes(),
        descriptors: fs::read_dir("/proc/self/fd")
            .ok()
            .map(|entries| entries.count() as u64),
        cpu_seconds: stat.and_then(|text| cpu_seconds(&text)),
    }
}

/// Resident memory in bytes.
pub fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// Fields 14 and 15 of proc_pid_stat(5); the name in field 2 may hold anything but is closed
/// by the last parenthesis.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / CLOCK_TICKS)
}

/// USER_HZ, 100 on every architecture that Linux still runs on.
const CLOCK_TICKS: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 1 1 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 9 9 9";
        assert_eq!(cpu_seconds(stat), Some(2.0));
    }

    #[test]
    fn this_process_has_figures() {
        let figures = figures();
        assert!(figures.resident_bytes > Some(0) && figures.descriptors > Some(0));
    }
}
