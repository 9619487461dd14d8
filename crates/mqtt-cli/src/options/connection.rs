//! Where to connect and as whom: the options that all client programs share.

use std::ffi::OsStr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use mqtt_client::{Options, Reconnect};
use mqtt_codec::{Connect, PacketIdentifier, ProtocolVersion};

use crate::arguments::{CommandOption, duration, flag, number, optional, text, value};
use crate::exit::{Failure, system_text};
use crate::trace::{self, Form};

use super::property::Properties;
use super::transport::TransportSettings;
use super::will::WillSettings;
use super::{shown, url};

/// Messages of QoS 1 and 2 under way, where neither `-M` nor the broker says otherwise: a broker of
/// 3.1 and 3.1.1 cannot say, and mosquitto 2.0 loses messages beyond this number.
const MAXIMUM_IN_FLIGHT: u16 = 20;

/// Messages of QoS 1 and 2 that the broker may send at a time, as the mosquitto tools say it.
const RECEIVE_MAXIMUM: NonZeroU16 = NonZeroU16::new(20).expect("it is not zero");

/// A password is not longer.
const MAXIMUM_PASSWORD: u64 = 65535;

/// The settings of a program that connects to a broker.
pub(crate) trait ClientSettings {
    fn connection(&mut self) -> &mut ConnectionSettings;

    /// `-t`, and the topic of a URL.
    fn add_topic(&mut self, topic: &OsStr) -> Result<(), Failure>;
}

/// What the shared options say.
#[derive(Debug)]
pub(crate) struct ConnectionSettings {
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    local_address: Option<String>,
    version: ProtocolVersion,
    client_identifier: Option<String>,
    prefix: Option<String>,
    pub(crate) keep_session: bool,
    session_expiry: Option<u32>,
    keep_alive: u16,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<Bytes>,
    password_file: Option<PathBuf>,
    maximum_in_flight: Option<u16>,
    connect_timeout: Duration,
    wait_for_server: Duration,
    reconnect_for: Option<Duration>,
    pub(crate) will: WillSettings,
    pub(crate) properties: Properties,
    pub(crate) transport: TransportSettings,
    pub(crate) debug: bool,
    pub(crate) trace: Option<Form>,
    pub(crate) quiet: bool,
}

impl ConnectionSettings {
    /// Those of a program that speaks this version by default.
    pub(crate) fn new(version: ProtocolVersion) -> Self {
        Self {
            host: "localhost".into(),
            port: None,
            local_address: None,
            version,
            client_identifier: None,
            prefix: None,
            keep_session: false,
            session_expiry: None,
            keep_alive: 60,
            user_name: None,
            password: None,
            password_file: None,
            maximum_in_flight: None,
            connect_timeout: Duration::from_secs(30),
            wait_for_server: Duration::ZERO,
            reconnect_for: None,
            will: WillSettings::default(),
            properties: Properties::default(),
            transport: TransportSettings::default(),
            debug: false,
            trace: None,
            quiet: false,
        }
    }

    /// From here on 5.0, for what only that can say.
    pub(crate) fn use_version_5(&mut self) {
        self.version = ProtocolVersion::V5_0;
    }

    /// The version of the connection.
    pub(crate) fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// Where it connects to, for people.
    pub(crate) fn target(&self) -> String {
        format!("{}:{}", self.host, self.port())
    }

    fn port(&self) -> u16 {
        self.port.unwrap_or(1883)
    }

    /// What the client library is told. `reconnect` is what the program does with a lost connection,
    /// if the user does not say otherwise. Fails on what does not fit together.
    pub(crate) fn client_options(
        &self,
        program: &'static str,
        reconnect: Reconnect,
    ) -> Result<Options, Failure> {
        self.transport.check(self.port())?;
        self.properties.check(self.version)?;
        let mut options = Options::new(&self.host, self.port());
        options.connect = self.connect()?;
        options.local_addresses = self.local_addresses()?;
        options.connect_timeout = self.connect_timeout;
        options.limits.handshake_timeout = self.connect_timeout;
        options.wait_for_server = self.wait_for_server;
        options.reconnect = self.reconnect_for.map_or(reconnect, Reconnect::For);
        let limits = &mut options.limits;
        limits.maximum_in_flight = match (self.maximum_in_flight, self.version) {
            (Some(limit), _) => limit,
            (None, ProtocolVersion::V5_0) => u16::MAX, // the broker's Receive Maximum holds
            (None, _) => MAXIMUM_IN_FLIGHT,
        };
        let properties = &mut options.connect.properties;
        // Announced and not enforced: a server that sends more is served as well, since output that
        // is not taken stops the reading.
        limits.receive_maximum = u16::MAX;
        if self.version == ProtocolVersion::V5_0 {
            properties.receive_maximum.get_or_insert(RECEIVE_MAXIMUM);
        }
        limits.topic_alias_maximum = properties.topic_alias_maximum.unwrap_or(0);
        if let Some(size) = properties.maximum_packet_size {
            limits.maximum_packet_size = size.get().min(mqtt_codec::MAXIMUM_PACKET_SIZE);
        }
        if !self.keep_session {
            limits.first_identifier = PacketIdentifier::FIRST; // nobody knows of earlier ones
        }
        if let Some(alias) = self.properties.topic_alias {
            (limits.topic_aliases, limits.first_topic_alias) = (1, alias);
        }
        limits.observer = self
            .trace
            .map(|form| trace::observer(form, program, self.target()));
        Ok(options)
    }

