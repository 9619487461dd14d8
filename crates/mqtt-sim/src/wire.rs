//! Reads packets from the wire without any code of `mqtt-codec`, so that a mistake of the codec is found. The reader
//! decodes only the fields that the checkers need, and rejects packets that are malformed in these fields.

use std::collections::BTreeMap;

use crate::Violation;

/// The fields of a packet that the checkers need. Fields that the packet type does not have are 0, `false` or `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WirePacket {
    /// The packet type, 1 to 15.
    pub kind: u8,
    /// PUBLISH: DUP.
    pub dup: bool,
    /// PUBLISH: QoS.
    pub qos: u8,
    /// The packet identifier; 0 if there is none.
    pub identifier: u16,
    /// The reason code, or the return code of CONNACK.
    pub reason: u8,
    /// CONNECT: Clean Start.
    pub clean_start: bool,
    /// DISCONNECT: the new Session Expiry Interval in seconds.
    pub expiry: Option<u32>,
    /// CONNACK: Session Present.
    pub session_present: bool,
    /// PUBLISH: a hash of topic and payload.
    pub content: u64,
    /// PUBLISH: the Topic Alias; 0 if there is none.
    pub topic_alias: u16,
    /// The number of bytes of the packet.
    pub size: usize,
    /// PUBLISH: RETAIN.
    pub retain: bool,
    /// PUBLISH of a will: the client and the connection that the will belongs to.
    pub will: Option<(usize, u32)>,
    /// PUBLISH of a state: the topic and the version.
    pub state: Option<(Topic, u64)>,
}

/// The topic of a state, `r/PUBLISHER/SLOT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Topic {
    /// The only publisher of the topic.
    pub publisher: usize,
    /// The number of the topic among those of its publisher.
    pub slot: u8,
}

impl Topic {
    /// Parses a topic name of the form `r/PUBLISHER/SLOT`.
    pub fn of_name(topic_name: &[u8]) -> Option<Self> {
        let mut levels = topic_name.strip_prefix(b"r/")?.split(|byte| *byte == b'/');
        let publisher = number(levels.next()?)? as usize;
        let slot = u8::try_from(number(levels.next()?)?).ok()?;
        levels.next().is_none().then_some(Self { publisher, slot })
    }

    /// Returns the version of a state, which is its payload. The empty payload, which removes the state, is version 0.
    pub fn version(payload: &[u8]) -> Option<u64> {
        match payload {
            [] => Some(0),
            _ => number(payload),
        }
    }
}

/// Parses a decimal number.
fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The reader of one direction of one connection.
#[derive(Debug, Default)]
pub struct PacketReader {
    bytes: Vec<u8>,
    version: u8,
    /// The topic names of the topic aliases that the sender has set on this connection.
    aliases: BTreeMap<u16, Vec<u8>>,
}

impl PacketReader {
    /// Creates the reader for a connection of this protocol level: 3, 4 or 5.
    pub fn new(version: u8) -> Self {
        Self {
            version,
            ..Self::default()
        }
    }

    /// Adds bytes and passes each complete packet to `each`.
    ///
    /// # Errors
    /// If a packet is malformed.
    pub fn read(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(WirePacket) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        self.bytes.extend_from_slice(bytes);
        let all = std::mem::take(&mut self.bytes);
        let mut rest = &all[..];
        while let Some((first, body, behind)) = cut(rest)? {
            let mut seen = seen(first, body, self.version, &mut self.aliases).ok_or_else(|| {
                Violation::new(
                    "I11",
                    format!("a packet that is not in order: {first:02x} {body:02x?}"),
                )
            })?;
            seen.size = rest.len() - behind.len();
            each(seen)?;
            rest = behind;
        }
        self.bytes = rest.to_vec();
        Ok(())
    }

    /// Returns `true` if the bytes so far end with a complete packet.
    pub fn is_between_packets(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// The first byte of a packet, its body without the fixed header, and the bytes after the packet.
type Cut<'a> = (u8, &'a [u8], &'a [u8]);

/// Splits the first packet from a stream. Returns `None` if the packet is incomplete.
fn cut(bytes: &[u8]) -> Result<Option<Cut<'_>>, Violation> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    match variable_length(rest) {
        Some((length, size)) => {
            let rest = rest.get(size..).unwrap_or_default();
            Ok((rest.len() >= length).then(|| (first, &rest[..length], &rest[length..])))
        }
        None if rest.len() < 4 => Ok(None),
        None => Err(Violation::new("I11", "a Remaining Length of five bytes")),
    }
}

/// Decodes a Variable Byte Integer of at most four bytes. Returns its value and its length; `None` if it does not end.
fn variable_length(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value += (usize::from(*byte) & 127) << (7 * index);
        if *byte < 128 {
            return Some((value, index + 1));
        }
    }
    None
}

