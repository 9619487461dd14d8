//! [`Directive`]: a directive of any subject with its value. [`find`] searches the tables of all subjects for the name
//! of a directive.

use std::path::PathBuf;

use super::definition::{Definition, text, word};
use super::limits::{LIMITS, LimitDirective};
use super::listener::{LISTENERS, ListenerDirective};
use super::log::{LOG, LogDirective};
use super::process::{PROCESS, ProcessDirective};
use super::security::{SECURITY, SecurityDirective};
use super::tls::{TLS, TlsDirective};
use crate::config::line::Line;
use crate::config::places::Place;
use crate::config::settings::Settings;

/// A directive with its value.
#[derive(Debug)]
pub(crate) enum Directive {
    Listener(ListenerDirective),
    Tls(TlsDirective),
    Security(SecurityDirective),
    Limit(LimitDirective),
    Process(ProcessDirective),
    Log(LogDirective),
    /// `include_dir`: the folder with more configuration files. The parser has read these files already.
    IncludeDir(PathBuf),
    /// A directive whose value is checked and has no effect.
    Ignored,
    /// A directive of older versions of mosquitto, which has no effect.
    Obsolete(&'static str),
}

impl Directive {
    /// Applies the directive to the settings.
    ///
    /// # Errors
    /// Returns the reason if the directive is not allowed at this place.
    pub(crate) fn apply(self, settings: &mut Settings, place: &Place) -> Result<(), String> {
        match self {
            Self::Listener(directive) => directive.apply(settings),
            Self::Tls(directive) => directive.apply(settings.tls()),
            Self::Security(directive) => return directive.apply(settings),
            Self::Limit(directive) => directive.apply(&mut settings.config.limits),
            Self::Process(directive) => directive.apply(&mut settings.config),
            Self::Log(directive) => directive.apply(&mut settings.config.log),
            Self::IncludeDir(_) | Self::Ignored => {}
            Self::Obsolete(name) => {
                settings.warn(place, &format!("The {name} option is no longer available."));
            }
        }
        Ok(())
    }
}

/// A directive that rbroker supports, without a value.
pub(crate) struct Found {
    pub(crate) name: &'static str,
    /// Set if the value is everything after the name.
    pub(crate) has_text: bool,
    parse: Parse,
}

/// The subject of a directive, with the function that parses its value.
enum Parse {
    Listener(fn(&Line<'_>) -> Result<ListenerDirective, String>),
    Tls(fn(&Line<'_>) -> Result<TlsDirective, String>),
    Security(fn(&Line<'_>) -> Result<SecurityDirective, String>),
    Limit(fn(&Line<'_>) -> Result<LimitDirective, String>),
    Process(fn(&Line<'_>) -> Result<ProcessDirective, String>),
    Log(fn(&Line<'_>) -> Result<LogDirective, String>),
    Other(fn(&Line<'_>) -> Result<Directive, String>),
}

impl Found {
    /// Parses the value of the line.
    ///
    /// # Errors
    /// Returns the reason if the value is invalid.
    pub(crate) fn parse(&self, line: &Line<'_>) -> Result<Directive, String> {
        Ok(match self.parse {
            Parse::Listener(parse) => Directive::Listener(parse(line)?),
            Parse::Tls(parse) => Directive::Tls(parse(line)?),
            Parse::Security(parse) => Directive::Security(parse(line)?),
            Parse::Limit(parse) => Directive::Limit(parse(line)?),
            Parse::Process(parse) => Directive::Process(parse(line)?),
            Parse::Log(parse) => Directive::Log(parse(line)?),
            Parse::Other(parse) => parse(line)?,
        })
    }
}

/// Returns the directive with this name.
pub(crate) fn find(name: &str) -> Option<Found> {
    all().find(|found| found.name == name)
}

/// Returns all directives that rbroker supports.
pub(crate) fn all() -> impl Iterator<Item = Found> {
    let others = OTHERS.iter().map(|other| found(other, Parse::Other));
    let listeners = LISTENERS.iter().map(|other| found(other, Parse::Listener));
    let tls = TLS.iter().map(|other| found(other, Parse::Tls));
    let security = SECURITY.iter().map(|other| found(other, Parse::Security));
    let limits = LIMITS.iter().map(|other| found(other, Parse::Limit));
    let process = PROCESS.iter().map(|other| found(other, Parse::Process));
    let log = LOG.iter().map(|other| found(other, Parse::Log));
    let settings = listeners.chain(tls).chain(security).chain(limits);
    settings.chain(process).chain(log).chain(others)
}

type ParseValue<T> = fn(&Line<'_>) -> Result<T, String>;

fn found<T>(definition: &Definition<T>, parse: fn(ParseValue<T>) -> Parse) -> Found {
    Found {
        name: definition.name,
        has_text: definition.has_text,
        parse: parse(definition.parse),
    }
}

const OTHERS: &[Definition<Directive>] = &[
    text("include_dir", |l| Ok(Directive::IncludeDir(l.rest.into()))),
    // The header of a WebSocket request may always have 8 kB, which is more than browsers and proxies send.
    word("websockets_headers_size", |l| ignored(l.number(0, 65535))),
    word("packet_buffer_size", |l| ignored(l.number(0, u32::MAX))),
    word("websockets_log_level", |l| ignored(l.number(0, u32::MAX))),
    // TCP_NODELAY is always set, and the packets of a turn are sent in one write.
    word("set_tcp_nodelay", |l| ignored(l.boolean())),
    // Each turn is committed immediately, and not only at an interval.
    word("autosave_interval", |l| ignored(l.number(0, u32::MAX))),
    word("autosave_on_changes", |l| ignored(l.boolean())),
    word("retry_interval", |_| {
        Ok(Directive::Obsolete("retry_interval"))
    }),
    word("store_clean_interval", |_| {
        Ok(Directive::Obsolete("store_clean_interval"))
    }),
];

/// Returns the directive for a value that is only checked.
fn ignored<T>(value: Result<T, String>) -> Result<Directive, String> {
    value.map(|_| Directive::Ignored)
}
