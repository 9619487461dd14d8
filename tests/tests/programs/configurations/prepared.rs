//! Prepares a configuration for a broker: replaces ports by free ports, moves paths into a temporary folder, and
//! creates the files that the configuration names. Then starts the broker and tries its clients.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tempfile::TempDir;
use tests::{Certificates, Program, Running, free_port};

use super::configurations;
use super::place::Place;

/// The directives whose value is a file or a folder.
const PATHS: &[&str] = &[
    "acl_file",
    "bridge_cafile",
    "bridge_certfile",
    "bridge_keyfile",
    "cafile",
    "certfile",
    "crlfile",
    "http_dir",
    "include_dir",
    "keyfile",
    "password_file",
    "persistence_location",
    "pid_file",
    "plugin_opt_config_file",
    "psk_file",
];

/// The user `me` with the password `secret`, as mosquitto_passwd 2.0 writes it.
const USERS: &str = "me:$7$101$dA5gFWskNjvwPSP9$8rYCp+0XT43yzJQzBOxCE9Vajc8GMd9+Nl5la2xI2wFcif/5YWAUlR8dQN9V/2UTFm\
                     Rc/2jPRuSI+9UIWPZJrg==\n";

/// The result of starting a configuration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The broker ended with this status.
    Ends(i32),
    /// The broker serves. Each listener has the exit statuses of the clients in `Login::ALL`, and of a reader.
    Serves(Vec<[i32; 4]>),
}

/// A configuration that was prepared for one broker, with all files that it names.
pub(crate) struct Prepared {
    pub(crate) folder: TempDir,
    places: Vec<Place>,
    /// The port for `-p`, if the configuration has no listener.
    default_port: Option<u16>,
    ports: BTreeMap<u16, u16>,
}

impl Prepared {
    pub(crate) fn new(name: &str, certificates: &Certificates) -> Self {
        let mut prepared = Self {
            folder: tempfile::tempdir().unwrap(),
            places: Vec::new(),
            default_port: None,
            ports: BTreeMap::new(),
        };
        let main = configurations().join(format!("{name}.conf"));
        let text = prepared.transplant(&fs::read(main).unwrap(), name, certificates);
        let path = prepared.config();
        fs::write(&path, text).unwrap();
        if prepared.places.is_empty() {
            let port = free_port();
            prepared.default_port = Some(port);
            prepared.places.push(Place::at(port));
        }
        // mosquitto switches to another user if root has started it.
        open_to_everybody(prepared.folder.path());
        prepared
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("broker.conf")
    }

    /// Replaces ports and paths line by line, and creates the files that the lines name.
    fn transplant(&mut self, bytes: &[u8], name: &str, certificates: &Certificates) -> Vec<u8> {
        let lines = bytes.split(|&byte| byte == b'\n');
        let lines: Vec<_> = lines
            .map(|line| match std::str::from_utf8(line) {
                Ok(line) => self.line(line, name, certificates).into_bytes(),
                Err(_) => line.to_vec(),
            })
            .collect();
        lines.join(&b'\n')
    }

    fn line(&mut self, line: &str, name: &str, certificates: &Certificates) -> String {
        let mut words = line.split_whitespace();
        let directive = words.next().unwrap_or("").trim_start_matches('\u{FEFF}');
        let value = words.next().unwrap_or("");
        if directive.starts_with('#') {
            return line.to_owned();
        }
        match directive {
            "listener" | "port" => return self.listener(line, value),
            "address" | "addresses" => return format!("{directive} 127.0.0.1:{}", free_port()),
            "protocol" if value == "websockets" => self.last_place().is_websocket = true,
            "certfile" => self.last_place().has_certificate = true,
            _ => {}
        }
        let path = match directive {
            "log_dest" if value == "file" => words.next().unwrap_or(""),
            directive if PATHS.contains(&directive) => value,
            _ => return line.to_owned(),
        };
        if !path.starts_with('/') || path.starts_with("/dev/") {
            return line.to_owned();
        }
        let place = self.folder.path().join(path.trim_start_matches('/'));
        if !path.starts_with("/missing/") {
            self.provide(directive, &place, name, certificates);
        }
        line.replace(path, place.to_str().unwrap())
    }

