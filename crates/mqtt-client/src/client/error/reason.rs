//! The reason of a server, as the errors write it.

use std::fmt;

use mqtt_codec::ReasonCode;

/// Writes a reason code and, if the server has sent one, its explanation.
pub(super) fn write_reason(
    f: &mut fmt::Formatter<'_>,
    reason_code: ReasonCode,
    reason_string: Option<&str>,
) -> fmt::Result {
    match reason_string {
        Some(text) => write!(f, "{reason_code} ({text:?})"),
        None => write!(f, "{reason_code}"),
    }
}
