//! Look-ups of service records (SRV, RFC 2782), which list the servers of a service in a domain.
//!
//! The resolver of the operating system has no call for SRV records. Therefore this module sends its own query to a
//! name server: over UDP, and again over TCP if the answer is truncated.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use resolv_conf::ScopedIp;
use simple_dns::rdata::{RData, SRV};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, Question, RCODE, TYPE};

use crate::address::LookUp;
use crate::authority::is_host;

/// Time for one name server to answer. After it the next name server is queried.
const PATIENCE: Duration = Duration::from_secs(2);

/// Number of queries to each name server. UDP packets may be lost.
const ROUNDS: usize = 2;

/// Number of bytes before the question in a DNS packet.
const HEADER: usize = 12;

/// Port of name servers.
const PORT: u16 = 53;

/// Name servers and domain of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameServers {
    /// The name servers, in the order in which they are queried.
    pub addresses: Vec<SocketAddr>,
    /// Domain of this machine, or `None` if the configuration names no domain.
    pub domain: Option<String>,
}

impl NameServers {
    /// Reads `/etc/resolv.conf`. If the file lists no name server, returns the address of a name server on this
    /// machine.
    pub fn of_system() -> Self {
        Self::parse(&std::fs::read("/etc/resolv.conf").unwrap_or_default())
    }

    fn parse(file: &[u8]) -> Self {
        let config = resolv_conf::Config::parse(file).unwrap_or_default();
        let address = |server: &ScopedIp| match server {
            ScopedIp::V4(address) => IpAddr::from(*address),
            ScopedIp::V6(address, _) => IpAddr::from(*address),
        };
        let mut addresses: Vec<_> = config
            .nameservers
            .iter()
            .map(|server| SocketAddr::new(address(server), PORT))
            .collect();
        if addresses.is_empty() {
            addresses.push((Ipv4Addr::LOCALHOST, PORT).into());
        }
        let domain = config.get_last_search_or_domain().next().map(String::from);
        Self { addresses, domain }
    }

    /// Starts to look up a service, such as `_mqtt._tcp.example.org`. The results are hosts and ports, in the order in
    /// which the client must try them. The look-up takes at most `timeout`, and then calls `wake` from another thread.
    ///
    /// # Errors
    /// Returns an error if the thread cannot be started. The result of the look-up is an error if the service does not
    /// exist, or if no name server answers.
    pub fn look_up(
        self,
        name: String,
        timeout: Duration,
        wake: impl FnOnce() + Send + 'static,
    ) -> io::Result<LookUp<(String, u16)>> {
        LookUp::in_thread(move || self.services(&name, timeout), wake)
    }

    fn services(&self, name: &str, timeout: Duration) -> io::Result<Vec<(String, u16)>> {
        let deadline = Instant::now() + timeout;
        let mut last_error: io::Error = ErrorKind::TimedOut.into();
        // Packets may be lost, so each name server is queried again after the others.
        for server in self
            .addresses
            .iter()
            .cycle()
            .take(self.addresses.len() * ROUNDS)
        {
            match Query::new(name, deadline)?.ask(*server) {
                Ok(services) => return Ok(services),
                // The domain has no such service. This is a definite answer, so no other name server is queried.
                Err(error) if error.kind() == ErrorKind::NotFound => return Err(error),
                Err(error) => last_error = error,
            }
        }
        Err(last_error)
    }
}

/// Query for the records of one service.
struct Query {
    bytes: Vec<u8>,
    deadline: Instant,
}

impl Query {
    fn new(name: &str, deadline: Instant) -> io::Result<Self> {
        // A random query identifier makes it harder to forge an answer.
        let mut packet = Packet::new_query(random() as u16);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let invalid = |_| io::Error::new(ErrorKind::NotFound, "invalid domain name");
        let name = Name::new(name).map_err(invalid)?;
        let (kind, class) = (QTYPE::TYPE(TYPE::SRV), CLASS::IN.into());
        packet
            .questions
            .push(Question::new(name, kind, class, false));
        Ok(Self {
            bytes: packet.build_bytes_vec().map_err(invalid)?,
            deadline,
        })
    }

