//! Connects to one of several addresses ("Happy Eyeballs", RFC 8305). If an address has failed, or has not answered for
//! a quarter of a second, the next address is tried too. The first address that answers is used.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{Domain, TcpKeepalive, Type};

use crate::socket::Socket;
use crate::stream::Stream;

/// Time after which the next address is tried in parallel.
const HEAD_START: Duration = Duration::from_millis(250);

/// An attempt to connect to one of several addresses. It opens one socket for each address that is being tried.
#[derive(Debug)]
pub struct Connector {
    /// Addresses that have not been tried.
    addresses: VecDeque<SocketAddr>,
    /// Local addresses to connect from. If the list is empty, the operating system chooses the local address.
    local_addresses: Vec<SocketAddr>,
    /// Idle time after which the operating system sends TCP keepalive probes. `None` disables the probes.
    tcp_keep_alive: Option<Duration>,
    /// Sockets whose connection attempts are in progress.
    attempts: Vec<Stream>,
    /// Time at which the next address is tried.
    next_attempt: Instant,
    deadline: Instant,
    last_error: Option<io::Error>,
}

/// State of a [`Connector`].
#[derive(Debug)]
pub enum Connecting {
    /// The attempt is in progress. The caller must call `poll` again on readiness or at [`Connector::poll_timeout`].
    Pending,
    /// A socket is connected. The stream is registered for reading and writing.
    Connected(Stream),
    /// No address can be reached. The error is that of the last failed address.
    Failed(io::Error),
}

impl Connector {
    /// Creates an attempt that must succeed before `deadline`. No packet is sent before the first call of `poll`.
    ///
    /// The first address stays first. The others are sorted so that IPv4 and IPv6 addresses alternate.
    pub fn new(addresses: Vec<SocketAddr>, now: Instant, deadline: Instant) -> Self {
        Self {
            addresses: in_turns(addresses),
            local_addresses: Vec::new(),
            tcp_keep_alive: None,
            attempts: Vec::new(),
            next_attempt: now,
            deadline,
            last_error: None,
        }
    }

    /// Connects from the first of these local addresses that has the family of the server's address. If the list is
    /// empty, the operating system chooses the local address.
    pub fn from_local(self, local_addresses: Vec<SocketAddr>) -> Self {
        Self {
            local_addresses,
            ..self
        }
    }

    /// Sends TCP keepalive probes after this idle time. The probes keep the state in firewalls and NAT routers alive if
    /// the MQTT keep alive is too long for them.
    pub fn with_tcp_keep_alive(self, tcp_keep_alive: Option<Duration>) -> Self {
        Self {
            tcp_keep_alive,
            ..self
        }
    }

    /// Makes progress without blocking, and returns the state.
    pub fn poll(&mut self, registry: &Registry, token: Token, now: Instant) -> Connecting {
        for stream in std::mem::take(&mut self.attempts) {
            match stream.is_connected() {
                // The other attempts are dropped here, which closes their sockets.
                Ok(true) => return Connecting::Connected(stream),
                Ok(false) => self.attempts.push(stream),
                Err(error) => self.last_error = Some(error),
            }
        }
        // After the deadline no new address is tried, so that the error belongs to an address that had time to answer.
        if now >= self.deadline {
            self.attempts.clear();
            self.addresses.clear();
            self.last_error
                // An error of one address is more specific than the timeout.
                .get_or_insert_with(|| io::ErrorKind::TimedOut.into());
        }
        // Older attempts continue in parallel, so a slow address is still used if it answers first.
        while self.attempts.is_empty() || now >= self.next_attempt {
            let Some(address) = self.addresses.pop_front() else {
                break;
            };
            match self.start(address, registry, token) {
                Ok(stream) => {
                    // Only an attempt in progress delays the next address. After an immediate error the loop tries the
                    // next one.
                    self.attempts.push(stream);
                    self.next_attempt = now + HEAD_START;
                }
                Err(error) => self.last_error = Some(error),
            }
        }
        if !self.attempts.is_empty() {
            return Connecting::Pending;
        }
        // The error is absent only if the list of addresses was empty.
        let nothing = || io::ErrorKind::TimedOut.into();
        Connecting::Failed(self.last_error.take().unwrap_or_else(nothing))
    }

    /// Returns the time at which the caller must call `poll` again even if no socket is ready.
    pub fn poll_timeout(&self) -> Instant {
        if self.addresses.is_empty() {
            self.deadline
        } else {
            self.deadline.min(self.next_attempt)
        }
    }

