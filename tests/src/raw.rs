//! Clients and servers that send the bytes of a test, valid or not.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use crate::{PATIENCE, Program, free_port};

/// A client that sends the bytes of a test.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
}

impl RawClient {
    /// Opens a connection and sends nothing.
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the broker listens");
        stream
            .set_nodelay(true)
            .expect("small packets can leave at once");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout can be set");
        stream
            .set_write_timeout(Some(PATIENCE))
            .expect("a timeout can be set");
        Self { stream }
    }

    /// Opens a connection with a clean start, this protocol level and this client identifier. The broker must accept
    /// it.
    pub fn connect(address: SocketAddr, version: u8, identifier: &str) -> Self {
        let mut client = Self::open(address);
        let mut body = b"\x00\x04MQTT".to_vec();
        body.extend([version, 2, 0, 60]);
        if version == 5 {
            body.push(0);
        }
        body.extend([0, identifier.len() as u8]);
        body.extend(identifier.as_bytes());
        client.send(&[&[0x10, body.len() as u8], &body[..]].concat());
        let header = client.read(2);
        assert_eq!(header[0], 0x20);
        client.read(header[1].into());
        client
    }

    /// Sends these bytes. If the peer has closed the connection, the next read shows that.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Reads this number of bytes.
    pub fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream
            .read_exact(&mut bytes)
            .expect("the peer sends as much");
        bytes
    }

    /// Reads until the peer closes the connection.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("it is not closed"),
            _ => bytes,
        }
    }

    /// Sends PINGREQ and waits for PINGRESP. The broker then has handled all packets before.
    pub fn ping(&mut self) {
        self.send(&[0xC0, 0]);
        assert_eq!(self.read(2), [0xD0, 0]);
    }
}

/// The steps of a [`FakeServer`] with one connection. Each step reads a number of bytes and then sends bytes. After the
/// last step the server closes the connection, or waits for the client to close it.
pub type Script<'a> = &'a [(usize, &'a [u8])];

/// A server that follows scripts, for one connection after the other.
#[derive(Debug)]
pub struct FakeServer {
    /// The address at which the server listens.
    pub address: SocketAddr,
    thread: Option<JoinHandle<Vec<Vec<u8>>>>,
}

impl FakeServer {
    /// Serves one connection for each script. After its last step the server closes a connection if `closes` is `true`;
    /// otherwise it reads until the client closes the connection.
    pub fn start(scripts: &[Script<'_>], closes: bool) -> Self {
        // A test may start a second server at this address after the first has ended.
        Self::start_at((Ipv4Addr::LOCALHOST, free_port()).into(), scripts, closes)
    }

    /// Starts a server at this address. See [`FakeServer::start`].
    pub fn start_at(address: SocketAddr, scripts: &[Script<'_>], closes: bool) -> Self {
        let owned = |script: &Script<'_>| script.iter().map(|(n, b)| (*n, b.to_vec())).collect();
        let scripts: Vec<Vec<(usize, Vec<u8>)>> = scripts.iter().map(owned).collect();
        let listener = TcpListener::bind(address).expect("the loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let thread = thread::spawn(move || {
            scripts
                .into_iter()
                .map(|script| serve(&listener, script, closes))
                .collect()
        });
        Self {
            address,
            thread: Some(thread),
        }
    }

    /// Returns the options with which a client connects to the server.
    pub fn options(&self) -> String {
        format!("-h 127.0.0.1 -p {}", self.address.port())
    }

    /// Selects a client program that connects to the server.
    pub fn program(&self, name: &str) -> Program {
        Program::new(name).args(&self.options())
    }

    /// Waits until all connections have ended. Returns the bytes that the client of each connection has sent.
    pub fn received(mut self) -> Vec<Vec<u8>> {
        self.thread
            .take()
            .expect("only taken here")
            .join()
            .expect("the script could be followed")
    }
}

fn serve(listener: &TcpListener, script: Vec<(usize, Vec<u8>)>, closes: bool) -> Vec<u8> {
    let (mut stream, _) = listener.accept().expect("a client comes");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout can be set");
    let mut received = Vec::new();
    for (count, answer) in script {
        let mut bytes = vec![0; count];
        stream
            .read_exact(&mut bytes)
            .expect("the client sends as much");
        received.extend(bytes);
        stream.write_all(&answer).expect("the client is there");
    }
    if !closes {
        let _ = stream.read_to_end(&mut received);
    }
    received
}
