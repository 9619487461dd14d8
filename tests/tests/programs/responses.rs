//! The messages that `rrr` accepts as the response, and those that it ignores.

use tests::{FakeServer, Script};

/// A retained message on the response topic is older than the request. `rrr` does not wait for the end of its QoS 2
/// exchange: this server never answers PUBREC.
#[test]
fn retained_message_from_before_is_not_the_response() {
    for (version, accept, suback, publish) in [
        (
            "311",
            &b"\x20\x02\0\0"[..],
            &b"\x90\x03\0\x01\x02"[..],
            &b"\0\x01b"[..],
        ),
        ("5", b"\x20\x03\0\0\0", b"\x90\x04\0\x01\0\x02", b"\0\x01b"),
    ] {
        let message = |first: u8, identifier: u8, payload: &[u8]| {
            let properties: &[u8] = if version == "5" { b"\0" } else { b"" };
            let body = [publish, &[0, identifier], properties, payload].concat();
            [&[first, body.len() as u8], &body[..]].concat()
        };
        let old = [suback, &message(0x35, 7, b"old")].concat();
        let response = message(0x34, 8, b"new");
        // The lengths of CONNECT, SUBSCRIBE, and the request with the PUBREC for the old message.
        let counts = if version == "5" {
            [18, 9, 11 + 4]
        } else {
            [14, 8, 6 + 4]
        };
        let script: Script<'_> = &[
            (counts[0], accept),
            (counts[1], &old),
            (counts[2], &response),
        ];
        let server = FakeServer::start(&[script], false);
        let command = server.program("rrr");
        let start = std::time::Instant::now();
        let finished = command.args(&format!("-V {version} -t a -e b -m x")).run();
        assert_eq!(finished.success().text(), "new\n");
        assert!(start.elapsed().as_secs() < 4, "it waits for no PUBREL");
        let received = server.received();
        assert!(
            received[0].ends_with(b"\x50\x02\0\x08\xE0\0"),
            "{received:?}"
        );
    }
}
