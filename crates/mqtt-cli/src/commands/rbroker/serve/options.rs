//! The options of `rbroker` and its help. `settings.rs` turns the settings into a configuration.

use super::settings::ServeSettings;
use crate::failure::Failure;
use crate::flags::definition::{
    CommandOption, flag, help_options_with_short_name, optional, value,
};
use crate::flags::help::{Body, Help, Section};
use crate::flags::program::Program;
use crate::flags::values::number;
use crate::output::trace::Form;
use crate::wording::shown;

/// The help text before and after the list of options.
const HELP: Help = Help {
    about: "Run an MQTT broker. Without -c, only programs on this machine can connect",
    usage: &[
        "rbroker [OPTIONS]",
        "rbroker passwd [OPTIONS] FILE [USER [PASSWORD]]",
        "rbroker status [OPTIONS]",
        #[cfg(windows)]
        "rbroker service install|uninstall|run [OPTIONS]",
    ],
    subcommands: &[
        (
            "passwd",
            "Write a password file; see 'rbroker passwd --help'",
        ),
        (
            "status",
            "Print the state of a broker; see 'rbroker status --help'",
        ),
        #[cfg(windows)]
        (
            "service",
            "Run as a service of Windows; see 'rbroker service --help'",
        ),
    ],
    examples: &[
        (
            "Serve the programs on this machine at port 1883, without passwords",
            "rbroker",
        ),
        ("Watch every packet of every client", "rbroker --trace"),
        (
            "Check a configuration, and start the broker with it",
            "rbroker -c rbroker.conf --check-config && rbroker -c rbroker.conf",
        ),
        (
            "Add a user to a new password file",
            "rbroker passwd -c users.txt alice",
        ),
        (
            "Print the state of the broker at port 1883",
            "rbroker status",
        ),
    ],
    notes: &[
        #[cfg(windows)]
        Section {
            heading: "Events",
            body: Body::Rows(&[&[
                ("Ctrl-C", "End the broker"),
                ("mosqPID_shutdown", "End the broker"),
                (
                    "mosqPID_reload",
                    "Read the configuration, certificates, users and ACLs again, and reopen the log file",
                ),
                ("mosqPID_backup", "Write the store to disk immediately"),
                (
                    "mosqPID_tree_print",
                    "Log all subscriptions and retained messages",
                ),
            ]]),
        },
        #[cfg(not(windows))]
        Section {
            heading: "Signals",
            body: Body::Rows(&[&[
                ("SIGINT", "End the broker"),
                ("SIGTERM", "End the broker"),
                (
                    "SIGHUP",
                    "Read the configuration, certificates, users and ACLs again, and reopen the log file",
                ),
                ("SIGUSR1", "Write the store to disk immediately"),
                ("SIGUSR2", "Log all subscriptions and retained messages"),
            ]]),
        },
        Section {
            heading: "Exit status",
            body: Body::Rows(&[&[
                ("0", "SIGINT or SIGTERM ended the broker"),
                (
                    "1",
                    "A listener address cannot be opened, or writing the store failed",
                ),
                (
                    "2",
                    "The store is corrupt, is not an rbroker store, or is locked by another broker",
                ),
                (
                    "3",
                    "An option, the configuration, a password file or an ACL file is invalid",
                ),
                ("13", "A password file or an ACL file cannot be opened"),
            ]]),
        },
    ],
};

pub(crate) fn program() -> Program<ServeSettings> {
    Program {
        name: "rbroker",
        help: HELP,
        // No options file is read: the broker has a configuration file, and mosquitto's broker has no options file
        // either.
        sources: None,
        options: vec![
            ("Serving", serving_options()),
            ("Output", output_options()),
            ("Help", help_options_with_short_name()),
        ],
    }
}

/// Returns the options about listeners, configuration and the process.
fn serving_options() -> Vec<CommandOption<ServeSettings>> {
    vec![
        value(
            "-c",
            "--config-file",
            "file",
            "Configuration file, in the language of mosquitto.conf",
            |s: &mut ServeSettings, v| {
                s.config_file = Some(v.into());
                Ok(())
            },
        )
        .common(),
        value(
            "-p",
            "--port",
            "port",
            "Port to listen on, if the configuration has no listener; 0 takes a free port. \
             May be repeated [default: 1883]",
            |s: &mut ServeSettings, v| {
                let invalid = || {
                    Failure::usage(format!("Invalid port specified ({}).", shown(v)))
                        .with_hint("The port must be 0 (a free port) to 65535.")
                };
                // Each -p adds a listener, as in mosquitto.
                s.ports.push(number(v).ok_or_else(invalid)?);
                Ok(())
            },
        )
        .common(),
        flag(
            "-d",
            "--daemon",
            "Run in the background",
            |s: &mut ServeSettings| {
                s.daemon = true;
            },
        )
        .common(),
        flag(
            "",
            "--check-config",
            "Check the configuration and the files that it names, and exit",
            |s: &mut ServeSettings| {
                s.test_config = true;
            },
        )
        .common(),
        flag(
            "",
            "--test-config",
            "The same as --check-config; the name that mosquitto uses",
            |s: &mut ServeSettings| {
                s.test_config = true;
            },
        ),
    ]
}

/// Returns the options about the output of the broker.
fn output_options() -> Vec<CommandOption<ServeSettings>> {
    vec![
        flag(
            "-v",
            "--verbose",
            "Log connections, subscriptions and a line for each packet",
            |s: &mut ServeSettings| {
                s.verbose = true;
            },
        )
        .common(),
        flag(
            "-q",
            "--quiet",
            "Print only errors that end the broker",
            |s: &mut ServeSettings| {
                s.quiet = true;
            },
        )
        .common(),
        optional(
            "--trace",
            "form",
            "Print each packet with all its fields; --trace=json prints JSON",
            |s: &mut ServeSettings, v| {
                s.trace = Some(Form::parse(v)?);
                Ok(())
            },
        )
        .common(),
        value(
            "",
            "--tls-keylog",
            "file",
            "Append the secrets of TLS connections to this file, for network analysers",
            |s: &mut ServeSettings, v| {
                s.key_log = Some(v.into());
                Ok(())
            },
        ),
    ]
}
