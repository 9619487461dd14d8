//! [`Answer`]: the services in the answer of a name server, in the order in which the client must try them.

use std::io::{self, ErrorKind};

use simple_dns::rdata::{RData, SRV};
use simple_dns::{Packet, RCODE};

use crate::authority::is_host;

/// Decoded answer of a name server.
pub(super) enum Answer {
    Services(Vec<(String, u16)>),
    Truncated,
}

impl Answer {
    pub(super) fn parse(bytes: &[u8]) -> io::Result<Self> {
        let invalid = |_| io::Error::from(ErrorKind::InvalidData);
        // A truncated packet may end within a record, so its records are not parsed.
        if bytes.get(2).is_some_and(|flags| flags & 0x02 != 0) {
            return Ok(Self::Truncated);
        }
        let packet = Packet::parse(bytes).map_err(invalid)?;
        let none = || {
            io::Error::new(
                ErrorKind::NotFound,
                "the DNS has no SRV records of this name",
            )
        };
        match packet.rcode() {
            RCODE::NoError => {}
            RCODE::NameError => return Err(none()),
            code => {
                let text = format!("the DNS server answered with {code:?}");
                return Err(io::Error::other(text));
            }
        }
        let mut records: Vec<&SRV<'_>> = packet
            .answers
            .iter()
            .filter_map(|answer| match &answer.rdata {
                // The target "." means that the domain does not offer the service. It is not a host name and is skipped
                // here.
                RData::SRV(record) if is_host(&record.target.to_string()) => Some(record),
                _ => None,
            })
            .collect();
        if records.is_empty() {
            return Err(none());
        }
        in_order(&mut records, random);
        let service = |record: &SRV<'_>| (record.target.to_string(), record.port);
        Ok(Self::Services(records.into_iter().map(service).collect()))
    }
}

/// Sorts records by priority. Records of the same priority are drawn at random, with a probability proportional to
/// their weights (RFC 2782, page 4).
pub(super) fn in_order(records: &mut [&SRV<'_>], mut random: impl FnMut() -> u32) {
    // RFC 2782 requires that the records of weight 0 come first in their priority.
    records.sort_by_key(|record| (record.priority, record.weight));
    for same in records.chunk_by_mut(|one, other| one.priority == other.priority) {
        let mut rest = same;
        while rest.len() > 1 {
            let sum: u32 = rest.iter().map(|record| u32::from(record.weight)).sum();
            // The drawn number may equal the sum, so that records of weight 0 can be drawn too (RFC 2782).
            let mut drawn = random() % (sum + 1);
            let chosen = rest.iter().position(|record| {
                let is_chosen = drawn <= u32::from(record.weight);
                drawn = drawn.saturating_sub(u32::from(record.weight));
                is_chosen
            });
            if let Some(part) = rest.get_mut(..=chosen.unwrap_or(0)) {
                part.rotate_right(1);
            }
            rest = rest.get_mut(1..).unwrap_or_default();
        }
    }
}

/// Returns a random number.
pub(super) fn random() -> u32 {
    let mut bytes = [0; 4];
    // Without random bytes the number is 0, and the records are sorted by weight. This order is valid too.
    let _ = getrandom::fill(&mut bytes);
    u32::from_ne_bytes(bytes)
}
