//! The road to the broker: TLS, WebSocket, Unix sockets, proxies. Roads that this version does not have
//! are known too, and refused in one place before anything is connected.

use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use mqtt_client::{Options, Server};
use mqtt_transport::{
    ClientTransport, NameServers, Proxy, TlsClient, TlsClientOptions, TlsVersion, WebSocketRequest,
};

use crate::failure::Failure;
use crate::flags::parser::{CommandOption, flag, text, value};

use super::{ClientSettings, shown, tcp_options, url};

/// The port where TLS is meant.
const TLS_PORT: u16 = 8883;

/// What was asked for.
#[derive(Debug, Default)]
pub(crate) struct TransportSettings {
    /// The first option that needs something that is not there, and what that is.
    missing: Option<(&'static str, &'static str)>,
    tls: TlsClientOptions,
    /// Whether an option says that TLS is wanted; the others say how.
    wants_tls: bool,
    no_tls: bool,
    /// `--keyform`, which goes with a key.
    key_form: Option<String>,
    unix_path: Option<PathBuf>,
    websocket: bool,
    websocket_path: Option<String>,
    websocket_headers: Vec<String>,
    pub(crate) proxy: Option<Proxy>,
    /// `-S`.
    looks_services_up: bool,
    /// `--dns-server`; none: those of the system.
    name_server: Option<SocketAddr>,
}

/// Where brokers offer WebSocket, by habit.
const WEBSOCKET_PATH: &str = "/mqtt";

impl TransportSettings {
    /// An option asks for something that is not there.
    pub(super) fn need(&mut self, option: &'static str, what: &'static str) {
        self.missing.get_or_insert((option, what));
    }

    /// TLS is wanted, with the authorities that the system trusts.
    pub(super) fn use_tls(&mut self) {
        self.wants_tls = true;
        self.tls.system_authorities = true;
    }

    /// MQTT over WebSocket.
    pub(super) fn use_websocket(&mut self) {
        self.websocket = true;
    }

    /// The port, if none was named.
    pub(super) fn default_port(&self) -> u16 {
        let has_authorities = self.tls.ca_file.is_some() || self.tls.ca_path.is_some();
        match has_authorities && !self.no_tls {
            true => TLS_PORT,
            false => 1883,
        }
    }

    /// Sets the transport in `options`. Fails on what does not fit together.
    pub(super) fn apply(&self, options: &mut Options, port: u16) -> Result<(), Failure> {
        self.check()?;
        let mut transport = ClientTransport::default();
        if let Some(proxy) = &self.proxy {
            transport = transport.with_proxy(proxy.clone());
        }
        if self.speaks_tls(port) {
            for server in &options.servers {
                if let Server::Network { host, .. } = server {
                    TlsClient::server_name(host).map_err(setup_failure)?;
                }
            }
            let tls = TlsClient::new(&self.tls).map_err(setup_failure)?;
            if let Some(warn) = options.on_warning {
                tls.warnings().iter().for_each(|line| warn(line));
            }
            transport = transport.with_tls(tls);
        }
        if self.websocket {
            let path = self.websocket_path.as_deref().unwrap_or(WEBSOCKET_PATH);
            transport = transport.with_websocket(WebSocketRequest {
                path: path.to_owned(),
                headers: self.websocket_headers.clone(),
            });
        }
        options.transport = transport;
        Ok(())
    }

    /// The server that a host and the port stand for: port 0 makes the host the path of a Unix socket.
    pub(super) fn server(&self, host: &str, port: u16) -> Server {
        match &self.unix_path {
            Some(path) => Server::Unix(path.clone()),
            None if self.looks_services_up => self.service(host, port),
            None if port == 0 => Server::Unix(host.into()),
            None => Server::network(host, port),
        }
    }

    /// Whether TLS is spoken, which the port says that was typed, not one of a service record.
    fn speaks_tls(&self, port: u16) -> bool {
        (self.wants_tls || port == TLS_PORT && self.unix_path.is_none()) && !self.no_tls
    }

    /// What a domain offers; for no `-h`, the domain that this machine is in.
    fn service(&self, domain: &str, port: u16) -> Server {
        let service = match self.speaks_tls(port) {
            true => "_secure-mqtt._tcp",
            false => "_mqtt._tcp",
        };
        let own = || NameServers::of_system().domain;
        let own = (domain == "localhost").then(own).flatten();
        Server::Service {
            name: format!("{service}.{}", own.as_deref().unwrap_or(domain)),
            name_server: self.name_server,
        }
    }

    fn check(&self) -> Result<(), Failure> {
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            return Err(Failure::usage(
                "Both certfile and keyfile must be provided if one of them is set.",
            ));
        }
        if self.looks_services_up && self.unix_path.is_some() {
            let text = "Only one of -S and --unix can be used.";
            return Err(Failure::usage(text).with_hint("-S looks up network servers."));
        }
        if let (Some(form), None) = (&self.key_form, &self.tls.key) {
            return Err(
                Failure::usage("If keyform is set, keyfile must be also specified.").with_hint(
                    format!("The key form is '{form}': give the key with --key."),
                ),
            );
        }
        match self.missing {
            None => Ok(()),
            Some((option, what)) => {
                let text = format!("This version does not support {what} ({option}).");
                Err(Failure::usage(text))
            }
        }
    }
}

