//! `rpub`: publishes one message, or one for each line of its input.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::{ArgAction, Parser};
use mqtt_client::session::{Event, Outgoing, Printable, PublishError, Session};
use mqtt_client::{ClientError, Driver, Options, Reconnect, Wake};
use mqtt_codec::{Disconnect, Message, QoS, ReasonCode, TopicName};

use crate::arguments::{self, Parsed};
use crate::exit::{Failure, Status, system_text, warn};
use crate::input::{Lines, MAXIMUM_LENGTH, Next};
use crate::logger;
use crate::options::{ConnectionOptions, qos};
use crate::outcome;

/// How long `-l` tries to get a lost connection back.
const RECONNECT_FOR: Duration = Duration::from_secs(120);

/// How long the last bytes may take.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// While so many bytes wait for the socket no message is added.
const MAXIMUM_UNWRITTEN: usize = 256 * 1024;

/// Publish MQTT messages: one, or one for each line of standard input.
#[derive(Debug, Parser)]
#[command(
    name = "rpub",
    version,
    disable_help_flag = true,
    disable_version_flag = true
)]
struct Args {
    /// Topic to publish to
    #[arg(short, long, value_name = "TOPIC", allow_hyphen_values = true)]
    topic: Option<OsString>,

    /// Payload
    #[arg(short, long, value_name = "MESSAGE", allow_hyphen_values = true, action = ArgAction::Append)]
    message: Vec<OsString>,

    /// Send a file as one message
    #[arg(short, long, value_name = "FILE", allow_hyphen_values = true, action = ArgAction::Append)]
    file: Vec<PathBuf>,

    /// Send each line of standard input as a message
    #[arg(short = 'l', long = "stdin-line", action = ArgAction::Count)]
    lines: u8,

    /// Send an empty message
    #[arg(short = 'n', long = "null-message", action = ArgAction::Count)]
    null: u8,

    /// Send all of standard input as one message
    #[arg(short = 's', long = "stdin-file", action = ArgAction::Count)]
    stdin: u8,

    /// QoS: 0 once or not at all, 1 once or more, 2 once
    #[arg(short, long, value_name = "QOS", default_value = "0", value_parser = qos, allow_hyphen_values = true)]
    qos: QoS,

    /// Let the broker keep the message for later subscribers
    #[arg(short, long)]
    retain: bool,

    #[command(flatten)]
    connection: ConnectionOptions,
}

/// What will be done.
#[derive(Debug)]
struct Plan {
    options: Options,
    session: Option<Session>,
    topic_name: TopicName,
    qos: QoS,
    retain: bool,
    source: Source,
    quiet: bool,
    target: String,
}

/// Where the messages come from.
#[derive(Debug)]
enum Source {
    Message(Bytes),
    Lines,
}

/// Runs the program.
///
/// # Errors
/// What goes to standard error in one line, with the exit status.
pub fn run(arguments: &[OsString]) -> Result<Status, Failure> {
    let args: Args = match arguments::parse("rpub", arguments)? {
        Parsed::Run(args) => args,
        Parsed::Told => return Ok(Status::Success),
    };
    if args.connection.debug {
        logger::start_for_client(arguments);
    }
    let plan = Plan::try_from(args)?;
    let (quiet, version) = (plan.quiet, plan.options.connect.protocol_version);
    let target = plan.target.clone();
    Publisher::new(plan)
        .and_then(Publisher::run)
        .map_err(|error| outcome::failure(error, version, &target).quiet_if(quiet))
}

impl TryFrom<Args> for Plan {
    type Error = Failure;

    /// All that can fail without the network.
    fn try_from(args: Args) -> Result<Self, Failure> {
        let (connection, source) = (&args.connection, source(&args)?);
        let (Some(topic), Some(source)) = (&args.topic, source) else {
            return Err(Failure::usage(
                "Both topic and message must be supplied. A topic is given with -t, a message with \
                 one of -m, -f, -l, -n, -s.",
            ));
        };
        let mut options = connection.client_options()?;
        options.reconnect = match source {
            Source::Message(_) => Reconnect::Never,
            Source::Lines => Reconnect::For(RECONNECT_FOR),
        };
        Ok(Self {
            topic_name: topic_name(topic)?,
            qos: args.qos,
            retain: args.retain,
            // What this program keeps of a session is nothing: all of it was finished before.
            session: connection.keep_session.then(Session::default),
            source,
            quiet: connection.quiet,
            target: connection.target(),
            options,
        })
    }
}

