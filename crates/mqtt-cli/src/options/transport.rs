//! Roads to a broker that this version does not have: TLS, WebSocket, Unix sockets, proxies, service
//! records. Their options are known, and refused in one place before anything is connected.

use crate::arguments::{CommandOption, flag, value};
use crate::exit::Failure;

use super::ClientSettings;

/// The port where TLS is meant.
const TLS_PORT: u16 = 8883;

/// What was asked for.
#[derive(Debug, Default)]
pub(crate) struct TransportSettings {
    /// The first option that needs something else than TCP, and what that is.
    needs: Option<(&'static str, &'static str)>,
    /// The first option that asks for TLS.
    tls: Option<&'static str>,
    no_tls: bool,
}

impl TransportSettings {
    /// An option asks for a transport.
    pub(super) fn need(&mut self, option: &'static str, what: &'static str) {
        self.needs.get_or_insert((option, what));
    }

    /// An option asks for TLS.
    pub(super) fn need_tls(&mut self, option: &'static str) {
        self.tls.get_or_insert(option);
    }

    pub(super) fn check(&self, port: u16) -> Result<(), Failure> {
        let refused = |option: &str, what: &str| {
            let text = format!("This version does not support {what} ({option}).");
            Failure::usage(text).with_hint("It connects over TCP without encryption.")
        };
        if let Some((option, what)) = self.needs {
            return Err(refused(option, what));
        }
        match self.tls {
            _ if port == 0 => Err(refused("port 0", "Unix sockets")),
            _ if self.no_tls => Ok(()),
            Some(option) => Err(refused(option, "TLS")),
            None if port == TLS_PORT => Err(refused("port 8883; --no-tls connects without", "TLS")),
            None => Ok(()),
        }
    }
}

/// An option with a value that asks for TLS.
macro_rules! tls {
    ($long:literal, $noun:literal, $help:literal) => {
        value("", $long, $noun, $help, |s: &mut S, _| {
            s.connection().transport.need_tls($long);
            Ok(())
        })
    };
}

/// The table.
pub(crate) fn transport_options<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![
        tls!(
            "--cafile",
            "file",
            "File with the certificates of trusted authorities"
        ),
        tls!(
            "--capath",
            "directory",
            "Folder with the certificates of trusted authorities"
        ),
        flag(
            "",
            "--tls-use-os-certs",
            "Trust the authorities that the system trusts",
            |s: &mut S| {
                s.connection().transport.need_tls("--tls-use-os-certs");
            },
        ),
        tls!("--cert", "file", "Certificate of this client"),
        tls!("--key", "file", "Private key of this client"),
        tls!(
            "--keyform",
            "keyform",
            "Form of the private key: pem or engine"
        ),
        tls!("--tls-engine", "engine_id", "OpenSSL engine"),
        tls!(
            "--tls-engine-kpass-sha1",
            "kpass sha1",
            "SHA-1 of the password of the engine's key"
        ),
        tls!("--ciphers", "ciphers", "Cipher suites of TLS 1.2"),
        tls!("--tls-version", "version", "Lowest version of TLS"),
        tls!("--tls-alpn", "protocol", "Application protocol of TLS"),
        flag(
            "",
            "--insecure",
            "Do not check that the certificate is the host's",
            |s: &mut S| {
                s.connection().transport.need_tls("--insecure");
            },
        ),
        tls!(
            "--psk",
            "key",
            "Key that both sides know, in hexadecimal digits"
        ),
        tls!("--psk-identity", "identity", "Name of the key"),
        tls!(
            "--tls-keylog",
            "file",
            "File for the keys of TLS connections"
        ),
        flag(
            "",
            "--no-tls",
            "Connect without TLS whatever other options say",
            |s: &mut S| {
                s.connection().transport.no_tls = true;
            },
        ),
        flag("", "--ws", "Use WebSocket", |s: &mut S| {
            s.connection().transport.need("--ws", "WebSocket");
        }),
        value(
            "",
            "--unix",
            "socket path",
            "Unix socket to connect to",
            |s: &mut S, _| {
                s.connection().transport.need("--unix", "Unix sockets");
                Ok(())
            },
        ),
        value(
            "",
            "--proxy",
            "proxy url",
            "SOCKS5 proxy to connect through",
            |s: &mut S, _| {
                s.connection().transport.need("--proxy", "proxies");
                Ok(())
            },
        ),
        flag(
            "-S",
            "",
            "Look up service records of the host",
            |s: &mut S| {
                s.connection().transport.need("-S", "service records");
            },
        ),
    ]
}
