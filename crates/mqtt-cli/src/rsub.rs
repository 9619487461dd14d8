//! `rsub`: prints the messages of the topics it subscribes to.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use clap::Parser;
use mqtt_client::session::{Connection, Event, Printable, PublishError, Session};
use mqtt_client::{ClientError, Driver, Options, Reconnect, Wake};
use mqtt_codec::{
    Disconnect, PacketIdentifier, ProtocolVersion, Publish, QoS, ReasonCode, RetainHandling,
    Suback, SubscribeProperties, Subscription, SubscriptionOptions, TopicFilter,
};

use crate::arguments::{self, Parsed};
use crate::exit::{Failure, Status, system_text, warn};
use crate::logger;
use crate::options::{ConnectionOptions, qos};
use crate::outcome;
use crate::signal::Interrupts;

/// How long the good-bye may take: the last handshakes, and the last bytes.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Print the messages of MQTT topics.
#[derive(Debug, Parser)]
#[command(
    name = "rsub",
    version,
    disable_help_flag = true,
    disable_version_flag = true
)]
struct Args {
    /// Topic filter to subscribe to; may be repeated
    #[arg(short, long, value_name = "TOPIC", allow_hyphen_values = true)]
    topic: Vec<OsString>,

    /// Topic filter of messages that are not printed; may be repeated
    #[arg(
        short = 'T',
        long = "filter-out",
        value_name = "TOPIC_FILTER",
        allow_hyphen_values = true
    )]
    filter_out: Vec<OsString>,

    /// Topic filter to unsubscribe from; may be repeated
    #[arg(
        short = 'U',
        long,
        value_name = "UNSUBSCRIBE_TOPIC",
        allow_hyphen_values = true
    )]
    unsubscribe: Vec<OsString>,

    /// Print the topic before the payload
    #[arg(short, long)]
    verbose: bool,

    /// Print no newline after a message
    #[arg(short = 'N')]
    no_newline: bool,

    /// QoS: 0 once or not at all, 1 once or more, 2 once
    #[arg(short, long, value_name = "QOS", default_value = "0", value_parser = qos, allow_hyphen_values = true)]
    qos: QoS,

    /// End after this many messages
    #[arg(short = 'C', value_name = "COUNT", value_parser = count, allow_hyphen_values = true)]
    count: Option<u64>,

    /// End with status 27 after this time: seconds, or with units such as 30s
    #[arg(short = 'W', value_name = "TIMEOUT", value_parser = timeout, allow_hyphen_values = true)]
    timeout: Option<Duration>,

    /// Do not print retained messages
    #[arg(short = 'R')]
    no_retained: bool,

    #[command(flatten)]
    connection: ConnectionOptions,
}

/// What will be done.
#[derive(Debug)]
struct Plan {
    options: Options,
    session: Option<Session>,
    subscriptions: Vec<Subscription>,
    unsubscribe: Vec<TopicFilter>,
    filter_out: Vec<TopicFilter>,
    verbose: bool,
    newline: bool,
    count: Option<u64>,
    deadline: Option<Instant>,
    no_retained: bool,
    debug: bool,
    quiet: bool,
    target: String,
}

/// Runs the program.
///
/// # Errors
/// What goes to standard error in one line, with the exit status.
pub fn run(arguments: &[OsString]) -> Result<Status, Failure> {
    let args: Args = match arguments::parse("rsub", arguments)? {
        Parsed::Run(args) => args,
        Parsed::Told => return Ok(Status::Success),
    };
    if args.connection.debug {
        logger::start_for_client(arguments);
    }
    let plan = Plan::try_from(args)?;
    let quiet = plan.quiet;
    Subscriber::new(plan)?
        .run()
        .map_err(|failure| failure.quiet_if(quiet))
}

impl TryFrom<Args> for Plan {
    type Error = Failure;

    /// All that can fail without the network.
    fn try_from(args: Args) -> Result<Self, Failure> {
        let connection = &args.connection;
        if args.topic.is_empty() && args.unsubscribe.is_empty() {
            return Err(Failure::usage(
                "You must specify a topic to subscribe to (-t) or unsubscribe from (-U).",
            ));
        }
        let mut options = connection.client_options()?;
        options.reconnect = Reconnect::Always;
        if let Some(count) = args.count {
            // No more than will be printed are asked for; only 5.0 can say so.
            let count = u16::try_from(count).unwrap_or(u16::MAX);
            options.limits.receive_maximum = options.limits.receive_maximum.min(count);
        }
        let mut subscription_options = SubscriptionOptions::new(args.qos);
        if args.no_retained {
            subscription_options.retain_handling = RetainHandling::DoNotSend;
        }
        let subscription = |topic_filter| Subscription {
            topic_filter,
            options: subscription_options,
        };
        let filters = topic_filters(&args.topic, "subscription", "-t")?;
        Ok(Self {
            subscriptions: filters.into_iter().map(subscription).collect(),
            unsubscribe: topic_filters(&args.unsubscribe, "unsubscribe", "-U")?,
            filter_out: topic_filters(&args.filter_out, "filter", "-T")?,
            verbose: args.verbose,
            newline: !args.no_newline,
            count: args.count,
            deadline: args
                .timeout
                .and_then(|timeout| Instant::now().checked_add(timeout)),
            no_retained: args.no_retained,
            debug: connection.debug,
            quiet: connection.quiet,
            target: connection.target(),
            // Earlier runs finished what they acknowledged.
            session: connection.keep_session.then(Session::default),
            options,
        })
    }
}

