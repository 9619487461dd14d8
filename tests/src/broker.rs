//! Starts brokers for tests: rbroker and mosquitto, each on a free port of the loopback.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::NamedTempFile;

use crate::{Finished, Program, Running};

/// The kind of a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `rbroker -v`.
    Rbroker,
    /// Debian's mosquitto, with `-v`.
    Mosquitto,
}

/// A running broker. Dropping this value kills the broker.
#[derive(Debug)]
pub struct Broker {
    /// The process of the broker.
    pub running: Running,
    /// The port of the broker on 127.0.0.1.
    pub port: u16,
    kind: Kind,
    settings: String,
    verbose: bool,
    _config: NamedTempFile,
}

/// A broker that was stopped and can be started again at the same port.
#[derive(Debug)]
pub struct Stopped {
    port: u16,
    kind: Kind,
    settings: String,
    verbose: bool,
}

impl Stopped {
    /// Starts the broker again.
    pub fn start(self) -> Broker {
        let (port, settings) = (self.port, &self.settings);
        match self.kind {
            Kind::Rbroker => Broker::start_rbroker(port, settings, self.verbose),
            Kind::Mosquitto => Broker::start_mosquitto(port, settings, self.verbose)
                .expect("mosquitto starts again"),
        }
    }
}

impl Broker {
    /// Starts `rbroker` with anonymous access and these further lines of configuration.
    pub fn start(settings: &str) -> Self {
        Self::start_kind(Kind::Rbroker, settings)
    }

    /// Starts a broker of this kind with anonymous access and these further lines of configuration.
    pub fn start_kind(kind: Kind, settings: &str) -> Self {
        Self::start_with(kind, settings, true)
    }

    /// Starts a broker without `-v`, so that its log has no lines about packets.
    pub fn start_silent(kind: Kind, settings: &str) -> Self {
        Self::start_with(kind, settings, false)
    }

    /// Starts a broker. Returns `None` if it does not start: not every build of mosquitto has all features.
    pub fn try_start(kind: Kind, settings: &str) -> Option<Self> {
        match kind {
            Kind::Rbroker => Some(Self::start(settings)),
            Kind::Mosquitto => {
                (0..3).find_map(|_| Self::start_mosquitto(free_port(), settings, true))
            }
        }
    }

    fn start_with(kind: Kind, settings: &str, verbose: bool) -> Self {
        match kind {
            Kind::Rbroker => Self::start_rbroker(0, settings, verbose),
            Kind::Mosquitto => {
                // mosquitto does not accept port 0. Another program may take the free port before mosquitto starts, so
                // several ports are tried.
                let start = |_| Self::start_mosquitto(free_port(), settings, verbose);
                (0..10).find_map(start).expect("mosquitto starts")
            }
        }
    }

    /// Kills the broker without a graceful stop, and starts it again at the same port.
    pub fn restart(mut self) -> Self {
        self.running.kill();
        assert_eq!(self.kind, Kind::Rbroker, "only ours is restarted");
        Self::start_rbroker(self.port, &self.settings, self.verbose)
    }

    /// Ends the broker with SIGTERM and waits until it has ended.
    pub fn stop(self) -> Stopped {
        self.running.signal("TERM");
        let Self {
            running,
            port,
            kind,
            settings,
            verbose,
            ..
        } = self;
        running.wait().success();
        Stopped {
            port,
            kind,
            settings,
            verbose,
        }
    }

    /// Returns the options with which a client connects to the broker.
    pub fn options(&self) -> String {
        format!("-h 127.0.0.1 -p {}", self.port)
    }

    /// Selects a client program that connects to the broker.
    pub fn program(&self, name: &str) -> Program {
        Program::new(name).args(&self.options())
    }

    /// Runs a client program that connects to the broker to its end. The program must exit with status 0.
    pub fn run(&self, name: &str, arguments: &str) -> Finished {
        self.program(name).args(arguments).run().success()
    }

    /// Returns the address of the broker.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Waits until the log contains this text.
    pub fn wait_for_log(&self, text: &str) -> String {
        self.running.wait_for_error(text)
    }

    fn start_rbroker(port: u16, settings: &str, verbose: bool) -> Self {
        // A broker that a test kills leaves its control socket, so brokers of tests have none by default.
        let own = if settings.contains("control_socket ") {
            ""
        } else {
            "control_socket none\n"
        };
        let config = config(port, &format!("{own}{settings}"));
        let command = Program::new("rbroker").args(if verbose { "-v" } else { "" });
        let running = command.arg("-c").arg(config.path()).start();
        let log = running.wait_for_error("running.");
        let (_, rest) = log
            .split_once("Listening on 127.0.0.1:")
            .expect("it says where it listens");
        let port = rest
            .split_once('.')
            .expect("a full stop")
            .0
            .parse()
            .expect("a port");
        let settings = settings.to_owned();
        Self {
            running,
            port,
            kind: Kind::Rbroker,
            settings,
            verbose,
            _config: config,
        }
    }

    fn start_mosquitto(port: u16, settings: &str, verbose: bool) -> Option<Self> {
        let config = config(port, settings);
        let command = Program::new("mosquitto").args(if verbose { "-v" } else { "" });
        let running = command.arg("-c").arg(config.path()).start();
        // Without "running" in its log, mosquitto has printed an error and ends.
        if !running.says("running") {
            return None;
        }
        let settings = settings.to_owned();
        Some(Self {
            running,
            port,
            kind: Kind::Mosquitto,
            settings,
            verbose,
            _config: config,
        })
    }
}

/// Returns the lines of configuration for a broker that keeps its store in this folder.
pub fn stored_in(folder: &Path) -> String {
    let location = folder.display();
    format!("persistence true\npersistence_location {location}/\n")
}

/// The ports that [`free_port`] returns. They are below the ports that systems assign to the client's end of a
/// connection (from 32768 on Linux, from 49152 elsewhere). So no connection takes such a port before its server has
/// started.
const PORTS: std::ops::Range<u16> = 10_001..32_000;

/// Returns a port of the loopback at which no program listens at present. Other calls in this process return other
/// ports.
pub fn free_port() -> u16 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let count = u32::from(PORTS.end - PORTS.start);
    // Test processes that run at the same time start their search at distant ports.
    let start = std::process::id().wrapping_mul(7919);
    for _ in 0..count {
        let offset = start.wrapping_add(CALLS.fetch_add(1, Ordering::Relaxed)) % count;
        let port = PORTS.start + u16::try_from(offset).expect("the offset is within the range");
        // Tests replace ports in texts, where a round number may mean something else.
        if port % 100 != 0 && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("the loopback has no free port from {} on", PORTS.start);
}

fn config(port: u16, settings: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("temporary files can be made");
    let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\n{settings}\n");
    file.write_all(text.as_bytes()).expect("and written");
    // mosquitto reads the file as another user if root has started it.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let readable = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(file.path(), readable).expect("it is ours");
    }
    file
}