fn setup_failure(error: mqtt_transport::TlsSetupError) -> Failure {
    use mqtt_transport::TlsSetupError::Read;
    let text = match error {
        Read(..) => "Problem setting TLS options: File not found.",
        _ => "Problem setting TLS options, check the options are valid.",
    };
    Failure::usage(text).with_hint(format!("TLS: {error}."))
}

/// Returns the options about TLS.
pub(crate) fn tls_options<S: ClientSettings>() -> Vec<CommandOption<S>> {
    let parts = [authorities(), certificates(), tls()];
    parts.into_iter().flatten().collect()
}

/// The certificates that the client trusts. Some of these options turn on TLS.
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

/// The certificate of the client.
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
        value(
            "",
            "--psk-identity",
            "identity",
            "Ignored: pre-shared keys are not supported",
            |_, _| Ok(()),
        ),
    ]
}

/// The parameters of TLS.
fn tls<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![
        value(
            "",
            "--tls-version",
            "version",
            "Lowest TLS version: tlsv1.2 or tlsv1.3; tlsv1.1 means tlsv1.2 [default: tlsv1.2]",
            |s: &mut S, v| {
                let version = v.to_str().and_then(TlsVersion::parse);
                let unknown = || {
                    let text = "Problem setting TLS options, check the options are valid.";
                    Failure::usage(text).with_hint("The version must be tlsv1.2 or tlsv1.3.")
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

/// Returns the options about everything between TCP and MQTT except TLS.
pub(crate) fn network_options<S: ClientSettings>() -> Vec<CommandOption<S>> {
    let parts = [websocket(), proxy(), services(), tcp_options()];
    parts.into_iter().flatten().collect()
}

/// MQTT over WebSocket.
fn websocket<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![
        flag(
            "",
            "--ws",
            "Use WebSocket, at the path /mqtt",
            |s: &mut S| s.connection().transport.use_websocket(),
        ),
        value(
            "",
            "--ws-path",
            "path",
            "Use WebSocket at this path instead of /mqtt",
            |s: &mut S, v| {
                let path = text(v, "--ws-path")?;
                if !path.starts_with('/') || path.contains([' ', '\r', '\n']) {
                    let text = format!("Invalid path given for --ws-path: {}", shown(v));
                    return Err(Failure::usage(text).with_hint(
                        "The path must start with a slash and must not contain spaces.",
                    ));
                }
                let transport = &mut s.connection().transport;
                transport.websocket = true;
                transport.websocket_path = Some(path.to_owned());
                Ok(())
            },
        ),
        value(
            "",
            "--ws-header",
            "header",
            "Add this HTTP header to the WebSocket request: 'NAME: VALUE'. May be repeated",
            |s: &mut S, v| {
                let header = text(v, "--ws-header")?;
                if !header.contains(':') || header.contains(['\r', '\n']) {
                    // The header may hold a token, so it is not repeated.
                    let text =
                        "Invalid header given for --ws-header: expected 'Name: value' on one line.";
                    return Err(Failure::usage(text));
                }
                let transport = &mut s.connection().transport;
                transport.websocket = true;
                transport.websocket_headers.push(header.to_owned());
                Ok(())
            },
        ),
    ]
}

/// Unix sockets and proxies.
fn proxy<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![
        value(
            "",
            "--unix",
            "socket path",
            "Connect to the Unix socket at this path",
            |s: &mut S, v: &OsStr| {
                s.connection().transport.unix_path = Some(v.into());
                Ok(())
            },
        )
        .with_value_name("PATH"),
        value(
            "",
            "--proxy",
            "proxy url",
            "Connect through a proxy: socks5h:// or http://, and [USERNAME[:PASSWORD]@]HOST[:PORT]",
            |s: &mut S, v| {
                let proxy = url::proxy(text(v, "--proxy")?)?;
                s.connection().transport.proxy = Some(proxy);
                Ok(())
            },
        )
        .with_value_name("URL"),
    ]
}

/// Brokers that the DNS names.
fn services<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![
        flag(
            "-S",
            "",
            "Look up the brokers of the domain that -h names (DNS service _mqtt._tcp, or _secure-mqtt._tcp with TLS)",
            |s: &mut S| s.connection().transport.looks_services_up = true,
        ),
        value(
            "",
            "--dns-server",
            "address",
            "DNS server for -S: ADDRESS or ADDRESS:PORT [default: the servers of the system]",
            |s: &mut S, v| {
                let words = text(v, "--dns-server")?;
                let address = words.parse().or_else(|_| {
                    let address: Result<IpAddr, _> = words.parse();
                    address.map(|address| SocketAddr::new(address, 53))
                });
                let invalid = |_| {
                    let text = format!("Invalid address given for --dns-server: {}", shown(v));
                    Failure::usage(text).with_hint("Write the address as 10.0.0.1 or [::1]:5353.")
                };
                s.connection().transport.name_server = Some(address.map_err(invalid)?);
                Ok(())
            },
        ),
    ]
}
