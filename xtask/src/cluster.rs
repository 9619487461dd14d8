//! `cargo xtask cluster`: tests rpub and rsub with a cluster of three RabbitMQ nodes on loopback addresses. The task
//! kills the node to which both clients are connected, and checks that no message of QoS 1 is lost. docs/outgrow.md
//! shows the result.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::{cargo, run as run_command, setup, target};

/// The program of Debian's package. The program of the same name in `PATH` is a script that switches to another user.
const RABBITMQ: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// Number of nodes. A quorum queue needs a majority, which remains if one of three nodes is killed.
const NODES: u8 = 3;

/// The MQTT port of all nodes. Each node has its own loopback address.
const PORT: u16 = 18_830;

/// The port of epmd, with which Erlang nodes find each other. Another program may use the default port.
const REGISTER: &str = "18839";

/// Number of messages. The publisher sends one message in each [`PERIOD`].
const MESSAGES: u64 = 3000;
const PERIOD: Duration = Duration::from_millis(10);

/// The number of the message before which node 1 is killed.
const KILL_BEFORE: u64 = 1000;

/// Maximum time for the start of a node. [`MESSAGE_TIMEOUT`] is the maximum time between two messages.
const START_TIMEOUT: Duration = Duration::from_secs(180);
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(120);

/// A running program. Dropping this value kills the program.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A RabbitMQ node. Dropping this value kills the node.
struct Node {
    /// The shell script that has started the node. It ends when the node ends.
    script: Running,
    /// The file with the process id of the node, which is not the process id of the script.
    pid_file: PathBuf,
}

impl Drop for Node {
    /// Kills the node with SIGKILL, which has the effect of a power cut: neither the node nor the script can shut down
    /// gracefully.
    fn drop(&mut self) {
        let number = std::fs::read_to_string(&self.pid_file).unwrap_or_default();
        if !number.trim().is_empty() {
            setup::succeeds(Command::new("kill").args(["-s", "KILL", number.trim()]));
            let _ = self.script.0.wait();
        }
    }
}

pub(crate) fn run() -> Result<()> {
    run_command(&mut cargo(
        "build --quiet --locked --package mqtt-cli --bins",
    ))?;
    if !Path::new(RABBITMQ).is_file() {
        println!("Installing RabbitMQ …");
        setup::install(&["rabbitmq-server"]);
    }
    let folder = target().join("cluster");
    let _ = std::fs::remove_dir_all(&folder);
    println!("Starting {NODES} nodes of RabbitMQ …");
    let mut register = start_register()?;
    let nodes: Vec<_> = (1..=NODES)
        .map(|number| start_node(&folder, number))
        .collect::<Result<_>>()?;
    for number in 1..=NODES {
        wait_for_port(number)?;
    }
    let result = lose_a_node(nodes);
    let _ = register.0.kill();
    result
}

