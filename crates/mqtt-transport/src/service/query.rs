//! [`Query`]: a question to a name server, over UDP, and over TCP if the answer is truncated.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, Question, TYPE};

use super::answer::{Answer, random};

/// Time for one name server to answer. After it the next name server is queried.
const PATIENCE: Duration = Duration::from_secs(2);

/// Number of bytes before the question in a DNS packet.
pub(super) const HEADER: usize = 12;

/// Query for the records of one service.
pub(super) struct Query {
    pub(super) bytes: Vec<u8>,
    deadline: Instant,
}

impl Query {
    pub(super) fn new(name: &str, deadline: Instant) -> io::Result<Self> {
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

    pub(super) fn ask(&self, server: SocketAddr) -> io::Result<Vec<(String, u16)>> {
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

/// Returns the time until `deadline`, or the error `TimedOut` after it. The sockets of `std` reject a timeout of zero.
fn left_until(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    let too_late = || ErrorKind::TimedOut.into();
    Some(left)
        .filter(|left| !left.is_zero())
        .ok_or_else(too_late)
}
