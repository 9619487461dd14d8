//! The sections of the full help that rpub, rsub and rrr have in common.

use crate::flags::help::{Body, Section};

/// The exit statuses that the client programs share. Each program lists its own statuses above them.
pub(super) const STATUSES: &[(&str, &str)] = &[
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

/// The exit status of `-W`.
pub(super) const TIMED_OUT: &[(&str, &str)] = &[("27", "The time of -W is over")];

/// The exit status of `--expect`.
pub(super) const SILENT: &[(&str, &str)] = &[(
    "40",
    "A topic filter has had no message for the time of --expect",
)];

/// The section about `--check`.
pub(super) const CHECK: Section = Section {
    heading: "Exit status with --check",
    body: Body::Rows(&[&[
        ("0", "OK: a message has come for each filter"),
        (
            "1",
            "WARNING: the first message of a filter took longer than --warn-after",
        ),
        (
            "2",
            "CRITICAL: a filter has had no message in the time of --expect, the broker cannot be reached or rejects \
             the client, or the time of -W is over",
        ),
        (
            "3",
            "UNKNOWN: a wrong option, an unreadable file, a failure of the operating system, or a signal",
        ),
    ]]),
};

/// The exit statuses of 128 and above, which the client programs share.
pub(super) const REASON_CODES: &[(&str, &str)] = &[(
    "128 and above",
    "The broker rejected the connection, all subscriptions or a message: reason code of MQTT 5.0",
)];

/// The section about `--exit-status sysexits`.
pub(super) const SYSEXITS: Section = Section {
    heading: "Exit status with --exit-status sysexits",
    body: Body::Rows(&[&[
        ("64", "A wrong option"),
        ("65", "Input that is not what the options say"),
        ("66", "A file or standard input that cannot be read"),
        ("68", "A host name that cannot be found"),
        (
            "69",
            "A broker that cannot be reached, or that ended the connection",
        ),
        ("71", "A failure of the operating system"),
        ("73", "A file that cannot be created"),
        ("74", "Standard output or the report cannot be written"),
        (
            "75",
            "The time of -W is over, or the broker has only some of the messages",
        ),
        ("76", "A violation of MQTT, TLS or WebSocket by the broker"),
        (
            "77",
            "The broker rejected the client, all subscriptions or the messages",
        ),
        (
            "78",
            "A wrong options file, profile or variable, or wrong files of TLS",
        ),
    ]]),
};

/// The section about the form of values.
pub(super) const TIMES: Section = Section {
    heading: "Times",
    body: Body::Text("A time is a number of seconds, or has units: 30, 1.5, 30s, 2m 30s."),
};

/// The section about profiles and variables.
pub(super) const PROFILES: Section = Section {
    heading: "Profiles and variables",
    body: Body::Text(
        "@NAME on the command line takes the connection from the table [NAME] of the file \
         rpubsub/config.toml in $XDG_CONFIG_HOME or ~/.config (%APPDATA% on Windows). Its keys are \
         the long names of the options from 'Broker' to 'MQTT 5.0 properties', without the dashes at the start. If \
         the command line names neither a broker nor a profile, the broker is that of the profile \
         RPUBSUB_PROFILE, or else of the variables MQTT_URL or MQTT_HOST, with MQTT_PORT, \
         MQTT_USERNAME, MQTT_PASSWORD, MQTT_PASSWORD_FILE, MQTT_CAFILE, MQTT_CAPATH, MQTT_CERT and \
         MQTT_KEY. The command line overrides the profile and the variables, and these override the \
         options file.",
    ),
};

/// The section about options files.
pub(super) const OPTIONS_FILE: Section = Section {
    heading: "Options file",
    body: Body::Text(
        "Options are also read from a file: one option on each line, then one space and its \
         value. The file is that of -o. Without -o, it is the file in $XDG_CONFIG_HOME or ~/.config \
         with the name of the program (rpub, rsub, rrr) or else of its counterpart \
         (mosquitto_pub, mosquitto_sub, mosquitto_rr). The command line overrides the file.",
    ),
};
