//! The core of the broker, fed with bytes: what it owes its clients, in virtual time.

mod bridges;
mod full_disk;
mod memory;
mod memory_limit;
mod messages;
mod replays;
mod sessions;
mod shares;
mod throttling;
mod work;
mod world;
