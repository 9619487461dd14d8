//! Tests of the stream on loopback sockets.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::*;

#[test]
fn first_answers_of_a_server_are_acknowledged_immediately() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let seen = socket.try_clone().unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let mut client = Stream::new(Socket::Tcp(mio::net::TcpStream::from_std(socket))).with_server();
    for _ in 0..DIALOGUE {
        assert_eq!(client.write(b"?").unwrap(), 1);
        server.read_exact(&mut [0]).unwrap();
        // By now the operating system would delay the acknowledgement if the option were not set.
        assert!(socket2::SockRef::from(&seen).tcp_quickack().unwrap());
        server.write_all(b"!").unwrap();
        client.read(&mut [0]).unwrap();
    }
}

/// The test polls no readiness between the reads, because some systems report the end only after `WouldBlock`.
#[test]
fn short_read_does_not_end_reading() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    peer.write_all(b"abc").unwrap();
    drop(peer);
    // The bytes have arrived when another handle of the same socket can see them.
    let seen = socket.try_clone().unwrap();
    while seen.peek(&mut [0; 4]).unwrap() < 3 {
        std::thread::yield_now();
    }
    socket.set_nonblocking(true).unwrap();
    let mut stream = Stream::new(Socket::Tcp(mio::net::TcpStream::from_std(socket)));
    let mut buffer = [0; 100];
    let mut all = Vec::new();
    let status = loop {
        let (count, status) = stream.read(&mut buffer).unwrap();
        all.extend(&buffer[..count]);
        match status {
            ReadStatus::More => {}
            status => break status,
        }
    };
    assert_eq!((&all[..], status), (&b"abc"[..], ReadStatus::Closed));
}

#[test]
fn peer_that_writes_as_quickly_as_this_end_reads_does_not_keep_a_call_busy() {
    let mut buffer = [0; 100];
    let read = read_some(|_| Ok(1), &mut buffer);
    assert_eq!(read.unwrap(), (READS_PER_CALL, ReadStatus::More));
}

#[test]
fn one_call_reads_a_bounded_number_of_bytes_without_payload() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let room = socket2::SockRef::from(&listener).set_recv_buffer_size(1 << 20);
    room.unwrap();
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    let seen = socket.try_clone().unwrap();
    let layers = crate::listener_transport::ListenerTransport::default()
        .with_websocket(Vec::new())
        .layers();
    let stream = Stream::new(Socket::Tcp(mio::net::TcpStream::from_std(socket)));
    let mut server = stream.with_layers(layers.unwrap());
    let request = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Protocol: mqtt\r\n\r\n";
    let frames = b"\x82\x80\0\0\0\0".repeat(25_000);
    let sent = [request.as_bytes(), &frames].concat();
    peer.write_all(&sent).unwrap();
    let mut block = vec![0; 1 << 20];
    let mut waiting = || seen.peek(&mut block).unwrap_or(0);
    while waiting() < sent.len() {
        std::thread::yield_now();
    }
    let mut buffer = [0; 100];
    let read = server.read(&mut buffer).unwrap();
    assert_eq!(read, (0, ReadStatus::More));
    assert!(server.is_open());
    assert_eq!(waiting(), sent.len() - READS_PER_CALL * CHUNK);
    while server.read(&mut buffer).unwrap() == (0, ReadStatus::More) {}
    assert_eq!(waiting(), 0);
}
