//! `cargo xtask demo`: exchanges messages with the real programs, as a user would. The demo prints the output of the
//! programs, and checks it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::{cargo, run as run_command, target};

/// Maximum time that the demo waits for a line before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running program. Dropping it kills the program.
struct Program {
    name: &'static str,
    child: Child,
    errors: Receiver<String>,
    output: Receiver<String>,
}

pub(crate) fn run() -> Result<()> {
    println!("Building the programs, which takes some minutes the first time …");
    run_command(&mut cargo(
        "build --release --package mqtt-cli --bins --locked",
    ))?;

    let broker = start("rbroker", "-p 0 -v")?;
    let address = broker.wait_for_error("Listening on 127.0.0.1:")?;
    let port = address
        .rsplit_once(':')
        .context("an address has a port")?
        .1
        .trim_end_matches('.');
    broker.wait_for_error("running.")?;

    let arguments = format!("-h 127.0.0.1 -p {port} -t # -v -q 2 -C 3 -d -i rsub");
    println!(
        "\n$ rbroker -p {port} -v &\n$ rsub {} &",
        arguments.replace('#', "'#'")
    );
    let subscriber = start("rsub", &arguments)?;
    subscriber.wait_for_error("Subscribed")?;

    let mut seen = Vec::new();
    for (qos, payload) in [(0, "21.0"), (1, "22.0"), (2, "23.0")] {
        let arguments =
            format!("-h 127.0.0.1 -p {port} -t temp/random -m {payload} -q {qos} --trace -i rpub");
        println!("$ rpub {arguments}");
        let publisher = start("rpub", &arguments)?;
        let line = subscriber.wait_for_line()?;
        println!("{line}");
        ensure!(
            line == format!("temp/random {payload}"),
            "rsub printed {line:?}"
        );
        seen = publisher.finish()?.1;
    }
    let (_, received) = subscriber.finish()?;

    show(
        "What rpub --trace shows of QoS 2",
        &seen,
        &["PUBLISH", "PUBREC", "PUBREL", "PUBCOMP"],
    )?;
    let at_the_end = received
        .into_iter()
        .skip_while(|line| !line.contains("q2,"))
        .collect::<Vec<_>>();
    show(
        "What rsub -d shows of it",
        &at_the_end,
        &["PUBLISH", "PUBREC", "PUBREL", "PUBCOMP"],
    )?;
    let log = broker.stop()?;
    let from_qos_2: Vec<_> = log
        .iter()
        .skip_while(|line| !line.contains("Received PUBLISH from rpub (d0, q2,"))
        .filter(|line| line.contains("ing PUB") || line.contains("ived PUB"))
        .cloned()
        .collect();
    let packets = [
        "PUBLISH", "PUBLISH", "PUBREC", "PUBREL", "PUBCOMP", "PUBREC", "PUBREL", "PUBCOMP",
    ];
    show("What rbroker -v shows of it", &from_qos_2, &packets)?;
    println!("\nEach message arrived once. The demo has ended its programs; all is well.");
    Ok(())
}

/// Prints the lines about packets, and checks that they name exactly these packets. The order is not checked, because
/// the packets of the two clients may be interleaved.
fn show(title: &str, lines: &[String], packets: &[&str]) -> Result<()> {
    println!("\n{title}:");
    let mut expected = packets.to_vec();
    for line in lines.iter().filter(|line| line.contains(" PUB")) {
        println!("  {line}");
        let word = line.split_whitespace().find(|word| word.starts_with("PUB"));
        let index = expected.iter().position(|packet| Some(*packet) == word);
        match index {
            Some(index) => drop(expected.remove(index)),
            None => bail!("{line:?} was not expected"),
        }
    }
    ensure!(expected.is_empty(), "{expected:?} is missing");
    Ok(())
}

fn start(name: &'static str, arguments: &str) -> Result<Program> {
    let path = target().join("release").join(name);
    let mut child = Command::new(path)
        .args(arguments.split_whitespace())
        // A demo that fails kills the broker, which then cannot remove its control socket. This folder keeps the socket
        // out of /run.
        .env("XDG_RUNTIME_DIR", target())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let errors = lines(child.stderr.take().context("piped")?);
    let output = lines(child.stdout.take().context("piped")?);
    Ok(Program {
        name,
        child,
        errors,
        output,
    })
}

impl Program {
    fn wait_for_error(&self, text: &str) -> Result<String> {
        loop {
            let line = self.errors.recv_timeout(PATIENCE);
            let line = line.with_context(|| format!("{} does not say {text:?}", self.name))?;
            if line.contains(text) {
                return Ok(line);
            }
        }
    }

    fn wait_for_line(&self) -> Result<String> {
        self.output
            .recv_timeout(PATIENCE)
            .with_context(|| format!("{} prints nothing", self.name))
    }

    /// Waits until the program ends with success. Returns the lines of standard output and of standard error.
    fn finish(mut self) -> Result<(Vec<String>, Vec<String>)> {
        let output = self.rest(&self.output)?;
        let errors = self.rest(&self.errors)?;
        let status = self.child.wait()?;
        ensure!(
            status.success(),
            "{} ended with {status}: {errors:?}",
            self.name
        );
        Ok((output, errors))
    }

    /// Sends SIGTERM to the program, and waits for its end. Returns the lines of standard error.
    fn stop(self) -> Result<Vec<String>> {
        let id = self.child.id().to_string();
        run_command(Command::new("kill").args(["-s", "TERM", &id]))?;
        Ok(self.finish()?.1)
    }

    fn rest(&self, lines: &Receiver<String>) -> Result<Vec<String>> {
        let mut rest = Vec::new();
        loop {
            match lines.recv_timeout(PATIENCE) {
                Ok(line) => rest.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return Ok(rest),
                Err(error) => bail!("{} does not end: {error}", self.name),
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
