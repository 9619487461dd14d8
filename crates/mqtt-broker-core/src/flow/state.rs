//! [`Flow`]: the work of one call, and the work that has to wait for a later call.

use crate::flow::background::Background;
use crate::flow::fan_outs::FanOuts;
use crate::flow::throttle::Throttle;
use crate::flow::work::WorkBudget;
use crate::keys::{ClientKey, TimerKey};
use crate::timers::Timers;

/// The work budget of the current call, and the work that waits for a later call.
#[derive(Debug)]
pub(crate) struct Flow {
    /// The budget of the current call.
    pub(crate) work: WorkBudget,
    /// The connections that wait for a commit or for a subscriber, and those that may resume.
    pub(crate) throttle: Throttle,
    /// The live client with the longest queue among those to which the current input has added messages, if the queue
    /// is more than half full.
    pub(crate) congested: Option<(usize, ClientKey)>,
    /// The publications that are delivered in slices.
    pub(crate) fan_outs: FanOuts,
    /// The stale subscriptions and the deferred wills, which belong to no connection.
    pub(crate) background: Background,
    /// The deadlines of connections, clients and retained messages.
    pub(crate) timers: Timers<TimerKey>,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            work: WorkBudget::new(usize::MAX), // each call that handles work sets its budget
            throttle: Throttle::default(),
            congested: None,
            fan_outs: FanOuts::default(),
            background: Background::default(),
            timers: Timers::new(),
        }
    }
}

impl Flow {
    /// Returns `true` if the topic tree has subscriptions of clients whose session has ended.
    pub(crate) fn has_stale_subscriptions(&self) -> bool {
        !self.background.stale_subscriptions.is_empty()
    }

    /// Lets the next publication begin, because the mutations of the last one were taken for a commit.
    pub(crate) fn release_fan_outs(&mut self) {
        self.fan_outs.is_sealed = false;
    }

    /// Returns `true` while a publication is delivered in slices.
    pub(crate) fn is_fanning_out(&self) -> bool {
        self.fan_outs.current.is_some()
    }
}
