//! The options for TLS. `settings/transport.rs` checks that they fit together.

use mqtt_transport::TlsVersion;

use crate::failure::Failure;
use crate::flags::definition::{CommandOption, flag, value};
use crate::flags::settings::connection::ClientSettings;
use crate::flags::values::text;
use crate::wording::shown;

/// Returns the options about TLS.
pub(crate) fn tls_options<S: ClientSettings>() -> Vec<CommandOption<S>> {
    let parts = [authorities(), certificates(), unsupported(), tls()];
    parts.into_iter().flatten().collect()
}

/// Returns the options for the certificate authorities that the client trusts. Some of these options turn on TLS.
fn authorities<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![
        value(
            "",
            "--cafile",
            "file",
            "Use TLS, and trust the CAs in this file",
            |s: &mut S, v| {
                let transport = &mut s.connection().transport;
                transport.wants_tls = true;
                transport.tls.ca_file = Some(v.into());
                Ok(())
            },
        )
        .common(),
        value(
            "",
            "--capath",
            "directory",
            "Use TLS, and trust the CAs in this directory",
            |s: &mut S, v| {
                let transport = &mut s.connection().transport;
                transport.wants_tls = true;
                transport.tls.ca_path = Some(v.into());
                Ok(())
            },
        ),
        flag(
            "",
            "--tls-use-os-certs",
            "Use TLS, and trust the CAs of the system",
            |s: &mut S| s.connection().transport.use_tls(),
        ),
        flag(
            "",
            "--insecure",
            "Do not verify the host name in the certificate of the broker (the chain is still verified)",
            |s: &mut S| s.connection().transport.tls.any_host = true,
        )
        .common(),
        flag(
            "",
            "--no-tls",
            "Connect without TLS, even if other options turn it on",
            |s: &mut S| s.connection().transport.no_tls = true,
        ),
    ]
}

/// Returns the options for the client's certificate.
fn certificates<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![
        value(
            "",
            "--cert",
            "file",
            "Certificate of this client (PEM). Needs --key",
            |s: &mut S, v| {
                s.connection().transport.tls.certificate = Some(v.into());
                Ok(())
            },
        ),
        value(
            "",
            "--key",
            "file",
            "Private key of this client (PEM)",
            |s: &mut S, v| {
                s.connection().transport.tls.key = Some(v.into());
                Ok(())
            },
        ),
        value(
            "",
            "--keyform",
            "keyform",
            "Form of the private key: pem",
            |s: &mut S, v| {
                let transport = &mut s.connection().transport;
                match v.to_str() {
                    // Only PEM is supported, so the value needs no field in the settings.
                    Some("pem") => {}
                    Some("engine") => transport.need("--keyform engine", "engines of OpenSSL"),
                    _ => {
                        let text = "Problem setting key form, it must be one of 'pem' or 'engine'.";
                        return Err(Failure::usage(text));
                    }
                }
                transport.key_form = Some(shown(v));
                Ok(())
            },
        )
        .with_value_name("FORM"),
    ]
}

/// Returns the options of the mosquitto tools that these programs do not support. A script that uses one gets an error
/// that names the missing feature, and `--help-all` lists the options.
fn unsupported<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![
        value(
            "",
            "--tls-engine",
            "engine_id",
            "Rejected: OpenSSL engines are not supported",
            |s: &mut S, _| {
                let transport = &mut s.connection().transport;
                transport.need("--tls-engine", "engines of OpenSSL");
                Ok(())
            },
        )
        .with_value_name("ENGINE"),
        value(
            "",
            "--tls-engine-kpass-sha1",
            "kpass sha1",
            "Rejected: OpenSSL engines are not supported",
            |s: &mut S, _| {
                let transport = &mut s.connection().transport;
                transport.need("--tls-engine-kpass-sha1", "engines of OpenSSL");
                Ok(())
            },
        )
        .with_value_name("HASH"),
        value(
            "",
            "--psk",
            "key",
            "Rejected: pre-shared keys are not supported",
            |s: &mut S, _| {
                s.connection()
                    .transport
                    .need("--psk", "TLS with a pre-shared key");
                Ok(())
            },
        ),
        // mosquitto ignores this option without --psk, and --psk itself is rejected.
        value(
            "",
            "--psk-identity",
            "identity",
            "Ignored: pre-shared keys are not supported",
            |_, _| Ok(()),
        ),
    ]
}

/// Returns the options for the parameters of TLS.
fn tls<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![
        value(
            "",
            "--tls-version",
            "version",
            "Lowest TLS version: tlsv1.2 or tlsv1.3; tlsv1.1 means tlsv1.2 [default: tlsv1.2]",
            |s: &mut S, v| {
                // tlsv1.1 is accepted and means 1.2, so that old scripts run, with a more secure version.
                let version = v.to_str().and_then(TlsVersion::parse);
                let unknown = || {
                    let text = "Problem setting TLS options, check the options are valid.";
                    Failure::usage(text).with_hint(format!(
                        "The version must be tlsv1.2 or tlsv1.3; it is '{}'.",
                        shown(v)
                    ))
                };
                s.connection().transport.tls.version = Some(version.ok_or_else(unknown)?);
                Ok(())
            },
        ),
        value(
            "",
            "--ciphers",
            "ciphers",
            "Cipher suites of TLS 1.2, as an OpenSSL list such as ECDHE+AESGCM",
            |s: &mut S, v| {
                s.connection().transport.tls.ciphers = Some(text(v, "--ciphers")?.to_owned());
                Ok(())
            },
        ),
        value(
            "",
            "--tls-alpn",
            "protocol",
            "Application protocol to ask for (ALPN)",
            |s: &mut S, v| {
                s.connection().transport.tls.alpn = Some(text(v, "--tls-alpn")?.to_owned());
                Ok(())
            },
        ),
        value(
            "",
            "--tls-keylog",
            "file",
            "Append the secrets of the connection to this file, for network analysers",
            |s: &mut S, v| {
                s.connection().transport.tls.key_log = Some(v.into());
                Ok(())
            },
        ),
    ]
}
