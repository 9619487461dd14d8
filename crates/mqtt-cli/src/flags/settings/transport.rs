//! The settings of the transport to the broker: TCP, TLS, WebSocket, Unix sockets, proxies and service records. Options
//! for unsupported kinds of TLS are accepted by the parser and rejected here, before the client connects.

use std::net::SocketAddr;
use std::path::PathBuf;

use mqtt_client::{Options, Server};
use mqtt_transport::{
    ClientTransport, NameServers, Proxy, TlsClient, TlsClientOptions, WebSocketRequest,
};

use crate::exit_status::Class;
use crate::failure::Failure;

/// The port of MQTT over TLS.
const TLS_PORT: u16 = 8883;

/// The settings of everything between the socket and MQTT.
#[derive(Debug, Default)]
pub(crate) struct TransportSettings {
    /// The first option for an unsupported feature, and the name of the feature.
    pub(crate) missing: Option<(&'static str, &'static str)>,
    pub(crate) tls: TlsClientOptions,
    /// Set if an option turns on TLS. The other options about TLS only set parameters.
    pub(crate) wants_tls: bool,
    pub(crate) no_tls: bool,
    /// The value of `--keyform`, which is an error without a key.
    pub(crate) key_form: Option<String>,
    pub(crate) unix_path: Option<PathBuf>,
    pub(crate) websocket: bool,
    pub(crate) websocket_path: Option<String>,
    pub(crate) websocket_headers: Vec<String>,
    pub(crate) proxy: Option<Proxy>,
    /// Set by `-S`: the host is a domain whose service records name the brokers.
    pub(crate) looks_services_up: bool,
    /// The address of `--dns-server`. `None` means the name servers of the system.
    pub(crate) name_server: Option<SocketAddr>,
}

/// The usual path of MQTT over WebSocket.
const WEBSOCKET_PATH: &str = "/mqtt";

impl TransportSettings {
    /// Records an option for an unsupported feature. `check` reports it after all options were applied, so that a
    /// mistake in another option is reported first.
    pub(crate) fn need(&mut self, option: &'static str, what: &'static str) {
        self.missing.get_or_insert((option, what));
    }

    /// Turns on TLS with the certificate authorities that the system trusts.
    pub(crate) fn use_tls(&mut self) {
        self.wants_tls = true;
        self.tls.system_authorities = true;
    }

    /// Turns on WebSocket.
    pub(crate) fn use_websocket(&mut self) {
        self.websocket = true;
    }

    /// Returns the port to use without `-p`. Like in the mosquitto tools, only `--cafile` and `--capath` change it.
    pub(crate) fn default_port(&self) -> u16 {
        let has_authorities = self.tls.ca_file.is_some() || self.tls.ca_path.is_some();
        if has_authorities && !self.no_tls {
            TLS_PORT
        } else {
            1883
        }
    }

    /// Sets the transport in `options`.
    ///
    /// # Errors
    /// If options contradict each other or are not supported, or a file of TLS is unusable.
    pub(crate) fn apply(&self, options: &mut Options, port: u16) -> Result<(), Failure> {
        // Mistakes that need no file are reported before any file is read.
        self.check()?;
        let mut transport = ClientTransport::default();
        if let Some(proxy) = &self.proxy {
            transport = transport.with_proxy(proxy.clone());
        }
        if self.speaks_tls(port) {
            // A host name that no certificate can contain is a mistake on the command line. It is reported before the
            // client connects.
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

    /// Returns the server for a host and a port. Like in the mosquitto tools, the host is the path of a Unix socket if
    /// the port is 0.
    pub(crate) fn server(&self, host: &str, port: u16) -> Server {
        match &self.unix_path {
            Some(path) => Server::Unix(path.clone()),
            // Service records contain ports, so -p only selects plain MQTT or TLS.
            None if self.looks_services_up => self.service(host, port),
            None if port == 0 => Server::Unix(host.into()),
            None => Server::network(host, port),
        }
    }

    /// Returns `true` if the client uses TLS.
    fn speaks_tls(&self, port: u16) -> bool {
        // With port 8883 in `-p` the user expects TLS. Without TLS, the password would cross the network in plain text
        // before the server rejects the first packet. A Unix socket has no port, and --no-tls overrides every other
        // option.
        (self.wants_tls || port == TLS_PORT && self.unix_path.is_none()) && !self.no_tls
    }

    /// Returns the DNS service of a domain. Without `-h`, that is the domain of this machine.
    fn service(&self, domain: &str, port: u16) -> Server {
        let service = if self.speaks_tls(port) {
            "_secure-mqtt._tcp"
        } else {
            "_mqtt._tcp"
        };
        let own = || NameServers::of_system().domain;
        // `localhost` is the default of -h and has no service records, so the domain of this machine is used instead.
        let own = (domain == "localhost").then(own).flatten();
        Server::Service {
            name: format!("{service}.{}", own.as_deref().unwrap_or(domain)),
            name_server: self.name_server,
        }
    }

    /// Checks that options fit together and are supported.
    fn check(&self) -> Result<(), Failure> {
        // A certificate without its key, or a key without its certificate, cannot authenticate the client.
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            return Err(Failure::usage(
                "Both certfile and keyfile must be provided if one of them is set.",
            )
            .with_hint("Give the certificate with --cert and the key with --key."));
        }
        if self.looks_services_up && self.unix_path.is_some() {
            let text = "Only one of -S and --unix can be used.";
            return Err(Failure::usage(text).with_hint(
                "-S looks up brokers in the DNS; --unix connects to a socket of this machine.",
            ));
        }
        if let (Some(form), None) = (&self.key_form, &self.tls.key) {
            return Err(
                Failure::usage("If keyform is set, keyfile must be also specified.").with_hint(
                    format!("The key form is '{form}': give the key with --key."),
                ),
            );
        }
        // An unsupported option is an error and is not ignored: these options are about security, and the user relies
        // on them.
        match self.missing {
            None => Ok(()),
            Some((option, what)) => {
                let text = format!("This program does not support {what} ({option}).");
                Err(Failure::usage(text)
                    .with_hint("Use files in PEM format (--cafile, --cert and --key)."))
            }
        }
    }
}

/// Returns the failure for files or values of TLS. Its text begins with the words of the mosquitto tools.
fn setup_failure(error: mqtt_transport::TlsSetupError) -> Failure {
    use mqtt_transport::TlsSetupError::Read;
    let (text, class) = match error {
        Read(..) => (
            "Problem setting TLS options: File not found.",
            Class::NoInput,
        ),
        _ => (
            "Problem setting TLS options, check the options are valid.",
            Class::Configuration,
        ),
    };
    Failure::usage(text)
        .with_class(class)
        .with_hint(format!("TLS: {error}."))
}
