//! A client of the simulation: the real client core, its application, and a model of its session at the broker. The
//! checks of CONNACK are here. `output_check.rs` and `restart.rs` call the methods that change the model.

use std::time::{Duration, Instant};

use mqtt_client::{ClientCore, Message, Options, QoS, Reconnect};
use mqtt_codec::{Connect, Disconnect, ProtocolVersion, ReasonCode, TopicName, Will};
use mqtt_session::Session;

use crate::Violation;
use crate::application::Application;
use crate::checker::Direction;
use crate::link::Left;
use crate::oracle::Key;
use crate::plan::ClientPlan;
use crate::states::Replay;
use crate::wills::{PLACEHOLDER, WillModel};
use crate::wire::WirePacket;

/// A simulated client.
pub(crate) struct SimClient {
    /// The number of the client.
    pub(crate) index: usize,
    pub(crate) plan: ClientPlan,
    pub(crate) core: ClientCore,
    /// The index of the newest link in `Network::links`, while the client has it open.
    pub(crate) link: Option<usize>,
    /// The number of connections that the client has opened.
    pub(crate) connections: u32,
    /// The time before which the client does not reconnect.
    pub(crate) retry_at: Instant,
    /// Bytes that the client has received and not handled yet.
    pub(crate) input: Vec<u8>,
    /// The number of published messages by QoS, without states.
    pub(crate) published: [u64; 3],
    /// The number of messages that the client still has to publish.
    pub(crate) to_publish: u64,
    pub(crate) application: Application,
    /// Set if the newest CONNECT that the broker has read asked for a clean start. The plan may ask for it. The client
    /// core asks for it when it cannot rely on Session Present (`is_doubtful` in mqtt-client).
    pub(crate) clean_start: bool,
    /// The model of the session at the broker.
    pub(crate) model: SessionModel,
    /// The exchanges that the client sends.
    pub(crate) up: Direction,
    /// The exchanges that the broker sends to the client.
    pub(crate) down: Direction,
    /// The states that the broker sends to the client.
    pub(crate) replay: Replay,
    /// The model of the client's wills at the broker.
    pub(crate) wills: WillModel,
    /// A violation that was found while timers fired, until the next step reports it.
    pub(crate) failure: Option<Violation>,
    /// The model as of the last commit that is known to be durable.
    pub(crate) durable: Durable,
    /// The model as of the commit in progress.
    pub(crate) committing: Durable,
}

/// The part of a client's model that the broker stores.
#[derive(Debug, Clone, Default)]
pub(crate) struct Durable {
    model: SessionModel,
    down: Direction,
    wills: WillModel,
    replay: Replay,
}

/// The session of the client at the broker: its existence, and the time at which it expires. `ends` is `None` while the
/// client is connected, and for a session without expiry.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SessionModel {
    exists: bool,
    ends: Option<Instant>,
}

impl SimClient {
    pub(crate) fn new(index: usize, plan: ClientPlan, now: Instant) -> Self {
        let options = options(index, &plan);
        let session = plan.lasts.then(Session::without_state);
        Self {
            index,
            core: ClientCore::new(options, session),
            plan,
            link: None,
            connections: 0,
            retry_at: now,
            input: Vec::new(),
            published: [0; 3],
            to_publish: 0,
            application: Application::default(),
            clean_start: false,
            model: SessionModel::default(),
            up: Direction::default(),
            down: Direction::default(),
            replay: Replay::default(),
            wills: WillModel::default(),
            failure: None,
            durable: Durable::default(),
            committing: Durable::default(),
        }
    }

    /// Sends DISCONNECT. If `ends_session` is set, a client of 5.0 that does not keep its session also ends the
    /// session. The will is published if `with_will` is set and the client uses 5.0.
    pub(crate) fn leave(&mut self, now: Instant, ends_session: bool, with_will: bool) {
        let is_v5 = self.plan.version == ProtocolVersion::V5_0;
        let mut disconnect = Disconnect::new(if with_will && is_v5 {
            ReasonCode::DisconnectWithWillMessage
        } else {
            ReasonCode::Success
        });
        if ends_session && is_v5 && !self.plan.lasts {
            disconnect.properties.session_expiry_interval = Some(0);
        }
        self.core.disconnect(now, disconnect);
    }

