//! Packets as bytes, written without the codec. The tests send these packets and compare the answers with them.

/// Returns a packet from its first byte and its body.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    packet.extend(length(body.len()));
    packet.extend(body);
    packet
}

/// Returns a Variable Byte Integer.
pub(crate) fn length(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let more = u8::from(value > 127) << 7;
        bytes.push((value & 127) as u8 | more);
        value >>= 7;
        if value == 0 {
            return bytes;
        }
    }
}

/// Returns a string or binary data with its length.
pub(crate) fn text(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
    bytes.extend(text);
    bytes
}

/// Returns a property whose value is a string or binary data.
pub(crate) fn text_property(identifier: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
    [vec![identifier], text(value)].concat()
}

pub(crate) fn user_property(name: &str, value: &str) -> Vec<u8> {
    [vec![0x26], text(name), text(value)].concat()
}

/// Returns a property with a Four Byte Integer.
pub(crate) fn four(identifier: u8, value: u32) -> Vec<u8> {
    [vec![identifier], value.to_be_bytes().to_vec()].concat()
}

/// Returns a property with a Two Byte Integer.
pub(crate) fn two(identifier: u8, value: u16) -> Vec<u8> {
    [vec![identifier], value.to_be_bytes().to_vec()].concat()
}

/// Returns the Property Length and the properties in 5.0, and nothing in other versions.
pub(crate) fn properties(version: u8, properties: &[u8]) -> Vec<u8> {
    match version {
        5 => [length(properties.len()), properties.to_vec()].concat(),
        _ => Vec::new(),
    }
}

/// A CONNECT packet that tests modify: a clean start, and no keep alive.
#[derive(Clone)]
pub(crate) struct Connect {
    pub(crate) version: u8,
    pub(crate) name: &'static str,
    pub(crate) level: u8,
    pub(crate) flags: u8,
    pub(crate) keep_alive: u16,
    pub(crate) properties: Vec<u8>,
    /// The client identifier and all fields after it.
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn connect(version: u8, client_identifier: &str) -> Connect {
    Connect {
        version,
        name: if version == 3 { "MQIsdp" } else { "MQTT" },
        level: version,
        flags: 2,
        keep_alive: 0,
        properties: Vec::new(),
        payload: text(client_identifier),
    }
}

impl Connect {
    /// Sets Clean Session or Clean Start to 0. In 5.0 the session also never expires.
    pub(crate) fn lasting(mut self) -> Self {
        self.flags &= !2;
        self.property(&four(0x11, u32::MAX))
    }

    /// Sets Clean Session or Clean Start to 0, and nothing else.
    pub(crate) fn not_clean(mut self) -> Self {
        self.flags &= !2;
        self
    }

    /// Sets connect flags.
    pub(crate) fn flags(mut self, flags: u8) -> Self {
        self.flags |= flags;
        self
    }

    pub(crate) fn keep_alive(mut self, seconds: u16) -> Self {
        self.keep_alive = seconds;
        self
    }

    /// Adds a property. Only 5.0 encodes it.
    pub(crate) fn property(mut self, property: &[u8]) -> Self {
        self.properties.extend(property);
        self
    }

    /// Adds a will. `flags` has its QoS and RETAIN in the positions of the connect flags.
    pub(crate) fn will(self, topic: &str, payload: &str, flags: u8) -> Self {
        self.will_with(topic, payload, flags, &[])
    }

    pub(crate) fn will_with(
        mut self,
        topic: &str,
        payload: &str,
        flags: u8,
        property: &[u8],
    ) -> Self {
        self.flags |= 4 | flags;
        self.payload.extend(properties(self.version, property));
        self.payload.extend(text(topic));
        self.payload.extend(text(payload));
        self
    }

    /// Adds bytes to the payload.
    pub(crate) fn more(mut self, bytes: &[u8]) -> Self {
        self.payload.extend(bytes);
        self
    }
}

impl From<Connect> for Vec<u8> {
    fn from(connect: Connect) -> Self {
        let mut body = text(connect.name);
        body.extend([connect.level, connect.flags]);
        body.extend(connect.keep_alive.to_be_bytes());
        body.extend(properties(connect.version, &connect.properties));
        body.extend(connect.payload);
        packet(0x10, &body)
    }
}

/// Returns a CONNACK without properties.
pub(crate) fn connack(version: u8, session_present: bool, code: u8) -> Vec<u8> {
    connack_with(version, session_present, code, &[])
}

/// Returns the answer to a malformed CONNECT: a CONNACK in 5.0, and nothing in versions that have no return code for
/// it.
pub(crate) fn refused(version: u8, code: u8) -> Vec<u8> {
    match version {
        5 => connack(5, false, code),
        _ => Vec::new(),
    }
}

pub(crate) fn connack_with(
    version: u8,
    session_present: bool,
    code: u8,
    property: &[u8],
) -> Vec<u8> {
    let body = [
        vec![session_present.into(), code],
        properties(version, property),
    ];
    packet(0x20, &body.concat())
}

/// Returns the CONNACK of a broker with the default limits.
pub(crate) fn accepted(version: u8, session_present: bool) -> Vec<u8> {
    accepted_with(version, session_present, &[])
}

/// Returns the same CONNACK with a property after Topic Alias Maximum.
pub(crate) fn accepted_with(version: u8, session_present: bool, property: &[u8]) -> Vec<u8> {
    let limits = [
        two(0x22, 10),
        property.to_vec(),
        four(0x27, 2_000_000),
        two(0x21, 20),
    ];
    // The CONNACK of 3.1 has no Session Present.
    connack_with(version, session_present && version > 3, 0, &limits.concat())
}

/// A PUBLISH packet that tests modify: QoS 0.
#[derive(Clone)]
pub(crate) struct Publish {
    version: u8,
    first: u8,
    topic: Vec<u8>,
    identifier: Option<u16>,
    properties: Vec<u8>,
    payload: Vec<u8>,
}

pub(crate) fn publish(version: u8, topic: &str, payload: &str) -> Publish {
    Publish {
        version,
        first: 0x30,
        topic: topic.into(),
        identifier: None,
        properties: Vec::new(),
        payload: payload.into(),
    }
}

impl Publish {
    /// Sets QoS 1 or 2 and the packet identifier.
    pub(crate) fn qos(mut self, qos: u8, identifier: u16) -> Self {
        self.first = self.first & !6 | qos << 1;
        self.identifier = (qos > 0).then_some(identifier);
        self
    }

