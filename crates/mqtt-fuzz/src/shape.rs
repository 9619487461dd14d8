//! Packets that are nearly valid. Their bytes are written from arbitrary fields without the codec. The decoder rejects
//! most random bytes at once, so a fuzzer reaches more code with these packets.

use arbitrary::Arbitrary;

/// A packet of either end.
#[derive(Debug, Arbitrary)]
pub(crate) enum Shape<'a> {
    Connect(ConnectShape),
    Connack {
        session_present: bool,
        reason: u8,
        properties: Vec<Property>,
    },
    Publish {
        topic: u8,
        flags: u8,
        identifier: u8,
        properties: Vec<Property>,
        payload: &'a [u8],
    },
    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    Ack {
        kind: u8,
        identifier: u8,
        reason: Option<u8>,
    },
    Subscribe {
        identifier: u8,
        filters: Vec<(u8, u8)>,
        properties: Vec<Property>,
    },
    Suback {
        identifier: u8,
        codes: Vec<u8>,
    },
    Unsubscribe {
        identifier: u8,
        filters: Vec<u8>,
    },
    Unsuback {
        identifier: u8,
        codes: Vec<u8>,
    },
    Pingreq,
    Pingresp,
    Disconnect {
        reason: Option<u8>,
        properties: Vec<Property>,
    },
    Auth {
        reason: u8,
        properties: Vec<Property>,
    },
    /// Arbitrary bytes.
    Bytes(&'a [u8]),
}

/// The fields of a CONNECT. `will` has the topic, the flags and the properties of the will.
#[derive(Debug, Clone, Arbitrary)]
pub(crate) struct ConnectShape {
    pub(crate) client: u8,
    pub(crate) clean_start: bool,
    pub(crate) keep_alive: u8,
    pub(crate) will: Option<(u8, u8, Vec<Property>)>,
    pub(crate) properties: Vec<Property>,
}

/// A property with a small value, or an invalid one.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub(crate) struct Property {
    pub(crate) identifier: u8,
    pub(crate) value: u8,
}

/// Few topics, so that subscriptions match often. Some are invalid.
const TOPICS: [&str; 8] = ["a", "a/b", "a/b/c", "/", "$SYS/x", "b", "", "a/\u{1}"];
const FILTERS: [&str; 12] = [
    "#",
    "a",
    "a/+",
    "+/b",
    "a/#",
    "+",
    "$SYS/#",
    "$share/g/a/#",
    "$share/g/#",
    "$share/h/a",
    "",
    "a#",
];

impl Shape<'_> {
    /// Encodes the packet for protocol level `version`: 3, 4 or 5.
    pub(crate) fn bytes(&self, version: u8) -> Vec<u8> {
        let five = version == 5;
        let mut body = Vec::new();
        let first = match self {
            Self::Connect(connect) => {
                connect.write(version, &mut body);
                0x10
            }
            Self::Connack {
                session_present,
                reason,
                properties,
            } => {
                body.extend([u8::from(*session_present), *reason]);
                write_properties(five, properties, &mut body);
                0x20
            }
            Self::Publish {
                topic,
                flags,
                identifier,
                properties,
                payload,
            } => {
                text(TOPICS[usize::from(*topic) % TOPICS.len()], &mut body);
                if flags >> 1 & 3 > 0 {
                    body.extend([0, *identifier]);
                }
                write_properties(five, properties, &mut body);
                body.extend(*payload);
                0x30 | flags & 15
            }
            Self::Ack {
                kind,
                identifier,
                reason,
            } => {
                body.extend([0, *identifier]);
                body.extend(reason.filter(|_| five));
                [0x40, 0x50, 0x62, 0x70][usize::from(*kind & 3)]
            }
            Self::Subscribe {
                identifier,
                filters,
                properties,
            } => {
                body.extend([0, *identifier]);
                write_properties(five, properties, &mut body);
                for (filter, options) in filters {
                    text(FILTERS[usize::from(*filter) % FILTERS.len()], &mut body);
                    body.push(*options);
                }
                0x82
            }
            Self::Suback { identifier, codes } | Self::Unsuback { identifier, codes } => {
                body.extend([0, *identifier]);
                write_properties(five, &[], &mut body);
                body.extend(codes);
                if matches!(self, Self::Suback { .. }) {
                    0x90
                } else {
                    0xB0
                }
            }
            Self::Unsubscribe {
                identifier,
                filters,
            } => {
                body.extend([0, *identifier]);
                write_properties(five, &[], &mut body);
                for filter in filters {
                    text(FILTERS[usize::from(*filter) % FILTERS.len()], &mut body);
                }
                0xA2
            }
            Self::Pingreq => 0xC0,
            Self::Pingresp => 0xD0,
            Self::Disconnect { reason, properties } => {
                if let Some(reason) = reason.filter(|_| five) {
                    body.push(reason);
                    write_properties(five, properties, &mut body);
                }
                0xE0
            }
            Self::Auth { reason, properties } => {
                body.push(*reason);
                write_properties(five, properties, &mut body);
                0xF0
            }
            Self::Bytes(bytes) => return bytes.to_vec(),
        };
        packet(first, &body)
    }
}

impl ConnectShape {
    fn write(&self, version: u8, out: &mut Vec<u8>) {
        text(if version == 3 { "MQIsdp" } else { "MQTT" }, out);
        let clean = u8::from(self.clean_start) << 1;
        let will = self
            .will
            .as_ref()
            .map_or(0, |(_, flags, _)| 4 | (flags & 7) << 3);
        out.extend([version, clean | will, 0, self.keep_alive]);
        write_properties(version == 5, &self.properties, out);
        text(&"c".repeat(usize::from(self.client % 4)), out);
        if let Some((topic, _, properties)) = &self.will {
            write_properties(version == 5, properties, out);
            text(TOPICS[usize::from(*topic) % TOPICS.len()], out);
            text("will", out);
        }
    }
}

impl Property {
    fn write(self, out: &mut Vec<u8>) {
        const KNOWN: [u8; 27] = [
            0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x11, 0x12, 0x13, 0x15, 0x16, 0x17, 0x18, 0x19,
            0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A,
        ];
        // Random identifiers would nearly all be unknown, and the packet would be rejected.
        let identifier = KNOWN[usize::from(self.identifier) % KNOWN.len()];
        out.push(identifier);
        let value = self.value;
        match identifier {
            0x02 | 0x11 | 0x18 | 0x27 => out.extend([0, 0, 0, value]),
            0x13 | 0x21..=0x23 => out.extend([0, value]),
            0x0B => out.push(value & 127),
            0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F => {
                text(&"x".repeat(usize::from(value & 31)), out);
            }
            0x26 => {
                text("name", out);
                text(&"v".repeat(usize::from(value & 63)), out);
            }
            _ => out.push(value),
        }
    }
}

fn write_properties(five: bool, properties: &[Property], out: &mut Vec<u8>) {
    if five {
        let mut bytes = Vec::new();
        properties
            .iter()
            .for_each(|property| property.write(&mut bytes));
        length(bytes.len(), out);
        out.extend(bytes);
    }
}

/// Returns a packet with its Remaining Length.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    length(body.len(), &mut packet);
    packet.extend(body);
    packet
}

/// Appends a UTF-8 string with its length.
pub(crate) fn text(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text.as_bytes());
}

/// Appends a Variable Byte Integer.
fn length(mut value: usize, out: &mut Vec<u8>) {
    while value > 127 {
        out.push((value & 127) as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
}
