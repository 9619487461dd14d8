//! The road to the broker: TLS, WebSocket, Unix sockets, proxies. Roads that this version does not have
//! are known too, and refused in one place before anything is connected.

use std::net::SocketAddr;
use std::path::PathBuf;

use mqtt_client::{Options, Server};
use mqtt_transport::{
    ClientTransport, NameServers, Proxy, TlsClient, TlsClientOptions, WebSocketRequest,
};

use crate::failure::Failure;

/// The port where TLS is meant.
const TLS_PORT: u16 = 8883;

/// What was asked for.
#[derive(Debug, Default)]
pub(crate) struct TransportSettings {
    /// The first option that needs something that is not there, and what that is.
    pub(crate) missing: Option<(&'static str, &'static str)>,
    pub(crate) tls: TlsClientOptions,
    /// Whether an option says that TLS is wanted; the others say how.
    pub(crate) wants_tls: bool,
    pub(crate) no_tls: bool,
    /// `--keyform`, which goes with a key.
    pub(crate) key_form: Option<String>,
    pub(crate) unix_path: Option<PathBuf>,
    pub(crate) websocket: bool,
    pub(crate) websocket_path: Option<String>,
    pub(crate) websocket_headers: Vec<String>,
    pub(crate) proxy: Option<Proxy>,
    /// `-S`.
    pub(crate) looks_services_up: bool,
    /// `--dns-server`; none: those of the system.
    pub(crate) name_server: Option<SocketAddr>,
}

/// Where brokers offer WebSocket, by habit.
const WEBSOCKET_PATH: &str = "/mqtt";

impl TransportSettings {
    /// An option asks for something that is not there.
    pub(crate) fn need(&mut self, option: &'static str, what: &'static str) {
        self.missing.get_or_insert((option, what));
    }

    /// TLS is wanted, with the authorities that the system trusts.
    pub(crate) fn use_tls(&mut self) {
        self.wants_tls = true;
        self.tls.system_authorities = true;
    }

    /// MQTT over WebSocket.
    pub(crate) fn use_websocket(&mut self) {
        self.websocket = true;
    }

    /// The port, if none was named.
    pub(crate) fn default_port(&self) -> u16 {
        let has_authorities = self.tls.ca_file.is_some() || self.tls.ca_path.is_some();
        match has_authorities && !self.no_tls {
            true => TLS_PORT,
            false => 1883,
        }
    }

    /// Sets the transport in `options`. Fails on what does not fit together.
    pub(crate) fn apply(&self, options: &mut Options, port: u16) -> Result<(), Failure> {
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
    pub(crate) fn server(&self, host: &str, port: u16) -> Server {
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
