//! The memory of the process: lets the allocator return free pages to the system.
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
            "The allocator returns free memory late: {error}."
        );
    }
}

/// Does nothing: this system's allocator returns free pages when they are freed.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn return_free_pages() {}
