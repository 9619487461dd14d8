//! The settings that rpub, rsub and rrr share: the brokers, the client identifier and password, the session and the
//! transport. [`ConnectionSettings::client_options`] checks that they fit together, and turns them into options of the
//! client library.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mqtt_client::{Options, PACKET_IDENTIFIERS, Reconnect, Server};
use mqtt_codec::{Connect, ProtocolVersion};

use crate::exit_status::{Class, Status};
use crate::failure::Failure;
use crate::flags::hints;
use crate::flags::profiles::Source;
use crate::flags::settings::client_identifier::random_identifier;
use crate::flags::settings::password::PasswordSettings;
use crate::flags::settings::properties::Properties;
use crate::flags::settings::transport::TransportSettings;
use crate::flags::settings::will::WillSettings;
use crate::output::messages::warn_once;
use crate::output::trace::{self, Form};
use crate::wording::system_text;

/// Maximum number of messages of QoS 1 and 2 in flight in MQTT 3.1 and 3.1.1 without `-M`. In these versions a broker
/// cannot announce its limit, and mosquitto 2.0 loses messages beyond this number.
const MAXIMUM_IN_FLIGHT: u16 = 20;

/// The Receive Maximum that CONNECT announces by default. The mosquitto tools announce the same.
const RECEIVE_MAXIMUM: NonZeroU16 = NonZeroU16::new(20).expect("it is not zero");

/// The settings of a program that connects to a broker.
pub(crate) trait ClientSettings {
    /// The default MQTT version of the program.
    const VERSION: ProtocolVersion;

    /// Returns the settings that the shared options change.
    fn connection(&mut self) -> &mut ConnectionSettings;

    /// Applies `-t`, or the topic of a URL.
    ///
    /// # Errors
    /// If the topic is not valid for this program.
    fn add_topic(&mut self, topic: &OsStr) -> Result<(), Failure>;
}

/// The settings of the options that rpub, rsub and rrr share.
#[derive(Debug)]
pub(crate) struct ConnectionSettings {
    /// The hosts to connect to. All hosts after the first are fallback hosts.
    pub(crate) hosts: Vec<String>,
    /// Set if the next `-h` replaces the hosts instead of adding a fallback host. This is the case at the start, after
    /// a URL, and after the options file.
    pub(crate) hosts_are_replaced: bool,
    pub(crate) port: Option<u16>,
    pub(crate) local_address: Option<String>,
    pub(crate) tcp_keep_alive: Option<Duration>,
    pub(crate) version: ProtocolVersion,
    pub(crate) client_identifier: Option<String>,
    pub(crate) prefix: Option<String>,
    pub(crate) keep_session: bool,
    pub(crate) session_expiry: Option<u32>,
    pub(crate) keep_alive: u16,
    pub(crate) user_name: Option<String>,
    pub(crate) password: PasswordSettings,
    pub(crate) maximum_in_flight: Option<u16>,
    /// The start of the program, from which `-W` counts.
    pub(crate) started: Instant,
    /// The time of `-W`.
    pub(crate) timeout: Option<Duration>,
    pub(crate) connect_timeout: Duration,
    pub(crate) wait_for_server: Duration,
    pub(crate) reconnect_for: Option<Duration>,
    /// Set if the client follows Server References. The other broker gets the password and the messages, too, so the
    /// user must allow this.
    pub(crate) follow_redirects: bool,
    pub(crate) will: WillSettings,
    pub(crate) properties: Properties,
    pub(crate) transport: TransportSettings,
    pub(crate) debug: bool,
    pub(crate) trace: Option<Form>,
    pub(crate) quiet: bool,
    /// The file of `--report`.
    pub(crate) report: Option<PathBuf>,
}