fn topic_name(topic: &OsStr) -> Result<TopicName, Failure> {
    let Some(topic) = topic.to_str() else {
        return Err(Failure::usage("Malformed UTF-8 in -t argument."));
    };
    TopicName::new(topic).map_err(|_| {
        let topic = Printable(topic);
        Failure::usage(format!(
            "Invalid publish topic '{topic}', does it contain '+' or '#'? (option -t)"
        ))
    })
}

/// The one place where messages come from, read if it is a file.
fn source(args: &Args) -> Result<Option<Source>, Failure> {
    let given = args.message.len()
        + args.file.len()
        + usize::from(args.lines)
        + usize::from(args.null)
        + usize::from(args.stdin);
    if given > 1 {
        return Err(Failure::usage(
            "Only one type of message can be sent at once: one of -m, -f, -l, -n, -s.",
        ));
    }
    if let Some(message) = args.message.first() {
        return Ok(Some(Source::Message(Bytes::copy_from_slice(
            message.as_encoded_bytes(),
        ))));
    }
    if let Some(path) = args.file.first() {
        let name = path.display();
        let fail = |error: std::io::Error| {
            let text = system_text(&error);
            Failure::usage(format!(
                "Unable to read file \"{name}\": {text} (option -f)."
            ))
        };
        let file = std::fs::File::open(path).map_err(fail)?;
        let payload = read_payload(file).map_err(fail)?;
        let payload = payload.ok_or_else(|| {
            Failure::usage(format!(
                "File must be less than 268435455 bytes: \"{name}\" (option -f)."
            ))
        })?;
        return Ok(Some(Source::Message(payload)));
    }
    if args.stdin > 0 {
        let payload = read_payload(std::io::stdin()).map_err(|error| {
            let text = system_text(&error);
            Failure::usage(format!(
                "Error loading input from stdin: {text} (option -s)."
            ))
        })?;
        return match payload {
            None => Err(Failure::usage(
                "Message length must be less than 268435455 bytes. Error loading input from stdin \
                 (option -s).",
            )),
            Some(payload) if payload.is_empty() => Err(Failure::usage(
                "Zero length input. Error loading input from stdin (option -s; -n sends an empty \
                 message).",
            )),
            Some(payload) => Ok(Some(Source::Message(payload))),
        };
    }
    Ok(match (args.null, args.lines) {
        (1.., _) => Some(Source::Message(Bytes::new())),
        (_, 1..) => Some(Source::Lines),
        _ => None,
    })
}

/// All there is to read; `None` if it is too much for a message.
fn read_payload(input: impl Read) -> std::io::Result<Option<Bytes>> {
    let mut payload = Vec::new();
    input
        .take(MAXIMUM_LENGTH as u64 + 1)
        .read_to_end(&mut payload)?;
    Ok((payload.len() <= MAXIMUM_LENGTH).then(|| payload.into()))
}

/// Publishes what the plan says.
struct Publisher {
    driver: Driver,
    plan: Plan,
    lines: Option<Lines>,
    /// A message that could not be sent yet.
    held: Option<Arc<Message>>,
    input_ended: bool,
    status: Status,
}

impl Publisher {
    fn new(mut plan: Plan) -> Result<Self, ClientError> {
        let driver = Driver::new(plan.options.clone(), plan.session.take())?;
        Ok(Self {
            driver,
            plan,
            lines: None,
            held: None,
            input_ended: false,
            status: Status::Success,
        })
    }

