//! What rpub, rsub and rrr have in common before they do anything: options, help, the log.

use std::ffi::OsString;

use crate::arguments::{CommandOption, Parsed, Program, told};
use crate::exit::Failure;
use crate::options::{
    ClientSettings, connection_options, property_option, transport_options, will_options,
};

/// What `--help` of the client programs says about the exit status.
pub(crate) const STATUSES: &str = "\
Exit status:
  0              all was done; or ended by SIGINT or SIGTERM (rsub, rrr)
  1              wrong options, a file that cannot be read, a broker that cannot be reached, or
                 standard output that cannot be written
  1 to 5         the broker refused the connection: return code of MQTT 3.1 and 3.1.1
  2              the broker broke the rules of the protocol
  4              the broker ended the connection
  7              the connection was lost
  19             the broker did not answer a ping
  27             the time of -W is over
  128 and above  the broker refused the connection, all subscriptions or a message: reason code
  130, 143       ended by SIGINT or SIGTERM before all was done

Options are also read from a file, one on each line: -o FILE, or else rpub, rsub or rrr (then
mosquitto_pub, mosquitto_sub or mosquitto_rr) in $XDG_CONFIG_HOME or ~/.config. Arguments win.";

/// Options under their heading.
type Group<S> = (&'static str, Vec<CommandOption<S>>);

/// The groups of one program, and those of all.
pub(crate) fn with_shared_options<S: ClientSettings>(own: Vec<Group<S>>) -> Vec<Group<S>> {
    let shared = [
        ("Connection", connection_options()),
        ("Properties", property_option()),
        ("Will", will_options()),
        ("Transport", transport_options()),
        ("Help", told()),
    ];
    own.into_iter().chain(shared).collect()
}

/// What was typed, and with `-d` the log is started. `None` if the help or the version was printed.
pub(crate) fn start<S: ClientSettings + Default>(
    program: &Program<S>,
    arguments: &[OsString],
    start_log: fn(&[OsString]),
) -> Result<Option<S>, Failure> {
    let mut settings = match program.parse(arguments)? {
        Parsed::Run(settings) => settings,
        Parsed::Told => return Ok(None),
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