    fn ask(&self, server: SocketAddr) -> io::Result<Vec<(String, u16)>> {
        let until = self.deadline.min(Instant::now() + PATIENCE);
        let answer = self.over_udp(server, until)?;
        match Answer::parse(&answer)? {
            Answer::Truncated => match Answer::parse(&self.over_tcp(server)?)? {
                Answer::Services(services) => Ok(services),
                Answer::Truncated => Err(ErrorKind::InvalidData.into()),
            },
            Answer::Services(services) => Ok(services),
        }
    }

    fn over_udp(&self, server: SocketAddr, until: Instant) -> io::Result<Vec<u8>> {
        let any: SocketAddr = match server {
            SocketAddr::V4(_) => ([0; 4], 0).into(),
            SocketAddr::V6(_) => ([0u16; 8], 0).into(),
        };
        // A connected socket receives packets from this name server only, and returns an error if the server's port is
        // closed.
        let socket = UdpSocket::bind(any)?;
        socket.connect(server)?;
        socket.send(&self.bytes)?;
        let mut buffer = [0; 4096];
        loop {
            socket.set_read_timeout(Some(left_until(until)?))?;
            match socket.recv(&mut buffer) {
                // Other packets are late answers to earlier queries, or are forged. They are ignored.
                Ok(count) => {
                    let answer = buffer.get(..count).unwrap_or_default();
                    if self.is_answered_by(answer) {
                        return Ok(answer.to_vec());
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Err(ErrorKind::TimedOut.into());
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn over_tcp(&self, server: SocketAddr) -> io::Result<Vec<u8>> {
        let until = self.deadline.min(Instant::now() + PATIENCE);
        let left = || left_until(until);
        let mut stream = TcpStream::connect_timeout(&server, left()?)?;
        stream.set_write_timeout(Some(left()?))?;
        // DNS limits a name to 255 bytes, so the length of a query always fits.
        let length = u16::try_from(self.bytes.len()).unwrap_or(u16::MAX);
        stream.write_all(&[&length.to_be_bytes(), &self.bytes[..]].concat())?;
        let mut read = |buffer: &mut [u8]| -> io::Result<()> {
            let mut filled = 0;
            while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                // The timeout applies to a single read. It is set before each read, so that all reads together end at
                // `until`.
                stream.set_read_timeout(Some(left()?))?;
                match stream.read(rest)? {
                    0 => return Err(ErrorKind::UnexpectedEof.into()),
                    count => filled += count,
                }
            }
            Ok(())
        };
        let mut length = [0; 2];
        read(&mut length)?;
        // The length has two bytes, so the allocation is at most 64 KiB.
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        read(&mut answer)?;
        if self.is_answered_by(&answer) {
            Ok(answer)
        } else {
            Err(ErrorKind::InvalidData.into())
        }
    }

    /// Returns `true` if `answer` is a reply to this query: identifier and question are equal. An answer with another
    /// question may be forged. The part after the question is not compared, because it may be truncated.
    fn is_answered_by(&self, answer: &[u8]) -> bool {
        let is_reply = answer.get(2).is_some_and(|flags| flags & 0x80 != 0);
        let question = |packet: &[u8]| {
            packet
                .get(HEADER..self.bytes.len())
                .map(<[u8]>::to_ascii_lowercase)
        };
        is_reply
            && answer.get(..2) == self.bytes.get(..2)
            && question(answer) == question(&self.bytes)
    }
}

/// Returns the time until `deadline`, or the error `TimedOut` after it. A timeout of zero would mean no timeout.
fn left_until(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    let too_late = || ErrorKind::TimedOut.into();
    Some(left)
        .filter(|left| !left.is_zero())
        .ok_or_else(too_late)
}

/// Decoded answer of a name server.
enum Answer {
    Services(Vec<(String, u16)>),
    Truncated,
}

impl Answer {
    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let invalid = |_| io::Error::from(ErrorKind::InvalidData);
        // A truncated packet may end within a record, so its records are not parsed.
        if bytes.get(2).is_some_and(|flags| flags & 0x02 != 0) {
            return Ok(Self::Truncated);
        }
        let packet = Packet::parse(bytes).map_err(invalid)?;
        let none = || {
            io::Error::new(
                ErrorKind::NotFound,
                "the DNS has no SRV records of this name",
            )
        };
        match packet.rcode() {
            RCODE::NoError => {}
            RCODE::NameError => return Err(none()),
            code => {
                let text = format!("the DNS server answered with {code:?}");
                return Err(io::Error::other(text));
            }
        }
        let mut records: Vec<&SRV<'_>> = packet
            .answers
            .iter()
            .filter_map(|answer| match &answer.rdata {
                // The target "." means that the domain does not offer the service. It is not a host name and is skipped
                // here.
                RData::SRV(record) if is_host(&record.target.to_string()) => Some(record),
                _ => None,
            })
            .collect();
        if records.is_empty() {
            return Err(none());
        }
        in_order(&mut records, random);
        let service = |record: &SRV<'_>| (record.target.to_string(), record.port);
        Ok(Self::Services(records.into_iter().map(service).collect()))
    }
}

/// Sorts records by priority. Records of the same priority are drawn at random, with a probability proportional to
/// their weights (RFC 2782, page 4).
fn in_order(records: &mut [&SRV<'_>], mut random: impl FnMut() -> u32) {
    // RFC 2782 requires that the records of weight 0 come first in their priority.
    records.sort_by_key(|record| (record.priority, record.weight));
    for same in records.chunk_by_mut(|one, other| one.priority == other.priority) {
        let mut rest = same;
        while rest.len() > 1 {
            let sum: u32 = rest.iter().map(|record| u32::from(record.weight)).sum();
            // The drawn number may equal the sum, so that records of weight 0 can be drawn too (RFC 2782).
            let mut drawn = random() % (sum + 1);
            let chosen = rest.iter().position(|record| {
                let is_chosen = drawn <= u32::from(record.weight);
                drawn = drawn.saturating_sub(u32::from(record.weight));
                is_chosen
            });
            if let Some(part) = rest.get_mut(..=chosen.unwrap_or(0)) {
                part.rotate_right(1);
            }
            rest = rest.get_mut(1..).unwrap_or_default();
        }
    }
}

/// Returns a random number.
fn random() -> u32 {
    let mut bytes = [0; 4];
    // Without random bytes the number is 0, and the records are sorted by weight. This order is valid too.
    let _ = getrandom::fill(&mut bytes);
    u32::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use simple_dns::ResourceRecord;
    use std::net::TcpListener;
    use std::thread;

    fn record(priority: u16, weight: u16, port: u16) -> SRV<'static> {
        SRV {
            priority,
            weight,
            port,
            target: Name::new_unchecked("b.test"),
        }
    }

    fn reply(query: &[u8], records: &[SRV<'static>], flags: PacketFlag) -> Vec<u8> {
        let query = Packet::parse(query).unwrap();
        assert_eq!(query.questions[0].qname.to_string(), "_mqtt._tcp.test");
        let mut reply = Packet::new_reply(query.id());
        reply.questions = query.questions.clone();
        reply.set_flags(flags);
        if records.is_empty() {
            *reply.rcode_mut() = RCODE::NameError;
        }
        for record in records {
            let rdata = RData::SRV(record.clone());
            let name = Name::new_unchecked("_mqtt._tcp.test");
            reply
                .answers
                .push(ResourceRecord::new(name, CLASS::IN, 60, rdata));
        }
        reply.build_bytes_vec().unwrap()
    }

    fn look_up(addresses: Vec<SocketAddr>) -> io::Result<Vec<(String, u16)>> {
        let domain = None;
        NameServers { addresses, domain }.services("_mqtt._tcp.test", Duration::from_secs(20))
    }

    #[test]
    fn services_come_from_the_name_server_that_answers() {
        for records in [vec![record(2, 0, 2), record(1, 0, 1)], Vec::new()] {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let closed = UdpSocket::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap();
            let address = socket.local_addr().unwrap();
            let answers = records.clone();
            let server = thread::spawn(move || {
                let mut buffer = [0; 512];
                let (count, from) = socket.recv_from(&mut buffer).unwrap();
                socket.send_to(b"not for us", from).unwrap();
                // This answer has the right identifier but another question, as a forged answer could have.
                let mut other = reply(&buffer[..count], &[record(0, 0, 9)], PacketFlag::empty());
                other[HEADER + 1] = b'x';
                socket.send_to(&other, from).unwrap();
                let answer = reply(&buffer[..count], &answers, PacketFlag::empty());
                socket.send_to(&answer, from).unwrap();
            });
            let services = look_up(vec![closed, address]);
            server.join().unwrap();
            if records.is_empty() {
                assert_eq!(services.unwrap_err().kind(), ErrorKind::NotFound)
            } else {
                let expected = [("b.test".to_owned(), 1), ("b.test".to_owned(), 2)];
                assert_eq!(services.unwrap(), expected);
            }
        }
    }

    #[test]
    fn a_long_answer_is_asked_for_over_tcp() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let socket = UdpSocket::bind(address).unwrap();
        let server = thread::spawn(move || {
            let mut buffer = [0; 512];
            let (count, from) = socket.recv_from(&mut buffer).unwrap();
            let truncated = reply(&buffer[..count], &[record(1, 0, 1)], PacketFlag::TRUNCATION);
            // The packet ends within its record.
            let cut = &truncated[..truncated.len() - 3];
            socket.send_to(cut, from).unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            let mut query = vec![0; count + 2];
            stream.read_exact(&mut query).unwrap();
            let answer = reply(&query[2..], &[record(1, 0, 7)], PacketFlag::empty());
            let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
            stream.write_all(&[&length[..], &answer].concat()).unwrap();
        });
        let services = look_up(vec![address]).unwrap();
        server.join().unwrap();
        assert_eq!(services, [("b.test".to_owned(), 7)]);
    }

    #[test]
    fn a_target_that_is_no_name_is_passed_over() {
        let mut bad = record(0, 0, 1);
        bad.target = Name::new_with_labels(&[simple_dns::Label::new_unchecked(b"a\r\nX: y")]);
        let query = Query::new("_mqtt._tcp.test", Instant::now()).unwrap();
        let answer = reply(&query.bytes, &[bad, record(1, 0, 2)], PacketFlag::empty());
        match Answer::parse(&answer).unwrap() {
            Answer::Services(services) => assert_eq!(services, [("b.test".to_owned(), 2)]),
            Answer::Truncated => panic!(),
        }
    }

    #[test]
    fn weights_decide_among_the_same_priority() {
        let records = [
            record(1, 0, 1),
            record(1, 10, 2),
            record(1, 30, 3),
            record(0, 0, 4),
        ];
        let order = |draws: [u32; 2]| {
            let mut draws = draws.into_iter();
            let mut records: Vec<_> = records.iter().collect();
            in_order(&mut records, || draws.next().unwrap());
            records.iter().map(|record| record.port).collect::<Vec<_>>()
        };
        assert_eq!(order([0, 0]), [4, 1, 2, 3]);
        assert_eq!(order([10, 10]), [4, 2, 3, 1]);
        assert_eq!(order([40, 1]), [4, 3, 2, 1]);
    }

    #[test]
    fn the_file_of_the_system_names_servers_and_the_domain() {
        let servers =
            NameServers::parse(b"search a.test b.test\nnameserver 10.0.0.1\nnameserver ::2\n");
        let expected = ["10.0.0.1:53".parse().unwrap(), "[::2]:53".parse().unwrap()];
        assert_eq!(servers.addresses, expected);
        assert_eq!(servers.domain.as_deref(), Some("a.test"));
        assert_eq!(
            NameServers::parse(b"").addresses,
            ["127.0.0.1:53".parse().unwrap()]
        );
    }
}