fn topic_filters(
    texts: &[OsString],
    what: &str,
    option: &str,
) -> Result<Vec<TopicFilter>, Failure> {
    texts
        .iter()
        .map(|text| topic_filter(text, what, option))
        .collect()
}

fn topic_filter(text: &OsStr, what: &str, option: &str) -> Result<TopicFilter, Failure> {
    let Some(text) = text.to_str() else {
        return Err(Failure::usage(format!(
            "Malformed UTF-8 in {option} argument."
        )));
    };
    TopicFilter::new(text).map_err(|_| {
        let text = Printable(text);
        Failure::usage(format!(
            "Invalid {what} topic '{text}', are all '+' and '#' wildcards correct? (option {option})"
        ))
    })
}

fn count(text: &str) -> Result<u64, String> {
    text.parse()
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| "Invalid message count".to_owned())
}

fn timeout(text: &str) -> Result<Duration, String> {
    let time = arguments::duration(text).filter(|time| !time.is_zero());
    time.ok_or_else(|| "Invalid timeout".to_owned())
}

/// Subscribes and prints what the plan says.
struct Subscriber {
    driver: Driver,
    printer: Printer,
    interrupts: Interrupts,
}

/// What is done with each event; apart from the driver, which hands them over.
struct Printer {
    plan: Plan,
    /// What is to be printed at the end of the turn.
    output: Vec<u8>,
    printed: u64,
    status: Option<Failure>,
}

impl Subscriber {
    fn new(mut plan: Plan) -> Result<Self, Failure> {
        let version = plan.options.connect.protocol_version;
        let fail = |error: ClientError| outcome::failure(error, version, &plan.target);
        let mut driver = Driver::new(plan.options.clone(), plan.session.take()).map_err(fail)?;
        #[allow(unused_mut)] // only Unix has a source
        let mut interrupts = Interrupts::listen()
            .map_err(|error| Failure::usage(format!("Cannot wait for signals: {error}.")))?;
        #[cfg(unix)]
        driver
            .register(&mut interrupts.source)
            .map_err(|error| fail(error.into()))?;
        let printer = Printer {
            plan,
            output: Vec::new(),
            printed: 0,
            status: None,
        };
        Ok(Self {
            driver,
            printer,
            interrupts,
        })
    }

    fn run(mut self) -> Result<Status, Failure> {
        loop {
            let printer = &mut self.printer;
            let wake = self
                .driver
                .turn(printer.plan.deadline, |connection, event| {
                    printer.handle(connection, &event)
                });
            match self.printer.print() {
                Ok(()) => {}
                // The reader has seen enough. What it did not get is not acknowledged.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    self.driver.abandon();
                    return Ok(Status::Success);
                }
                Err(error) => {
                    self.driver.abandon();
                    let text = system_text(&error);
                    return Err(Failure::usage(format!(
                        "Cannot write the messages: {text}."
                    )));
                }
            }
            let wake = wake.map_err(|error| self.printer.failure(error))?;
            if let Some(failure) = self.printer.status.take() {
                self.disconnect(ReasonCode::Success);
                return Err(failure);
            }
            if self.printer.is_complete() {
                self.finish_handshakes();
                self.disconnect(ReasonCode::Success);
                return Ok(Status::Success);
            }
            if self.interrupts.was_asked() {
                let connected = self.driver.is_connected();
                self.disconnect(ReasonCode::DisconnectWithWillMessage);
                return Ok(if connected {
                    Status::Success
                } else {
                    Status::Interrupted
                });
            }
            if self.printer.is_too_late() {
                self.disconnect(ReasonCode::DisconnectWithWillMessage);
                return Err(Failure::new(Status::TimedOut, anyhow::anyhow!("Timed out")));
            }
            if let Wake::Disconnected(error, wait) = wake {
                self.printer.tell_loss(&error, wait);
            }
        }
    }

    /// The messages of QoS 2 that were printed: lets the broker finish with them, for a while.
    fn finish_handshakes(&mut self) {
        let end = Instant::now() + DISCONNECT_TIMEOUT;
        let unfinished = |driver: &mut Driver| {
            driver
                .connection()
                .is_some_and(|connection| connection.unfinished_received() > 0)
        };
        while unfinished(&mut self.driver) && Instant::now() < end {
            // Further messages are neither printed nor acknowledged.
            let turn = self
                .driver
                .turn(Some(end), |_, _| ControlFlow::Continue(()));
            if !matches!(turn, Ok(Wake::Progress)) {
                break;
            }
        }
    }

    /// Says good-bye. That it is not heard is no failure: the work is done.
    fn disconnect(&mut self, reason_code: ReasonCode) {
        let _ = self
            .driver
            .disconnect(Disconnect::new(reason_code), DISCONNECT_TIMEOUT);
    }
}

