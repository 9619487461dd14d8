//! Tests of the look-up with name servers on loopback.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::thread;

use simple_dns::rdata::{RData, SRV};
use simple_dns::{CLASS, Name, Packet, PacketFlag, RCODE, ResourceRecord};

use super::answer::{Answer, in_order};
use super::query::HEADER;
use super::*;

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
fn services_are_those_of_the_name_server_that_answers() {
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
fn truncated_answer_is_requested_over_tcp() {
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
fn invalid_target_names_are_skipped() {
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
fn weights_order_targets_of_the_same_priority() {
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
fn reads_name_servers_and_domain_from_resolv_conf() {
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
