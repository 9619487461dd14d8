//! The executable `rbroker`. The program is [`mqtt_cli::rbroker::run`]; this file only chooses the allocator.
#![forbid(unsafe_code)]

use std::process::ExitCode;

// glibc's allocator keeps all free memory below a small block that is in use: after a burst of 160 MB the broker stayed
// at 160 MB. jemalloc returns free pages. The allocators of musl and of other systems do that themselves.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    mqtt_cli::main("rbroker", mqtt_cli::rbroker::run)
}