impl Printer {
    fn handle(&mut self, connection: &mut Connection, event: &Event<'_>) -> ControlFlow<()> {
        match event {
            Event::Connected { .. } => self.subscribe(connection),
            Event::Subscribed(suback) => self.handle_suback(suback),
            Event::Message(received) if !self.is_complete() => {
                let publish = received.publish();
                self.handle_message(&publish);
                if let Some(packet_identifier) = publish.delivery.packet_identifier() {
                    // Leaves in the next turn, when the message is printed.
                    acknowledge(connection, packet_identifier);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    /// With each connection, whether or not the server knows the session: the options may differ.
    fn subscribe(&mut self, connection: &mut Connection) {
        if let Err(error) = self.try_subscribe(connection) {
            self.status = Some(self.failure(error.into()));
        }
    }

    fn try_subscribe(&self, connection: &mut Connection) -> Result<(), PublishError> {
        let now = Instant::now();
        if !self.plan.subscriptions.is_empty() {
            let subscriptions = self.plan.subscriptions.clone();
            connection.subscribe(now, subscriptions, SubscribeProperties::default())?;
        }
        for topic_filter in &self.plan.unsubscribe {
            connection.unsubscribe(
                now,
                vec![topic_filter.clone()],
                mqtt_codec::UnsubscribeProperties::default(),
            )?;
        }
        Ok(())
    }

    fn handle_suback(&mut self, suback: &Suback) {
        if self.plan.debug && !self.plan.quiet {
            let codes: Vec<_> = suback
                .reason_codes
                .iter()
                .map(|code| code.value().to_string())
                .collect();
            let identifier = suback.packet_identifier;
            log::debug!("Subscribed (mid: {identifier}): {}", codes.join(", "));
        }
        let refused = |code: &&ReasonCode| code.is_error();
        if let (Some(code), true) = (
            suback.reason_codes.last(),
            suback.reason_codes.iter().all(|code| refused(&code)),
        ) {
            let text = anyhow::anyhow!("All subscription requests were denied. ({code})");
            self.status = Some(Failure::new(Status::of_reason(*code), text));
        } else if !self.plan.quiet {
            for (code, subscription) in suback.reason_codes.iter().zip(&self.plan.subscriptions) {
                if code.is_error() {
                    let filter = Printable(&subscription.topic_filter);
                    warn(&format!("Subscription to '{filter}' was denied: {code}."));
                }
            }
        }
    }

    fn handle_message(&mut self, publish: &Publish<'_>) {
        let topic_name = publish.topic_name;
        if publish.retain && self.plan.no_retained
            || self
                .plan
                .filter_out
                .iter()
                .any(|filter| filter.matches(topic_name))
        {
            return;
        }
        self.printed += 1;
        self.format(publish);
    }

    fn format(&mut self, publish: &Publish<'_>) {
        let empty = publish.payload.is_empty();
        if empty && !(self.plan.verbose && self.plan.newline) {
            return;
        }
        if self.plan.verbose {
            self.output.extend_from_slice(publish.topic_name.as_bytes());
            self.output.push(b' ');
        }
        self.output
            .extend_from_slice(if empty { b"(null)" } else { publish.payload });
        if self.plan.newline {
            self.output.push(b'\n');
        }
    }

    /// One write for all messages of a turn.
    fn print(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        let result = stdout.write_all(&self.output).and_then(|()| stdout.flush());
        self.output.clear();
        result
    }

    fn is_complete(&self) -> bool {
        self.plan.count.is_some_and(|count| self.printed >= count)
    }

    fn is_too_late(&self) -> bool {
        self.plan
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn version(&self) -> ProtocolVersion {
        self.plan.options.connect.protocol_version
    }

    fn failure(&self, error: ClientError) -> Failure {
        outcome::failure(error, self.version(), &self.plan.target)
    }

    fn tell_loss(&self, error: &ClientError, wait: Duration) {
        if !self.plan.quiet {
            let words = outcome::words(error, self.version(), &self.plan.target);
            warn(&format!(
                "{words} Trying again in {:.1} s.",
                wait.as_secs_f64()
            ));
        }
    }
}

fn acknowledge(connection: &mut Connection, packet_identifier: PacketIdentifier) {
    connection.acknowledge(Instant::now(), packet_identifier, ReasonCode::Success);
}