    /// The connection takes no more than so many messages at a time; only 5.0 can say so.
    pub(crate) fn take_at_most(options: &mut Options, count: u64) {
        let announced = &mut options.connect.properties.receive_maximum;
        let count = u16::try_from(count).ok().and_then(NonZeroU16::new);
        if let (Some(count), Some(maximum)) = (count, *announced) {
            *announced = Some(maximum.min(count));
        }
    }

    fn connect(&self) -> Result<Connect, Failure> {
        let version = self.version;
        let mut connect = Connect::new(version, self.client_identifier()?);
        connect.keep_alive = self.keep_alive;
        connect.clean_start = !self.keep_session;
        connect.user_name = self.user_name.clone();
        connect.password = self.password()?;
        if connect.password.is_some()
            && connect.user_name.is_none()
            && version != ProtocolVersion::V5_0
        {
            return Err(Failure::usage("Problem setting username and/or password.")
                .with_hint("MQTT 3.1 and 3.1.1 know no password (-P) without a user name (-u)."));
        }
        if version == ProtocolVersion::V5_0 {
            connect.properties = self.properties.connect.clone();
            self.set_session_expiry(&mut connect)?;
        }
        connect.will = self.will.will(&self.properties)?;
        Ok(connect)
    }

    fn set_session_expiry(&self, connect: &mut Connect) -> Result<(), Failure> {
        let asked = match (self.session_expiry, self.keep_session) {
            (Some(seconds), _) => Some(seconds).filter(|seconds| *seconds > 0),
            (None, true) => Some(u32::MAX),
            (None, false) => None,
        };
        let property = &mut connect.properties.session_expiry_interval;
        if self.session_expiry.is_some() && property.is_some() {
            return Err(Failure::usage("Duplicate property in property list.")
                .with_hint("The session expiry interval is given with -x and with -D."));
        }
        *property = property.or(asked);
        if *property == Some(u32::MAX) && self.client_identifier.is_none() {
            return Err(Failure::usage(
                "You must provide a client id if you are using an infinite session expiry interval.",
            )
            .with_hint("Give one with -i: the broker knows the session by it."));
        }
        Ok(())
    }

    fn client_identifier(&self) -> Result<String, Failure> {
        if self.keep_session
            && self.client_identifier.is_none()
            && self.version != ProtocolVersion::V5_0
        {
            return Err(Failure::usage(
                "You must provide a client id if you are using the -c option.",
            )
            .with_hint("Give one with -i: the broker knows the session by it."));
        }
        Ok(match (&self.client_identifier, &self.prefix) {
            (Some(identifier), _) => identifier.clone(),
            (_, Some(prefix)) => format!("{prefix}{}", std::process::id()),
            // 3.1 knows no empty identifier.
            _ if self.version == ProtocolVersion::V3_1 => random_identifier(),
            _ => String::new(),
        })
    }

    /// From the command line, a file, or, if there is a user name, the environment.
    fn password(&self) -> Result<Option<Bytes>, Failure> {
        if let Some(password) = &self.password {
            return Ok(Some(password.clone()));
        }
        if let Some(path) = &self.password_file {
            return read_password(path).map(Some);
        }
        let variable = || std::env::var_os("MQTT_PASSWORD");
        let password = self.user_name.as_ref().and_then(|_| variable());
        Ok(password.map(|password| Bytes::from(password.into_encoded_bytes())))
    }

    fn local_addresses(&self) -> Result<Vec<std::net::IpAddr>, Failure> {
        let Some(name) = &self.local_address else {
            return Ok(Vec::new());
        };
        let addresses = mqtt_transport::resolve(name, 0, self.connect_timeout);
        let addresses = addresses.map_err(|error| {
            let text = system_text(&error);
            Failure::failed(format!(
                "Unable to connect (Lookup error). Cannot find the local address '{name}' of -A: {text}."
            ))
        })?;
        Ok(addresses.iter().map(|address| address.ip()).collect())
    }
}

