//! A proxy between a client and a broker. It records the bytes of both, and can cut their connections.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use crate::PATIENCE;

/// The end that sent the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// A proxy on a free port of the loopback.
#[derive(Debug)]
pub struct Proxy {
    /// The address at which the proxy listens.
    pub address: SocketAddr,
    record: Arc<Record>,
}

/// The bytes of both ends of a connection, in the order of [`From`].
#[derive(Debug, Default)]
struct Ends {
    bytes: [Vec<u8>; 2],
    client_ended: bool,
}

#[derive(Debug, Default)]
struct Record {
    connections: Mutex<Vec<Ends>>,
    changed: Condvar,
    /// The two sockets of each connection since the last cut.
    sockets: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Starts a proxy that forwards all connections to this server. The proxy runs until the process ends.
    pub fn start(server: SocketAddr) -> Self {
        Self::start_with(server, None)
    }

    /// Starts a proxy that forwards at most `bytes_per_second` in each direction of a connection.
    pub fn start_slow(server: SocketAddr, bytes_per_second: usize) -> Self {
        Self::start_with(server, Some(bytes_per_second))
    }

    fn start_with(server: SocketAddr, rate: Option<usize>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let record = Arc::new(Record::default());
        let shared = Arc::clone(&record);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(server) else {
                    return;
                };
                let index = shared.add();
                for socket in [&client, &server] {
                    let socket = socket.try_clone().expect("a socket can be shared");
                    shared.sockets().push(socket);
                }
                pass(&shared, index, From::Client, &client, &server, rate);
                pass(&shared, index, From::Server, &server, &client, rate);
            }
        });
        Self { address, record }
    }

    /// Ends all connections at both ends, like a failure of the network. The proxy forwards new connections.
    pub fn cut(&self) {
        for socket in self.record.sockets().drain(..) {
            // A connection that has ended already returns an error, which does not matter.
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Waits until all clients have closed their connections. Returns the bytes that the client of each connection has
    /// sent.
    pub fn sent(&self) -> Vec<Vec<u8>> {
        self.wait_until(|connections| connections.iter().all(|ends| ends.client_ended));
        let connections = self.record.lock();
        let sent = connections
            .iter()
            .map(|ends| ends.bytes[From::Client as usize].clone());
        sent.collect()
    }

    /// Waits until the bytes of one end of any connection satisfy a condition. Returns `false` after [`PATIENCE`].
    pub fn wait_for(&self, from: From, likes: impl Fn(&[u8]) -> bool) -> bool {
        self.wait_until(|connections| {
            connections
                .iter()
                .any(|ends| likes(&ends.bytes[from as usize]))
        })
    }

    fn wait_until(&self, is_so: impl Fn(&[Ends]) -> bool) -> bool {
        let waited = self
            .record
            .changed
            .wait_timeout_while(self.record.lock(), PATIENCE, |connections| {
                !is_so(connections)
            })
            .expect("no panic while locked");
        !waited.1.timed_out()
    }
}

impl Record {
    fn lock(&self) -> MutexGuard<'_, Vec<Ends>> {
        self.connections.lock().expect("no panic while locked")
    }

    fn sockets(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.sockets.lock().expect("no panic while locked")
    }

    fn add(&self) -> usize {
        let mut connections = self.lock();
        connections.push(Ends::default());
        connections.len() - 1
    }
}

/// Forwards the bytes of one direction in a thread until the source ends, and then ends the target.
fn pass(
    record: &Arc<Record>,
    index: usize,
    from: From,
    source: &TcpStream,
    target: &TcpStream,
    rate: Option<usize>,
) {
    let record = Arc::clone(record);
    let mut source = source.try_clone().expect("a socket can be shared");
    let mut target = target.try_clone().expect("a socket can be shared");
    thread::spawn(move || {
        let mut block = [0; 4096];
        while let Ok(length @ 1..) = source.read(&mut block) {
            // The bytes are recorded before they are forwarded. So a test that sees their effect also finds them in the
            // record.
            record.lock()[index].bytes[from as usize].extend_from_slice(&block[..length]);
            record.changed.notify_all();
            if target.write_all(&block[..length]).is_err() {
                break;
            }
            if let Some(rate) = rate {
                thread::sleep(Duration::from_secs_f64(length as f64 / rate as f64));
            }
        }
        record.lock()[index].client_ended |= from == From::Client;
        record.changed.notify_all();
        let _ = target.shutdown(std::net::Shutdown::Write);
        if from == From::Server {
            let _ = source.shutdown(std::net::Shutdown::Both);
            let _ = target.shutdown(std::net::Shutdown::Both);
        }
    });
}
