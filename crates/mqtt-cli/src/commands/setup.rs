//! What rpub, rsub and rrr have in common before they do anything: options, help, the log.

use std::ffi::OsString;

use crate::failure::Failure;
use crate::flags::definition::{OptionGroup, help_options};
use crate::flags::help::{Body, Section};
use crate::flags::options::auth::auth_options;
use crate::flags::options::debug::{debug_options, options_file_option};
use crate::flags::options::host::{host_options, redirect_options};
use crate::flags::options::properties::property_option;
use crate::flags::options::session::{session_options, timeout_options};
use crate::flags::options::tls::tls_options;
use crate::flags::options::transport::transport_options;
use crate::flags::options::will::will_options;
use crate::flags::parser::Parsed;
use crate::flags::program::Program;
use crate::flags::settings::connection::ClientSettings;

/// The meaning of the exit statuses that the client programs share, below those of their own.
pub(crate) const STATUSES: &[(&str, &str)] = &[
    (
        "1",
        "A wrong option, an unreadable file, a broker that cannot be reached, or an error of \
         standard output",
    ),
    (
        "1 to 5",
        "The broker rejected the connection: return code of MQTT 3.1 and 3.1.1",
    ),
    ("2", "The broker violated the protocol"),
    ("4", "The broker closed the connection with DISCONNECT"),
    (
        "7",
        "The connection was lost, or the broker does not accept such a message",
    ),
    ("19", "The broker did not answer a ping"),
];

/// The meaning of the highest exit statuses that the client programs share.
pub(crate) const REASON_CODES: &[(&str, &str)] = &[(
    "128 and above",
    "The broker rejected the connection, all subscriptions or a message: reason code of MQTT 5.0",
)];

/// The section about the form of values.
pub(crate) const TIMES: Section = Section {
    heading: "Times",
    body: Body::Text("A time is a number of seconds, or has units: 30, 1.5, 30s, 2m 30s."),
};

/// The section about options files.
pub(crate) const OPTIONS_FILE: Section = Section {
    heading: "Options file",
    body: Body::Text(
        "Options are also read from a file: one option on each line, then one space and its \
         value. The file is that of -o. Without -o, it is the file in $XDG_CONFIG_HOME or ~/.config \
         with the name of the program (rpub, rsub, rrr) or else of its counterpart \
         (mosquitto_pub, mosquitto_sub, mosquitto_rr). The command line overrides the file.",
    ),
};

/// Returns the groups of one program and those of all.
pub(crate) fn with_shared_options<S: ClientSettings>(
    own: Vec<OptionGroup<S>>,
) -> Vec<OptionGroup<S>> {
    let mut groups = own;
    let mut broker = host_options();
    broker.extend(auth_options());
    broker.extend(redirect_options());
    groups.extend([
        ("Broker", broker),
        ("Client identifier and session", session_options()),
        ("Timeouts and reconnecting", timeout_options()),
        ("TLS", tls_options()),
        ("WebSocket, proxy and network", transport_options()),
        ("Will", will_options()),
        ("MQTT 5.0 properties", property_option()),
        ("Diagnostics", debug_options()),
    ]);
    let mut general = options_file_option();
    general.extend(help_options());
    groups.push(("General", general));
    groups
}

/// What was typed, and with `-d` the log is started. `None` if the help or the version was printed.
pub(crate) fn start<S: ClientSettings + Default>(
    program: &Program<S>,
    arguments: &[OsString],
    start_log: fn(&[OsString]),
) -> Result<Option<S>, Failure> {
    let mut settings = match program.parse(arguments)? {
        Parsed::Run(settings) => settings,
        Parsed::HelpShown => return Ok(None),
    };
    if settings.connection().debug {
        start_log(arguments);
    }
    Ok(Some(settings))
}

/// What was typed replaces hosts of the options file.
pub(crate) fn end_options_file<S: ClientSettings>(settings: &mut S) {
    settings.connection().end_options_file();
}
