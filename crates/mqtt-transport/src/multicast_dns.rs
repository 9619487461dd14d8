//! Look-ups of names that end in `.local`, such as `raspberrypi.local`, with multicast DNS (RFC 6762).
//!
//! With glibc the system does this (libnss-mdns). musl asks only name servers, so builds with musl send the query
//! themselves. They send a one-shot query (section 5.1) from a port other than 5353, so that responders send their
//! answers to this socket alone.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

/// The group and the port of multicast DNS.
const GROUP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251)), 5353);

/// Time after which a name counts as unknown if no responder has answered.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Time after which the query is repeated, because packets may be lost. The standard permits no shorter time.
const REPEAT: Duration = Duration::from_secs(1);

/// Time to wait for addresses of the other family after the first address has arrived. A host without an address of
/// that family may not answer.
const REST: Duration = Duration::from_millis(100);

/// Maximum number of interfaces on which the query is sent.
const MAXIMUM_INTERFACES: usize = 16;

/// Maximum number of addresses that are kept.
const MAXIMUM_ADDRESSES: usize = 16;

/// Maximum size of a message in bytes (section 17).
const MAXIMUM_MESSAGE: usize = 9000;

/// Maximum sizes in bytes of a domain name and of one of its labels (RFC 1035).
const MAXIMUM_NAME: usize = 255;
const MAXIMUM_LABEL: usize = 63;

/// Number of bytes of a message before the question.
const HEADER: usize = 12;

/// Record types, and the class of the Internet. The upper bit of the class has another meaning in an answer.
const A: u16 = 1;
const AAAA: u16 = 28;
const INTERNET: u16 = 1;

/// Returns `true` if multicast DNS is responsible for this name.
pub(crate) fn is_local(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let lower = name.to_ascii_lowercase();
    lower
        .strip_suffix(".local")
        .is_some_and(|host| !host.is_empty())
}

/// Looks a name up with multicast DNS and with the resolver of the system at the same time. The first answer with
/// addresses counts: the system may know the name from `/etc/hosts`, or from a name server of a company that uses the
/// domain in its own way.
///
/// # Errors
/// Returns the error of the system's resolver if neither finds the name.
pub(crate) fn look_up(
    host: &str,
    port: u16,
    system: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> io::Result<Vec<SocketAddr>> {
    let interfaces = interfaces();
    look_up_at(host, port, GROUP, interfaces, system)
}

fn look_up_at(
    host: &str,
    port: u16,
    group: SocketAddr,
    interfaces: Vec<Ipv4Addr>,
    system: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> io::Result<Vec<SocketAddr>> {
    let (sender, answers) = sync_channel(2);
    let of_system = sender.clone();
    let thread = |name: &str| thread::Builder::new().name(name.into());
    thread("resolver-system").spawn(move || {
        let _ = of_system.send((true, system()));
    })?;
    let name = host.to_owned();
    thread("resolver-local").spawn(move || {
        let addresses = ask(&name, group, &interfaces);
        let with_port = |address| SocketAddr::new(address, port);
        let found = addresses.map(|found| found.into_iter().map(with_port).collect());
        let _ = sender.send((false, found));
    })?;
    let mut error = io::Error::from(ErrorKind::NotFound);
    for (is_of_system, answer) in answers {
        match answer {
            Ok(found) if !found.is_empty() => return Ok(found),
            Err(failed) if is_of_system => error = failed,
            _ => {}
        }
    }
    Err(error)
}

/// Returns the IPv4 addresses of the interfaces of this machine. The query is sent on each of them. If no interface
/// were chosen, the operating system would use only that of its route to the group, and a machine without a default
/// route may have no such route.
fn interfaces() -> Vec<Ipv4Addr> {
    let found = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let address =
        |interface: nix::ifaddrs::InterfaceAddress| Some(interface.address?.as_sockaddr_in()?.ip());
    let mut addresses: Vec<_> = found.filter_map(address).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MAXIMUM_INTERFACES);
    addresses
}

/// Asks for the addresses of a host.
///
/// # Errors
/// Returns an error if the name is invalid, or if no interface can send. If no host answers in time, the list is empty.
fn ask(host: &str, group: SocketAddr, interfaces: &[Ipv4Addr]) -> io::Result<Vec<IpAddr>> {
    let queries = [Query::new(host, A)?, Query::new(host, AAAA)?];
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // Messages of multicast DNS never leave the link; some responders reject those that could have passed a router.
    socket.set_multicast_ttl_v4(255)?;
    let deadline = Instant::now() + TIMEOUT;
    let mut found = Found::default();
    for until in [Instant::now() + REPEAT, deadline] {
        send(&socket, group, interfaces, &queries)?;
        found.receive(&socket, group, &queries, until)?;
        if !found.addresses.is_empty() {
            break;
        }
    }
    Ok(found.addresses)
}

/// Sends the queries from each interface. Returns an error only if no interface can send.
fn send(
    socket: &UdpSocket,
    group: SocketAddr,
    interfaces: &[Ipv4Addr],
    queries: &[Query],
) -> io::Result<()> {
    let mut result = Err(ErrorKind::NetworkUnreachable.into());
    for interface in interfaces {
        let chosen = SockRef::from(socket).set_multicast_if_v4(interface);
        let sent = chosen.and_then(|()| {
            queries
                .iter()
                .try_for_each(|query| socket.send_to(&query.bytes, group).map(drop))
        });
        if sent.is_ok() || result.is_err() {
            result = sent;
        }
    }
    result
}

/// The addresses that were found so far.
#[derive(Default)]
struct Found {
    addresses: Vec<IpAddr>,
    /// Number of queries that were answered.
    answered: usize,
}

impl Found {
    /// Receives answers until all queries are answered or the time has passed.
    fn receive(
        &mut self,
        socket: &UdpSocket,
        group: SocketAddr,
        queries: &[Query],
        until: Instant,
    ) -> io::Result<()> {
        let mut until = until;
        let mut buffer = vec![0; MAXIMUM_MESSAGE];
        while self.answered < queries.len() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            socket.set_read_timeout(Some(left))?;
            let (count, from) = match socket.recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            // Responders answer from the port of the group (section 6); other programs must not answer for them.
            if from.port() != group.port() {
                continue;
            }
            let message = buffer.get(..count).unwrap_or_default();
            let answer = queries.iter().find_map(|query| query.addresses(message));
            let Some(addresses) = answer else {
                continue;
            };
            self.answered += 1;
            if self.addresses.is_empty() && !addresses.is_empty() {
                until = until.min(Instant::now() + REST);
            }
            for address in addresses {
                if self.addresses.len() < MAXIMUM_ADDRESSES && !self.addresses.contains(&address) {
                    self.addresses.push(address);
                }
            }
        }
        Ok(())
    }
}

