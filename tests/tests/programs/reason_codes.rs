//! The text and the exit status of each reason code.

use tests::FakeServer;

use super::failures::{CONNECT, run};

/// The reason codes of CONNACK, and the words of mosquitto for which people search.
const REASONS: &[(u8, &str)] = &[
    (128, "Unspecified error"),
    (129, "Malformed Packet"),
    (130, "Protocol Error"),
    (131, "Implementation specific error"),
    (132, "Unsupported Protocol Version"),
    (133, "Client Identifier not valid"),
    (134, "Bad User Name or Password"),
    (135, "Not authorized"),
    (136, "Server unavailable"),
    (137, "Server busy"),
    (138, "Banned"),
    (140, "Bad authentication method"),
    (144, "Topic Name invalid"),
    (149, "Packet too large"),
    (151, "Quota exceeded"),
    (153, "Payload format invalid"),
    (154, "Retain not supported"),
    (155, "QoS not supported"),
    (156, "Use another server"),
    (157, "Server moved"),
    (159, "Connection rate exceeded"),
    (255, "Unknown reason"),
];

#[test]
fn each_reason_code_of_5_0_has_the_text_and_exit_status_of_mosquitto() {
    for (code, text) in REASONS {
        for (program, arguments) in [
            ("rpub", "-t a -m x -V 5"),
            ("rpub", "-t a -l -V 5"),
            ("rsub", "-t a -V 5"),
            ("rrr", "-t a -e b -m x"),
        ] {
            let connack = [0x20, 3, 0, *code, 0];
            let server = FakeServer::start(&[&[(18, &connack)]], false);
            let finished = run(program, &server, arguments);
            assert_eq!(finished.status, i32::from(*code), "{program} {finished:?}");
            assert!(finished.errors.contains(text), "{program} {finished:?}");
        }
    }
}

/// The words for all other reason codes, which a broker sends with DISCONNECT.
#[test]
fn each_reason_code_of_disconnect_has_the_text_of_mosquitto() {
    for (code, text) in [
        (139_u8, "Server shutting down"),
        (141, "Keep Alive timeout"),
        (142, "Session taken over"),
        (143, "Topic Filter invalid"),
        (147, "Receive Maximum exceeded"),
        (148, "Topic Alias invalid"),
        (150, "Message rate too high"),
        (152, "Administrative action"),
        (158, "Shared Subscriptions not supported"),
        (160, "Maximum connect time"),
        (161, "Subscription Identifiers not supported"),
        (162, "Wildcard Subscriptions not supported"),
    ] {
        let end = [0xE0, 2, code, 0];
        let script: tests::Script<'_> = &[(18, b"\x20\x03\x00\x00\x00"), (9, &end)];
        let server = FakeServer::start(&[script], false);
        let finished = run("rpub", &server, "-t a -m x -q 1 -V 5");
        assert_eq!(finished.status, 4, "{finished:?}");
        let words = finished.errors.to_lowercase();
        assert!(words.contains(&text.to_lowercase()), "{finished:?}");
    }
}

#[test]
fn rrr_reports_a_rejected_connect_of_3_1_1_with_its_own_text() {
    let server = FakeServer::start(&[&[(CONNECT, &[0x20, 2, 0, 1])]], false);
    let finished = run("rrr", &server, "-V 311 -t a -e b -m x");
    assert_eq!(finished.status, 1, "{finished:?}");
    let expected = "Connection error: Connection Refused: unacceptable protocol version.\n";
    assert_eq!(finished.errors, expected);
}
