//! [`Models`]: the records of a run that the checks compare with the messages and packets of the real code. A client has
//! further models of its own session.

use mqtt_broker_core::Broker;

use crate::Violation;
use crate::client::SimClient;
use crate::oracle::{Guarantees, Key, Oracle};
use crate::queues::Queues;
use crate::states::States;
use crate::wills::Observer;

/// The index that the oracle uses for a whole shared subscription. Each message must reach one member of the group, so
/// the group counts as one subscriber.
pub(crate) const GROUP: usize = usize::MAX;

/// The records of a run.
pub(crate) struct Models {
    pub(crate) oracle: Oracle,
    pub(crate) states: States,
    /// The model of the queues, in runs with a queue limit.
    pub(crate) queues: Option<Queues>,
    pub(crate) observer: Observer,
}

impl Models {
    pub(crate) fn new(queue_limit: Option<usize>, observer: Observer) -> Self {
        Self {
            oracle: Oracle::default(),
            states: States::default(),
            queues: queue_limit.map(Queues::new),
            observer,
        }
    }

    /// Checks the deliveries at the end of a run (I1).
    pub(crate) fn check_deliveries(&self, clients: &[SimClient]) -> Result<(), Violation> {
        let keeps = |client: &SimClient| client.plan.lasts && !client.plan.is_shared;
        let lasting = (0..clients.len()).filter(|index| keeps(&clients[*index]));
        // The members of the group count as one subscriber: each message must have reached one of them.
        let shares = clients.iter().any(|client| client.plan.is_shared);
        let lasting = lasting.chain(shares.then_some(GROUP));
        let queues = self.queues.as_ref();
        self.oracle.check_complete(
            lasting,
            |subscriber, key| guarantees(clients, queues, subscriber, key),
            |subscriber, key| queues.is_some_and(|queues| queues.had_to_drop(subscriber, key)),
        )
    }

    /// Checks that no queue exceeded its limit, and that `broker` has counted each dropped message (I20). `is_exact` is
    /// set if `Queues` follows all clients of the broker.
    pub(crate) fn check_drops(
        &self,
        broker: &mut Broker,
        now: std::time::Instant,
        is_exact: bool,
    ) -> Result<(), Violation> {
        let Some(queues) = &self.queues else {
            return Ok(());
        };
        queues.check()?;
        let dropped = queues.dropped();
        let values = broker.statistics(now);
        let counted = values
            .iter()
            .find(|value| value.name == "publish/messages/dropped");
        let counted = counted.and_then(|value| value.text.parse::<u64>().ok());
        let counted = counted.unwrap_or_default();
        if counted < dropped || is_exact && counted > dropped {
            let what = format!("{dropped} messages were dropped, and {counted} counted");
            return Err(Violation::new("I20", what));
        }
        Ok(())
    }
}

/// Returns the delivery guarantees that hold between the publisher of a message and a subscriber, or [`GROUP`].
pub(crate) fn guarantees(
    clients: &[SimClient],
    queues: Option<&Queues>,
    subscriber: usize,
    key: Key,
) -> Guarantees {
    let publisher = clients.get(key.publisher);
    let publisher_lasts = publisher.is_some_and(|client| client.plan.lasts);
    let mut members = clients.iter().filter(|client| client.plan.is_shared);
    let client = match subscriber {
        GROUP => members.next(),
        index => clients.get(index),
    };
    let plan = &client.unwrap_or(&clients[0]).plan;
    Guarantees {
        publisher_lasts,
        subscriber_lasts: plan.lasts,
        knows_repeats: !plan.may_crash,
        // If a full queue has dropped a message of QoS 1, the message may still be delivered later, when its publisher
        // resends it. The members of a group get the messages of one publisher on different connections.
        keeps_order: subscriber != GROUP && (queues.is_none() || key.qos != 1),
        takes_long: plan.maximum_packet_size.is_none(),
        granted: plan.subscribed,
    }
}
