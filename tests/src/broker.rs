//! Brokers that tests start: ours and mosquitto, each on a free port of the loopback.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::NamedTempFile;

use crate::{Program, Running};

/// The kind of a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `rbroker -v`.
    Rbroker,
    /// Debian's mosquitto, with `-v`.
    Mosquitto,
}

/// A running broker. It is killed when this value is dropped.
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

/// A broker that was stopped and can be started again at its port.
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
    /// Starts `rbroker` with anonymous access and these additional lines of configuration.
    pub fn start(settings: &str) -> Self {
        Self::start_kind(Kind::Rbroker, settings)
    }

    /// Starts a broker of this kind with anonymous access and these additional lines of configuration.
    pub fn start_kind(kind: Kind, settings: &str) -> Self {
        Self::start_with(kind, settings, true)
    }

    /// Starts a broker without `-v`, so that its log has no lines about packets.
    pub fn start_silent(kind: Kind, settings: &str) -> Self {
        Self::start_with(kind, settings, false)
    }

    /// Starts a broker. Returns `None` if it does not start: not every mosquitto supports all features.
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
                // It does not take port 0; a port that was free may be taken before it starts.
                let start = |_| Self::start_mosquitto(free_port(), settings, verbose);
                (0..10).find_map(start).expect("mosquitto starts")
            }
        }
    }

    /// Kills the broker, as a power cut would, and starts it again at the same port.
    pub fn restart(mut self) -> Self {
        self.running.kill();
        assert_eq!(self.kind, Kind::Rbroker, "only ours is restarted");
        Self::start_rbroker(self.port, &self.settings, self.verbose)
    }

    /// Ends the broker with SIGTERM and waits for it.
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

    /// Returns the address of the broker.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Waits until the log contains this text.
    pub fn wait_for_log(&self, text: &str) -> String {
        self.running.wait_for_error(text)
    }

    fn start_rbroker(port: u16, settings: &str, verbose: bool) -> Self {
        // Nothing is left behind where the system keeps sockets.
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
        // It runs, or has said why not and ends.
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

/// The ports that [`free_port`] gives: below those that systems give to the client's end of a connection (from 32768 on
/// Linux, from 49152 elsewhere), so that no connection takes one before its server has started.
const PORTS: std::ops::Range<u16> = 10_001..32_000;

/// Returns a port of the loopback where nobody listens at the moment. No other call in this process returns it soon.
pub fn free_port() -> u16 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let count = u32::from(PORTS.end - PORTS.start);
    // Processes that run at the same time start far from each other.
    let start = std::process::id().wrapping_mul(7919);
    for _ in 0..count {
        let offset = start.wrapping_add(CALLS.fetch_add(1, Ordering::Relaxed)) % count;
        let port = PORTS.start + u16::try_from(offset).expect("the offset is within the range");
        // A round number may stand in a text for something else than a port.
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
    // mosquitto reads it as another user if it was started by root.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let readable = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(file.path(), readable).expect("it is ours");
    }
    file
}
