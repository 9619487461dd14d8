//! Tests of look-ups with multicast DNS: messages, and responders on the loopback interface.

use super::*;
use std::net::SocketAddrV4;
use std::sync::mpsc::channel;

const HOST: &str = "Pi.local";

/// Encoded records of an answer, and the number of records that the answer announces.
struct Records {
    bytes: Vec<u8>,
    count: u16,
}

/// Returns a record with this encoded name. [`TO_QUESTION`] is a pointer to the name in the question.
fn record(name: &[u8], record_type: u16, data: &[u8]) -> Records {
    let length = u16::try_from(data.len()).unwrap();
    let parts = [
        name,
        &record_type.to_be_bytes(),
        // The upper bit tells caches to drop what they have.
        &[0x80, 1],
        &[0, 0, 0, 10],
        &length.to_be_bytes(),
        data,
    ];
    Records {
        bytes: parts.concat(),
        count: 1,
    }
}

const TO_QUESTION: &[u8] = &[0xc0, 12];

fn answer(query: &[u8], records: &[Records]) -> Vec<u8> {
    let mut message = query.to_vec();
    message[2] = 0x84;
    let count: u16 = records.iter().map(|record| record.count).sum();
    message[6..8].copy_from_slice(&count.to_be_bytes());
    for record in records {
        message.extend_from_slice(&record.bytes);
    }
    message
}

fn type_of(query: &[u8]) -> u16 {
    number(query, query.len() - 4).unwrap()
}

#[test]
fn only_names_below_local_are_looked_up() {
    for host in ["pi.local", "PI.LOCAL.", "a.b.local"] {
        assert!(is_local(host), "{host}");
    }
    for host in [
        "local",
        ".local",
        "pi.locale",
        "pi.local.example.org",
        "pilocal",
        "",
    ] {
        assert!(!is_local(host), "{host}");
    }
}

#[test]
fn names_that_no_query_can_hold_are_rejected() {
    let long_label = format!("{}.local", "a".repeat(64));
    let long_name = format!("{}local", "abcdefg.".repeat(32));
    for host in ["a..local", &long_label, &long_name] {
        assert!(Query::new(host, A).is_err(), "{host}");
    }
}

#[test]
fn only_records_of_the_question_count() {
    let query = Query::new(HOST, A).unwrap();
    let other = b"\x02pi\x05other\0";
    let records = [
        record(other, A, &[192, 0, 2, 1]),
        record(TO_QUESTION, AAAA, &[0; 16]),
        record(TO_QUESTION, A, &[192, 0, 2, 2, 3]),
        record(b"\x02pI\x05lOcAl\0", A, &[192, 0, 2, 3]),
        record(TO_QUESTION, A, &[192, 0, 2, 4]),
    ];
    let found = query.addresses(&answer(&query.bytes, &records)).unwrap();
    let expected = [[192, 0, 2, 3], [192, 0, 2, 4]].map(IpAddr::from);
    assert_eq!(found, expected);
}

#[test]
fn link_local_addresses_without_an_interface_are_omitted() {
    let query = Query::new(HOST, AAAA).unwrap();
    let address = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
    let records = [
        record(TO_QUESTION, AAAA, &address("fe80::1")),
        record(TO_QUESTION, AAAA, &address("fd00::1")),
    ];
    let found = query.addresses(&answer(&query.bytes, &records)).unwrap();
    assert_eq!(found, ["fd00::1".parse::<IpAddr>().unwrap()]);
}

#[test]
fn ignores_answers_to_another_question() {
    let query = Query::new(HOST, A).unwrap();
    let good = answer(&query.bytes, &[record(TO_QUESTION, A, &[192, 0, 2, 1])]);
    assert!(query.addresses(&good).is_some());
    // The offsets are those of the two bytes of the identifier, the number of questions, a letter of the name, and the
    // type.
    let type_offset = query.bytes.len() - 3;
    for offset in [0, 1, 5, HEADER + 1, type_offset] {
        let mut bad = good.clone();
        bad[offset] ^= 1;
        assert_eq!(query.addresses(&bad), None, "{offset}");
    }
    let mut question = good;
    question[2] = 0;
    assert_eq!(query.addresses(&question), None);
}

#[test]
fn ignores_malformed_answers() {
    let query = Query::new(HOST, A).unwrap();
    let good = answer(&query.bytes, &[record(TO_QUESTION, A, &[192, 0, 2, 1])]);
    for length in 0..good.len() {
        assert_eq!(query.addresses(&good[..length]), None, "{length}");
    }
    // A count without records, pointers that lead to themselves, forward and in a circle, and a label that is too long.
    let end = u8::try_from(query.bytes.len()).unwrap();
    let many = Records {
        bytes: Vec::new(),
        count: u16::MAX,
    };
    let circle = [&[1, b'a', 0xc0, end][..], &[0; 30]].concat();
    for records in [
        many,
        record(&[0xc0, end], A, &[0; 4]),
        record(&[0xc0, end + 4], A, &[0; 4]),
        record(&circle, A, &[0; 4]),
        record(&[0x7f; 200], A, &[0; 4]),
    ] {
        assert_eq!(query.addresses(&answer(&query.bytes, &[records])), None);
    }
}