    fn listener(&mut self, line: &str, value: &str) -> String {
        let digits: String = value.chars().take_while(char::is_ascii_digit).collect();
        let Ok(port) = digits.parse() else {
            return line.to_owned();
        };
        if port == 0 {
            let path = line.split_whitespace().nth(2).unwrap();
            let place = self.folder.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            self.places.push(Place {
                socket: Some(place.clone()),
                ..Place::at(0)
            });
            // A relative name is unchanged.
            return if path.starts_with('/') {
                line.replace(path, place.to_str().unwrap())
            } else {
                line.to_owned()
            };
        }
        let free = *self.ports.entry(port).or_insert_with(free_port);
        match self.places.last_mut() {
            // Lines of the default listener may come before its `port` line.
            Some(place) if place.port == 0 && place.socket.is_none() => place.port = free,
            _ => self.places.push(Place::at(free)),
        }
        line.replacen(&digits, &free.to_string(), 1)
    }

    /// Returns the listener to which a line belongs. Lines before the first listener belong to the default listener.
    fn last_place(&mut self) -> &mut Place {
        if self.places.is_empty() {
            self.places.push(Place::at(0));
        }
        self.places.last_mut().unwrap()
    }

    /// Creates the file or folder that a line names.
    fn provide(&mut self, directive: &str, path: &Path, name: &str, certificates: &Certificates) {
        let parent = path.parent().unwrap();
        fs::create_dir_all(parent).unwrap();
        let copy = |from: &Path| assert!(fs::copy(from, path).is_ok(), "{from:?}");
        let certificate = |from: &str| copy(&certificates.path(from));
        match directive {
            "password_file" => fs::write(path, USERS).unwrap(),
            "acl_file" => {
                let own = configurations().join(format!("{name}.acl"));
                copy(&own);
            }
            "psk_file" => fs::write(path, "me:0123456789abcdef\n").unwrap(),
            // Users often name this file in `cafile`, too.
            "cafile" | "certfile" if path.ends_with("fullchain.pem") => {
                let parts = ["server.crt", "ca.crt"].map(|part| certificates.path(part));
                let chain = parts.map(|part| fs::read_to_string(part).unwrap());
                fs::write(path, chain.concat()).unwrap();
            }
            "certfile" | "bridge_certfile" => certificate("server.crt"),
            "keyfile" | "bridge_keyfile" => certificate("server.key"),
            "cafile" | "bridge_cafile" => certificate("ca.crt"),
            "crlfile" => certificate("crl.pem"),
            "http_dir" | "persistence_location" => fs::create_dir_all(path).unwrap(),
            "include_dir" => {
                fs::create_dir_all(path).unwrap();
                let parts = configurations().join(format!("{name}.d"));
                let mut parts: Vec<_> = fs::read_dir(parts).into_iter().flatten().collect();
                parts.sort_by_key(|part| part.as_ref().unwrap().file_name());
                for part in parts {
                    let part = part.unwrap();
                    let bytes = fs::read(part.path()).unwrap();
                    let text = self.transplant(&bytes, name, certificates);
                    fs::write(path.join(part.file_name()), text).unwrap();
                }
            }
            _ => {}
        }
    }

    /// Starts a broker with the configuration, and tries its clients.
    pub(crate) fn outcome(
        &self,
        broker: &str,
        certificates: &Certificates,
    ) -> Result<(Outcome, String), String> {
        let mut program = Program::new(broker)
            .folder(self.folder.path())
            .arg("-c")
            .arg(self.config());
        if let Some(port) = self.default_port {
            program = program.args(&format!("-p {port}"));
        }
        let mut running = program.start();
        if !self.waits_for(&mut running)? {
            let finished = running.wait();
            return Ok((Outcome::Ends(finished.status), finished.errors));
        }
        let places = self.places.iter();
        let results = places.map(|place| place.results(certificates)).collect();
        // A broker may find an error after it has opened its listeners.
        if running.has_ended() {
            let finished = running.wait();
            return Ok((Outcome::Ends(finished.status), finished.errors));
        }
        Ok((Outcome::Serves(results), running.error_so_far()))
    }

    /// Waits until all listeners accept connections. Returns `false` if the broker has ended.
    fn waits_for(&self, running: &mut Running) -> Result<bool, String> {
        let start = Instant::now();
        while !self.places.iter().all(Place::is_there) {
            if running.has_ended() {
                return Ok(false);
            }
            if start.elapsed() > tests::PATIENCE {
                let said = running.error_so_far();
                return Err(format!("it does not listen: {:?} {said}", self.places));
            }
            std::thread::yield_now();
        }
        Ok(true)
    }
}

fn open_to_everybody(path: &Path) {
    let data = fs::metadata(path).unwrap();
    if data.is_dir() {
        fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
        for entry in fs::read_dir(path).unwrap() {
            open_to_everybody(&entry.unwrap().path());
        }
    } else {
        fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    }
}
