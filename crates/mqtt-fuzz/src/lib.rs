//! The checks of the fuzz targets. Each function takes the bytes of a fuzzer and panics if a property does not hold.
//! `fuzz/` runs the functions with libFuzzer, which needs a nightly compiler. `tests/corpus.rs` replays the stored
//! inputs with a stable compiler.
//!
//! | Target | Input | Property |
//! | --- | --- | --- |
//! | [`layers()`] | the bytes of the other end of a WebSocket or a proxy | the result does not depend on the pieces; the output is not much longer than the input |
//! | [`packets()`] | the bytes of one direction | packets that are decoded, encoded and decoded again are equal; the result does not depend on the pieces |
//! | [`topics()`] | a filter and a name | validity and matching are those of a literal implementation of the standard |
//! | [`settings()`] | a configuration file | the file is accepted, or rejected with one line |
//! | [`store()`] | a value in the store | the value is rejected, or can be written and read again |
//! | [`subscriptions()`] | requests of clients | the broker delivers the messages that a list of filters matches |
//! | [`client()`] | the packets of a server, the calls of the application, time | the client only sends permitted packets |
//! | [`broker()`] | the packets of several peers, time | the broker only sends permitted packets and keeps no state of disconnected peers |
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

/// The function of a fuzz target.
pub type Target = fn(&[u8]);

/// All targets, with the names of their corpora in `fuzz/corpus`.
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
