//! The manual pages: the help of each program, and the sections that only a manual page has. `flags/manual.rs` formats
//! the pages.

use clap::Command;

use crate::commands::rbroker::{self, passwd, status};
use crate::commands::{rpub, rrr, rsub};
use crate::flags::help::Help;
use crate::flags::manual::Manual;

/// A command line with the texts of its manual page.
pub(super) struct Page {
    pub(super) command: Command,
    pub(super) help: Help,
    pub(super) manual: Manual,
}

/// Returns the pages of all programs and subcommands.
pub(super) fn all() -> Vec<Page> {
    let (publisher, subscriber) = (rpub::program(), rsub::program());
    let (requester, broker) = (rrr::program(), rbroker::program());
    let page = |command, help, manual| Page {
        command,
        help,
        manual,
    };
    vec![
        page(publisher.command(), publisher.help, RPUB),
        page(subscriber.command(), subscriber.help, RSUB),
        page(requester.command(), requester.help, RRR),
        page(broker.command(), broker.help, RBROKER),
        page(passwd::command(), passwd::HELP, PASSWD),
        page(status::command(), status::HELP, STATUS),
    ]
}

/// The variables that the client programs read.
const CLIENT_ENVIRONMENT: &[(&str, &str)] = &[
    (
        "MQTT_URL, MQTT_HOST, MQTT_PORT, MQTT_USERNAME, MQTT_PASSWORD_FILE, MQTT_CAFILE, MQTT_CAPATH, MQTT_CERT, MQTT_KEY",
        "Broker and user, if the command line names neither a broker nor a profile. They have an effect only if MQTT_URL \
         or MQTT_HOST is set, and none if the program is called by the name of a mosquitto tool",
    ),
    (
        "MQTT_PASSWORD",
        "Password of the user, if no other source gives a password",
    ),
    (
        "RPUBSUB_PROFILE",
        "Name of the profile, if the command line names neither a broker nor a profile",
    ),
    (
        "CREDENTIALS_DIRECTORY",
        "Folder of the credential of --password-credential; systemd sets the variable",
    ),
    (
        "NO_COLOR",
        "No colours on a terminal if the variable is set and not empty",
    ),
    (
        "XDG_CONFIG_HOME",
        "Folder of the options files and of rpubsub/config.toml instead of ~/.config",
    ),
    ("TZ", "Time zone of the times in output formats"),
    (
        "SSL_CERT_FILE, SSL_CERT_DIR",
        "Certificates of trusted authorities for --tls-use-os-certs, instead of those of the system",
    ),
];

/// The file of the profiles.
const PROFILES_FILE: (&str, &str) = (
    "~/.config/rpubsub/config.toml",
    "Profiles, one table for each; read only if a profile is named",
);

const RPUB: Manual = Manual {
    description: &[
        "rpub connects to an MQTT broker, publishes one message or one message for each line of standard input, and \
         disconnects after the broker has acknowledged every message of QoS 1 and 2.",
        "If the connection is lost, rpub reconnects for up to two minutes and resends the unacknowledged messages. Its \
         options, output and exit statuses are those of mosquitto_pub; it has some more.",
    ],
    environment: CLIENT_ENVIRONMENT,
    files: &[
        (
            "~/.config/rpub",
            "Options, one on each line; the command line overrides them",
        ),
        (
            "~/.config/mosquitto_pub",
            "The same, if ~/.config/rpub does not exist",
        ),
        PROFILES_FILE,
    ],
    see_also: &["rsub(1)", "rrr(1)", "rbroker(1)"],
};

const RSUB: Manual = Manual {
    description: &[
        "rsub connects to an MQTT broker, subscribes to topic filters, and prints each message that it receives. A message \
         is acknowledged after it was written to standard output.",
        "If the connection is lost, rsub reconnects and subscribes again. Its options, output and exit statuses are those \
         of mosquitto_sub; it has some more.",
    ],
    environment: CLIENT_ENVIRONMENT,
    files: &[
        (
            "~/.config/rsub",
            "Options, one on each line; the command line overrides them",
        ),
        (
            "~/.config/mosquitto_sub",
            "The same, if ~/.config/rsub does not exist",
        ),
        PROFILES_FILE,
    ],
    see_also: &["rpub(1)", "rrr(1)", "rbroker(1)"],
};

