//! The types of the fields in a trace.

use serde_json::Value;

/// Names and values of fields, in the order of the packet.
pub(crate) type Fields = Vec<(&'static str, Value)>;

/// Maximum number of bytes of a payload in a trace. The purpose of a trace is to show packets; `rsub` prints whole
/// payloads.
const SHOWN: usize = 64;

/// Returns the first bytes of binary data as text.
pub(super) fn preview(bytes: &[u8]) -> Value {
    let shown = bytes.get(..SHOWN.min(bytes.len())).unwrap_or_default();
    let text = String::from_utf8_lossy(shown);
    if bytes.len() > SHOWN {
        format!("{text}…").into()
    } else {
        text.into_owned().into()
    }
}
