//! The options of the client programs, in groups: each group is a table and the settings it fills.

mod connection;
mod message;
mod output;
mod property;
mod transport;
mod url;
mod will;

pub(crate) use connection::{
    ClientSettings, ConnectionSettings, connection_options, diagnostic_options,
    options_file_option, tcp_options,
};
pub(crate) use message::{Content, MessageSettings, message_options, topic_name};
pub(crate) use output::{
    FORMATS, OutputSettings, ending_options, output_options, retained_options,
};
pub(crate) use property::property_option;
pub(crate) use transport::{network_options, tls_options};
pub(crate) use will::will_options;

use std::ffi::OsStr;

use mqtt_client::session::Printable;
use mqtt_codec::{QoS, TopicFilter};

use crate::failure::Failure;
use crate::flags::parser::{CommandOption, number, plain_text};

/// The options that stand below one heading of the help.
pub(crate) type Group<S> = (&'static str, Vec<CommandOption<S>>);

/// 0, 1 or 2.
pub(crate) fn qos(value: &OsStr) -> Result<QoS, Failure> {
    qos_or(value, format!("Invalid QoS given: {}", shown(value)))
}

/// The same with other words if it is not one.
fn qos_or(value: &OsStr, words: String) -> Result<QoS, Failure> {
    number(value).and_then(QoS::from_value).ok_or_else(|| {
        Failure::usage(words)
            .with_hint("The QoS must be 0 (at most once), 1 (at least once) or 2 (exactly once).")
    })
}

/// A topic filter of this option.
pub(crate) fn topic_filter(
    value: &OsStr,
    what: &str,
    option: &str,
) -> Result<TopicFilter, Failure> {
    let text = plain_text(value, option)?;
    TopicFilter::new(text).map_err(|_| {
        let text = Printable(text);
        Failure::usage(format!(
            "Invalid {what} topic '{text}', are all '+' and '#' wildcards correct?"
        ))
        .with_hint(format!(
            "In {option}, '+' must be a whole level, '#' must be the last level, and a filter must follow '$share/NAME/'."
        ))
    })
}

/// A value as it may be shown to people.
pub(crate) fn shown(value: &OsStr) -> String {
    Printable(&value.to_string_lossy()).to_string()
}