#[test]
fn more_addresses_than_the_limit_are_dropped() {
    let query = Query::new(HOST, A).unwrap();
    let records: Vec<_> = (0..200)
        .map(|last| record(TO_QUESTION, A, &[192, 0, 2, last]))
        .collect();
    let found = query.addresses(&answer(&query.bytes, &records)).unwrap();
    assert_eq!(found.len(), MAXIMUM_ADDRESSES);
}

/// Answers both queries as a host with one address does, after answers that must not count.
fn respond(socket: &UdpSocket, address: [u8; 4]) {
    let forger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut buffer = [0; 512];
    for _ in 0..2 {
        let (count, from) = socket.recv_from(&mut buffer).unwrap();
        let query = &buffer[..count];
        let forged = answer(query, &[record(TO_QUESTION, A, &[192, 0, 2, 66])]);
        forger.send_to(&forged, from).unwrap();
        let mut other = forged.clone();
        other[0] ^= 1;
        socket.send_to(&other, from).unwrap();
        socket.send_to(b"not DNS", from).unwrap();
        let records = match type_of(query) {
            A => vec![record(TO_QUESTION, A, &address)],
            _ => Vec::new(),
        };
        socket.send_to(&answer(query, &records), from).unwrap();
    }
}

fn unknown() -> io::Result<Vec<SocketAddr>> {
    Err(io::Error::other("the system does not know the name"))
}

#[test]
fn host_answers_from_the_port_of_the_group() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let group = socket.local_addr().unwrap();
    let responder = thread::spawn(move || respond(&socket, [192, 0, 2, 7]));
    let found = look_up_at(HOST, 1883, group, vec![Ipv4Addr::LOCALHOST], unknown).unwrap();
    responder.join().unwrap();
    assert_eq!(found, ["192.0.2.7:1883".parse().unwrap()]);
}

#[test]
fn loopback_is_among_the_interfaces() {
    assert!(interfaces().contains(&Ipv4Addr::LOCALHOST));
}

#[test]
fn invalid_name_is_left_to_the_system() {
    let known: SocketAddr = "192.0.2.9:1".parse().unwrap();
    let found = look_up("a..local", 1, move || Ok(vec![known]));
    assert_eq!(found.unwrap(), [known]);
}

#[test]
fn answer_of_the_system_needs_no_responder() {
    let (hold, held) = channel::<()>();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let group = socket.local_addr().unwrap();
    let known: SocketAddr = "192.0.2.8:1".parse().unwrap();
    let system = move || {
        drop(hold);
        Ok(vec![known])
    };
    let found = look_up_at(HOST, 1, group, vec![Ipv4Addr::LOCALHOST], system);
    assert!(held.recv().is_err());
    assert_eq!(found.unwrap(), [known]);
}

#[test]
fn unknown_name_ends_with_the_error_of_the_system() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let group = socket.local_addr().unwrap();
    let start = Instant::now();
    let error = look_up_at(HOST, 1, group, vec![Ipv4Addr::LOCALHOST], unknown).unwrap_err();
    assert_eq!(error.to_string(), "the system does not know the name");
    assert!(start.elapsed() >= TIMEOUT);
    // Two queries, repeated once.
    socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 512];
    let received = std::iter::from_fn(|| socket.recv(&mut buffer).ok());
    assert_eq!(received.count(), 4);
}

/// Uses the real group and port, on the loopback interface only. Other responders on this machine share the port.
#[test]
fn responder_in_the_group_is_found() {
    let kind = socket2::Type::DGRAM;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, kind, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(true).unwrap();
    let SocketAddr::V4(group) = GROUP else {
        panic!("the group is of IPv4");
    };
    let local = SocketAddrV4::new(*group.ip(), group.port());
    socket.bind(&SocketAddr::from(local).into()).unwrap();
    let joined = socket.join_multicast_v4(group.ip(), &Ipv4Addr::LOCALHOST);
    joined.unwrap();
    // Answers come from an address of this machine, not from the group.
    let sender = socket2::Socket::new(socket2::Domain::IPV4, kind, None).unwrap();
    sender.set_reuse_address(true).unwrap();
    sender.set_reuse_port(true).unwrap();
    let from = SocketAddrV4::new(Ipv4Addr::LOCALHOST, group.port());
    sender.bind(&SocketAddr::from(from).into()).unwrap();
    let (receiver, sender) = (UdpSocket::from(socket), UdpSocket::from(sender));
    let responder = thread::spawn(move || {
        let mut buffer = [0; 512];
        let mut answered = 0;
        while answered < 2 {
            let (count, from) = receiver.recv_from(&mut buffer).unwrap();
            let query = &buffer[..count];
            // Another program may ask for another name.
            if !query[HEADER..].starts_with(b"\x02pi\x05local\0") {
                continue;
            }
            let records = match type_of(query) {
                A => vec![record(TO_QUESTION, A, &[127, 0, 0, 1])],
                _ => Vec::new(),
            };
            sender.send_to(&answer(query, &records), from).unwrap();
            answered += 1;
        }
    });
    let found = look_up_at(HOST, 7, GROUP, vec![Ipv4Addr::LOCALHOST], unknown).unwrap();
    assert_eq!(found, ["127.0.0.1:7".parse().unwrap()]);
    responder.join().unwrap();
}