    /// Kills the process and starts it again without its state. Returns the messages that were not acknowledged.
    pub(crate) fn crash(&mut self) -> Vec<Key> {
        let session = Session::without_state();
        self.core = ClientCore::new(options(self.index, &self.plan), Some(session));
        self.input.clear();
        self.up.fault();
        self.down.fault();
        self.up.lose_state();
        self.application.crash()
    }

    /// Checks Session Present in a CONNACK of the broker (I12), and updates the model of the session. Returns `true` if
    /// the model expects a resumed session; the CONNACK of 3.1 does not contain this fact.
    pub(crate) fn check_connack(
        &mut self,
        connack: &WirePacket,
        link: (u32, bool),
        broker_window: u16,
        now: Instant,
    ) -> Result<bool, Violation> {
        let (number, clean_start) = link;
        let (session_present, reason) = (connack.session_present, connack.reason);
        if reason != 0 {
            return Err(Violation::new("I12", format!("refused with {reason}")));
        }
        let lives = self.model.exists && self.model.ends.is_none_or(|ends| now < ends);
        let expected = lives && !clean_start;
        let will = self.plan.will_delay.map(|_| number);
        self.wills.accepted(will, clean_start, now);
        if self.plan.version != ProtocolVersion::V3_1 && session_present != expected {
            let what = format!("Session Present is {session_present}, not {expected}");
            return Err(Violation::new("I12", what));
        }
        if !expected {
            self.replay = Replay::default();
        }
        self.model = SessionModel {
            exists: true,
            ends: None,
        };
        let v5 = self.plan.version == ProtocolVersion::V5_0;
        let window = if v5 {
            broker_window.min(self.plan.receive_maximum)
        } else {
            broker_window
        };
        self.down.begin(expected, window);
        Ok(expected)
    }

    /// Records that the CONNACK has reached the client, which resumes its exchanges or begins new ones.
    pub(crate) fn sees_connack(&mut self, session_present: bool, broker_receive_maximum: u16) {
        let goes_on = match self.plan.version {
            ProtocolVersion::V3_1 => !self.plan.clean_start, // 3.1 has no Session Present
            _ => session_present,
        };
        let window = match self.plan.version {
            ProtocolVersion::V5_0 => self.plan.window.min(broker_receive_maximum),
            _ => self.plan.window,
        };
        self.up.begin(goes_on, window);
    }

    /// Records that the broker has noticed the end of a connection that it had accepted. `left` is the DISCONNECT of
    /// the client, if the broker has read one.
    pub(crate) fn connection_ends(
        &mut self,
        now: Instant,
        number: u32,
        is_newest: bool,
        left: Option<Left>,
    ) {
        let expiry = match left.and_then(|left| left.expiry) {
            // After a Session Expiry Interval of 0 in CONNECT, another value in DISCONNECT is a Protocol Error.
            Some(expiry) if self.expiry() != Some(0) => Some(expiry),
            _ => self.expiry(),
        };
        if is_newest {
            self.model.ends = expiry.map(|seconds| now + Duration::from_secs(seconds.into()));
        }
        let is_taken_back = left.is_some_and(|left| !left.with_will);
        let Some(delay) = self.will_delay(expiry).filter(|_| !is_taken_back) else {
            return self.wills.release(number);
        };
        let delay = if is_newest {
            Some(delay)
        } else {
            // A newer connection has taken over the session. The will is due immediately if it has no delay, or if the
            // newer CONNECT ended the session with a clean start. Otherwise it is not published [MQTT-3.1.3-9].
            Some(0).filter(|_| delay == 0 || self.clean_start)
        };
        self.wills.ended(number, delay, now);
    }

