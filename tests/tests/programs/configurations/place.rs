//! A listener, and the clients that try to publish and subscribe there.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use tests::{Certificates, Program};

/// A listener of a configuration, with the way to connect to it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) port: u16,
    pub(crate) socket: Option<PathBuf>,
    pub(crate) has_certificate: bool,
    pub(crate) is_websocket: bool,
}

/// The credentials with which a client connects.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Login {
    Anonymous,
    User,
    WrongPassword,
}

impl Login {
    const ALL: [Self; 3] = [Self::Anonymous, Self::User, Self::WrongPassword];

    fn options(self) -> &'static str {
        match self {
            Self::Anonymous => "",
            Self::User => "-u me -P secret",
            Self::WrongPassword => "-u me -P wrong",
        }
    }
}

impl Place {
    pub(crate) fn at(port: u16) -> Self {
        Self {
            port,
            socket: None,
            has_certificate: false,
            is_websocket: false,
        }
    }

    pub(crate) fn is_there(&self) -> bool {
        match &self.socket {
            Some(path) => UnixStream::connect(path).is_ok(),
            None => TcpStream::connect(("127.0.0.1", self.port)).is_ok(),
        }
    }

    /// Returns the exit statuses of clients that publish with QoS 1, and of a client that reads what the user has
    /// retained.
    pub(crate) fn results(&self, certificates: &Certificates) -> [i32; 4] {
        let run = |name, login: Login, options: &str| {
            let program = Program::new(name)
                .args("-V 5 --connect-timeout 20s -i probe")
                .args(login.options())
                .args(options);
            self.connect(program, certificates).run().status
        };
        let [anonymous, user, wrong] =
            Login::ALL.map(|login| run("rpub", login, "-t probe/a -m x -q 1 -r"));
        let reader = match user {
            0 => Login::User,
            _ => Login::Anonymous,
        };
        let reads = match anonymous.min(user) {
            0 => run("rsub", reader, "-t probe/a -C 1 -W 1s"),
            _ => -1,
        };
        [anonymous, user, wrong, reads]
    }

    fn connect(&self, program: Program, certificates: &Certificates) -> Program {
        let program = match &self.socket {
            Some(path) => program.arg("--unix").arg(path),
            None => program.args(&format!("-h 127.0.0.1 -p {}", self.port)),
        };
        let program = if self.is_websocket {
            program.arg("--ws")
        } else {
            program
        };
        if !self.has_certificate {
            return program.arg("--no-tls");
        }
        program
            .arg("--cafile")
            .arg(certificates.path("ca.crt"))
            .arg("--cert")
            .arg(certificates.path("me.crt"))
            .arg("--key")
            .arg(certificates.path("me.key"))
    }
}
