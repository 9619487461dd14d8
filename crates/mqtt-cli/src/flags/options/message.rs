//! The options for the message that rpub and rrr publish.

use bytes::Bytes;

use crate::flags::definition::{CommandOption, flag, value};
use crate::flags::settings::message::{MessageSettings, Source};
use crate::flags::values::qos;

/// Returns the options for payload and QoS. rpub adds `-l`.
pub(crate) fn message_options<S: AsMut<MessageSettings>>() -> Vec<CommandOption<S>> {
    vec![
        value(
            "-m",
            "--message",
            "message",
            "Publish this text",
            |s: &mut S, v| {
                // A payload may contain any bytes, and on Unix an argument may contain any bytes except NUL.
                let payload = Bytes::copy_from_slice(v.as_encoded_bytes());
                s.as_mut().sources.push(Source::Argument(payload));
                Ok(())
            },
        )
        .common(),
        value(
            "-f",
            "--file",
            "file",
            "Publish the content of this file",
            |s: &mut S, v| {
                s.as_mut().sources.push(Source::File(v.into()));
                Ok(())
            },
        )
        .common(),
        flag(
            "-s",
            "--stdin-file",
            "Publish all of standard input as one message",
            |s: &mut S| {
                s.as_mut().sources.push(Source::StandardInput);
            },
        )
        .common(),
        flag(
            "-n",
            "--null-message",
            "Publish an empty message",
            |s: &mut S| {
                s.as_mut().sources.push(Source::Nothing);
            },
        )
        .common(),
        value(
            "-q",
            "--qos",
            "QoS",
            "Quality of service: 0 at most once, 1 at least once, 2 exactly once [default: 0]",
            |s: &mut S, v| {
                s.as_mut().qos = qos(v)?;
                Ok(())
            },
        )
        .common(),
    ]
}