const RRR: Manual = Manual {
    description: &[
        "rrr subscribes to a response topic, publishes a request, prints the first response, and disconnects. MQTT 5.0 \
         tells the responder the response topic; with older versions the responder must know it.",
        "Its options, output and exit statuses are those of mosquitto_rr; it has some more.",
    ],
    environment: CLIENT_ENVIRONMENT,
    files: &[
        (
            "~/.config/rrr",
            "Options, one on each line; the command line overrides them",
        ),
        (
            "~/.config/mosquitto_rr",
            "The same, if ~/.config/rrr does not exist",
        ),
        PROFILES_FILE,
    ],
    see_also: &["rpub(1)", "rsub(1)", "rbroker(1)"],
};

const RBROKER: Manual = Manual {
    description: &[
        "rbroker is an MQTT broker for versions 3.1, 3.1.1 and 5.0. It reads the configuration language of mosquitto. \
         Without a configuration only programs on the same machine can connect, without a password.",
        "With 'persistence true', the broker acknowledges a message after it is on disk: no acknowledged message is lost \
         in a crash, and no message of QoS 2 is delivered twice.",
    ],
    environment: &[
        (
            "MOSQUITTO_PERSISTENCE_LOCATION",
            "Folder of the store; overrides persistence_location",
        ),
        (
            "NOTIFY_SOCKET",
            "Set by systemd for services of Type=notify",
        ),
        (
            "XDG_RUNTIME_DIR",
            "Folder of the control socket instead of /run",
        ),
        (
            "NO_COLOR",
            "No colours on a terminal if the variable is set and not empty",
        ),
    ],
    files: &[
        (
            "/run/rbroker-PORT.sock",
            "Control socket for 'rbroker status', in XDG_RUNTIME_DIR if that is set",
        ),
        (
            "rbroker.db",
            "Store of messages and sessions, in persistence_location; with 'persistence_file NAME' it is NAME.rbroker",
        ),
    ],
    see_also: &[
        "rbroker-passwd(1)",
        "rbroker-status(1)",
        "rbroker.conf(5)",
        "rsub(1)",
        "rpub(1)",
    ],
};

const PASSWD: Manual = Manual {
    description: &[
        "rbroker passwd adds a user to a password file of rbroker or mosquitto, replaces the user's password, or removes \
         the user. Passwords are stored as salted hashes. A running broker reads the file again at SIGHUP.",
    ],
    environment: &[],
    files: &[],
    see_also: &["rbroker(1)", "rbroker.conf(5)"],
};

const STATUS: Manual = Manual {
    description: &[
        "rbroker status asks a broker of the same user on this machine for its state, and prints it for people, or with \
         --json for programs.",
    ],
    environment: &[(
        "XDG_RUNTIME_DIR",
        "Folder of the control socket instead of /run",
    )],
    files: &[(
        "/run/rbroker-PORT.sock",
        "Control socket, in XDG_RUNTIME_DIR if that is set",
    )],
    see_also: &["rbroker(1)"],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::manual;

    #[test]
    fn each_page_has_every_option_and_every_section() {
        for page in all() {
            let name = page.command.get_name().to_owned();
            let text = manual::page(&page.command, &page.help, &page.manual);
            for long in page.command.get_arguments().filter_map(clap::Arg::get_long) {
                // In roff, `\-` is the minus sign that the user types, and `-` is a hyphen.
                let long = format!("\\-\\-{}", long.replace('-', "\\-"));
                assert!(text.contains(&long), "{name}: {long}");
            }
            for heading in [
                "NAME",
                "SYNOPSIS",
                "DESCRIPTION",
                "OPTIONS",
                "EXAMPLES",
                "SEE ALSO",
            ] {
                let line = format!(".SH {heading}");
                let quoted = format!(".SH \"{heading}\"");
                assert!(
                    text.contains(&line) || text.contains(&quoted),
                    "{name}: {heading}"
                );
            }
        }
    }
}
