//! Where to connect and as whom: the options of `rpub` and `rsub` alike.

use std::time::Duration;

use bytes::Bytes;
use clap::{ArgAction, Args};
use mqtt_client::Options;
use mqtt_codec::{Connect, Message, ProtocolVersion, QoS, TopicName, Will};

use crate::arguments;
use crate::exit::Failure;

/// Messages of QoS 1 and 2 under way, where neither `-M` nor the broker says otherwise: a broker of
/// 3.1 and 3.1.1 cannot say, and mosquitto 2.0 loses messages beyond this number.
const MAXIMUM_IN_FLIGHT: u16 = 20;

#[derive(Debug, Args)]
pub(crate) struct ConnectionOptions {
    /// Host to connect to: a name or an address
    #[arg(
        short = 'h',
        long,
        value_name = "HOST",
        default_value = "localhost",
        allow_hyphen_values = true
    )]
    pub(crate) host: String,

    /// Port to connect to
    #[arg(short, long, value_name = "PORT", default_value_t = 1883, value_parser = port, allow_hyphen_values = true)]
    pub(crate) port: u16,

    /// Protocol version: 5, 311 or 31 (also mqttv5, mqttv311, mqttv31)
    #[arg(short = 'V', long, value_name = "VERSION", default_value = "311", value_parser = version, allow_hyphen_values = true)]
    protocol_version: ProtocolVersion,

    /// Client identifier; the broker chooses one if there is none
    #[arg(short, long, value_name = "ID", allow_hyphen_values = true)]
    id: Option<String>,

    /// Client identifier that is this prefix and the process number
    #[arg(
        short = 'I',
        long,
        value_name = "ID_PREFIX",
        allow_hyphen_values = true
    )]
    id_prefix: Option<String>,

    /// Keep the session when disconnected, and go on with it; needs -i
    #[arg(short = 'c', long = "disable-clean-session")]
    pub(crate) keep_session: bool,

    /// Keep alive: seconds or a time with units such as 1m, 5 s to 65535 s
    #[arg(short, long, value_name = "KEEPALIVE", default_value = "60", value_parser = keep_alive, allow_hyphen_values = true)]
    keepalive: u16,

    /// User name
    #[arg(short, long, value_name = "USERNAME", allow_hyphen_values = true)]
    username: Option<String>,

    /// Password; others on this machine can see it in the list of processes
    #[arg(
        short = 'P',
        long = "pw",
        value_name = "PASSWORD",
        allow_hyphen_values = true
    )]
    password: Option<String>,

    /// Messages of QoS 1 and 2 that may be under way at a time
    #[arg(short = 'M', value_name = "MAX_INFLIGHT", value_parser = in_flight, allow_hyphen_values = true)]
    maximum_in_flight: Option<u16>,

    /// Topic of the will: the message that the broker publishes if this program dies
    #[arg(long, value_name = "WILL_TOPIC", allow_hyphen_values = true)]
    will_topic: Option<String>,

    /// Payload of the will
    #[arg(long, value_name = "WILL_PAYLOAD", allow_hyphen_values = true)]
    will_payload: Option<String>,

    /// QoS of the will
    #[arg(long, value_name = "WILL_QOS", default_value = "0", value_parser = will_qos, allow_hyphen_values = true)]
    will_qos: QoS,

    /// Retain the will
    #[arg(long)]
    will_retain: bool,

    /// Print a line for each packet (on standard error)
    #[arg(short, long)]
    pub(crate) debug: bool,

    /// Do not print errors of the connection
    #[arg(long)]
    pub(crate) quiet: bool,

    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,

    /// Print version
    #[arg(long, action = ArgAction::Version)]
    version: Option<bool>,
}

