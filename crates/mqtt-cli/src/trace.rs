//! `--trace`: each packet, decoded, as a rung of a ladder between client and server, or as a line of
//! JSON for programs. On standard error.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::time::Instant;

use colored::{Color, Colorize};
use mqtt_client::session::{Direction, Observed, Observer, Printable};
use mqtt_codec::{PacketType, Role};
use serde_json::Value;

use crate::exit::{Failure, is_colorful};
use crate::format::escaped;
use crate::logger;
use crate::options::shown;
use crate::packet_fields::{Fields, fields};

/// How a trace looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Ladder,
    Json,
}

impl Form {
    /// The value of `--trace`, which may be left out.
    pub(crate) fn parse(value: &OsStr) -> Result<Self, Failure> {
        match value.to_str() {
            Some("" | "ladder") => Ok(Self::Ladder),
            Some("json") => Ok(Self::Json),
            _ => Err(
                Failure::usage(format!("Invalid form given for --trace: {}", shown(value)))
                    .with_hint("It is ladder or json."),
            ),
        }
    }
}

/// Somebody who prints each packet. `program` stands at its end of the ladder; `peer` at the other
/// one, where the packet does not say who that is.
pub(crate) fn observer(form: Form, program: &'static str, peer: String) -> Observer {
    let start = Instant::now();
    let colorful = is_colorful();
    Observer::new(move |observed| {
        let rung = Rung {
            seconds: start.elapsed().as_secs_f64(),
            program,
            peer: &peer,
            observed,
            fields: fields(observed.packet, observed.version),
        };
        let line = match form {
            Form::Ladder => rung.ladder(colorful),
            Form::Json => rung.json(),
        };
        logger::print_error(&line);
    })
}

struct Rung<'a> {
    seconds: f64,
    program: &'static str,
    peer: &'a str,
    observed: &'a Observed<'a>,
    fields: Fields,
}

impl Rung<'_> {
    fn is_from_client(&self) -> bool {
        (self.observed.role == Role::Client) == (self.observed.direction == Direction::Sending)
    }

    /// Client left, server right.
    fn ends(&self) -> (String, String) {
        let client = match self.observed.client_identifier {
            "" => "(new client)".to_owned(),
            identifier => Printable(identifier).to_string(),
        };
        match self.observed.role {
            Role::Client => (self.program.to_owned(), self.peer.to_owned()),
            Role::Server => (client, self.program.to_owned()),
        }
    }

    fn ladder(&self, colorful: bool) -> String {
        let (client, server) = self.ends();
        let name = self.observed.packet.packet_type().to_string();
        let name = format!("{:─^13}", format!(" {name} "));
        let arrow = match self.is_from_client() {
            true => format!("──{name}─▶"),
            false => format!("◀─{name}──"),
        };
        let arrow = match colorful {
            true => arrow.color(self.color()).to_string(),
            false => arrow,
        };
        let mut line = format!("{:9.6}  {client} {arrow} {server}", self.seconds);
        let mut separator = "  ";
        for (name, value) in &self.fields {
            if let Some(text) = in_words(value) {
                let name = name.replace('_', " ").replace("qos", "QoS");
                // Writing to a string does not fail.
                let _ = match text.as_str() {
                    "" => write!(line, "{separator}{name}"),
                    text => write!(line, "{separator}{name} {text}"),
                };
                separator = ", ";
            }
        }
        line + "\n"
    }

    /// One colour for the beginning and end of connections, one for messages, one for the rest.
    fn color(&self) -> Color {
        match self.observed.packet.packet_type() {
            PacketType::Publish => Color::Green,
            PacketType::Puback | PacketType::Pubrec | PacketType::Pubrel | PacketType::Pubcomp => {
                Color::Cyan
            }
            PacketType::Pingreq | PacketType::Pingresp => Color::BrightBlack,
            _ => Color::Yellow,
        }
    }

    fn json(&self) -> String {
        let direction = match self.observed.direction {
            Direction::Sending => "sent",
            Direction::Received => "received",
        };
        let mut line = String::from("{");
        let mut add = |name: &str, value: &Value| {
            let comma = if line.len() > 1 { "," } else { "" };
            // The line may go to a terminal.
            let value = escaped(&value.to_string());
            let _ = write!(line, "{comma}\"{name}\":{value}");
        };
        add("seconds", &Value::from((self.seconds * 1e6).round() / 1e6));
        add("direction", &direction.into());
        if self.observed.packet.packet_type() != PacketType::Connect {
            add("client_identifier", &self.observed.client_identifier.into());
        }
        add(
            "packet",
            &self.observed.packet.packet_type().to_string().into(),
        );
        for (name, value) in &self.fields {
            add(name, value);
        }
        line + "}\n"
    }
}

