//! Reads the memory of a process from `/proc`.

/// Returns the resident memory of a process in bytes; `None` if there is no such process.
pub fn resident_memory(process: u32) -> Option<u64> {
    status_value(process, "VmRSS:")
}

/// Returns the maximum resident memory of a process so far, in bytes; `None` if there is no such process.
pub fn peak_memory(process: u32) -> Option<u64> {
    status_value(process, "VmHWM:")
}

fn status_value(process: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}
