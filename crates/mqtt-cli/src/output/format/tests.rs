//! Samples of mosquitto_sub's behaviour: formats and the text that mosquitto_sub prints for them.

use mqtt_codec::*;

use super::*;

/// The message of the samples: QoS 1, retained, with every property.
fn sample() -> (Message, Delivery) {
    let mut message = Message::new(TopicName::new("fm/top ic").unwrap(), "hello");
    message.retain = true;
    let properties = MessageProperties::new([
        Property::ContentType("text/plain"),
        Property::CorrelationData(b"co rr"),
        Property::PayloadFormatIndicator(true),
        Property::ResponseTopic("r/t"),
        Property::User("k1", "v1"),
        Property::User("k2", "v 2"),
        Property::MessageExpiryInterval(3594),
        Property::User("k1", "dup"),
    ]);
    message.properties = Some(Box::new(properties.unwrap()));
    let delivery = Delivery::AtLeastOnce {
        packet_identifier: PacketIdentifier::FIRST,
        dup: false,
    };
    (message, delivery)
}

fn formatted(format: &str, message: &Message, delivery: Delivery, style: Style) -> Vec<u8> {
    let mut out = Vec::new();
    let format = Format::parse(format.as_bytes()).unwrap();
    let identifiers = [SubscriptionIdentifier::new(42).unwrap()];
    let mut publish = message.publish(delivery);
    if message.properties.is_some() {
        publish.properties.subscription_identifiers = SubscriptionIdentifiers::new(&identifiers);
    }
    format.write(&publish, None, style, &mut out);
    out
}

fn text(format: &str) -> String {
    let (message, delivery) = sample();
    String::from_utf8(formatted(format, &message, delivery, Style::default())).unwrap()
}

fn of_payload(format: &str, payload: &[u8]) -> String {
    let message = Message::new(TopicName::new("t").unwrap(), payload.to_vec());
    let out = formatted(format, &message, Delivery::AtMostOnce, Style::default());
    String::from_utf8(out).unwrap()
}

