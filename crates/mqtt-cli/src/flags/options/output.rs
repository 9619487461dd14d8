//! The options of rsub and rrr about printed messages, and the help about formats.

use mqtt_codec::RetainHandling;

use crate::failure::Failure;
use crate::flags::definition::{CommandOption, flag, value};
use crate::flags::help::{Body, Section};
use crate::flags::settings::output::OutputSettings;
use crate::output::format::Format;
use crate::wording::shown;

/// Returns the options about the format of the output.
pub(crate) fn output_options<S: AsMut<OutputSettings>>() -> Vec<CommandOption<S>> {
    vec![
        flag(
            "-v",
            "--verbose",
            "Print the topic before the payload",
            |s: &mut S| {
                s.as_mut().verbose = true;
            },
        )
        .common(),
        value(
            "-F",
            "",
            "format",
            "Print each message in this format, such as '%t %p' or %j for JSON; --help-all lists all formats",
            |s: &mut S, v| {
                // An invalid format is reported here, and not when the first message arrives.
                let format = Format::parse(v.as_encoded_bytes());
                let format = format.map_err(|error| {
                    Failure::usage(error.to_string())
                        .with_hint(format!("The format is '{}'.", shown(v)))
                })?;
                s.as_mut().format = Some(format);
                Ok(())
            },
        )
        .common(),
        flag("-N", "", "Print no newline after each payload", |s: &mut S| {
            s.as_mut().no_newline = true;
        })
        .common(),
        flag(
            "-0",
            "--null",
            "Print NUL instead of a newline after each message, for xargs -0 and rpub -0",
            |s: &mut S| {
                s.as_mut().nul = true;
            },
        ),
        flag(
            "",
            "--jsonl",
            "Print each message as a JSON object, for rpub --jsonl",
            |s: &mut S| {
                s.as_mut().jsonl = true;
            },
        )
        .common(),
        flag(
            "",
            "--pretty",
            "Print the JSON of %j and %J on several lines",
            |s: &mut S| {
                s.as_mut().pretty = true;
            },
        ),
    ]
}

/// Returns the options about retained messages.
pub(crate) fn retained_options<S: AsMut<OutputSettings>>() -> Vec<CommandOption<S>> {
    vec![
        flag("-R", "", "Do not print retained messages", |s: &mut S| {
            let output = s.as_mut();
            // Before 5.0 the broker sends retained messages in any case, so the printer drops them.
            output.no_retained = true;
            // In MQTT 5.0 the broker does not send them.
            output.retain_handling = Some(RetainHandling::DoNotSend);
        })
        .common(),
        flag(
            "",
            "--retain-as-published",
            "Keep the retain flag as the publisher set it (MQTT 5.0)",
            |s: &mut S| {
                s.as_mut().retain_as_published = true;
            },
        ),
        value(
            "",
            "--retain-handling",
            "option",
            "Retained messages that the broker sends at the subscription: always, new (only for a new subscription) or never (MQTT 5.0)",
            |s: &mut S, v| {
                let handling = match v.to_str() {
                    Some("always") => RetainHandling::SendAtSubscribe,
                    Some("new") => RetainHandling::SendIfNew,
                    Some("never") => RetainHandling::DoNotSend,
                    _ => {
                        let text = format!("Unknown value '{}' for --retain-handling.", shown(v));
                        return Err(Failure::usage(text)
                            .with_hint("The value must be always, new or never."));
                    }
                };
                s.as_mut().retain_handling = Some(handling);
                Ok(())
            },
        )
        .with_value_name("WHEN"),
    ]
}

/// The section of the full help about `-F`.
pub(crate) const FORMATS: Section = Section {
    heading: "Formats of -F",
    body: Body::Rows(&[&[
        ("%t %p", "Topic and payload"),
        (
            "%x %X",
            "Payload in hexadecimal digits; %.2:x puts a colon after every two digits",
        ),
        (
            "%f %d",
            "Payload as a 4-byte or 8-byte number of this machine",
        ),
        ("%l", "Length of the payload"),
        (
            "%j %J",
            "JSON with the payload as a string, or as JSON inside of the JSON",
        ),
        (
            "%q %r %m",
            "QoS, retain flag (0 or 1) and packet identifier",
        ),
        (
            "%I %U",
            "Local time, and seconds since 1970 with nine decimals",
        ),
        (
            "@Y @H ...",
            "Local time as strftime prints it with % instead of @; @N nanoseconds",
        ),
        (
            "%A %C %D %E",
            "Topic alias, content type, correlation data, message expiry interval",
        ),
        (
            "%F %P %R %S",
            "Payload format indicator, user properties, response topic, subscription identifier",
        ),
        ("%% @@", "Percent sign and at sign"),
        (
            "\\n \\t ...",
            "Newline, tab and the other escapes \\\\ \\0 \\a \\e \\r \\v",
        ),
        (
            "%-010.3t",
            "After the percent sign: - pads at the right, 0 pads numbers with zeros, 10 is the \
             width, .3 the precision",
        ),
    ]]),
};
