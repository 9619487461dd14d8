//! The directives of mosquitto that rbroker does not support, with the advice that the error prints.

/// Returns the advice for an unsupported directive of mosquitto, or `None` if mosquitto has no directive with this
/// name.
pub(super) fn instead(name: &str) -> Option<&'static str> {
    if BRIDGES.contains(&name) || name.starts_with("bridge_") {
        return Some(
            "it accepts bridges but does not create them. Define the bridge at the other broker, with 'in' and \
             'out' swapped, run mosquitto with a bridge to each of the two brokers, or copy the messages with \
             'rsub --jsonl | rpub --jsonl' (docs/differences.md, Bridges of the broker).",
        );
    }
    // Options of plugins have arbitrary names after these prefixes.
    let is_option = name.starts_with("plugin_") || name.starts_with("auth_opt_");
    if name == "plugin" || is_option || PLUGINS.contains(&name) {
        return Some(
            "it has no plugins. Use 'password_file' for users and 'acl_file' for permissions.",
        );
    }
    let found = OTHERS.iter().find(|(known, _)| *known == name);
    found.map(|(_, instead)| *instead)
}

/// Returns the names of all unsupported directives, without those that are recognised by a prefix.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let others = OTHERS.iter().map(|(name, _)| name);
    BRIDGES.iter().chain(PLUGINS).chain(others).copied()
}

/// The directives of bridges, in addition to those with the prefix `bridge_`.
const BRIDGES: &[&str] = &[
    "address",
    "addresses",
    "cleansession",
    "clientid",
    "connection",
    "idle_timeout",
    "keepalive_interval",
    "local_cleansession",
    "local_clientid",
    "local_password",
    "local_username",
    "notification_topic",
    "notifications",
    "notifications_local_only",
    "password",
    "remote_clientid",
    "remote_password",
    "remote_username",
    "restart_timeout",
    "round_robin",
    "start_type",
    "threshold",
    "topic",
    "try_private",
    "username",
];

/// The directives of plugins, in addition to `plugin` and those with the prefixes `plugin_` and `auth_opt_`.
const PLUGINS: &[&str] = &[
    "auth_plugin",
    "auth_plugin_deny_special_chars",
    "global_plugin",
    "plugin_load",
    "plugin_use",
];

/// The other directives, each with its advice.
const OTHERS: &[(&str, &str)] = &[
    (
        "bind_interface",
        "name an address of the interface with 'listener PORT ADDRESS'.",
    ),
    (
        "ciphers_tls1.3",
        "remove the line: all cipher suites of TLS 1.3 are always offered.",
    ),
    (
        "clientid_prefixes",
        "limit the permissions of a client with 'pattern' and %c in the 'acl_file'.",
    ),
    (
        "disable_client_cert_date_checks",
        "remove the line and renew the certificates: expired ones are always rejected.",
    ),
    (
        "enable_control_api",
        "use 'rbroker status' to see the state of the broker.",
    ),
    (
        "enable_proxy_protocol",
        "let the proxy forward TCP without the PROXY protocol.",
    ),
    ("http_dir", "use a web server to serve files."),
    (
        "psk_file",
        "TLS with pre-shared keys is not supported; use certificates ('cafile').",
    ),
    (
        "psk_hint",
        "TLS with pre-shared keys is not supported; use certificates ('cafile').",
    ),
    (
        "tls_engine",
        "engines of OpenSSL are not supported; name a key in PEM format with 'keyfile'.",
    ),
    (
        "tls_engine_kpass_sha1",
        "engines of OpenSSL are not supported; name a key in PEM format with 'keyfile'.",
    ),
    ("tls_keyform", "name a key in PEM format with 'keyfile'."),
    (
        "trace_level",
        "use 'log_type debug' or --trace to see packets.",
    ),
];
