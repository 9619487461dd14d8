//! Tests of the broker core. They pass the bytes of packets to a `Broker` and check the packets that it sends. Time is
//! virtual: no test sleeps.

mod bridges;
mod full_disk;
mod memory;
mod memory_limit;
mod messages;
mod replay_steps;
mod replays;
mod retained;
mod sessions;
mod shares;
mod throttling;
mod wills;
mod work;
mod world;
