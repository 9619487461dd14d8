//! The errors of [`Client`](crate::Client), each with the server, the topic or the topic filter that it is about.

mod connect;
mod disconnect;
mod publish;
mod subscribe;

use std::fmt;

use mqtt_codec::ReasonCode;

pub use connect::ConnectError;
pub use disconnect::DisconnectError;
pub use publish::PublishError;
pub use subscribe::SubscribeError;

/// Writes a reason code, and the explanation of the server if there is one.
fn write_reason(
    f: &mut fmt::Formatter<'_>,
    reason_code: ReasonCode,
    reason_string: Option<&str>,
) -> fmt::Result {
    match reason_string {
        Some(text) => write!(f, "{reason_code} ({text:?})"),
        None => write!(f, "{reason_code}"),
    }
}
