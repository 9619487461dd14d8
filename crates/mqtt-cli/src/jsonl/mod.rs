//! JSON lines: each message is one JSON object on one line. docs/jsonl.md describes the fields in version 1 of this
//! form.
//!
//! rsub and rrr print this form with `--jsonl`, and rpub reads it. Unlike `%j` of `-F`, this form is lossless. It
//! preserves every byte of the payload and of the correlation data, the order of the properties, and repeated
//! properties.

mod base64;
mod read;
mod write;

pub(crate) use base64::base64_text;
pub(crate) use read::{MessageLine, read};
pub(crate) use write::write;

#[cfg(test)]
mod tests;
