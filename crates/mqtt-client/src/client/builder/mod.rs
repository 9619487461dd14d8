//! [`ClientBuilder`] sets the options of a [`Client`] and connects.

mod connect;
#[cfg(all(test, feature = "tls", feature = "websocket"))]
mod tests;
mod transport;
mod url;

use std::fmt;
use std::num::NonZeroU16;
#[cfg(feature = "tls")]
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use mqtt_codec::{Message, ProtocolVersion, QoS, Will};
#[cfg(feature = "proxy")]
use mqtt_transport::Proxy;
#[cfg(feature = "tls")]
use mqtt_transport::TlsClientOptions;
#[cfg(feature = "websocket")]
use mqtt_transport::WebSocketRequest;

pub use self::connect::SessionRetention;
use self::transport::TransportChoice;
use self::url::Url;
#[cfg(feature = "async")]
use super::asynchronous::AsyncClient;
use super::error::ConnectError;
use super::handle::Client;
use super::limits::Limits;
use crate::options::{Options, Reconnect};
use crate::servers::Server;

/// Options of a [`Client`]; see [`Client::builder`].
///
/// Users of other libraries can search the documentation for the names of their options, such as `clean_session`,
/// `set_last_will` or `max_inflight_messages_set`. The search returns the corresponding methods here.
#[derive(Clone)]
#[must_use = "a builder does nothing before connect is called"]
pub struct ClientBuilder {
    options: Options,
    limits: Limits,
    transport: TransportChoice,
    session: SessionRetention,
    keep_alive: Duration,
    will_delay: Option<Duration>,
}

impl Client {
    /// Returns a builder with the default options.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }
}

impl ClientBuilder {
    fn new() -> Self {
        let mut options = Options::new("localhost", 1883);
        options.servers.clear();
        options.connect.protocol_version = ProtocolVersion::V5_0;
        options.limits.maximum_in_flight = 100;
        Self {
            options,
            limits: Limits::default(),
            transport: TransportChoice::default(),
            session: SessionRetention::Connection,
            keep_alive: Duration::from_secs(60),
            will_delay: None,
        }
    }

    /// Adds the broker in a URL, and sets the credentials in the URL. Valid URLs are `mqtt://host`,
    /// `mqtts://user:password@host:port`, `ws://host/path` and `wss://host`. `mqtts`, `wss` and port 8883 mean TLS. The
    /// default ports are 1883 (`mqtt`), 8883 (`mqtts`), 80 (`ws`) and 443 (`wss`).
    ///
    /// # Errors
    /// Returns an error if the URL is invalid.
    #[doc(alias = "parse_url")]
    #[doc(alias = "server_uri")]
    pub fn url(mut self, url: &str) -> Result<Self, ConnectError> {
        let url = Url::parse(url)?;
        self.transport.set_scheme(url.has_tls, url.websocket)?;
        if let Some(user_name) = url.user_name {
            self = self.user_name(user_name);
        }
        if let Some(password) = url.password {
            self = self.password(password);
        }
        Ok(self.server(Server::network(url.host, url.port)))
    }

    /// Adds a broker by its host name or address and its port. Port 8883 means TLS.
    #[doc(alias = "MqttOptions")]
    pub fn host(self, host: impl Into<String>, port: u16) -> Self {
        self.server(Server::network(host, port))
    }

    /// Adds a broker. The client tries the brokers in the order in which they were added. If a broker cannot be reached
    /// or is busy, the client tries the next one.
    #[doc(alias = "servers")]
    #[doc(alias = "server_uris")]
    pub fn server(mut self, server: Server) -> Self {
        self.options.servers.push(server);
        self
    }

    /// Sets the client identifier. By default the server assigns one.
    #[doc(alias = "client_id")]
    #[doc(alias = "set_client_id")]
    pub fn client_identifier(mut self, client_identifier: impl Into<String>) -> Self {
        self.options.connect.client_identifier = client_identifier.into();
        self
    }

    /// Sets the user name.
    #[doc(alias = "username")]
    #[doc(alias = "set_credentials")]
    pub fn user_name(mut self, user_name: impl Into<String>) -> Self {
        self.options.connect.user_name = Some(user_name.into());
        self
    }

