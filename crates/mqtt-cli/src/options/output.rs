//! How messages that arrive are printed, and which retained ones come: for rsub and rrr.

use std::io::IsTerminal;
use std::time::Duration;

use mqtt_codec::{QoS, RetainHandling, SubscriptionOptions};

use crate::arguments::{CommandOption, duration, flag, value};
use crate::exit::Failure;
use crate::format::{Format, Style};

use super::shown;

/// What the options say about the output.
#[derive(Debug, Default)]
pub(crate) struct OutputSettings {
    pub(crate) format: Option<Format>,
    pub(crate) verbose: bool,
    pub(crate) no_newline: bool,
    pretty: bool,
    pub(crate) timeout: Option<Duration>,
    /// `-R`.
    pub(crate) no_retained: bool,
    retain_as_published: bool,
    retain_handling: Option<RetainHandling>,
}

impl OutputSettings {
    /// How messages come out on the standard output that there is.
    pub(crate) fn style(&self) -> Style {
        Style {
            pretty: self.pretty,
            terminal: std::io::stdout().is_terminal(),
        }
    }

    /// The options of a subscription.
    pub(crate) fn subscription_options(&self, qos: QoS) -> SubscriptionOptions {
        let mut options = SubscriptionOptions::new(qos);
        options.retain_as_published = self.retain_as_published;
        if let Some(handling) = self.retain_handling {
            options.retain_handling = handling;
        }
        options
    }
}

/// The table.
pub(crate) fn output_options<S: AsMut<OutputSettings>>() -> Vec<CommandOption<S>> {
    vec![
        flag(
            "-v",
            "--verbose",
            "Print the topic before the payload",
            |s: &mut S| {
                s.as_mut().verbose = true;
            },
        ),
        flag("-N", "", "Print no newline after a message", |s: &mut S| {
            s.as_mut().no_newline = true;
        }),
        value(
            "-F",
            "",
            "format",
            "Print each message in this form: %t topic, %p payload, %j JSON, %q QoS, %r retain, %l length, %x hexadecimal, @Y-@m-@d time, and more in the manual",
            |s: &mut S, v| {
                let format = Format::parse(v.as_encoded_bytes());
                let format = format.map_err(|error| {
                    Failure::usage(error.to_string())
                        .with_hint(format!("The format is '{}'.", shown(v)))
                })?;
                s.as_mut().format = Some(format);
                Ok(())
            },
        ),
        flag(
            "",
            "--pretty",
            "Print JSON on several lines",
            |s: &mut S| {
                s.as_mut().pretty = true;
            },
        ),
        value(
            "-W",
            "",
            "timeout",
            "End with status 27 after this time: seconds, or with units such as 30s",
            |s: &mut S, v| {
                let time = duration(v).filter(|time| !time.is_zero());
                let invalid = || {
                    Failure::usage(format!("Invalid timeout \"{}\".", shown(v)))
                        .with_hint("A time is a number of seconds, or has units: 30, 1.5, 30s, 2m.")
                };
                s.as_mut().timeout = Some(time.ok_or_else(invalid)?);
                Ok(())
            },
        ),
        flag("-R", "", "Do not print retained messages", |s: &mut S| {
            let output = s.as_mut();
            output.no_retained = true;
            output.retain_handling = Some(RetainHandling::DoNotSend);
        }),
        flag(
            "",
            "--retain-as-published",
            "Keep the retain flag of the publisher (MQTT 5)",
            |s: &mut S| {
                s.as_mut().retain_as_published = true;
            },
        ),
        value(
            "",
            "--retain-handling",
            "option",
            "Which retained messages come (MQTT 5): always, new (for a new subscription only) or never",
            |s: &mut S, v| {
                let handling = match v.to_str() {
                    Some("always") => RetainHandling::SendAtSubscribe,
                    Some("new") => RetainHandling::SendIfNew,
                    Some("never") => RetainHandling::DoNotSend,
                    _ => {
                        let text = format!("Unknown value '{}' for --retain-handling.", shown(v));
                        return Err(Failure::usage(text).with_hint("It is always, new or never."));
                    }
                };
                s.as_mut().retain_handling = Some(handling);
                Ok(())
            },
        ),
    ]
}