    /// Returns the seconds between the end of a connection and the publication of its will. This is the will delay, or
    /// the Session Expiry Interval if it is shorter. Returns `None` if the client has no will.
    fn will_delay(&self, expiry: Option<u32>) -> Option<u32> {
        let delay = self.plan.will_delay?;
        Some(match self.plan.version {
            ProtocolVersion::V5_0 => delay.min(expiry.unwrap_or(u32::MAX)),
            _ => 0,
        })
    }

    /// Records the model at the beginning of a commit.
    pub(crate) fn begin_commit(&mut self, now: Instant) {
        self.wills.pass_time(now);
        self.committing = Durable {
            model: self.model,
            down: self.down.clone(),
            wills: self.wills.clone(),
            replay: self.replay.clone(),
        };
    }

    /// Records that the commit is durable.
    pub(crate) fn end_commit(&mut self) {
        self.durable = self.committing.clone();
    }

    /// Restores the durable state of the model after the broker has died and started again. All connections are lost.
    pub(crate) fn broker_restarts(&mut self, now: Instant) {
        let Durable {
            model,
            down,
            wills,
            replay,
        } = self.durable.clone();
        self.replay = replay;
        self.down.roll_back(down);
        self.model = model;
        // For a client that was connected, the Session Expiry Interval begins at the restart.
        if self.model.exists && self.model.ends.is_none() {
            let expiry = self.expiry();
            self.model.ends = expiry.map(|seconds| now + Duration::from_secs(seconds.into()));
        }
        // The broker does not store a session whose Session Expiry Interval is 0.
        self.model.exists &= self.expiry() != Some(0);
        self.wills = wills;
        let delay = self.will_delay(self.expiry()).unwrap_or(0);
        self.wills.restart(delay, now);
        self.up.fault();
        self.down.fault();
    }

    /// Returns the seconds for which the broker keeps the session after a connection ends. `None` means without end.
    fn expiry(&self) -> Option<u32> {
        match self.plan.version {
            ProtocolVersion::V5_0 if !self.plan.lasts => Some(self.plan.expiry),
            ProtocolVersion::V5_0 => None,
            _ if self.plan.lasts => None,
            _ => Some(0),
        }
    }

    pub(crate) fn state(&self) -> String {
        format!(
            "connected {} unfinished {} to publish {} open {} and {}",
            self.core.is_connected(),
            self.core.unfinished(),
            self.to_publish,
            self.up.open(),
            self.down.open()
        )
    }
}

fn options(index: usize, plan: &ClientPlan) -> Options {
    let mut options = Options::new("broker", 1883);
    options.reconnect = Reconnect::Always;
    // A slow commit may delay a SUBACK for minutes, and the client must not give up meanwhile.
    options.limits.response_timeout = Duration::from_secs(86_400);
    options.limits.maximum_in_flight = plan.window;
    options.limits.receive_maximum = plan.receive_maximum;
    options.limits.topic_alias_maximum = plan.topic_alias_maximum;
    options.limits.topic_aliases = plan.topic_aliases;
    if let Some(maximum) = plan.maximum_packet_size {
        options.limits.maximum_packet_size = maximum;
    }
    options.limits.packet_identifiers = plan.identifiers;
    let mut connect = Connect::new(plan.version, format!("client{index}"));
    connect.clean_start = plan.clean_start;
    connect.keep_alive = plan.keep_alive;
    if plan.version == ProtocolVersion::V5_0 {
        let expiry = if plan.lasts { u32::MAX } else { plan.expiry };
        connect.properties.session_expiry_interval = Some(expiry);
    }
    connect.will = plan.will_delay.map(|delay| {
        let topic_name = TopicName::new(&format!("w/{index}")).expect("valid");
        let will_delay_interval = (plan.version == ProtocolVersion::V5_0).then_some(delay);
        Will {
            will_delay_interval,
            ..Will::new(Message::new(topic_name, PLACEHOLDER), QoS::AtLeastOnce)
        }
    });
    options.connect = connect;
    options
}
