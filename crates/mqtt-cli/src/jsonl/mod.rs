//! JSON lines: one message as one object on one line, in the form of version 1 that docs/jsonl.md describes.
//!
//! rsub and rrr print this form, and rpub reads it. Unlike `%j`, the form is lossless: every byte of the payload and of the
//! correlation data, the order of the properties, and properties that occur more than once.

mod base64;
mod read;
mod write;

pub(crate) use read::{MessageLine, read};
pub(crate) use write::write;

#[cfg(test)]
mod tests;
