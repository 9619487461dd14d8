//! The trace of `--trace`: prints each packet with its fields on standard error. The form `ladder` draws an arrow
//! between client and server for each packet, called a rung. The form `json` prints a line of JSON for programs.
//! `packet_fields/` decodes the fields.

mod packet_fields;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::time::Instant;

use colored::{Color, Colorize};
use mqtt_client::session::{Direction, Observed, Observer, Printable};
use mqtt_codec::{PacketType, Role};
use serde_json::Value;

use crate::failure::Failure;
use crate::output::format::escaped;
use crate::output::logger;
use crate::output::standard_streams::is_colorful;
use crate::output::trace::packet_fields::{Fields, fields};
use crate::wording::shown;

/// The form of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Ladder,
    Json,
}

impl Form {
    /// Parses the value of `--trace`. An empty value selects the ladder.
    ///
    /// # Errors
    /// If the form does not exist.
    pub(crate) fn parse(value: &OsStr) -> Result<Self, Failure> {
        match value.to_str() {
            Some("" | "ladder") => Ok(Self::Ladder),
            Some("json") => Ok(Self::Json),
            _ => Err(
                Failure::usage(format!("Invalid form given for --trace: {}", shown(value)))
                    .with_hint("The form must be ladder or json."),
            ),
        }
    }
}

/// Returns an observer that prints each packet. `program` is the name of this end in the ladder. `peer` is the name of
/// the other end, unless a client identifier names it.
pub(crate) fn observer(form: Form, program: &'static str, peer: String) -> Observer {
    let start = Instant::now();
    // Colours are determined once and not for each packet.
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
            Form::Ladder => rung.ladder(colorful, terminal_columns()),
            Form::Json => rung.json(),
        };
        logger::print_error(&line);
    })
}

/// The width of the time and of the two spaces after it. Further lines of a rung are indented by this width.
const INDENTATION: usize = 11;

/// The width of an arrow.
const ARROW: usize = 17;

/// The minimum width of lines of fields, which also applies to narrower terminals.
const MINIMUM_WIDTH: usize = 20;

/// A packet in a trace.
struct Rung<'a> {
    seconds: f64,
    program: &'static str,
    peer: &'a str,
    observed: &'a Observed<'a>,
    fields: Fields,
}

