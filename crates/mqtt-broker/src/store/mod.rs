//! The state that survives the broker, in one file. `database.rs` has [`Store`], `tables.rs` the tables, and
//! `encoding.rs` the encoding of the values.

pub(crate) mod clock;
pub(crate) mod database;
mod encoding;
pub(crate) mod error;
mod file;
mod loading;
mod messages;
pub(crate) mod sync_policy;
mod tables;
pub(crate) mod writer;

pub use clock::{BootTime, Clock};
pub use database::Store;
pub use error::StoreError;
pub use sync_policy::SyncPolicy;