fn read_password(path: &std::path::Path) -> Result<Bytes, Failure> {
    use std::io::Read;
    let fail = |error: std::io::Error| {
        let (path, text) = (path.display(), system_text(&error));
        Failure::usage(format!(
            "Unable to read password file '{path}': {text} (option --password-file)."
        ))
    };
    let mut password = Vec::new();
    let file = std::fs::File::open(path).map_err(fail)?;
    let mut file = file.take(MAXIMUM_PASSWORD + 2);
    file.read_to_end(&mut password).map_err(fail)?;
    if password.last() == Some(&b'\n') {
        password.pop();
        if password.last() == Some(&b'\r') {
            password.pop();
        }
    }
    Ok(password.into())
}

/// The table. A later option wins over an earlier one, also where one of them is a URL.
pub(crate) fn connection_options<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![
        value(
            "-h",
            "--host",
            "host",
            "Host to connect to: a name or an address [localhost]",
            |s: &mut S, v| {
                s.connection().host = text(v, "-h")?.to_owned();
                Ok(())
            },
        ),
        value(
            "-p",
            "--port",
            "port",
            "Port to connect to [1883]",
            |s: &mut S, v| {
                s.connection().port = Some(port(v)?);
                Ok(())
            },
        ),
        value(
            "-L",
            "--url",
            "URL",
            "All in one: mqtt://[username[:password]@]host[:port]/topic",
            |s: &mut S, v| url::apply(s, text(v, "-L")?),
        ),
        value(
            "-A",
            "",
            "address",
            "Address of this machine to connect from",
            |s: &mut S, v| {
                s.connection().local_address = Some(text(v, "-A")?.to_owned());
                Ok(())
            },
        ),
        value(
            "-V",
            "--protocol-version",
            "version",
            "Protocol version: 5, 311 or 31 (also mqttv5, mqttv311, mqttv31)",
            |s: &mut S, v| {
                s.connection().version = version(v)?;
                Ok(())
            },
        ),
        value(
            "-i",
            "--id",
            "id",
            "Client identifier; the broker chooses one if there is none",
            |s: &mut S, v| {
                let identifier = text(v, "-i")?;
                if identifier.is_empty() {
                    return Err(
                        Failure::usage("Invalid id.").with_hint("The value of -i is empty.")
                    );
                }
                let connection = s.connection();
                connection.client_identifier = Some(identifier.to_owned());
                connection.check_identifier()
            },
        ),
        value(
            "-I",
            "--id-prefix",
            "id prefix",
            "Client identifier that is this prefix and the process number",
            |s: &mut S, v| {
                let connection = s.connection();
                connection.prefix = Some(text(v, "-I")?.to_owned());
                connection.check_identifier()
            },
        ),
        flag(
            "-c",
            "--disable-clean-session",
            "Keep the session when disconnected, and go on with it; needs -i",
            |s: &mut S| {
                s.connection().keep_session = true;
            },
        ),
        value(
            "-x",
            "",
            "session expiry interval",
            "Seconds that the broker keeps the session; -1 is for ever (MQTT 5)",
            |s: &mut S, v| {
                let connection = s.connection();
                connection.session_expiry = Some(session_expiry(v)?);
                connection.use_version_5();
                Ok(())
            },
        ),
        value(
            "-k",
            "--keepalive",
            "keepalive",
            "Keep alive: seconds, or a time such as 1m; 5 s to 65535 s [60]",
            |s: &mut S, v| {
                s.connection().keep_alive = keep_alive(v)?;
                Ok(())
            },
        ),
        value(
            "-u",
            "--username",
            "username",
            "User name",
            |s: &mut S, v| {
                s.connection().user_name = Some(text(v, "-u")?.to_owned());
                Ok(())
            },
        ),
        value(
            "-P",
            "--pw",
            "password",
            "Password. Others on this machine can see it in the list of processes: --password-file and the variable MQTT_PASSWORD keep it out of there",
            |s: &mut S, v| {
                s.connection().password = Some(Bytes::copy_from_slice(v.as_encoded_bytes()));
                Ok(())
            },
        ),
        value(
            "",
            "--password-file",
            "file",
            "File with the password; the newline at its end is no part of it",
            |s: &mut S, v| {
                s.connection().password_file = Some(v.into());
                Ok(())
            },
        ),
        value(
            "-M",
            "",
            "max_inflight",
            "Messages of QoS 1 and 2 that may be under way at a time [20; with MQTT 5 what the broker takes]",
            |s: &mut S, v| {
                s.connection().maximum_in_flight = Some(in_flight(v)?);
                Ok(())
            },
        ),
        flag(
            "",
            "--nodelay",
            "Send small packets at once; always so here",
            |_| {},
        ),
        value(
            "",
            "--connect-timeout",
            "duration",
            "How long a connection may take, and the broker's answer [30s]",
            |s: &mut S, v| {
                s.connection().connect_timeout = time(v, "--connect-timeout")?;
                Ok(())
            },
        ),
        value(
            "",
            "--wait",
            "duration",
            "Wait so long for a broker that is not up yet",
            |s: &mut S, v| {
                s.connection().wait_for_server = time(v, "--wait")?;
                Ok(())
            },
        ),
        value(
            "",
            "--reconnect-max",
            "duration",
            "Give up when a lost connection could not be made again for so long",
            |s: &mut S, v| {
                s.connection().reconnect_for = Some(time(v, "--reconnect-max")?);
                Ok(())
            },
        ),
        value(
            "-o",
            "",
            "options file",
            "File with options, one on each line, instead of the one in ~/.config",
            |_, _| Ok(()),
        ),
        flag(
            "-d",
            "--debug",
            "Print a line for each packet",
            |s: &mut S| s.connection().debug = true,
        ),
        optional(
            "--trace",
            "form",
            "Print each packet as it goes, decoded; as JSON with --trace=json",
            |s: &mut S, v| {
                s.connection().trace = Some(Form::parse(v)?);
                Ok(())
            },
        ),
        flag(
            "",
            "--quiet",
            "Print no errors of the connection",
            |s: &mut S| s.connection().quiet = true,
        ),
    ]
}