    /// Sets the password.
    #[doc(alias = "set_credentials")]
    #[doc(alias = "username_pw_set")]
    pub fn password(mut self, password: impl Into<Bytes>) -> Self {
        self.options.connect.password = Some(password.into());
        self
    }

    /// Sets the protocol version. The default is MQTT 5.0.
    #[doc(alias = "mqtt_version")]
    #[doc(alias = "protocol")]
    pub fn protocol_version(mut self, protocol_version: ProtocolVersion) -> Self {
        self.options.connect.protocol_version = protocol_version;
        self
    }

    /// Sets the time for which the server keeps the session. By default the session ends with the connection. A session
    /// that outlives its connection needs a client identifier.
    #[doc(alias = "clean_session")]
    #[doc(alias = "clean_start")]
    #[doc(alias = "set_clean_session")]
    #[doc(alias = "session_expiry_interval")]
    pub fn session(mut self, session: SessionRetention) -> Self {
        self.session = session;
        self
    }

    /// Sets the keep alive. The client sends at least one packet within this time. If it does not, the server ends the
    /// connection. The keep alive is rounded down to whole seconds. Valid values are 1 to 65,535 seconds, and zero,
    /// which disables the keep alive. The default is 60 seconds.
    #[doc(alias = "set_keep_alive")]
    #[doc(alias = "keepalive")]
    #[doc(alias = "keep_alive_interval")]
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Sets the will: the message that the server publishes if the connection ends without DISCONNECT.
    #[doc(alias = "last_will")]
    #[doc(alias = "set_last_will")]
    #[doc(alias = "will_set")]
    pub fn will(mut self, message: Message, qos: QoS) -> Self {
        self.options.connect.will = Some(Will::new(message, qos));
        self
    }

    /// Sets the time for which the server waits before it publishes the will. This option needs MQTT 5.0.
    #[doc(alias = "will_delay_interval")]
    pub fn will_delay(mut self, delay: Duration) -> Self {
        self.will_delay = Some(delay);
        self
    }