    fn run(mut self) -> Result<Status, ClientError> {
        loop {
            let (status, quiet) = (&mut self.status, self.plan.quiet);
            let wake = self.driver.turn(None, |_, event| {
                if let Some(refused) = tell(&event, quiet) {
                    *status = refused;
                }
                ControlFlow::Continue(())
            })?;
            if let Wake::Disconnected(error, wait) = wake {
                if !quiet {
                    let version = self.plan.options.connect.protocol_version;
                    let words = outcome::words(&error, version, &self.plan.target);
                    warn(&format!(
                        "{words} Trying again in {:.1} s.",
                        wait.as_secs_f64()
                    ));
                }
            }
            if self.driver.is_connected() {
                self.publish()?;
                if self.is_done() {
                    let end = Disconnect::new(ReasonCode::Success);
                    self.driver.disconnect(end, DISCONNECT_TIMEOUT)?;
                    return Ok(self.status);
                }
            }
        }
    }

    fn is_done(&self) -> bool {
        self.input_ended && self.held.is_none() && self.driver.unfinished() == 0
    }

    /// Publishes as much as there is, and as there is room for: the rest of the input waits.
    fn publish(&mut self) -> Result<(), ClientError> {
        while self.has_room() {
            let Some(message) = self.held.take().or_else(|| self.next_message()) else {
                return Ok(());
            };
            match self
                .driver
                .publish(Outgoing::new(Arc::clone(&message), self.plan.qos))
            {
                Ok(_) => {}
                Err(PublishError::QuotaUsedUp | PublishError::NotConnected) => {
                    self.held = Some(message);
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn has_room(&mut self) -> bool {
        if self.driver.unwritten() >= MAXIMUM_UNWRITTEN {
            self.driver.flush();
        }
        self.driver.unwritten() < MAXIMUM_UNWRITTEN
            && (self.plan.qos == QoS::AtMostOnce || self.driver.has_room())
    }

    fn next_message(&mut self) -> Option<Arc<Message>> {
        if self.input_ended {
            return None;
        }
        let payload = match &self.plan.source {
            Source::Message(payload) => {
                self.input_ended = true;
                payload.clone()
            }
            Source::Lines => self.next_line()?,
        };
        let message = Message::new(self.plan.topic_name.clone(), payload);
        Some(Arc::new(Message {
            retain: self.plan.retain,
            ..message
        }))
    }

    fn next_line(&mut self) -> Option<Bytes> {
        let result = match &mut self.lines {
            Some(lines) => Ok(lines),
            None => Lines::start(std::io::stdin(), self.driver.waker())
                .map(|lines| self.lines.insert(lines)),
        };
        let next = match result {
            Ok(lines) => lines.next(),
            Err(error) => Next::Failed(error),
        };
        match next {
            Next::Line(line) => return Some(line),
            Next::Pending => {}
            Next::End => self.input_ended = true,
            Next::Failed(error) => {
                // What was read before is sent and acknowledged all the same.
                self.input_ended = true;
                self.status = Status::Failed;
                warn(&format!(
                    "Cannot read standard input: {}.",
                    system_text(&error)
                ));
            }
        }
        None
    }
}

/// What an event tells the person; the exit status if it is a failure.
fn tell(event: &Event<'_>, quiet: bool) -> Option<Status> {
    match event {
        Event::Delivered {
            packet_identifier,
            reason_code,
            reason_string,
        } if reason_code.is_error() => {
            if !quiet {
                let mut text = format!("Publish {packet_identifier} failed: {reason_code}.");
                if let Some(reason) = reason_string {
                    text += &format!(" {}", Printable(reason));
                }
                warn(&text);
            }
            return Some(Status::of_reason(*reason_code));
        }
        Event::Connected { unfinished, .. } if !unfinished.is_empty() && !quiet => {
            let count = unfinished.len();
            let mut text = format!("{count} messages without acknowledgement are sent again.");
            if unfinished
                .iter()
                .any(|outgoing| outgoing.qos == QoS::ExactlyOnce)
            {
                text += " The broker has no session to tell repeats by: they may arrive twice.";
            }
            warn(&text);
        }
        _ => {}
    }
    None
}
