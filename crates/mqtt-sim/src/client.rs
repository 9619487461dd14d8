//! A client of the simulation: the real core, its application, and what the broker should know of it.

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

pub(crate) struct SimClient {
    pub(crate) plan: ClientPlan,
    pub(crate) core: ClientCore,
    pub(crate) link: Option<usize>,
    /// The number of connections that it has opened.
    pub(crate) connections: u32,
    pub(crate) retry_at: Instant,
    pub(crate) input: Vec<u8>,
    pub(crate) published: [u64; 3],
    pub(crate) to_publish: u64,
    pub(crate) application: Application,
    /// Whether the newest CONNECT that the broker has seen asked for a clean start. Besides the plan
    /// a client decides so if it cannot trust what the broker has.
    pub(crate) clean_start: bool,
    /// What the broker should know of the session.
    pub(crate) model: SessionModel,
    /// What the client sends, and what the broker sends to it.
    pub(crate) up: Direction,
    pub(crate) down: Direction,
    /// The states that the broker sends it.
    pub(crate) replay: Replay,
    /// Its wills at the broker.
    pub(crate) wills: WillModel,
    pub(crate) failure: Option<Violation>,
    /// What the broker is known to have made durable.
    pub(crate) durable: Durable,
    /// What it is making durable.
    pub(crate) committing: Durable,
}

/// The state of a client's session at the broker, as far as its store goes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Durable {
    model: SessionModel,
    down: Direction,
    wills: WillModel,
    replay: Replay,
}

/// Whether the broker has a session of this client, and until when.
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

    /// The application ends the connection, and perhaps its session with it.
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

    /// The process dies and is started again with nothing but its name. Returns the messages that it had not
    /// finished.
    pub(crate) fn crash(&mut self, index: usize) -> Vec<Key> {
        let session = Session::without_state();
        self.core = ClientCore::new(options(index, &self.plan), Some(session));
        self.input.clear();
        self.up.fault();
        self.down.fault();
        self.up.lose_state();
        self.application.crash()
    }

    /// A CONNACK of the broker's: is Session Present what it should be (I12)? Returns `true` if a session
    /// is resumed, which 3.1 does not tell.
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

    /// The CONNACK has reached the client, which begins what it sends anew, or goes on.
    pub(crate) fn sees_connack(&mut self, session_present: bool, broker_receive_maximum: u16) {
        let goes_on = match self.plan.version {
            ProtocolVersion::V3_1 => !self.plan.clean_start, // there it is not told
            _ => session_present,
        };
        let window = match self.plan.version {
            ProtocolVersion::V5_0 => self.plan.window.min(broker_receive_maximum),
            _ => self.plan.window,
        };
        self.up.begin(goes_on, window);
    }

    /// The broker has seen the end of a connection that it had accepted.
    pub(crate) fn connection_ends(
        &mut self,
        now: Instant,
        number: u32,
        is_newest: bool,
        left: Option<Left>,
    ) {
        let expiry = match left.and_then(|left| left.expiry) {
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
            // A clean start ends the session immediately. Otherwise the session was resumed.
            Some(0).filter(|_| delay == 0 || self.clean_start)
        };
        self.wills.ended(number, delay, now);
    }

    /// Seconds from the end of a connection to its will: its delay or the end of the session,
    /// whichever is first.
    fn will_delay(&self, expiry: Option<u32>) -> Option<u32> {
        let delay = self.plan.will_delay?;
        Some(match self.plan.version {
            ProtocolVersion::V5_0 => delay.min(expiry.unwrap_or(u32::MAX)),
            _ => 0,
        })
    }

    /// The broker is about to make durable what it knows.
    pub(crate) fn begin_commit(&mut self, now: Instant) {
        self.wills.pass_time(now);
        self.committing = Durable {
            model: self.model,
            down: self.down.clone(),
            wills: self.wills.clone(),
            replay: self.replay.clone(),
        };
    }

    /// It has done so.
    pub(crate) fn end_commit(&mut self) {
        self.durable = self.committing.clone();
    }

    /// The broker has died and begins with what was durable: all connections are lost.
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
        if self.model.exists && self.model.ends.is_none() {
            let expiry = self.expiry();
            self.model.ends = expiry.map(|seconds| now + Duration::from_secs(seconds.into()));
        }
        // A session that ends with its connection is not stored.
        self.model.exists &= self.expiry() != Some(0);
        self.wills = wills;
        let delay = self.will_delay(self.expiry()).unwrap_or(0);
        self.wills.restart(delay, now);
        self.up.fault();
        self.down.fault();
    }

    /// Seconds that the broker keeps the session; `None` without end.
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
    // A full disk may hold back a SUBACK for minutes, and the client must not give up meanwhile.
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