    pub(crate) fn dup(mut self) -> Self {
        self.first |= 8;
        self
    }

    pub(crate) fn retain(mut self) -> Self {
        self.first |= 1;
        self
    }

    pub(crate) fn property(mut self, property: &[u8]) -> Self {
        self.properties.extend(property);
        self
    }

    /// Sets the bytes of the topic name, which need not be valid text.
    pub(crate) fn topic(mut self, topic: &[u8]) -> Self {
        self.topic = topic.to_vec();
        self
    }
}

impl From<Publish> for Vec<u8> {
    fn from(publish: Publish) -> Self {
        let mut body = text(publish.topic);
        if let Some(identifier) = publish.identifier {
            body.extend(identifier.to_be_bytes());
        }
        body.extend(properties(publish.version, &publish.properties));
        body.extend(publish.payload);
        packet(publish.first, &body)
    }
}

pub(crate) const PUBACK: u8 = 0x40;
pub(crate) const PUBREC: u8 = 0x50;
pub(crate) const PUBREL: u8 = 0x62;
pub(crate) const PUBCOMP: u8 = 0x70;

/// Returns an acknowledgement in its short form, which means success.
pub(crate) fn ack(first: u8, identifier: u16) -> Vec<u8> {
    packet(first, &identifier.to_be_bytes())
}

/// Returns an acknowledgement with a reason code, as in 5.0.
pub(crate) fn ack_code(first: u8, identifier: u16, code: u8) -> Vec<u8> {
    packet(first, &[&identifier.to_be_bytes()[..], &[code]].concat())
}

/// Returns an acknowledgement with a reason code and properties.
pub(crate) fn ack_with(first: u8, identifier: u16, code: u8, property: &[u8]) -> Vec<u8> {
    let head = [&identifier.to_be_bytes()[..], &[code]].concat();
    packet(first, &[head, properties(5, property)].concat())
}

/// Returns a SUBSCRIBE with topic filters and their subscription options.
pub(crate) fn subscribe(version: u8, identifier: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    subscribe_with(version, identifier, &[], filters)
}

pub(crate) fn subscribe_with(
    version: u8,
    identifier: u16,
    property: &[u8],
    filters: &[(&str, u8)],
) -> Vec<u8> {
    let mut body = identifier.to_be_bytes().to_vec();
    body.extend(properties(version, property));
    for (filter, options) in filters {
        body.extend(text(filter));
        body.push(*options);
    }
    packet(0x82, &body)
}

pub(crate) fn suback(version: u8, identifier: u16, codes: &[u8]) -> Vec<u8> {
    suback_with(version, identifier, &[], codes)
}

pub(crate) fn suback_with(version: u8, identifier: u16, property: &[u8], codes: &[u8]) -> Vec<u8> {
    let head = [
        identifier.to_be_bytes().to_vec(),
        properties(version, property),
    ];
    packet(0x90, &[head.concat(), codes.to_vec()].concat())
}

pub(crate) fn unsubscribe(version: u8, identifier: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = identifier.to_be_bytes().to_vec();
    body.extend(properties(version, &[]));
    filters.iter().for_each(|filter| body.extend(text(filter)));
    packet(0xA2, &body)
}

/// Returns an UNSUBACK. Before 5.0 it has no reason codes.
pub(crate) fn unsuback(version: u8, identifier: u16, codes: &[u8]) -> Vec<u8> {
    let head = [identifier.to_be_bytes().to_vec(), properties(version, &[])].concat();
    let codes = if version == 5 { codes } else { &[] };
    packet(0xB0, &[&head, codes].concat())
}

pub(crate) fn pingreq() -> Vec<u8> {
    vec![0xC0, 0]
}

pub(crate) fn pingresp() -> Vec<u8> {
    vec![0xD0, 0]
}

/// Returns a DISCONNECT in its short form.
pub(crate) fn disconnect() -> Vec<u8> {
    vec![0xE0, 0]
}

/// Returns a DISCONNECT with a reason code.
pub(crate) fn disconnect_code(code: u8) -> Vec<u8> {
    packet(0xE0, &[code])
}

pub(crate) fn disconnect_with(code: u8, property: &[u8]) -> Vec<u8> {
    packet(0xE0, &[vec![code], properties(5, property)].concat())
}

/// Returns the packet that an end sends before it closes the connection because of this error: a DISCONNECT in 5.0, and
/// nothing before 5.0.
pub(crate) fn goodbye(version: u8, code: u8) -> Vec<u8> {
    match version {
        5 => disconnect_code(code),
        _ => Vec::new(),
    }
}

pub(crate) fn auth(code: u8, method: &str, data: &str) -> Vec<u8> {
    let property = [text_property(0x15, method), text_property(0x16, data)].concat();
    packet(0xF0, &[vec![code], properties(5, &property)].concat())
}
