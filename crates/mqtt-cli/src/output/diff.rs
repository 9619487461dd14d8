//! Compares the retained messages of a broker with a backup, for `rsub --diff`. A backup has a message on each line, as
//! `rsub --snapshot --jsonl` prints them.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufRead};

use mqtt_codec::{MessageProperties, Property, PublishRef};

use crate::jsonl::{self, MessageLine};
use crate::output::format::{Style, visible};

/// The messages of a backup. Each of them has a mark if the broker has a message of its topic.
#[derive(Debug, Default, Clone)]
pub(crate) struct Diff {
    saved: BTreeMap<String, Saved>,
    /// The topics of printed messages that the backup does not have. A broker may send a message twice, for example for
    /// two topic filters, and the difference is printed once.
    added: HashSet<String>,
    /// Set if the connection has properties. Before MQTT 5.0 a broker sends none, and they are not compared.
    has_properties: bool,
    is_different: bool,
}

#[derive(Debug, Clone)]
struct Saved {
    payload: Vec<u8>,
    properties: MessageProperties,
    /// Set when the broker has sent a message of this topic.
    is_present: bool,
}

impl Diff {
    /// Reads a backup. Topics for which `is_wanted` returns `false` are left out, and so are messages without RETAIN.
    ///
    /// # Errors
    /// If the input cannot be read or a line is not a message. The error of a line names its number.
    pub(crate) fn read(
        input: impl BufRead,
        has_properties: bool,
        is_wanted: impl Fn(&str) -> bool,
    ) -> io::Result<Self> {
        let mut saved = BTreeMap::new();
        for (index, line) in input.split(b'\n').enumerate() {
            let line = line?;
            if line.is_empty() {
                continue;
            }
            let fail = |text: &str| io::Error::other(format!("line {}: {text}", index + 1));
            let message: MessageLine = jsonl::read(&line).map_err(|text| fail(&text))?;
            let topic_name = message
                .topic_name
                .ok_or_else(|| fail("there is no topic"))?;
            let topic_name: &str = &topic_name;
            if message.retain == Some(false) || !is_wanted(topic_name) {
                continue;
            }
            let message = Saved {
                payload: message.payload,
                properties: message.properties.unwrap_or_default(),
                is_present: false,
            };
            saved.insert(topic_name.to_owned(), message);
        }
        Ok(Self {
            saved,
            added: HashSet::new(),
            has_properties,
            is_different: false,
        })
    }

    /// Compares a retained message with the backup, and writes a line if they differ.
    pub(super) fn add(&mut self, publish: &PublishRef<'_>, style: Style, out: &mut Vec<u8>) {
        let Some(saved) = self.saved.get_mut(publish.topic_name) else {
            if self.added.insert(publish.topic_name.to_owned()) {
                self.report("added", publish.topic_name, style, out);
            }
            return;
        };
        // The second copy of a message is not compared.
        if std::mem::replace(&mut saved.is_present, true) {
            return;
        }
        let properties = MessageProperties::from(&publish.properties);
        // The broker subtracts the waiting time from the interval.
        let is_lasting =
            |property: &Property<'_>| !matches!(property, Property::MessageExpiryInterval(_));
        let has_same = || {
            let now = properties.iter().filter(is_lasting);
            now.eq(saved.properties.iter().filter(is_lasting))
        };
        if publish.payload != saved.payload || self.has_properties && !has_same() {
            self.report("changed", publish.topic_name, style, out);
        }
    }

    /// Writes a line for each message of the backup that the broker does not have. Returns `true` if there was any
    /// difference.
    pub(super) fn finish(&mut self, style: Style, out: &mut Vec<u8>) -> bool {
        for (topic_name, saved) in std::mem::take(&mut self.saved) {
            if !saved.is_present {
                self.report("removed", &topic_name, style, out);
            }
        }
        self.is_different
    }

    fn report(&mut self, change: &str, topic_name: &str, style: Style, out: &mut Vec<u8>) {
        self.is_different = true;
        out.extend_from_slice(change.as_bytes());
        out.push(b' ');
        visible(topic_name.as_bytes(), style, out);
        out.push(b'\n');
    }
}