fn seen(
    first: u8,
    body: &[u8],
    version: u8,
    aliases: &mut BTreeMap<u16, Vec<u8>>,
) -> Option<WirePacket> {
    let mut seen = WirePacket {
        kind: first >> 4,
        dup: false,
        qos: 0,
        identifier: 0,
        reason: 0,
        clean_start: false,
        expiry: None,
        session_present: false,
        content: 0,
        topic_alias: 0,
        size: 0,
        retain: false,
        will: None,
        state: None,
    };
    let short = |at: usize| Some(u16::from(*body.get(at)?) << 8 | u16::from(*body.get(at + 1)?));
    let flags = first & 15;
    // Reserved flags have fixed values [MQTT-2.1.3-1].
    let flags_are_right = match seen.kind {
        3 => true,
        6 | 8 | 10 => flags == 2,
        _ => flags == 0,
    };
    if !flags_are_right {
        return None;
    }
    match seen.kind {
        2 => {
            seen.session_present = *body.first()? == 1;
            seen.reason = *body.get(1)?;
        }
        3 => {
            (seen.dup, seen.qos) = (flags & 8 != 0, flags >> 1 & 3);
            seen.retain = flags & 1 != 0;
            let topic_end = 2 + usize::from(short(0)?);
            let mut payload_at = topic_end;
            if seen.qos > 0 {
                seen.identifier = short(topic_end)?;
                payload_at += 2;
            }
            if version == 5 {
                let (length, size) = variable_length(body.get(payload_at..)?)?;
                let properties = body.get(payload_at + size..payload_at + size + length)?;
                seen.topic_alias = topic_alias(properties)?;
                payload_at += size + length;
            }
            let mut topic = body.get(2..topic_end)?;
            if seen.topic_alias > 0 && topic.is_empty() {
                topic = aliases.get(&seen.topic_alias)?;
            } else if seen.topic_alias > 0 {
                aliases.insert(seen.topic_alias, topic.to_vec());
            }
            let payload = body.get(payload_at..)?;
            seen.content = hash(topic, hash(payload, 0));
            match topic.first() {
                Some(b'w') => seen.will = will(topic, payload),
                Some(b'r') => seen.state = Topic::of_name(topic).zip(Topic::version(payload)),
                _ => {}
            }
            // A QoS of 3 is malformed [MQTT-3.3.1-4]. QoS 0 has no packet identifier [MQTT-2.2.1-2] and no DUP
            // [MQTT-3.3.1-2].
            let legal = !topic.is_empty()
                && seen.qos < 3
                && (seen.qos > 0) == (seen.identifier > 0)
                && !(seen.dup && seen.qos == 0);
            return legal.then_some(seen);
        }
        4..=7 => {
            seen.identifier = short(0)?;
            seen.reason = body.get(2).copied().unwrap_or(0);
            return (seen.identifier > 0 && (version == 5 || body.len() == 2)).then_some(seen);
        }
        8..=11 => {
            seen.identifier = short(0)?;
            return (seen.identifier > 0).then_some(seen);
        }
        14 => {
            seen.reason = body.first().copied().unwrap_or(0);
            // The clients of the simulation send no other property than Session Expiry Interval (0x11) with DISCONNECT.
            if let Some([5, 0x11, value @ ..]) = body.get(1..) {
                seen.expiry = Some(u32::from_be_bytes(value.try_into().ok()?));
            }
        }
        1 => {
            // The connect flags follow the protocol name and the byte of the protocol level.
            let flags = body.get(3 + usize::from(short(0)?))?;
            seen.clean_start = flags & 2 != 0;
        }
        12 | 13 => {}
        _ => return None,
    }
    Some(seen)
}

/// Returns the client and the connection of a will.
fn will(topic_name: &[u8], payload: &[u8]) -> Option<(usize, u32)> {
    let client = number(topic_name.strip_prefix(b"w/")?)?;
    let connection = number(payload.strip_prefix(b"will of ")?)?;
    Some((client as usize, connection as u32))
}

/// Returns the topic alias among the properties of a PUBLISH, 0 if there is none; `None` if the properties are malformed.
fn topic_alias(mut properties: &[u8]) -> Option<u16> {
    let mut alias = 0;
    while let Some((identifier, rest)) = properties.split_first() {
        let text = |at: usize| {
            let length = rest.get(at..at + 2)?;
            Some(at + 2 + usize::from(u16::from_be_bytes([length[0], length[1]])))
        };
        let size = match identifier {
            0x01 => 1,
            0x02 => 4,
            0x03 | 0x08 | 0x09 => text(0)?,
            0x0B => variable_length(rest)?.1,
            // A second Topic Alias is a Protocol Error, and the value 0 is not permitted [MQTT-3.3.2-8].
            0x23 if alias == 0 => {
                alias = u16::from_be_bytes([*rest.first()?, *rest.get(1)?]);
                if alias == 0 {
                    return None;
                }
                2
            }
            0x26 => text(text(0)?)?,
            _ => return None,
        };
        properties = rest.get(size..)?;
    }
    Some(alias)
}

/// Returns the FNV-1a hash of `bytes`. It does not resist attacks, but the simulation only compares its own messages.
pub(crate) fn hash(bytes: &[u8], start: u64) -> u64 {
    let start = start ^ 0xcbf2_9ce4_8422_2325;
    bytes.iter().fold(start, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