/// Publishes and receives numbered messages while the first node is killed.
fn lose_a_node(mut nodes: Vec<Node>) -> Result<()> {
    let (_subscriber, lines) = start_subscriber()?;
    let (mut publisher, mut input) = start_publisher()?;
    let sender = thread::spawn(move || -> Result<()> {
        let mut next = Instant::now();
        for number in 0..MESSAGES {
            if number == KILL_BEFORE {
                // Both clients are connected to node 1, because it is the first host on their command lines.
                drop(nodes.remove(0));
                println!("Node 1 is killed.");
            }
            writeln!(input, "{number}").context("rpub has ended")?;
            next += PERIOD;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        // The other nodes must run until the last message is delivered.
        drop(input);
        let status = publisher.0.wait()?;
        ensure!(status.success(), "rpub ended with {status}");
        thread::sleep(Duration::from_secs(1));
        drop(nodes);
        Ok(())
    });
    let received = Received::count(&lines)?;
    match sender.join() {
        Ok(result) => result?,
        Err(_) => bail!("the thread of the publisher has panicked"),
    }
    received.report()
}

/// The messages that the subscriber has received.
struct Received {
    /// The number of deliveries of each message.
    counts: BTreeMap<u64, u64>,
    longest_gap: Duration,
}

impl Received {
    fn count(lines: &Receiver<(Instant, String)>) -> Result<Self> {
        let mut received = Self {
            counts: BTreeMap::new(),
            longest_gap: Duration::ZERO,
        };
        let mut last: Option<Instant> = None;
        while received.counts.len() < MESSAGES as usize {
            let Ok((at, line)) = lines.recv_timeout(MESSAGE_TIMEOUT) else {
                break;
            };
            let number = line.trim().parse().context("a payload is a number")?;
            *received.counts.entry(number).or_default() += 1;
            let gap = last.map_or(Duration::ZERO, |last| at - last);
            received.longest_gap = received.longest_gap.max(gap);
            last = Some(at);
        }
        Ok(received)
    }

    fn report(&self) -> Result<()> {
        let different = self.counts.len() as u64;
        let all: u64 = self.counts.values().sum();
        println!(
            "{MESSAGES} messages of QoS 1 sent, {different} received, {} lost, {} duplicates, {:.1} s without service",
            MESSAGES - different,
            all - different,
            self.longest_gap.as_secs_f64(),
        );
        ensure!(different == MESSAGES, "messages were lost");
        Ok(())
    }
}

fn address(number: u8) -> String {
    format!("127.0.0.{number}")
}

/// Starts epmd in the foreground. Otherwise the first node would start it as a daemon, which would continue after this
/// task.
fn start_register() -> Result<Running> {
    let mut command = Command::new("epmd");
    command.args(["-address", "127.0.0.1", "-port", REGISTER]);
    let child = command.stdin(Stdio::null()).spawn();
    Ok(Running(child.context("cannot start epmd")?))
}

fn start_node(folder: &Path, number: u8) -> Result<Node> {
    let own = std::path::absolute(folder)?.join(format!("node{number}"));
    std::fs::create_dir_all(&own)?;
    std::fs::write(own.join("plugins"), "[rabbitmq_mqtt].\n")?;
    std::fs::write(own.join("rabbitmq.conf"), configuration(number))?;
    let output = File::create(own.join("output"))?;
    let path = |name: &str| own.join(name);
    let mut command = Command::new(RABBITMQ);
    command
        .env("HOME", own.parent().context("it is in a folder")?)
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("ERL_EPMD_PORT", REGISTER)
        .env("RABBITMQ_NODENAME", format!("rpubsub{number}@localhost"))
        .env(
            "RABBITMQ_DIST_PORT",
            (PORT + 10 + u16::from(number)).to_string(),
        )
        .env("RABBITMQ_MNESIA_BASE", path("db"))
        .env("RABBITMQ_LOG_BASE", path("log"))
        .env("RABBITMQ_CONFIG_FILE", path("rabbitmq"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("plugins"))
        .env("RABBITMQ_PID_FILE", path("pid"))
        .env(
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "-kernel inet_dist_use_interface {127,0,0,1}",
        )
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    Ok(Node {
        script: Running(command.spawn().context("cannot start RabbitMQ")?),
        pid_file: path("pid"),
    })
}

fn configuration(number: u8) -> String {
    let mut text = format!(
        "listeners.tcp.1 = {address}:{}\n\
         mqtt.listeners.tcp.1 = {address}:{PORT}\n\
         mqtt.allow_anonymous = true\n\
         mqtt.durable_queue_type = quorum\n\
         disk_free_limit.absolute = 50MB\n\
         cluster_formation.peer_discovery_backend = classic_config\n",
        PORT + 1,
        address = address(number),
    );
    for node in 1..=NODES {
        let line =
            format!("cluster_formation.classic_config.nodes.{node} = rpubsub{node}@localhost\n");
        text.push_str(&line);
    }
    text
}

/// Waits until a node accepts MQTT connections. The node does so after it has joined the cluster.
fn wait_for_port(number: u8) -> Result<()> {
    let address: SocketAddr = format!("{}:{PORT}", address(number)).parse()?;
    let deadline = Instant::now() + START_TIMEOUT;
    while TcpStream::connect(address).is_err() {
        ensure!(Instant::now() < deadline, "node {number} does not start");
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Returns the command that starts a client with the addresses of all nodes.
fn client(name: &str) -> Command {
    let mut command = Command::new(program(name));
    command.args(["-V", "311", "-q", "1", "-t", "cluster", "-p"]);
    command.arg(PORT.to_string());
    for number in 1..=NODES {
        command.args(["-h", &address(number)]);
    }
    command
}

fn program(name: &str) -> PathBuf {
    target().join("debug").join(name)
}

fn start_subscriber() -> Result<(Running, Receiver<(Instant, String)>)> {
    let mut command = client("rsub");
    // The session (`-c`) must outlive the connection, so that the other nodes resume it. With `-d` rsub prints a line
    // when the subscription is accepted.
    command.args(["-c", "-i", "outgrow-sub", "-d"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start rsub")?;
    let errors = BufReader::new(child.stderr.take().context("piped")?);
    let output = BufReader::new(child.stdout.take().context("piped")?);
    let (ready, is_ready) = channel();
    thread::spawn(move || {
        for line in errors.lines().map_while(Result::ok) {
            if line.contains("Subscribed") {
                let _ = ready.send(());
            }
        }
    });
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            // If `-d` prints to standard output, its lines are mixed with the payloads, which are numbers.
            if line.bytes().all(|byte| byte.is_ascii_digit()) {
                let _ = sender.send((Instant::now(), line));
            }
        }
    });
    let ready = is_ready.recv_timeout(START_TIMEOUT);
    ready.context("rsub has not subscribed")?;
    Ok((Running(child), lines))
}

fn start_publisher() -> Result<(Running, ChildStdin)> {
    let mut command = client("rpub");
    command.args(["-i", "outgrow-pub", "-c", "-l"]);
    let mut child = command
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot start rpub")?;
    let input = child.stdin.take().context("piped")?;
    Ok((Running(child), input))
}
