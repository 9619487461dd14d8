//! Tests of the broker core. They pass the bytes of packets to a `Broker` and check the packets that it sends. Time is
//! virtual: no test sleeps.

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
