//! The directives of the log.

use super::definition::{Definition, text, word};
use crate::config::line::Line;
use crate::config::model::{LogConfig, LogDestination, LogTypes};

/// A directive of the log.
#[derive(Debug)]
pub(crate) enum LogDirective {
    Destination(LogDestination),
    Type(LogType),
    Timestamp(bool),
    TimestampFormat(String),
    Facility(u8),
    Connections(bool),
}

/// A value of `log_type`.
#[derive(Debug)]
pub(crate) enum LogType {
    Error,
    Warning,
    Information,
    Debug,
    None,
    All,
}

use LogDirective as D;

pub(crate) const LOG: &[Definition<D>] = &[
    text("log_dest", |l| destination(l).map(D::Destination)),
    word("log_type", |l| log_type(l).map(D::Type)),
    word("log_timestamp", |l| l.boolean().map(D::Timestamp)),
    text("log_timestamp_format", |l| {
        Ok(D::TimestampFormat(l.rest.to_owned()))
    }),
    word("log_facility", |l| {
        let facility = l.number(0, 7)?;
        Ok(D::Facility(u8::try_from(facility).unwrap_or(0)))
    }),
    word("connection_messages", |l| l.boolean().map(D::Connections)),
];

impl LogDirective {
    /// Applies the directive to the configuration of the log.
    pub(crate) fn apply(self, log: &mut LogConfig) {
        match self {
            Self::Destination(destination) => {
                // `log_dest none` removes the destinations above it.
                if destination == LogDestination::None {
                    log.destinations.clear();
                }
                log.destinations.push(destination);
            }
            // The first `log_type` replaces the default.
            Self::Type(log_type) => log_type.apply(log.types.get_or_insert(NO_LOG_TYPES)),
            Self::Timestamp(is_on) => log.timestamp = is_on,
            Self::TimestampFormat(format) => log.timestamp_format = Some(format),
            Self::Facility(facility) => log.facility = Some(facility),
            Self::Connections(is_on) => log.connections = is_on,
        }
    }
}

impl LogType {
    fn apply(self, types: &mut LogTypes) {
        match self {
            Self::Error => types.error = true,
            Self::Warning => types.warning = true,
            Self::Information => types.information = true,
            Self::Debug => types.debug = true,
            // `log_type none` removes the types above it.
            Self::None => *types = NO_LOG_TYPES,
            Self::All => {
                *types = LogTypes {
                    error: true,
                    warning: true,
                    information: true,
                    debug: true,
                }
            }
        }
    }
}

/// The log types before the first `log_type`.
const NO_LOG_TYPES: LogTypes = LogTypes {
    error: false,
    warning: false,
    information: false,
    debug: false,
};

fn destination(l: &Line<'_>) -> Result<LogDestination, String> {
    match (l.value(), l.rest.split_once(char::is_whitespace)) {
        ("file", Some((_, path))) => Ok(LogDestination::File(path.trim().into())),
        ("none", _) => Ok(LogDestination::None),
        ("stderr", _) => Ok(LogDestination::StandardError),
        ("stdout", _) => Ok(LogDestination::StandardOutput),
        ("syslog", _) => Ok(LogDestination::Syslog),
        ("topic", _) => Ok(LogDestination::Topic),
        _ => Err(l.wrong("stderr, stdout, syslog, topic, none or file with a path")),
    }
}

fn log_type(l: &Line<'_>) -> Result<LogType, String> {
    match l.value() {
        "error" => Ok(LogType::Error),
        "warning" => Ok(LogType::Warning),
        "notice" | "information" => Ok(LogType::Information),
        "debug" | "subscribe" | "unsubscribe" | "websockets" | "internal" => Ok(LogType::Debug),
        "none" => Ok(LogType::None),
        "all" => Ok(LogType::All),
        _ => Err(l.wrong("error, warning, notice, information, debug, none or all")),
    }
}
