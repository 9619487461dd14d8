//! An MQTT broker for tests, which runs in a thread of the test process.
//!
//! [`TestBroker::start`] starts the broker at a free port of the loopback interface. When it returns, clients can
//! connect. Dropping the value ends the broker. The broker is `rbroker` without the command line, for MQTT 3.1, 3.1.1
//! and 5.0.
//!
//! ```
//! let broker = mqtt_test_broker::TestBroker::start();
//! let stream = std::net::TcpStream::connect(broker.address())?;
//! # drop(stream);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! A test can add lines in the configuration syntax of mosquitto:
//!
//! ```
//! let broker = mqtt_test_broker::TestBroker::start_with("max_queued_messages 10");
//! ```
#![forbid(unsafe_code)]

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use mqtt_broker::{BrokerConfig, Server};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

/// Broker at a free port of the loopback interface. Dropping the value ends the broker.
#[derive(Debug)]
pub struct TestBroker {
    /// Address of the listener. The port is 0 before the first start. Restarts keep the port of the first start.
    address: SocketAddr,
    scheme: &'static str,
    /// Additional lines of configuration.
    settings: String,
    /// Folder with the configuration and the certificates.
    folder: TempDir,
    running: Option<Running>,
}

/// Thread of a running broker.
#[derive(Debug)]
struct Running {
    /// Address of a UDP socket. The broker ends when the socket receives a datagram.
    stop: SocketAddr,
    thread: JoinHandle<()>,
}

/// Host name in the certificate of a broker with TLS.
const HOST: &str = "localhost";

impl TestBroker {
    /// Starts a broker that accepts all clients, without TLS and without a store.
    ///
    /// # Panics
    /// Panics if the broker cannot start.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// Starts a broker with additional lines of configuration, in the syntax of mosquitto. Lines for a listener apply
    /// to the only listener.
    ///
    /// # Panics
    /// Panics if the broker cannot start.
    pub fn start_with(settings: &str) -> Self {
        Self::start_in(folder(), "mqtt", settings.to_owned())
    }

    /// Starts a broker that accepts TLS connections only. The certificate is for `localhost`, and [`Self::ca_file`] is
    /// the file of its authority.
    ///
    /// # Panics
    /// Panics if the broker cannot start.
    pub fn start_with_tls(settings: &str) -> Self {
        let folder = folder();
        write_certificates(folder.path());
        let path = folder.path().display();
        let tls = format!("certfile {path}/server.crt\nkeyfile {path}/server.key\n");
        Self::start_in(folder, "mqtts", format!("{tls}{settings}"))
    }

