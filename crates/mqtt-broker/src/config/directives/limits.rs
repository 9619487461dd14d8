//! The directives that set limits of the whole broker, and those about the handling of messages.

use std::time::Duration;

use mqtt_broker_core::Limits;

use super::definition::{Definition, word};
use crate::config::line::Line;

/// A directive that concerns the whole broker.
#[derive(Debug)]
pub(crate) enum LimitDirective {
    MaximumConnections(Option<usize>),
    MaximumClients(Option<usize>),
    MaximumInFlight(u16),
    MaximumInFlightBytes(usize),
    MaximumQueued(usize),
    MaximumQueuedBytes(usize),
    MaximumRetained(usize),
    MaximumRetainedBytes(usize),
    MaximumStoreBytes(u64),
    MaximumMemory(Option<u64>),
    MaximumPacketSize(u32),
    MaximumPayload(usize),
    MaximumKeepAlive(Option<u16>),
    LongestSession(Duration),
    RetainAvailable(bool),
    CheckRetainSource(bool),
    RetainedSweep(Duration),
    AllowDuplicates(bool),
    QueueQos0(bool),
    UpgradeQos(bool),
    SysInterval(Duration),
}

use LimitDirective as D;

pub(crate) const LIMITS: &[Definition<D>] = &[
    word("global_max_connections", |l| {
        l.limit_or_minus_one().map(D::MaximumConnections)
    }),
    word("global_max_clients", |l| {
        l.limit_or_minus_one().map(D::MaximumClients)
    }),
    word("max_inflight_messages", |l| {
        maximum_in_flight(l).map(D::MaximumInFlight)
    }),
    word("max_inflight_bytes", |l| {
        l.limit().map(D::MaximumInFlightBytes)
    }),
    word("max_queued_messages", |l| l.limit().map(D::MaximumQueued)),
    word("max_queued_bytes", |l| l.limit().map(D::MaximumQueuedBytes)),
    word("max_retained_messages", |l| {
        l.limit().map(D::MaximumRetained)
    }),
    word("max_retained_bytes", |l| {
        l.limit().map(D::MaximumRetainedBytes)
    }),
    word("max_store_bytes", |l| {
        store_bytes(l).map(D::MaximumStoreBytes)
    }),
    word("memory_limit", |l| {
        let wrong = || l.wrong("0 (no limit), or a number of bytes");
        let limit: u64 = l.value().parse().map_err(|_| wrong())?;
        Ok(D::MaximumMemory((limit > 0).then_some(limit)))
    }),
    word("max_packet_size", |l| {
        packet_size(l).map(D::MaximumPacketSize)
    }),
    word("message_size_limit", |l| l.limit().map(D::MaximumPayload)),
    word("max_keepalive", |l| {
        let longest = l.number_16(0)?;
        Ok(D::MaximumKeepAlive(
            Some(longest).filter(|longest| *longest > 0),
        ))
    }),
    word("persistent_client_expiration", |l| {
        l.long_time().map(D::LongestSession)
    }),
    word("retain_available", |l| l.boolean().map(D::RetainAvailable)),
    word("check_retain_source", |l| {
        l.boolean().map(D::CheckRetainSource)
    }),
    // The interval only affects memory, because expired retained messages are never sent.
    word("retain_expiry_interval", |l| {
        let minutes = l.number(0, 1_000_000)?;
        Ok(D::RetainedSweep(Duration::from_secs(
            60 * u64::from(minutes),
        )))
    }),
    word("allow_duplicate_messages", |l| {
        l.boolean().map(D::AllowDuplicates)
    }),
    word("queue_qos0_messages", |l| l.boolean().map(D::QueueQos0)),
    word("upgrade_outgoing_qos", |l| l.boolean().map(D::UpgradeQos)),
    word("sys_interval", |l| {
        let seconds = l.number(0, 65535)?;
        Ok(D::SysInterval(Duration::from_secs(seconds.into())))
    }),
];

impl LimitDirective {
    /// Applies the directive to the limits of the broker.
    pub(crate) fn apply(self, limits: &mut Limits) {
        match self {
            Self::MaximumConnections(maximum) => limits.maximum_connections = maximum,
            Self::MaximumClients(maximum) => limits.maximum_clients = maximum,
            Self::MaximumInFlight(maximum) => {
                limits.receive_maximum = maximum;
                limits.maximum_in_flight = maximum;
            }
            Self::MaximumInFlightBytes(maximum) => limits.maximum_in_flight_bytes = maximum,
            Self::MaximumQueued(maximum) => limits.maximum_queued = maximum,
            Self::MaximumQueuedBytes(maximum) => limits.maximum_queued_bytes = maximum,
            Self::MaximumRetained(maximum) => limits.maximum_retained = maximum,
            Self::MaximumRetainedBytes(maximum) => limits.maximum_retained_bytes = maximum,
            Self::MaximumStoreBytes(maximum) => limits.maximum_store_bytes = maximum,
            Self::MaximumMemory(maximum) => limits.maximum_memory = maximum,
            Self::MaximumPacketSize(maximum) => limits.maximum_packet_size = maximum,
            Self::MaximumPayload(maximum) => limits.maximum_payload = maximum,
            Self::MaximumKeepAlive(maximum) => limits.maximum_keep_alive = maximum,
            Self::LongestSession(longest) => limits.longest_session = Some(longest),
            Self::RetainAvailable(is_on) => limits.retain_available = is_on,
            Self::CheckRetainSource(is_on) => limits.check_retain_source = is_on,
            Self::RetainedSweep(interval) => limits.retained_sweep = interval,
            Self::AllowDuplicates(is_on) => limits.allow_duplicates = is_on,
            Self::QueueQos0(is_on) => limits.queue_qos_0 = is_on,
            Self::UpgradeQos(is_on) => limits.upgrade_qos = is_on,
            Self::SysInterval(interval) => limits.sys_interval = interval,
        }
    }
}

fn maximum_in_flight(l: &Line<'_>) -> Result<u16, String> {
    // Without a limit, the number of packet identifiers still permits at most 65,535 messages in flight.
    if l.is_negative() {
        return Ok(u16::MAX);
    }
    Ok(match l.number_16(0)? {
        0 => u16::MAX,
        limit => limit,
    })
}

fn store_bytes(l: &Line<'_>) -> Result<u64, String> {
    // Even an almost empty store may have a few megabytes, and must be below the limit.
    const LEAST: u64 = 16 * 1024 * 1024;
    let wrong = || l.wrong(&format!("0 (no limit), or at least {LEAST}"));
    match l.value().parse().map_err(|_| wrong())? {
        0 => Ok(u64::MAX),
        limit if limit < LEAST => Err(wrong()),
        limit => Ok(limit),
    }
}

fn packet_size(l: &Line<'_>) -> Result<u32, String> {
    let largest = mqtt_codec::MAXIMUM_PACKET_SIZE;
    match l.value() {
        "0" => Ok(largest),
        // A higher limit has the same effect as the largest packet size of MQTT.
        _ => Ok(l.number(20, u32::MAX)?.min(largest)),
    }
}
