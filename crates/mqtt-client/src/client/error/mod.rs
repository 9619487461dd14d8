//! Errors of [`Client`](crate::Client). Each error contains the server, topic name or topic filter that it concerns.

mod connect;
mod disconnect;
mod publish;
mod reason;
mod subscribe;

pub use connect::ConnectError;
pub use disconnect::DisconnectError;
pub use publish::PublishError;
pub use subscribe::SubscribeError;