    fn start_in(folder: TempDir, scheme: &'static str, settings: String) -> Self {
        let mut broker = Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            scheme,
            settings,
            folder,
            running: None,
        };
        broker.restart();
        broker
    }

    /// Returns the address of the broker.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the port of the broker.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the URL of the broker: `mqtt://127.0.0.1:PORT`, or with TLS `mqtts://localhost:PORT`.
    pub fn url(&self) -> String {
        let port = self.port();
        if self.scheme == "mqtts" {
            format!("mqtts://{HOST}:{port}")
        } else {
            format!("{}://{}", self.scheme, self.address)
        }
    }

    /// Returns the file with the certificate of the authority that has signed the certificate of the broker.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// Ends the broker. All clients lose their connections. [`Self::restart`] starts the broker at the same port again.
    /// A broker without a store loses all sessions.
    pub fn stop(&mut self) {
        let Some(Running { stop, thread }) = self.running.take() else {
            return;
        };
        let sent =
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.send_to(&[0], stop));
        // If the datagram could not be sent, joining would block forever. The thread then ends with the test process.
        if sent.is_ok() && thread.join().is_err() {
            eprintln!("the test broker has panicked");
        }
    }

    /// Ends the broker if it runs, and starts it at the same port.
    ///
    /// # Panics
    /// Panics if the broker cannot start.
    pub fn restart(&mut self) {
        self.stop();
        let settings = self.read_settings();
        let (started, result) = mpsc::channel();
        // The server is created in its thread, because `Server` is not `Send`.
        let thread = thread::Builder::new()
            .name("test broker".into())
            .spawn(move || serve(settings, &started))
            .expect("threads can be started");
        match result.recv() {
            Ok(Ok((address, stop))) => {
                self.address = address;
                self.running = Some(Running { stop, thread });
            }
            Ok(Err(error)) => panic!("the test broker cannot start: {error}"),
            Err(_) => panic!("the test broker has panicked"),
        }
    }

    /// Writes the configuration to a file and reads it, so that tests use the same parser as `rbroker`.
    fn read_settings(&self) -> BrokerConfig {
        let path = self.folder.path().join("broker.conf");
        let text = format!(
            "listener {} {}\nallow_anonymous true\ncontrol_socket none\n{}\n",
            self.port(),
            self.address.ip(),
            self.settings,
        );
        write(&path, text.as_bytes());
        match BrokerConfig::read(&path) {
            Ok(settings) => settings,
            Err(error) => panic!("the settings of the test broker are invalid: {error}"),
        }
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs a broker until its UDP socket receives a datagram. Sends the addresses of the listener and of the UDP socket,
/// or the error that prevented the start.
fn serve(settings: BrokerConfig, started: &Sender<Result<(SocketAddr, SocketAddr), String>>) {
    let text = |error: &dyn std::error::Error| error.to_string();
    let bind = || -> Result<_, String> {
        let mut server = Server::bind(settings, &[]).map_err(|error| text(&error))?;
        server.open().map_err(|error| text(&error))?;
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut stop = mio::net::UdpSocket::bind(any_port).map_err(|error| text(&error))?;
        server.stop_on(&mut stop).map_err(|error| text(&error))?;
        let address = server.addresses().next().ok_or("it has no listener")?;
        let stop_address = stop.local_addr().map_err(|error| text(&error))?;
        Ok((server, stop, (address, stop_address)))
    };
    match bind() {
        Ok((mut server, _stop, addresses)) => {
            // If the test has panicked, the receiver was dropped, and no caller could stop this broker.
            if started.send(Ok(addresses)).is_err() {
                return;
            }
            if let Err(error) = server.run() {
                eprintln!("the test broker has ended: {error}");
            }
        }
        Err(error) => {
            let _ = started.send(Err(error));
        }
    }
}

/// Writes the certificate of an authority, and a certificate for [`HOST`] with its key.
fn write_certificates(folder: &Path) {
    let mut params = CertificateParams::default();
    let name = format!("authority of {}", folder.display());
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("keys can be made");
    let authority = CertifiedIssuer::self_signed(params, key).expect("it signs itself");
    let key = KeyPair::generate().expect("keys can be made");
    let params = CertificateParams::new([HOST.to_owned()]).expect("the host is a name");
    let certificate = params.signed_by(&key, &authority).expect("it signs");
    for (file, text) in [
        ("ca.crt", authority.pem()),
        ("server.crt", certificate.pem()),
        ("server.key", key.serialize_pem()),
    ] {
        write(&folder.join(file), text.as_bytes());
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("temporary folders can be made")
}

fn write(path: &Path, bytes: &[u8]) {
    let file = std::fs::File::create(path);
    file.and_then(|mut file| file.write_all(bytes))
        .expect("files can be written to temporary folders");
}

/// The code of the README, which is tested with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpStream;

    /// Connects with MQTT 3.1.1, and returns the first byte of the answer.
    fn first_byte(address: SocketAddr) -> u8 {
        let mut stream = TcpStream::connect(address).unwrap();
        let connect = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00";
        stream.write_all(connect).unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        byte[0]
    }

    #[test]
    fn answers_restarts_at_its_port_and_ends() {
        let mut broker = TestBroker::start();
        let address = broker.address();
        assert_eq!(first_byte(address), 0x20);
        broker.stop();
        assert!(TcpStream::connect(address).is_err());
        broker.restart();
        assert_eq!(broker.address(), address);
        assert_eq!(first_byte(address), 0x20);
        drop(broker);
        assert!(TcpStream::connect(address).is_err());
    }
}