    fn start(&self, address: SocketAddr, registry: &Registry, token: Token) -> io::Result<Stream> {
        let socket = self.connect(address)?;
        // The caller writes all available packets in one call, so Nagle's algorithm would only add delay.
        let _ = socket.set_nodelay(true);
        if let Some(time) = self.tcp_keep_alive {
            let times = TcpKeepalive::new().with_time(time);
            socket2::SockRef::from(&socket).set_tcp_keepalive(&times)?;
        }
        let mut stream = Stream::new(Socket::Tcp(socket)).with_server();
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(stream)
    }

    fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        if self.local_addresses.is_empty() {
            return TcpStream::connect(address);
        }
        // A socket can be bound only to an address of its own family.
        let mut same_family = self.local_addresses.iter();
        let local = same_family
            .find(|local| local.is_ipv4() == address.is_ipv4())
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // mio cannot bind a socket before it connects, so socket2 creates this one.
        socket.set_nonblocking(true)?;
        socket.bind(&(*local).into())?;
        match socket.connect(&address.into()) {
            Err(error) if !is_under_way(&error) => return Err(error),
            _ => {}
        }
        Ok(TcpStream::from_std(socket.into()))
    }
}

/// Sorts addresses so that families alternate. The first address stays first.
fn in_turns(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let of_first = |address: &SocketAddr| address.is_ipv6() == first;
    let (mut same, mut other): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(of_first);
    let mut turns = VecDeque::new();
    while !same.is_empty() || !other.is_empty() {
        turns.extend(same.pop_front());
        turns.extend(other.pop_front());
    }
    turns
}

/// Returns `true` if the error of `connect` means that a non-blocking attempt is in progress.
fn is_under_way(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(EINPROGRESS)
}

/// Error number of Linux, and that of the BSDs and macOS. `ErrorKind::InProgress` needs a newer Rust than the minimum
/// version of this workspace.
const EINPROGRESS: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
    115
} else {
    36
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn connect(addresses: Vec<SocketAddr>) -> io::Result<SocketAddr> {
        let mut poll = mio::Poll::new()?;
        let mut events = mio::Events::with_capacity(8);
        let start = Instant::now();
        let mut connector = Connector::new(addresses, start, start + Duration::from_secs(20));
        loop {
            match connector.poll(poll.registry(), Token(0), Instant::now()) {
                Connecting::Connected(stream) => return stream.peer_address(),
                Connecting::Failed(error) => return Err(error),
                Connecting::Pending => {
                    let wait = connector
                        .poll_timeout()
                        .saturating_duration_since(Instant::now());
                    poll.poll(&mut events, Some(wait))?;
                }
            }
        }
    }

    /// Returns an address without a listener: its port was free a moment ago.
    fn closed() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
    }

    #[test]
    fn next_address_is_tried_after_connection_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        assert_eq!(connect(vec![closed(), open]).unwrap(), open);
    }

    #[test]
    fn connects_from_the_requested_local_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for (local, family_fits) in [("127.0.0.1:0", true), ("[::1]:0", false)] {
            let mut poll = mio::Poll::new().unwrap();
            let start = Instant::now();
            let mut connector =
                Connector::new(vec![address], start, start + Duration::from_secs(20))
                    .from_local(vec![local.parse().unwrap()]);
            let result = loop {
                match connector.poll(poll.registry(), Token(0), Instant::now()) {
                    Connecting::Connected(_) => break true,
                    Connecting::Failed(_) => break false,
                    Connecting::Pending => {
                        let wait = Some(Duration::from_secs(20));
                        poll.poll(&mut mio::Events::with_capacity(8), wait).unwrap();
                    }
                }
            };
            assert_eq!(result, family_fits, "{local}");
        }
        let (_, from) = listener.accept().unwrap();
        assert!(from.ip().is_loopback());
    }

    #[test]
    fn address_families_alternate() {
        let addresses = ["[::1]:1", "[::1]:2", "[::1]:3", "1.1.1.1:1", "1.1.1.1:2"];
        let parsed: Vec<SocketAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let turns: Vec<_> = in_turns(parsed).iter().map(ToString::to_string).collect();
        assert_eq!(
            turns,
            ["[::1]:1", "1.1.1.1:1", "[::1]:2", "1.1.1.1:2", "[::1]:3"]
        );
    }

    /// The first address does not answer, because Linux ignores further connections when a listener's backlog is full.
    #[test]
    #[cfg(target_os = "linux")]
    fn silent_address_does_not_delay_the_next_one() {
        let silent = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        silent
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        silent.listen(0).unwrap();
        let address = silent.local_addr().unwrap().as_socket().unwrap();
        let _queued: Vec<_> = (0..4)
            .map(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(50)))
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        assert_eq!(connect(vec![address, open]).unwrap(), open);
    }

    #[test]
    fn last_error_is_returned_if_no_address_answers() {
        let error = connect(vec![closed(), closed()]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