    /// Sets the behaviour after the connection was lost. By default the client reconnects without a time limit.
    #[doc(alias = "automatic_reconnect")]
    #[doc(alias = "reconnect_delay_set")]
    #[doc(alias = "set_connection_timeout")]
    pub fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.options.reconnect = reconnect;
        self
    }

    /// Sets the timeout of an attempt to connect, which includes resolving the host name. The default is 30 seconds.
    #[doc(alias = "connection_timeout")]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// Sets the time for which the client tries to get its first connection; see [`Options::wait_for_server`]. By
    /// default the client tries each server once.
    pub fn wait_for_server(mut self, time: Duration) -> Self {
        self.options.wait_for_server = time;
        self
    }

    /// Sets the time for which [`Client::publish`] waits for room in the outgoing queue. The default is 30 seconds.
    pub fn publish_timeout(mut self, timeout: Duration) -> Self {
        self.limits.publish_timeout = timeout;
        self
    }

    /// Sets the time for which [`Client::subscribe`] and [`Client::unsubscribe`] wait for the answer of the server. The
    /// default is 30 seconds.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.limits.request_timeout = timeout;
        self
    }

    /// Sets the limits of the outgoing queue: the number of messages, and the number of bytes in topic names and
    /// payloads. The defaults are 1000 messages and 16 MiB.
    #[doc(alias = "request_channel_capacity")]
    #[doc(alias = "max_queued_messages_set")]
    #[doc(alias = "max_buffered_messages")]
    pub fn outgoing_queue(mut self, messages: usize, bytes: usize) -> Self {
        (self.limits.queued_messages, self.limits.queued_bytes) = (messages.max(1), bytes);
        self
    }

    /// Sets the limits of the queue of received messages that the application has not read. The defaults are 1000
    /// messages and 64 MiB. The number of messages is also the Receive Maximum.
    #[doc(alias = "receive_maximum")]
    pub fn incoming_queue(mut self, messages: u16, bytes: usize) -> Self {
        (self.limits.unread_messages, self.limits.unread_bytes) = (messages.max(1), bytes);
        self
    }

    /// Sets the maximum number of messages of QoS 1 and 2 in flight to the server. The default is 100. The upper limit
    /// is 256, and the Receive Maximum of the server may be lower.
    #[doc(alias = "inflight")]
    #[doc(alias = "set_inflight")]
    #[doc(alias = "max_inflight")]
    #[doc(alias = "max_inflight_messages_set")]
    pub fn maximum_in_flight(mut self, messages: NonZeroU16) -> Self {
        self.options.limits.maximum_in_flight = messages.get();
        self
    }

    /// Sets the maximum size in bytes of a packet that the client accepts.
    #[doc(alias = "max_packet_size")]
    #[doc(alias = "set_max_packet_size")]
    pub fn maximum_packet_size(mut self, bytes: u32) -> Self {
        self.options.limits.maximum_packet_size = bytes;
        self
    }

    /// Sets the highest topic alias that the client accepts, and the number of topic aliases that the client uses
    /// itself. This option needs MQTT 5.0.
    #[doc(alias = "topic_alias_max")]
    pub fn topic_aliases(mut self, maximum: u16) -> Self {
        self.options.limits.topic_alias_maximum = maximum;
        self.options.limits.topic_aliases = maximum;
        self
    }

    /// Uses TLS with these options at any port. If the options contain no certificate authorities, the client trusts
    /// those of the operating system.
    #[cfg(feature = "tls")]
    #[doc(alias = "set_transport")]
    #[doc(alias = "tls_set")]
    #[doc(alias = "ssl_options")]
    pub fn tls(mut self, options: TlsClientOptions) -> Self {
        self.transport.set_tls(options);
        self
    }

    /// Uses TLS, and trusts the certificate authorities in this PEM file.
    #[cfg(feature = "tls")]
    #[doc(alias = "ca_certs")]
    #[doc(alias = "trust_store")]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.transport
            .change_tls_options(|options| options.ca_file = Some(path.into()));
        self
    }

    /// Uses TLS with a certificate of the client. Both files are in PEM format.
    #[cfg(feature = "tls")]
    #[doc(alias = "client_auth")]
    #[doc(alias = "key_store")]
    pub fn client_certificate(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.transport.change_tls_options(|options| {
            options.certificate = Some(certificate.into());
            options.key = Some(key.into());
        });
        self
    }

    /// Disables TLS, even for port 8883.
    pub fn without_tls(mut self) -> Self {
        self.transport.forbid_tls();
        self
    }

    /// Uses WebSocket with this request.
    #[cfg(feature = "websocket")]
    #[doc(alias = "ws_set_options")]
    pub fn websocket(mut self, request: WebSocketRequest) -> Self {
        self.transport.websocket = Some(request);
        self
    }

    /// Connects through a proxy.
    #[cfg(feature = "proxy")]
    #[doc(alias = "set_proxy")]
    #[doc(alias = "proxy_set")]
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.transport.proxy = Some(proxy);
        self
    }

    /// Changes options that have no separate method, such as the properties of CONNECT.
    #[doc(alias = "set_connect_properties")]
    pub fn options(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }

    /// Connects. Waits until the server accepts the connection.
    ///
    /// # Errors
    /// Returns an error if an option is invalid, if the server cannot be reached, or if the server rejects the client.
    pub fn connect(self) -> Result<Client, ConnectError> {
        let (options, limits) = self.into_options()?;
        Client::connect_with(options, limits)
    }

    /// Connects like [`Self::connect`], for an asynchronous program. The first poll of the future reads the files that
    /// the TLS options name.
    ///
    /// # Errors
    /// Returns the errors of [`Self::connect`].
    #[cfg(feature = "async")]
    pub async fn connect_async(self) -> Result<AsyncClient, ConnectError> {
        let (options, limits) = self.into_options()?;
        AsyncClient::connect(Client::start(options, limits, false)?).await
    }

    fn into_options(mut self) -> Result<(Options, Limits), ConnectError> {
        if self.options.servers.is_empty() {
            let text = "no URL and no host was given";
            return Err(ConnectError::invalid_option("server", text));
        }
        let connect = &mut self.options.connect;
        connect::set_keep_alive(connect, self.keep_alive)?;
        connect::set_session(connect, self.session)?;
        connect::set_will_delay(connect, self.will_delay)?;
        let transport = std::mem::take(&mut self.options.transport);
        self.options.transport = self.transport.layers(transport, &self.options.servers)?;
        Ok((self.options, self.limits))
    }
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ClientBuilder {
    /// Formats the options without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("servers", &self.options.servers)
            .field("client_identifier", &self.options.connect.client_identifier)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}
