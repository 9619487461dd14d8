//! A link with a limited rate between a client and a broker, for any number of connections.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

/// The size of the receive buffers of the link. Larger buffers would hide from the sender that the link is slow.
const BUFFER: usize = 16 * 1024;

/// The number of bytes that the link forwards in one piece.
const BLOCK: usize = 4096;

/// A proxy on a free port of the loopback that forwards a limited number of bytes per second in each direction. The
/// proxy runs until the process ends.
#[derive(Debug)]
pub struct SlowLink {
    /// The address that clients connect to.
    pub address: SocketAddr,
}

impl SlowLink {
    /// Starts a link to `server` that forwards `rate` bytes per second in each direction of a connection.
    pub fn start(server: SocketAddr, rate: u32) -> Self {
        let socket = socket_for(server);
        socket
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .expect("the loopback has free ports");
        socket.listen(128).expect("it is bound");
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().expect("it is bound");
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let socket = socket_for(server);
                if socket.connect(&server.into()).is_err() {
                    continue;
                }
                let server = TcpStream::from(socket);
                carry(&client, &server, rate);
                carry(&server, &client, rate);
            }
        });
        Self { address }
    }
}

/// Returns a socket with a small receive buffer. The size is set before the socket connects, so that the socket
/// announces a small TCP window.
fn socket_for(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None);
    let socket = socket.expect("the system has sockets");
    socket
        .set_recv_buffer_size(BUFFER)
        .expect("the size can be set");
    socket
}

/// Forwards bytes from one stream to the other in a thread, and ends both streams with the source.
fn carry(source: &TcpStream, target: &TcpStream, rate: u32) {
    let mut source = source.try_clone().expect("a socket can be shared");
    let mut target = target.try_clone().expect("a socket can be shared");
    thread::spawn(move || {
        let mut block = [0; BLOCK];
        let mut due = Instant::now();
        while let Ok(length @ 1..) = source.read(&mut block) {
            // This sleep is the slowness of the link and does not wait for any event.
            due = due.max(Instant::now()) + Duration::from_secs(1) * length as u32 / rate;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if target.write_all(&block[..length]).is_err() {
                break;
            }
        }
        let _ = target.shutdown(Shutdown::Both);
        let _ = source.shutdown(Shutdown::Both);
    });
}
