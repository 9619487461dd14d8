//! `%J` with payloads that mosquitto_sub accepts as JSON although they violate the standard.

use tests::{Broker, has_mosquitto};

const PAYLOADS: &[&[u8]] = &[
    b"{\"a\":[1,true,null]}",
    b"\xEF\xBB\xBF{\"a\":1}",
    b"{\"temp\":01,\"x\":-007.50}",
    b"[1.,-.5,1.e3,1e999]",
    b"\x01{\"a\"\x0b:\x1f1}\x02",
    b"\"a\tb\nc\x1f\"",
    b"\"\\u00e9 \\ud83d\\ude00 \\/\"",
    b"{a:1}",
    b"{'a':1}",
    b"[1,]",
    b".5",
    b"+1",
    b"1.2.3",
    b"1e",
    b"--1",
    b"nul",
    b"1 2",
    b"\"a",
    b"\"\\x\"",
    b"\"\\\n\"",
    b"\"\\ud83d\"",
    b"{\"a\":1}\0",
    b"\"\0\"",
];

/// Returns the payloads as this program prints them; empty for payloads that it does not print.
fn printed(program: &str, broker: &Broker) -> Vec<String> {
    let subscriber = broker.program(program);
    let count = format!("-t j/# -C {}", PAYLOADS.len());
    let finished = subscriber.args(&count).args("-F %t=%J;").run().success();
    let text = finished.text();
    let value = |index| {
        let (_, rest) = text.split_once(&format!("j/{index}=")).unwrap();
        let (_, value) = rest.split_once("\"payload\":").unwrap_or_default();
        let value = value.split("};\n").next().unwrap_or_default();
        if rest.starts_with(';') {
            String::new()
        } else {
            value.to_owned()
        }
    };
    (0..PAYLOADS.len()).map(value).collect()
}

#[test]
fn sloppy_json_is_accepted_and_printed_as_mosquitto_sub_does() {
    if !has_mosquitto("sloppy_json_is_accepted_and_printed_as_mosquitto_sub_does") {
        return;
    }
    let broker = Broker::start("");
    for (index, payload) in PAYLOADS.iter().enumerate() {
        let publisher = broker.program("rpub");
        let publisher = publisher.args(&format!("-t j/{index} -s -r -q 1"));
        publisher.input(*payload).run().success();
    }
    let (ours, theirs) = (printed("rsub", &broker), printed("mosquitto_sub", &broker));
    assert_eq!(ours, theirs);
    assert_eq!(ours.iter().filter(|text| !text.is_empty()).count(), 7);
}
