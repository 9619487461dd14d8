//! The memory of the process: lets the allocator return free pages to the system, and measures the memory in use.
//!
//! `bin/rbroker.rs` chooses the allocator. No function here runs for a message.

/// Starts a thread of the allocator, which returns free pages to the system after ten seconds without use. Without this
/// thread, the allocator returns pages only when the broker allocates, and an idle broker does not allocate.
///
/// A caller that forks must fork before this call, because a fork copies only the calling thread.
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

/// Returns the number of bytes that the program has allocated; `None` if jemalloc does not report it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn used() -> Option<u64> {
    // jemalloc caches its statistics until the epoch advances.
    tikv_jemalloc_ctl::epoch::advance().ok()?;
    let allocated = tikv_jemalloc_ctl::stats::allocated::read().ok()?;
    Some(allocated as u64)
}

/// Returns the resident memory of the process in bytes; `None` on systems without `/proc`.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn used() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}