impl ConnectionSettings {
    fn check_identifier(&self) -> Result<(), Failure> {
        match (&self.client_identifier, &self.prefix) {
            (Some(_), Some(_)) => Err(Failure::usage(
                "-i and -I argument cannot be used together.",
            )),
            _ => Ok(()),
        }
    }
}

fn port(value: &OsStr) -> Result<u16, Failure> {
    number(value).ok_or_else(|| {
        Failure::usage(format!("Invalid port given: {}", shown(value)))
            .with_hint("A port is a number from 1 to 65535.")
    })
}

fn version(value: &OsStr) -> Result<ProtocolVersion, Failure> {
    match value.to_str() {
        Some("5" | "mqttv5") => Ok(ProtocolVersion::V5_0),
        Some("311" | "mqttv311") => Ok(ProtocolVersion::V3_1_1),
        Some("31" | "mqttv31") => Ok(ProtocolVersion::V3_1),
        _ => Err(Failure::usage("Invalid protocol version argument given.")
            .with_hint("The versions are 5, 311 and 31.")),
    }
}

fn keep_alive(value: &OsStr) -> Result<u16, Failure> {
    let seconds = duration(value).map(|time| time.as_secs());
    seconds
        .and_then(|seconds| u16::try_from(seconds).ok())
        .filter(|seconds| *seconds >= 5)
        .ok_or_else(|| {
            Failure::usage("Invalid keepalive given, it must be between 5 and 65535 inclusive.")
        })
}

fn session_expiry(value: &OsStr) -> Result<u32, Failure> {
    if value == "∞" {
        return Ok(u32::MAX);
    }
    let seconds: i128 =
        number(value).ok_or_else(|| Failure::usage("session-expiry-interval not a number."))?;
    match seconds {
        -1 => Ok(u32::MAX),
        seconds => u32::try_from(seconds)
            .map_err(|_| Failure::usage("session-expiry-interval out of range.")),
    }
}

fn in_flight(value: &OsStr) -> Result<u16, Failure> {
    let count: Option<u32> = number(value).filter(|count| *count > 0);
    count
        .map(|count| u16::try_from(count).unwrap_or(u16::MAX))
        .ok_or_else(|| Failure::usage("Maximum inflight messages must be greater than 0."))
}

/// A time of one of our own options.
fn time(value: &OsStr, option: &str) -> Result<Duration, Failure> {
    duration(value).ok_or_else(|| {
        Failure::usage(format!("Invalid time given for {option}: {}", shown(value)))
            .with_hint("A time is a number of seconds, or has units: 30, 1.5, 30s, 2m.")
    })
}

/// An identifier for 3.1, which allows 23 characters, made as the mosquitto tools make it.
fn random_identifier() -> String {
    let mut random = [0; 18];
    // Without random bytes the process number at least differs on this machine.
    if getrandom::fill(&mut random).is_err() {
        return format!("mosq-{}", std::process::id());
    }
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let letter = |byte: &u8| letters.get(usize::from(*byte) % letters.len());
    let letters = random
        .iter()
        .filter_map(letter)
        .map(|letter| char::from(*letter));
    std::iter::once("mosq-".to_owned())
        .chain(letters.map(String::from))
        .collect()
}
