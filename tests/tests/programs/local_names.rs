//! Names such as `raspberrypi.local`, which hosts answer for themselves with multicast DNS.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::thread;

use tests::{Broker, PATIENCE, Program};

/// The group and the port of multicast DNS.
const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 251), 5353);

/// The name of the host, in the encoding of the DNS.
const NAME: &[u8] = b"\x0crpubsub-test\x05local\0";

/// Number of bytes of a message before the question.
const HEADER: usize = 12;

/// The type of the records that have an IPv4 address, and the class of the Internet.
const ADDRESS_QUESTION: [u8; 4] = [0, 1, 0, 1];

#[test]
#[ignore = "only builds with musl look the name up: `cargo xtask emulate` runs it"]
fn host_below_local_is_found_by_multicast_dns() {
    answer_for_loopback();
    let broker = Broker::start("");
    let to_host = format!("-h rpubsub-test.local -p {}", broker.port);
    let subscriber = Program::new("rsub")
        .args(&to_host)
        .args("-t t -C 1 -d")
        .start();
    subscriber.wait_for_error("Subscribed");
    let publisher = Program::new("rpub").args(&to_host).args("-t t -m hello");
    publisher.run().success();
    assert_eq!(subscriber.wait().success().text(), "hello\n");
}

/// Starts a responder on the loopback interface. It answers that the host has the address 127.0.0.1, until no program
/// has asked for a while.
fn answer_for_loopback() {
    let receiver = socket(GROUP);
    let group = GROUP.ip();
    receiver
        .join_multicast_v4(group, &Ipv4Addr::LOCALHOST)
        .unwrap();
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    // Answers come from an address of this machine, not from the group.
    let sender = socket(SocketAddrV4::new(Ipv4Addr::LOCALHOST, GROUP.port()));
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((count, from)) = receiver.recv_from(&mut buffer) {
            if let Some(answer) = answer(&buffer[..count]) {
                sender.send_to(&answer, from).unwrap();
            }
        }
    });
}

/// Returns a socket that shares its address with other responders on this machine.
fn socket(address: SocketAddrV4) -> UdpSocket {
    let kind = socket2::Type::DGRAM;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, kind, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.into()
}

/// Returns the answer to a query for the host, or `None` for other messages. The host has no IPv6 address.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let question = query.get(HEADER..)?.strip_prefix(NAME)?;
    let mut answer = query.to_vec();
    // A response by the owner of the name.
    answer[2] = 0x84;
    if question == ADDRESS_QUESTION {
        answer[7] = 1;
        // A pointer to the name in the question, type, class, time to live, and the address with its length.
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0x80, 1, 0, 0, 0, 10, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}
