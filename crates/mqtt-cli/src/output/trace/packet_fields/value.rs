//! The form of the fields of a packet.

use serde_json::Value;

/// Names and values, in order.
pub(crate) type Fields = Vec<(&'static str, Value)>;

/// The number of bytes of a payload that are shown.
const SHOWN: usize = 64;

/// Returns the start of some bytes as text.
pub(super) fn preview(bytes: &[u8]) -> Value {
    let shown = bytes.get(..SHOWN.min(bytes.len())).unwrap_or_default();
    let text = String::from_utf8_lossy(shown);
    if bytes.len() > SHOWN {
        format!("{text}…").into()
    } else {
        text.into_owned().into()
    }
}
