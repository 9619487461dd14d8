//! [`Rung`]: a packet in a trace, as an arrow with its fields or as a line of JSON.

use std::fmt::Write as _;

use colored::{Color, Colorize};
use mqtt_client::session::{Direction, Observed, Printable};
use mqtt_codec::{PacketType, Role};
use serde_json::Value;

use crate::output::format::escaped;
use crate::output::trace::layout::{in_words, shortened, wrapped};
use crate::output::trace::packet_fields::Fields;

/// The width of the time and of the two spaces after it. Further lines of a rung are indented by this width.
const INDENTATION: usize = 11;

/// The width of an arrow.
const ARROW: usize = 17;

/// A packet in a trace.
pub(super) struct Rung<'a> {
    pub(super) seconds: f64,
    pub(super) program: &'static str,
    pub(super) peer: &'a str,
    pub(super) observed: &'a Observed<'a>,
    pub(super) fields: Fields,
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
    pub(super) fn ladder(&self, colorful: bool, columns: Option<usize>) -> String {
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
    pub(super) fn json(&self) -> String {
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