impl Rung<'_> {
    /// Returns `true` if the client sends the packet, whichever end prints the trace. So both ends print the same
    /// ladder.
    fn is_from_client(&self) -> bool {
        (self.observed.role == Role::Client) == (self.observed.direction == Direction::Sending)
    }

    /// Returns the names at the ends of the rung: the client at the left, the server at the right.
    fn ends(&self) -> (String, String) {
        let client = match self.observed.client_identifier {
            "" => "<unknown>".to_owned(),
            identifier => Printable(identifier).to_string(),
        };
        match self.observed.role {
            Role::Client => (self.program.to_owned(), self.peer.to_owned()),
            Role::Server => (client, self.program.to_owned()),
        }
    }

    /// Returns the packet as a rung. If the rung is wider than the terminal, the fields follow on separate lines, so
    /// that the arrows stay aligned.
    fn ladder(&self, colorful: bool, columns: Option<usize>) -> String {
        // A file or pipe has no width. Each packet is then one line, which suits grep.
        let columns = columns.unwrap_or(usize::MAX);
        let (client, server) = self.ends();
        let width_of_ends = columns.saturating_sub(INDENTATION + ARROW + 2);
        let (client, server) = shortened(client, server, width_of_ends);
        let fields = self.fields_in_words();
        // Colours do not count, because escape sequences have no width.
        let rung = INDENTATION + client.chars().count() + ARROW + server.chars().count() + 2;
        let width_of_fields = fields.iter().map(|field| field.chars().count() + 2);
        let arrow = self.arrow(colorful);
        let mut text = format!("{:9.6}  {client} {arrow} {server}", self.seconds);
        if rung + width_of_fields.sum::<usize>() <= columns {
            if !fields.is_empty() {
                text = text + "  " + &fields.join(", ");
            }
        } else {
            for line in wrapped(&fields, columns.saturating_sub(INDENTATION)) {
                // Writing to a string does not fail.
                let _ = write!(text, "\n{:INDENTATION$}{line}", "");
            }
        }
        text + "\n"
    }

    /// Returns the arrow with the name of the packet. All arrows have the same width.
    fn arrow(&self, colorful: bool) -> String {
        let name = self.observed.packet.packet_type().to_string();
        let name = format!("{:─^13}", format!(" {name} "));
        let arrow = if self.is_from_client() {
            format!("──{name}─▶")
        } else {
            format!("◀─{name}──")
        };
        if colorful {
            arrow.color(self.color()).to_string()
        } else {
            arrow
        }
    }

    /// Returns the fields in words: names have no underscores, and a flag is shown only if it is set.
    fn fields_in_words(&self) -> Vec<String> {
        let in_words = |(name, value): &(&str, Value)| {
            let name = name.replace('_', " ").replace("qos", "QoS");
            in_words(value).map(|text| match text.as_str() {
                "" => name,
                text => format!("{name} {text}"),
            })
        };
        self.fields.iter().filter_map(in_words).collect()
    }

    /// Returns the colour of the arrow. Messages, acknowledgements, pings and all other packets have different colours.
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

    /// Returns the packet as a line of JSON. The line is written field by field, because `serde_json` would sort the
    /// keys, and a reader expects the order of the packet.
    fn json(&self) -> String {
        let direction = match self.observed.direction {
            Direction::Sending => "sent",
            Direction::Received => "received",
        };
        let mut line = String::from("{");
        let mut add = |name: &str, value: &Value| {
            let comma = if line.len() > 1 { "," } else { "" };
            // Standard error may be a terminal in this form, too, so values are escaped.
            let value = escaped(&value.to_string());
            let _ = write!(line, "{comma}\"{name}\":{value}");
        };
        // The time is rounded to microseconds. Further digits would only be rounding errors.
        add("seconds", &Value::from((self.seconds * 1e6).round() / 1e6));
        add("direction", &direction.into());
        // The fields of CONNECT already contain the client identifier.
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

/// Returns both names, shortened so that their widths add up to at most `width`.
fn shortened(client: String, server: String, width: usize) -> (String, String) {
    let count = |name: &str| name.chars().count();
    // Each name gets half of the width, and the part that the other name does not need.
    let half = width / 2;
    let for_client = half.max(width.saturating_sub(count(&server)));
    let for_server = width.saturating_sub(count(&client).min(for_client));
    let shorten = |name: String, width: usize| {
        if count(&name) > width {
            name.chars()
                .take(width.saturating_sub(1))
                .chain(['…'])
                .collect()
        } else {
            name
        }
    };
    (shorten(client, for_client), shorten(server, for_server))
}

/// Returns the fields in lines of `width` characters. A field that is wider than a line continues on the next line.
fn wrapped(fields: &[String], width: usize) -> Vec<String> {
    let width = width.max(MINIMUM_WIDTH);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for (index, field) in fields.iter().enumerate() {
        let comma = if index + 1 < fields.len() { "," } else { "" };
        let length = field.chars().count() + comma.len();
        if used > 0 && used + 1 + length > width {
            lines.push(String::new());
            used = 0;
        }
        let space = if used > 0 { " " } else { "" };
        // The text is copied character by character, because a long payload must be broken within a word.
        for character in space.chars().chain(field.chars()).chain(comma.chars()) {
            if used == width {
                lines.push(String::new());
                used = 0;
            }
            lines
                .last_mut()
                .into_iter()
                .for_each(|line| line.push(character));
            used += 1;
        }
    }
    lines
}

/// Returns the width of the terminal at standard error, or `None` if it is not a terminal.
fn terminal_columns() -> Option<usize> {
    #[cfg(unix)]
    {
        let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok()?;
        // A terminal without a known width reports 0.
        (size.ws_col > 0).then(|| size.ws_col.into())
    }
    #[cfg(not(unix))]
    None
}

/// Returns a value in words, or `None` if it is absent or false.
fn in_words(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Bool(true) => Some(String::new()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(if text.is_empty() {
            "''".into()
        } else {
            Printable(text).to_string()
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

    fn line(role: Role, direction: Direction, form: Form, packet: &PacketRef<'_>) -> String {
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
            Form::Ladder => rung.ladder(false, None),
            Form::Json => rung.json(),
        }
    }

    #[test]
    fn the_client_stands_left_and_the_server_right_at_both_ends() {
        let ack = PacketRef::Pubrec(Ack::new(PacketIdentifier::FIRST, ReasonCode::Success));
        assert_eq!(
            line(Role::Client, Direction::Received, Form::Ladder, &ack),
            " 1.250000  rpub ◀─── PUBREC ───── host:1883  packet identifier 1\n"
        );
        assert_eq!(
            line(Role::Server, Direction::Received, Form::Ladder, &ack),
            " 1.250000  c ──── PUBREC ────▶ rpub  packet identifier 1\n"
        );
    }

    /// Returns the lines of a PUBLISH on a terminal of this width.
    fn on_terminal(client: &str, peer: &str, payload: &str, columns: usize) -> Vec<String> {
        let message = Message::new(TopicName::new("temp/random").unwrap(), payload.to_owned());
        let packet = PacketRef::Publish(message.publish(Delivery::AtMostOnce));
        let version = ProtocolVersion::V3_1_1;
        let observed = Observed {
            role: Role::Server,
            direction: Direction::Received,
            client_identifier: client,
            version,
            packet: &packet,
        };
        let rung = Rung {
            seconds: 1.25,
            program: "rbroker",
            peer,
            observed: &observed,
            fields: fields(&packet, version),
        };
        let text = rung.ladder(false, Some(columns));
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn fields_go_on_lines_of_their_own_if_the_terminal_is_narrow() {
        let rung = " 1.250000  c ──── PUBLISH ───▶ rbroker";
        let fields = "QoS 0, topic name temp/random, payload length 4, payload 23.0";
        let whole = format!("{rung}  {fields}");
        let width = whole.chars().count();
        assert_eq!(on_terminal("c", "", "23.0", width), [whole]);
        assert_eq!(
            on_terminal("c", "", "23.0", 80),
            [rung.to_owned(), format!("           {fields}")]
        );
        assert_eq!(
            on_terminal("c", "", "23.0", 50),
            [
                rung,
                "           QoS 0, topic name temp/random,",
                "           payload length 4, payload 23.0"
            ]
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let long = "x".repeat(200);
        for (client, peer) in [("c", "p"), ("c", &*long), (&*long, "p"), (&*long, &*long)] {
            for columns in [50, 80, 120, 1000] {
                let lines = on_terminal(client, peer, &long, columns);
                for line in &lines {
                    assert!(line.chars().count() <= columns, "{columns}: {line}");
                }
                assert!(lines[0].contains("PUBLISH ───▶"), "{lines:?}");
            }
        }
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
        let publish = PacketRef::Publish(message.publish(delivery));
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
