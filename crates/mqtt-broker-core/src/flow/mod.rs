//! Limits the work of one call, and decides when a connection has to wait.

pub(crate) mod background;
pub(crate) mod backpressure;
pub(crate) mod throttle;
pub(crate) mod work;

use self::background::Background;
use self::throttle::Throttle;
use self::work::WorkBudget;
use crate::routing::fan_out::FanOuts;
use crate::sessions::client::ClientKey;
use crate::timers::{TimerKey, Timers};

/// The work of one call, and the work that has to wait for a later call.
#[derive(Debug)]
pub(crate) struct Flow {
    /// The work of this call.
    pub(crate) work: WorkBudget,
    /// The connections that wait for a commit or a subscriber.
    pub(crate) throttle: Throttle,
    /// The client with the longest queue among those whose queues the last input has filled.
    pub(crate) congested: Option<(usize, ClientKey)>,
    /// The publications that are delivered in slices.
    pub(crate) fan_outs: FanOuts,
    /// The work that belongs to no connection.
    pub(crate) background: Background,
    pub(crate) timers: Timers<TimerKey>,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            work: WorkBudget::new(usize::MAX),
            throttle: Throttle::default(),
            congested: None,
            fan_outs: FanOuts::default(),
            background: Background::default(),
            timers: Timers::new(),
        }
    }
}

impl Flow {
    /// Returns `true` if stale subscriptions are in the tree.
    pub(crate) fn has_stale_subscriptions(&self) -> bool {
        !self.background.gone.is_empty()
    }

    /// Records that the mutations of all finished publications were taken for a commit.
    pub(crate) fn release_fan_outs(&mut self) {
        self.fan_outs.is_sealed = false;
    }

    pub(crate) fn is_fanning_out(&self) -> bool {
        self.fan_outs.current.is_some()
    }
}