impl ConnectionSettings {
    /// Creates the default settings of a program with this default version.
    pub(crate) fn new(version: ProtocolVersion) -> Self {
        Self {
            hosts: vec!["localhost".into()],
            hosts_are_replaced: true,
            port: None,
            local_address: None,
            tcp_keep_alive: None,
            version,
            client_identifier: None,
            prefix: None,
            keep_session: false,
            session_expiry: None,
            keep_alive: 60,
            user_name: None,
            password: PasswordSettings::default(),
            maximum_in_flight: None,
            started: Instant::now(),
            timeout: None,
            connect_timeout: Duration::from_secs(30),
            wait_for_server: Duration::ZERO,
            reconnect_for: None,
            follow_redirects: false,
            will: WillSettings::default(),
            properties: Properties::default(),
            transport: TransportSettings::default(),
            debug: false,
            trace: None,
            quiet: false,
            report: None,
        }
    }

    /// Selects MQTT 5.0, for an option that only 5.0 can express.
    pub(crate) fn use_version_5(&mut self) {
        self.version = ProtocolVersion::V5_0;
    }

    /// Returns the version of the connection.
    pub(crate) fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// Returns the time at which `-W` ends the program. The timeout starts with the program, before files are read and
    /// names are resolved: a script needs its result within this time, whichever step is slow.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timeout.map(|timeout| self.started + timeout)
    }

    /// Adds a fallback host, or replaces the default host.
    pub(crate) fn add_host(&mut self, host: &str) {
        if std::mem::take(&mut self.hosts_are_replaced) {
            self.hosts.clear();
        }
        self.hosts.push(host.to_owned());
    }

    /// Replaces the hosts by the host of a URL. A later `-h` replaces this host.
    pub(crate) fn set_host(&mut self, host: &str) {
        self.hosts = vec![host.to_owned()];
        self.hosts_are_replaced = true;
    }

    /// Returns the host that the client connects to first.
    pub(crate) fn first_host(&self) -> &str {
        self.hosts.first().map_or("", String::as_str)
    }

    /// Begins a further source of settings. Its hosts replace those of earlier sources, and so does its password.
    pub(crate) fn begin_source(&mut self, source: Source) {
        match source {
            // A profile and the variables describe another broker, which must not get the password of this one.
            Source::Environment | Source::Profile => self.forget_broker(),
            // Like in the mosquitto tools, the command line changes single options.
            Source::CommandLine => {}
        }
        self.hosts_are_replaced = true;
        self.password.end_source();
    }

    /// Resets the settings of the broker, of the transport and of the login.
    fn forget_broker(&mut self) {
        self.hosts = vec!["localhost".into()];
        self.port = None;
        self.user_name = None;
        self.password = PasswordSettings::default();
        self.transport = TransportSettings::default();
    }

    /// Returns the servers that the client may connect to.
    ///
    /// # Errors
    /// If a host is a URL, or has a user name or a port.
    fn servers(&self) -> Result<Vec<Server>, Failure> {
        let server = |host: &String| {
            let server = self.transport.server(host, self.port());
            match server {
                // The path of a Unix socket may contain any character, such as a colon or an '@'.
                Server::Unix(_) => {}
                _ => hints::check_host(host)?,
            }
            Ok(server)
        };
        self.hosts.iter().map(server).collect()
    }

    /// Returns the port of `-p`, or the default port.
    fn port(&self) -> u16 {
        self.port.unwrap_or_else(|| self.transport.default_port())
    }

    /// Returns the options of the client library. `program` is the name in a trace. `reconnect` is the policy for a
    /// lost connection, unless `--reconnect-max` is given.
    ///
    /// # Errors
    /// If options contradict each other, a file cannot be read, or the local address cannot be resolved.
    pub(crate) fn client_options(
        &self,
        program: &'static str,
        reconnect: Reconnect,
    ) -> Result<Options, Failure> {
        self.properties.check(self.version)?;
        let mut options = Options::new("", 0);
        options.connect = self.connect()?;
        // The servers are checked before TLS is set up, because the set-up reads files and checks each host name, too.
        options.servers = self.servers()?;
        options.on_warning = (!self.quiet).then_some(warn_once);
        self.transport.apply(&mut options, self.port())?;
        options.tcp_keep_alive = self.tcp_keep_alive;
        options.local_addresses = self.local_addresses()?;
        // One timeout applies to the connection, to CONNACK and to the answers to requests. To a user who waits for a
        // broker, all three are the same wait.
        options.connect_timeout = self.connect_timeout;
        options.limits.handshake_timeout = self.connect_timeout;
        options.limits.response_timeout = self.connect_timeout;
        options.wait_for_server = self.wait_for_server;
        options.follow_server_references = self.follow_redirects;
        options.reconnect = self.reconnect_for.map_or(reconnect, Reconnect::For);
        let limits = &mut options.limits;
        limits.maximum_in_flight = match (self.maximum_in_flight, self.version) {
            (Some(limit), _) => limit,
            // In 5.0 the broker announces its Receive Maximum, and the session does not exceed it.
            (None, ProtocolVersion::V5_0) => u16::MAX,
            (None, _) => MAXIMUM_IN_FLIGHT,
        };
        let properties = &mut options.connect.properties;
        // CONNECT announces a Receive Maximum, but the session does not enforce it: like the mosquitto tools, the
        // programs do not disconnect a broker that sends more. Memory stays bounded, because the program stops reading
        // while its output is full.
        limits.receive_maximum = u16::MAX;
        if self.version == ProtocolVersion::V5_0 {
            properties.receive_maximum.get_or_insert(RECEIVE_MAXIMUM);
        }
        // The session must accept the topic aliases and packet sizes that CONNECT announces, and no more.
        limits.topic_alias_maximum = properties.topic_alias_maximum.unwrap_or(0);
        if let Some(size) = properties.maximum_packet_size {
            limits.maximum_packet_size = size.get().min(mqtt_codec::MAXIMUM_PACKET_SIZE);
        }
        limits.packet_identifiers = if self.keep_session {
            // An earlier run may have been killed in the middle of an exchange. So the session releases every packet
            // identifier before it uses it for the first time. The range of identifiers is small for that reason, but
            // not smaller than the window.
            PACKET_IDENTIFIERS.max(self.maximum_in_flight.unwrap_or(0))
        } else {
            // Without a session that lasts, no broker can mistake a message of this run for a duplicate of another run.
            u16::MAX
        };
        if let Some(alias) = self.properties.topic_alias {
            // `-D` sets one topic alias, so the session uses one.
            (limits.topic_aliases, limits.first_topic_alias) = (1, alias);
        }
        // The trace names the first server, because the observer does not learn which server a reconnect has chosen.
        let target = options.servers.first().map(ToString::to_string);
        limits.observer = self
            .trace
            .map(|form| trace::observer(form, program, target.unwrap_or_default()));
        Ok(options)
    }

    /// Announces a Receive Maximum of at most `count`, unless a property sets another value. A program that ends after
    /// `count` messages would leave further messages unacknowledged. Versions before 5.0 cannot announce this.
    pub(crate) fn take_at_most(&self, options: &mut Options, count: u64) {
        let announced = &mut options.connect.properties.receive_maximum;
        let count = u16::try_from(count).ok().and_then(NonZeroU16::new);
        // The value of a property stays, even if it is larger. Before 5.0 `announced` is `None`.
        if let (Some(count), Some(maximum), None) =
            (count, *announced, self.properties.connect.receive_maximum)
        {
            *announced = Some(maximum.min(count));
        }
    }

    /// Returns the CONNECT packet.
    fn connect(&self) -> Result<Connect, Failure> {
        let version = self.version;
        let mut connect = Connect::new(version, self.client_identifier()?);
        connect.keep_alive = self.keep_alive;
        connect.clean_start = !self.keep_session;
        connect.user_name = self.user_name.clone();
        let user = self.user_name.as_deref();
        // The command of --password-command is a part of connecting and has the same timeout.
        let (host, timeout) = (self.first_host(), self.connect_timeout);
        let password = self.password.read(user, host, timeout, self.deadline());
        connect.password = password.map_err(|failure| {
            // --quiet suppresses the line about the deadline, but no line about a wrong option.
            let is_silent = self.quiet && failure.status == Status::TimedOut;
            failure.quiet_if(is_silent)
        })?;
        // [MQTT-3.1.2-22] of 3.1.1 forbids a password without a user name. The broker would close the connection
        // without a reason.
        if connect.password.is_some()
            && connect.user_name.is_none()
            && version != ProtocolVersion::V5_0
        {
            return Err(
                Failure::usage("Problem setting username and/or password.").with_hint(
                    "MQTT 3.1 and 3.1.1 allow a password (-P) only with a user name (-u).",
                ),
            );
        }
        // `Properties::check` has rejected properties for earlier versions.
        if version == ProtocolVersion::V5_0 {
            connect.properties = self.properties.connect.clone();
            self.set_session_expiry(&mut connect)?;
        }
        connect.will = self.will.will(&self.properties)?;
        Ok(connect)
    }

    /// Sets the session expiry interval from `-x`, `-D` and `-c`, which must not contradict each other.
    fn set_session_expiry(&self, connect: &mut Connect) -> Result<(), Failure> {
        let asked = match (self.session_expiry, self.keep_session) {
            // 0 is the default of the standard. Like in the mosquitto tools, the property is left out.
            (Some(seconds), _) => Some(seconds).filter(|seconds| *seconds > 0),
            // In MQTT 3.1.1, `-c` means that the session does not expire.
            (None, true) => Some(u32::MAX),
            (None, false) => None,
        };
        let property = &mut connect.properties.session_expiry_interval;
        if self.session_expiry.is_some() && property.is_some() {
            return Err(Failure::usage("Duplicate property in property list.")
                .with_hint("The session expiry interval is given with -x and with -D."));
        }
        *property = property.or(asked);
        // If the broker assigns the client identifier, no later run can resume or end the session.
        if *property == Some(u32::MAX) && self.client_identifier.is_none() {
            return Err(Failure::usage(
                "You must provide a client id if you are using an infinite session expiry interval.",
            )
            .with_hint("Give one with -i: the broker finds the session by it."));
        }
        Ok(())
    }

    /// Returns the client identifier of `-i` or `-I`. Without both it is empty, and the broker assigns one.
    fn client_identifier(&self) -> Result<String, Failure> {
        if self.keep_session
            && self.client_identifier.is_none()
            && self.version != ProtocolVersion::V5_0
        {
            return Err(Failure::usage(
                "You must provide a client id if you are using the -c option.",
            )
            .with_hint("Give one with -i: the broker finds the session by it."));
        }
        Ok(match (&self.client_identifier, &self.prefix) {
            (Some(identifier), _) => identifier.clone(),
            (_, Some(prefix)) => format!("{prefix}{}", std::process::id()),
            // MQTT 3.1 does not allow an empty identifier.
            _ if self.version == ProtocolVersion::V3_1 => random_identifier(),
            _ => String::new(),
        })
    }

    /// Returns the addresses of `-A`. The client uses the one of the same address family as the broker's address.
    fn local_addresses(&self) -> Result<Vec<SocketAddr>, Failure> {
        let Some(name) = &self.local_address else {
            return Ok(Vec::new());
        };
        // With port 0 the system chooses the port. The lookup is a part of connecting and has the same timeout.
        let addresses = mqtt_transport::resolve(name, 0, self.connect_timeout);
        addresses.map_err(|error| {
            let text = system_text(&error);
            Failure::failed(format!(
                "Unable to connect (Lookup error). Cannot find the local address '{name}' (-A): {text}."
            ))
            .with_class(Class::HostNotFound)
        })
    }
}

impl ConnectionSettings {
    /// Checks that `-i` and `-I` are not both given.
    pub(crate) fn check_identifier(&self) -> Result<(), Failure> {
        match (&self.client_identifier, &self.prefix) {
            (Some(_), Some(_)) => Err(Failure::usage(
                "-i and -I argument cannot be used together.",
            )),
            _ => Ok(()),
        }
    }
}