#[test]
fn topic_aliases_are_printed() {
    let mut publish = sample();
    publish.0.properties = None;
    let (message, delivery) = &publish;
    let mut publish = message.publish(*delivery);
    publish.properties.topic_alias = TopicAlias::new(7);
    for (format, expected) in [("%A", "7"), ("[%3A]", "[  7]"), ("[%03A]", "[007]")] {
        let mut out = Vec::new();
        let format = Format::parse(format.as_bytes()).unwrap();
        format.write(&publish, None, Style::default(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
    let mut out = Vec::new();
    let format = Format::parse(b"%j").unwrap();
    format.write(&publish, None, Style::default(), &mut out);
    let json = String::from_utf8(out).unwrap();
    assert!(
        json.contains("\"properties\":{\"topic-alias\":7}"),
        "{json}"
    );
}

#[test]
fn each_conversion_prints_pads_and_truncates_as_mosquitto_sub() {
    for (format, expected) in [
        ("%A", ""), // the message has no alias
        ("[%5A]", "[     ]"),
        ("[%05A]", "[00000]"),
        ("%C", "text/plain"),
        ("[%12C]", "[  text/plain]"),
        ("[%-12C]", "[text/plain  ]"),
        ("[%.4C]", "[text]"),
        ("%D", "co rr"),
        ("[%9D]", "[co rr]"),
        ("[%8E]", "[    3594]"),
        ("[%-8E]", "[3594    ]"),
        ("[%08E]", "[00003594]"),
        ("%F", "1"),
        ("[%3F]", "[  1]"),
        ("%l", "5"),
        ("[%5l]", "[    5]"),
        ("[%-5l]", "[5    ]"),
        ("[%05l]", "[00005]"),
        ("%m", "1"),
        ("[%5m]", "[    1]"),
        ("%P", "k1:v1 k2:v 2 k1:dup"),
        ("[%9P]", "[k1:v1 k2:v 2 k1:dup]"),
        ("%p", "hello"),
        ("[%8p]", "[   hello]"),
        ("[%-8p]", "[hello   ]"),
        ("[%08p]", "[000hello]"),
        ("[%3p]", "[hel]"),
        ("[%.2p]", "[hello]"),
        ("%q", "1"),
        ("%r", "1"),
        ("[%5q]", "[1]"),
        ("[%5r]", "[1]"),
        ("[%5%]", "[%]"),
        ("%R", "r/t"),
        ("[%8R]", "[     r/t]"),
        ("[%.1R]", "[r]"),
        ("%S", "42"),
        ("[%5S]", "[   42]"),
        ("[%05S]", "[00042]"),
        ("%t", "fm/top ic"),
        ("[%10t]", "[ fm/top ic]"),
        ("[%-10t]", "[fm/top ic ]"),
        ("[%.3t]", "[fm/]"),
        ("[%8.3t]", "[     fm/]"),
        ("[%-8.3t]", "[fm/     ]"),
        ("[%08.3t]", "[     fm/]"),
        ("%x", "68656c6c6f"),
        ("%X", "68656C6C6F"),
        ("[%12x]", "[  68656c6c6f]"),
        ("[%-12x]", "[68656c6c6f  ]"),
        ("[%012x]", "[0068656c6c6f]"),
        ("%.2x", "68 65 6c 6c 6f"),
        ("%.2:x", "68:65:6c:6c:6f"),
        ("%.4-x", "6865-6c6c-6f"),
        ("%.3:x", "686:56c:6c6:f"),
        ("%.1:x", "6:8:6:5:6:c:6:c:6:f"),
        ("%:x", "68656c6c6f"),
        ("[%020.2:x]", "[00:00:00:00:00:68:65:6c:6c:6f]"),
        ("[%20.2:x]", "[  :  :  :  :  :68:65:6c:6c:6f]"),
        ("[%-20.2:x]", "[68:65:6c:6c:6f          ]"),
        ("[%4x]", "[68656c6c]"),
        ("[%:t]", "[fm/top ic]"),
        ("[% p]", "[hello]"),
        ("[%5 t]", "[fm/top ic]"),
        (
            "a%%b@@c\\\\\\0\\a\\e\\n\\r\\t\\v",
            "a%b@c\\\0\u{7}\u{1b}\n\r\t\u{b}",
        ),
        ("@Q@E@%", "%Q%E%"),
    ] {
        assert_eq!(text(format), expected, "{format}");
    }
}

#[test]
fn numbers_in_payloads_are_printed() {
    let float = 1.75_f32.to_ne_bytes();
    for (format, expected) in [
        ("%f", "1.750000"),
        ("%.1f", "1.8"),
        ("[%10.3f]", "[     1.750]"),
        ("[%-10.3f]", "[1.750     ]"),
        ("[%010.3f]", "[000001.750]"),
    ] {
        assert_eq!(of_payload(format, &float), expected, "{format}");
    }
    let double = (-2.5_f64).to_ne_bytes();
    assert_eq!(of_payload("%d", &double), "-2.500000");
    assert_eq!(of_payload("[%010.3d]", &double), "[-00002.500]");
    assert_eq!(of_payload("[%f%d]", b"12345"), "[]");
}

#[test]
fn rejects_invalid_formats() {
    for (format, expected) in [
        ("%", "Incomplete format specifier."),
        ("a%5", "Incomplete format specifier."),
        ("%5.", "Incomplete format specifier."),
        ("%-", "Incomplete format specifier."),
        ("% ", "Incomplete format specifier."),
        ("@", "Incomplete format specifier."),
        ("%z", "Invalid format specifier 'z'."),
        ("%0-5t", "Invalid format specifier '5'."),
        ("%T", "Invalid format specifier 'T'."),
        ("\\", "Incomplete escape specifier."),
        ("\\q", "Invalid escape specifier 'q'."),
    ] {
        let error = Format::parse(format.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expected, "{format}");
    }
}

/// Returns the JSON without its first field, the time, which changes.
fn without_time(json: &str) -> String {
    let (_, rest) = json.split_once("\",").unwrap();
    rest.to_owned()
}

#[test]
fn json_has_the_keys_of_mosquitto_sub_in_their_order() {
    assert_eq!(
        without_time(&text("%j")),
        "\"topic\":\"fm/top ic\",\"qos\":1,\"retain\":true,\"payloadlen\":5,\"mid\":1,\
         \"properties\":{\"subscription-identifier\":42,\"content-type\":\"text/plain\",\"correlation-data\":\"co rr\",\
         \"payload-format-indicator\":1,\"response-topic\":\"r/t\",\
         \"user-properties\":[{\"k1\":\"v1\"},{\"k2\":\"v 2\"},{\"k1\":\"dup\"}],\
         \"message-expiry-interval\":3594},\"payload\":\"hello\"}"
    );
    let (date, rest) = text("%j")
        .split_once("\",")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    assert!(rest.starts_with("\"topic\""));
    assert_eq!(
        date.len(),
        "{\"tst\":\"2026-11-24T02:58:34.574624+0000".len(),
        "{date}"
    );
}

#[test]
fn json_is_valid_for_every_payload() {
    for (payload, expected) in [
        (&b""[..], "null"),
        (
            b"a\"\\/\x08\x0c\n\r\t\x01\x7f",
            "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\x7f\"",
        ),
        ("ä€".as_bytes(), "\"ä€\""),
        (b"a\0b", "\"a\\u0000b\""),
        (b"\xffa", "\"\u{fffd}a\",\"payloadhex\":\"ff61\""),
    ] {
        let json = of_payload("%j", payload);
        assert!(
            json.ends_with(&format!("\"payload\":{expected}}}")),
            "{json}"
        );
        serde_json::from_str::<serde_json::Value>(&json).unwrap();
    }
}

#[test]
fn a_payload_of_json_is_printed_as_json() {
    for (payload, expected) in [
        ("", "null"),
        (
            " { \"b\" : 1.50 , \"a\" : [ 1 , true ] , \"b\" : null } ",
            "{\"b\":1.5,\"a\":[1,true],\"b\":null}",
        ),
        ("1e3", "1000"),
        ("1234567890123456789012", "1.2345678901234568e+21"),
        ("18446744073709551615", "18446744073709551615"),
        ("0.1", "0.1"),
        ("1e-7", "1e-07"),
        ("-2.5e300", "-2.5e+300"),
        ("\"\\u00e4\\/\"", "\"ä/\""),
    ] {
        let json = of_payload("%J", payload.as_bytes());
        assert!(
            json.ends_with(&format!("\"payload\":{expected}}}")),
            "{json}"
        );
    }
    for payload in [&b"x"[..], b"{", b"1 2", b"\xff"] {
        assert_eq!(of_payload("[%J]", payload), "[]");
    }
}

#[test]
fn sloppy_json_that_mosquitto_sub_reads_is_printed_as_json() {
    let deep = "[".repeat(1000) + &"]".repeat(1000);
    for (payload, expected) in [
        (&b"\xEF\xBB\xBF{\"a\":01}"[..], "{\"a\":1}"),
        (b"[1.,\x0b-.5]", "[1,-0.5]"),
        (b"\"a\tb\nc\"", "\"a\\tb\\nc\""),
        (b"{\"temp\":\"21\xB0C\"}", "{\"temp\":\"21\u{b0}C\"}"),
        (b"1e999", "null"),
        (deep.as_bytes(), &deep),
    ] {
        let json = of_payload("%J", payload);
        assert!(
            json.ends_with(&format!("\"payload\":{expected}}}")),
            "{json}"
        );
    }
    let too_deep = "[".repeat(1001) + &"]".repeat(1001);
    for payload in [
        &b"{a:1}"[..],
        b"'a'",
        b"1.2.3",
        b"\"\0\"",
        b".5",
        too_deep.as_bytes(),
    ] {
        assert_eq!(of_payload("[%J]", payload), "[]");
    }
}

#[test]
fn pretty_json_has_tabs() {
    let mut message = Message::new(
        TopicName::new("t").unwrap(),
        "{\"a\":[{\"b\":1},{\"c\":[]}]}",
    );
    message.retain = true;
    let style = Style {
        pretty: true,
        terminal: false,
    };
    let out = formatted("%J", &message, Delivery::AtMostOnce, style);
    assert_eq!(
        without_time(&String::from_utf8(out).unwrap()),
        "\n\t\"topic\":\t\"t\",\n\t\"qos\":\t0,\n\t\"retain\":\ttrue,\n\t\"payloadlen\":\t24,\
         \n\t\"payload\":\t{\n\t\t\"a\":\t[{\n\t\t\t\t\"b\":\t1\n\t\t\t}, {\n\t\t\t\t\"c\":\t[]\n\t\t\t}]\n\t}\n}"
    );
}

#[test]
fn control_characters_of_senders_are_not_printed_to_a_terminal() {
    let message = Message::new(
        TopicName::new("t").unwrap(),
        &b"\x1b[2J\xff\xc2\x9b\xc3\xa4\n"[..],
    );
    let style = Style {
        pretty: false,
        terminal: true,
    };
    let out = formatted("\\e%p", &message, Delivery::AtMostOnce, style);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "\x1b\\u{1b}[2J\\xff\\u{9b}ä\n"
    );
    let message = Message::new(TopicName::new("t").unwrap(), "\"\x7f\u{9b}\u{202e}\"");
    for (format, expected) in [
        ("%j", "\"\\\"\\u007f\\u009b\\u202e\\\"\"}"),
        ("%J", "\"\\u007f\\u009b\\u202e\"}"),
    ] {
        let out = formatted(format, &message, Delivery::AtMostOnce, style);
        let json = String::from_utf8(out).unwrap();
        assert!(json.ends_with(expected), "{json}");
    }
}

proptest::proptest! {
    /// Each format is parsed or rejected, and a parsed format prints every message without a panic.
    #[test]
    fn any_format_prints_any_payload(
        format in proptest::string::string_regex("([%@\\\\][-0-9.: ]{0,4}[a-zA-Z%@\\\\]|.){0,8}").unwrap(),
        payload: Vec<u8>,
        pretty: bool,
        terminal: bool,
    ) {
        if let Ok(format) = Format::parse(format.as_bytes()) {
            let message = Message::new(TopicName::new("t").unwrap(), payload);
            let publish = message.publish(Delivery::AtMostOnce);
            let style = Style { pretty, terminal };
            format.write(&publish, None, style, &mut Vec::new());
        }
    }

    #[test]
    fn json_of_any_payload_is_valid_and_contains_every_byte(payload: Vec<u8>) {
        let json = of_payload("%j", &payload);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let held = match (&value["payloadhex"], &value["payload"]) {
            (serde_json::Value::String(hex), _) => (0..hex.len() / 2)
                .map(|index| u8::from_str_radix(&hex[index * 2..][..2], 16).unwrap())
                .collect(),
            (_, serde_json::Value::String(text)) => text.as_bytes().to_vec(),
            _ => Vec::new(),
        };
        proptest::prop_assert_eq!(held, payload);
    }
}
