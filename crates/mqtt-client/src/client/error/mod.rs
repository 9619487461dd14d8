//! Errors of [`Client`](crate::Client). Each error contains the server, topic name or topic filter that it concerns.

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

/// Writes a reason code and, if the server has sent one, its explanation.
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
