//! The work that belongs to no connection, and gets its own share of each turn: large publications (`fan_out.rs`), the
//! subscriptions of sessions that have ended, wills and session ends that wait for the store.

use std::collections::hash_map::IntoIter;
use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use mqtt_codec::{QoS, TopicFilter};

use crate::broker::Broker;
use crate::flow::throttle::Pressure;
use crate::flow::work::WorkBudget;
use crate::sessions::client::{Client, ClientKey, SubscriptionState};

#[derive(Debug, Default)]
pub(crate) struct Background {
    /// Clients whose session has ended, and those of their subscriptions that are still in the tree. Their keys are in
    /// no table any more, so the subscriptions match nobody.
    gone: VecDeque<(ClientKey, IntoIter<TopicFilter, SubscriptionState>)>,
    /// Clients whose time has come, and whose will has to wait.
    deferred: BTreeSet<ClientKey>,
}

impl Broker {
    /// Does the work of one turn that belongs to no connection.
    pub fn run_background(&mut self, now: Instant) {
        self.end_backpressure(now);
        self.work = WorkBudget::new(self.limits.work_per_turn);
        self.handle_deferred(now);
        self.advance_fan_outs(now);
        let fan_outs = self.work.spent();
        self.work = WorkBudget::new(self.limits.work_per_connection);
        self.remove_subscriptions_of_gone();
        self.work.spend(fan_outs);
    }

    /// Returns `true` if `run_background` has something to do now.
    pub fn has_background_work(&mut self) -> bool {
        !self.background.gone.is_empty() || self.has_fan_out_to_advance() || {
            !self.background.deferred.is_empty() && !self.is_will_deferred()
        }
    }

    /// Returns `true` if stale subscriptions are in the tree.
    pub(crate) fn has_stale_subscriptions(&self) -> bool {
        !self.background.gone.is_empty()
    }

    /// Removes the subscriptions of a client that is in no table any more: at once as far as the budget of this call
    /// goes, the rest in the background.
    pub(crate) fn remove_subscriptions(&mut self, key: ClientKey, client: &mut Client) {
        let subscriptions = std::mem::take(&mut client.subscriptions);
        if !subscriptions.is_empty() {
            let subscriptions = subscriptions.into_iter();
            self.background.gone.push_back((key, subscriptions));
            self.remove_subscriptions_of_gone();
        }
    }

    fn remove_subscriptions_of_gone(&mut self) {
        while !self.work.is_spent() {
            let Some((key, subscriptions)) = self.background.gone.front_mut() else {
                return;
            };
            let key = *key;
            match subscriptions.next() {
                Some((topic_filter, _)) => {
                    self.work.spend(1);
                    self.remove_subscriber(&topic_filter, key);
                }
                None => {
                    self.background.gone.pop_front();
                }
            }
        }
    }

    /// Puts off a client whose time has come, if its will must not be published now. The will and the end of the
    /// session stay with the client until then, so a crash loses neither.
    pub(crate) fn defer(&mut self, key: ClientKey) -> bool {
        let will = self
            .clients
            .get(key)
            .and_then(|client| client.will.as_ref());
        let makes_mutations =
            will.is_some_and(|will| will.qos > QoS::AtMostOnce || will.message.retain);
        let is_deferred = makes_mutations && self.is_will_deferred();
        if is_deferred {
            self.background.deferred.insert(key);
        }
        is_deferred
    }

    /// Returns `true` if a will that makes mutations has to wait.
    fn is_will_deferred(&mut self) -> bool {
        self.mutations.is_some()
            && (self.is_fanning_out() || !self.lacks_storage() && self.pressure() > Pressure::None)
    }

    /// Handles the clients that were put off, as far as they may go on.
    pub(crate) fn handle_deferred(&mut self, now: Instant) {
        while !self.work.is_spent() && !self.is_will_deferred() {
            let Some(key) = self.background.deferred.pop_first() else {
                return;
            };
            self.work.spend(1);
            self.handle_client_timeout(now, key);
        }
    }
}