/// What a person wants to see: nothing of what is absent or not so.
fn in_words(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Bool(true) => Some(String::new()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(match text.is_empty() {
            true => "''".into(),
            false => Printable(text).to_string(),
        }),
        Value::Array(values) => {
            let words = values.iter().filter_map(in_words);
            Some(format!("[{}]", words.collect::<Vec<_>>().join("; ")))
        }
        Value::Object(object) => {
            let words = object.iter().filter_map(|(name, value)| {
                in_words(value).map(|text| format!("{} {text}", name.replace('_', " ")))
            });
            Some(words.collect::<Vec<_>>().join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt_codec::*;

    fn line(role: Role, direction: Direction, form: Form, packet: &Packet<'_>) -> String {
        let observed = Observed {
            role,
            direction,
            client_identifier: "c",
            version: ProtocolVersion::V5_0,
            packet,
        };
        let rung = Rung {
            seconds: 1.25,
            program: "rpub",
            peer: "host:1883",
            observed: &observed,
            fields: fields(packet, ProtocolVersion::V5_0),
        };
        match form {
            Form::Ladder => rung.ladder(false),
            Form::Json => rung.json(),
        }
    }

    #[test]
    fn the_client_stands_left_and_the_server_right_at_both_ends() {
        let ack = Packet::Pubrec(Ack::new(PacketIdentifier::FIRST, ReasonCode::Success));
        assert_eq!(
            line(Role::Client, Direction::Received, Form::Ladder, &ack),
            " 1.250000  rpub ◀─── PUBREC ───── host:1883  packet identifier 1\n"
        );
        assert_eq!(
            line(Role::Server, Direction::Received, Form::Ladder, &ack),
            " 1.250000  c ──── PUBREC ────▶ rpub  packet identifier 1\n"
        );
    }

    #[test]
    fn a_message_is_shown_with_what_it_carries() {
        let message = Message {
            retain: true,
            ..Message::new(
                TopicName::new("a\u{1b}b\u{7f}\u{202e}").unwrap(),
                &b"\xff1"[..],
            )
        };
        let delivery = Delivery::AtLeastOnce {
            packet_identifier: PacketIdentifier::FIRST,
            dup: false,
        };
        let publish = Packet::Publish(message.publish(delivery));
        let ladder = line(Role::Client, Direction::Sending, Form::Ladder, &publish);
        let expected = "QoS 1, packet identifier 1, retain, topic name a\\u{1b}b\\u{7f}\\u{202e}, payload length 2, payload \u{fffd}1\n";
        assert!(ladder.ends_with(expected), "{ladder}");
        let json = line(Role::Client, Direction::Sending, Form::Json, &publish);
        assert!(json.starts_with("{\"seconds\":1.25,\"direction\":\"sent\",\"client_identifier\":\"c\",\"packet\":\"PUBLISH\",\"qos\":1,"), "{json}");
        let value: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["topic_name"], "a\u{1b}b\u{7f}\u{202e}");
        assert!(json.contains("a\\u001bb\\u007f\\u202e"), "{json}");
        assert_eq!(value["dup"], false);
    }
}