/// A query for the records of one type.
struct Query {
    bytes: Vec<u8>,
    /// The name in its wire form, in lower case.
    name: Vec<u8>,
    record_type: u16,
}

impl Query {
    fn new(host: &str, record_type: u16) -> io::Result<Self> {
        let invalid = || io::Error::new(ErrorKind::NotFound, "invalid domain name");
        let mut name = Vec::new();
        for label in host.strip_suffix('.').unwrap_or(host).split('.') {
            let length = u8::try_from(label.len()).map_err(|_| invalid())?;
            if !(1..=MAXIMUM_LABEL).contains(&label.len()) {
                return Err(invalid());
            }
            name.push(length);
            name.extend_from_slice(label.to_ascii_lowercase().as_bytes());
        }
        name.push(0);
        if name.len() > MAXIMUM_NAME {
            return Err(invalid());
        }
        let mut bytes = vec![0; HEADER];
        // A random identifier makes it harder to forge an answer. Without random bytes it is zero, as in most queries.
        if let Some(identifier) = bytes.get_mut(..2) {
            let _ = getrandom::fill(identifier);
        }
        if let Some(count) = bytes.get_mut(5) {
            *count = 1;
        }
        bytes.extend_from_slice(&name);
        bytes.extend_from_slice(&record_type.to_be_bytes());
        bytes.extend_from_slice(&INTERNET.to_be_bytes());
        Ok(Self {
            bytes,
            name,
            record_type,
        })
    }

    /// Returns the addresses in a message, or `None` if the message does not answer this query: it has another
    /// identifier or another question, or is malformed.
    fn addresses(&self, message: &[u8]) -> Option<Vec<IpAddr>> {
        let is_response = message.get(2)? & 0x80 != 0;
        let question = message.get(HEADER..self.bytes.len())?;
        let is_same = message.get(..2)? == self.bytes.get(..2)?
            && question.eq_ignore_ascii_case(self.bytes.get(HEADER..)?);
        if !is_response || !is_same || number(message, 4)? != 1 {
            return None;
        }
        // The list grows with the addresses that are found. The count that the message announces may be wrong, so no
        // memory is reserved for it.
        let mut found = Vec::new();
        let mut rest = self.bytes.len();
        for _ in 0..number(message, 6)? {
            let (name, after_name) = name_at(message, rest)?;
            let data = after_name + 10;
            let length = usize::from(number(message, after_name + 8)?);
            let record_data = message.get(data..data + length)?;
            let is_ours = name == self.name
                && number(message, after_name)? == self.record_type
                && number(message, after_name + 2)? & 0x7fff == INTERNET;
            let address = address(record_data).filter(|_| is_ours);
            if let Some(address) = address.filter(|_| found.len() < MAXIMUM_ADDRESSES) {
                found.push(address);
            }
            rest = data + length;
        }
        Some(found)
    }
}

/// Returns the address in the data of a record. A link-local address of IPv6 is useless without its interface and is
/// ignored.
fn address(data: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(data) {
        return Some(Ipv4Addr::from(bytes).into());
    }
    let address = Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?);
    let is_link_local = address.segments().first()? & 0xffc0 == 0xfe80;
    (!is_link_local).then_some(address.into())
}

fn number(message: &[u8], offset: usize) -> Option<u16> {
    let bytes = message.get(offset..offset.checked_add(2)?)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

/// Returns the name at this offset in lower case, and the offset after it.
fn name_at(message: &[u8], offset: usize) -> Option<(Vec<u8>, usize)> {
    let mut name = Vec::new();
    let mut position = offset;
    let mut end = None;
    loop {
        let length = *message.get(position)?;
        if length & 0xc0 == 0xc0 {
            let target = usize::from(number(message, position)? & 0x3fff);
            // A pointer must lead backwards. This rule and the maximum size of a name end every circle of pointers.
            if target >= position {
                return None;
            }
            end = end.or(Some(position + 2));
            position = target;
            continue;
        }
        let next = position + 1 + usize::from(length);
        let label = message.get(position..next)?;
        if usize::from(length) > MAXIMUM_LABEL || name.len() + label.len() > MAXIMUM_NAME {
            return None;
        }
        name.extend_from_slice(&label.to_ascii_lowercase());
        if length == 0 {
            return Some((name, end.unwrap_or(next)));
        }
        position = next;
    }
}

#[cfg(test)]
mod tests;
