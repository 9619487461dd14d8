//! `rbroker`: see `rbroker --help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

// With glibc's allocator a small block that is in use keeps all free memory below it: after a burst of 160 MB the
// broker stayed at 160 MB. The allocators of musl and of other systems return free pages themselves.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    mqtt_cli::main("rbroker", mqtt_cli::rbroker::run)
}
