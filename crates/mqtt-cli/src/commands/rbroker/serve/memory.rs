//! The memory of the process: lets the allocator return free pages to the system, and measures what is used.
//!
//! The allocator is chosen in `bin/rbroker.rs`. Nothing here is done for a message.

/// Lets a thread of the allocator return free pages to the system when they have not been used for ten seconds.
/// Without it, pages are returned only when the broker allocates again, which an idle broker does not.
///
/// The caller must be done with forking and with changing the user: both affect the calling thread only.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn return_free_pages() {
    if let Err(error) = tikv_jemalloc_ctl::background_thread::write(true) {
        ::log::debug!(
            target: mqtt_broker::EVENTS,
            "Cannot make the allocator return free memory early: {error}."
        );
    }
}

/// Does nothing: this system's allocator returns free pages when they are freed.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn return_free_pages() {}

/// Returns the bytes that the program has allocated; `None` if they cannot be read.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn used() -> Option<u64> {
    tikv_jemalloc_ctl::epoch::advance().ok()?;
    let allocated = tikv_jemalloc_ctl::stats::allocated::read().ok()?;
    Some(allocated as u64)
}

/// Returns the resident memory of the process in bytes; `None` if the system does not say.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn used() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}
