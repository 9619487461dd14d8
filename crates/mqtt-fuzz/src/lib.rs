//! What the fuzz targets check. Each function takes the bytes that a fuzzer made up and panics if
//! something is wrong; `fuzz/` feeds them from libFuzzer, and `tests/corpus.rs` replays the inputs
//! that are kept, with an ordinary compiler.
//!
//! | Target | Input | What has to hold |
//! | --- | --- | --- |
//! | [`layers`] | what the other end of a WebSocket or a proxy sends | cuts do not matter; memory follows the input |
//! | [`packets`] | bytes of one direction | reading, writing and reading again give the same; cuts do not matter |
//! | [`topics`] | a filter and a name | validity and matching are those of the definition |
//! | [`settings`] | a configuration file | it is understood, or refused with one line |
//! | [`store`] | a value in the store | it is refused, or can be written and read again |
//! | [`subscriptions`] | requests of clients | the broker delivers what a list of filters says |
//! | [`client`] | what a server sends, what the application wants, time | what the client sends is legal |
//! | [`broker`] | what several peers send, time | what the broker sends is legal; nothing is left behind |
#![forbid(unsafe_code)]

mod broker;
mod client;
mod layers;
mod packets;
mod settings;
mod shape;
mod store;
mod subscriptions;
mod topics;

pub use broker::broker;
pub use client::client;
pub use layers::layers;
pub use packets::packets;
pub use settings::settings;
pub use store::store;
pub use subscriptions::subscriptions;
pub use topics::topics;

/// A target.
pub type Target = fn(&[u8]);

/// All targets by the names of their corpora.
pub const TARGETS: [(&str, Target); 8] = [
    ("broker", broker),
    ("client", client),
    ("layers", layers),
    ("packets", packets),
    ("settings", settings),
    ("store", store),
    ("subscriptions", subscriptions),
    ("topics", topics),
];