impl ConnectionOptions {
    /// Where it connects to, for people.
    pub(crate) fn target(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// What the client library is told. Fails on what does not fit together.
    pub(crate) fn client_options(&self) -> Result<Options, Failure> {
        let mut options = Options::new(&self.host, self.port);
        options.connect = self.connect()?;
        options.limits.maximum_in_flight = match (self.maximum_in_flight, self.protocol_version) {
            (Some(limit), _) => limit,
            (None, ProtocolVersion::V5_0) => u16::MAX, // the broker's Receive Maximum holds
            (None, _) => MAXIMUM_IN_FLIGHT,
        };
        options.limits.receive_maximum = MAXIMUM_IN_FLIGHT;
        Ok(options)
    }

    fn connect(&self) -> Result<Connect, Failure> {
        let version = self.protocol_version;
        let mut connect = Connect::new(version, self.client_identifier()?);
        connect.keep_alive = self.keepalive;
        connect.clean_start = !self.keep_session;
        connect.user_name = self.username.clone();
        connect.password = self.password.clone().map(Bytes::from);
        if connect.password.is_some()
            && connect.user_name.is_none()
            && version != ProtocolVersion::V5_0
        {
            return Err(Failure::usage(
                "Problem setting username and/or password. MQTT 3.1 and 3.1.1 know no password (-P) \
                 without a user name (-u).",
            ));
        }
        if self.keep_session && version == ProtocolVersion::V5_0 {
            connect.properties.session_expiry_interval = Some(u32::MAX);
        }
        connect.will = self.will()?;
        Ok(connect)
    }

    fn client_identifier(&self) -> Result<String, Failure> {
        if self.id.is_some() && self.id_prefix.is_some() {
            return Err(Failure::usage(
                "-i and -I argument cannot be used together.",
            ));
        }
        if self.id.as_deref() == Some("") {
            return Err(Failure::usage("Invalid id. The value of -i is empty."));
        }
        if self.keep_session && self.id.is_none() {
            return Err(Failure::usage(match self.protocol_version {
                ProtocolVersion::V5_0 => {
                    "You must provide a client id (-i) if you are using an infinite session expiry \
                     interval (-c)."
                }
                _ => "You must provide a client id (-i) if you are using the -c option.",
            }));
        }
        Ok(match (&self.id, &self.id_prefix) {
            (Some(id), _) => id.clone(),
            (_, Some(prefix)) => format!("{prefix}{}", std::process::id()),
            // 3.1 knows no empty identifier.
            _ if self.protocol_version == ProtocolVersion::V3_1 => random_identifier(),
            _ => String::new(),
        })
    }

    fn will(&self) -> Result<Option<Will>, Failure> {
        let Some(topic) = &self.will_topic else {
            if self.will_payload.is_some() {
                return Err(Failure::usage(
                    "Will payload given (--will-payload), but no will topic given (--will-topic).",
                ));
            }
            if self.will_retain {
                return Err(Failure::usage(
                    "Will retain given (--will-retain), but no will topic given (--will-topic).",
                ));
            }
            return Ok(None);
        };
        let topic_name = TopicName::new(topic).map_err(|_| {
            Failure::usage(format!(
                "Invalid will topic '{topic}', does it contain '+' or '#'? (option --will-topic)"
            ))
        })?;
        let payload = self.will_payload.clone().unwrap_or_default();
        let retain = self.will_retain;
        let message = Message {
            retain,
            ..Message::new(topic_name, payload)
        };
        Ok(Some(Will::new(message, self.will_qos)))
    }
}

pub(crate) fn qos(text: &str) -> Result<QoS, String> {
    text.parse()
        .ok()
        .and_then(QoS::from_value)
        .ok_or_else(|| "Invalid QoS given".to_owned())
}

fn will_qos(text: &str) -> Result<QoS, String> {
    qos(text).map_err(|_| "Invalid will QoS".to_owned())
}

fn port(text: &str) -> Result<u16, String> {
    // 0 stands for a Unix socket with mosquitto's tools, which these do not have.
    text.parse()
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| "Invalid port given".to_owned())
}

fn version(text: &str) -> Result<ProtocolVersion, String> {
    match text {
        "5" | "mqttv5" => Ok(ProtocolVersion::V5_0),
        "311" | "mqttv311" => Ok(ProtocolVersion::V3_1_1),
        "31" | "mqttv31" => Ok(ProtocolVersion::V3_1),
        _ => Err("Invalid protocol version argument given".to_owned()),
    }
}

fn keep_alive(text: &str) -> Result<u16, String> {
    let seconds = arguments::duration(text).map(|time: Duration| time.as_secs());
    seconds
        .and_then(|seconds| u16::try_from(seconds).ok())
        .filter(|seconds| *seconds >= 5)
        .ok_or_else(|| {
            "Invalid keepalive given, it must be between 5 and 65535 inclusive".to_owned()
        })
}

fn in_flight(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| {
        "Maximum inflight messages must be greater than 0 and at most 65535".to_owned()
    })
}

/// Sixteen random characters: 3.1 allows 23 in all.
fn random_identifier() -> String {
    let mut random = [0; 8];
    // Without random bytes the process number at least differs on this machine.
    if getrandom::fill(&mut random).is_err() {
        random = u64::from(std::process::id()).to_ne_bytes();
    }
    format!("rpub-{:016x}", u64::from_ne_bytes(random))
}
