//! [`FanOuts`]: the publications that are delivered in slices.
//!
//! Only one publication is in progress at a time, because its list of subscribers may be long. The others wait in
//! order, and have no such list until they begin. `routing/fan_out.rs` begins a publication, and
//! `background/large_publications.rs` delivers its slices.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{Delivery, Message, PublishRef, QoS};

use crate::auth::policy::Principal;
use crate::connection::Connections;
use crate::keys::{ClientKey, ConnectionId};
use crate::topics::targets::Targets;

/// Maximum number of waiting publications in addition to one for each connection. A connection waits until its
/// publication is delivered, so only the broker itself and connections that have ended can add more.
const MAXIMUM_WITHOUT_CONNECTION: usize = 1000;

/// The publications that are delivered in slices.
#[derive(Debug, Default)]
pub(crate) struct FanOuts {
    /// The publication that is being delivered in slices.
    pub(crate) current: Option<FanOut>,
    /// The publications that have not begun yet, in the order in which they were published.
    pub(crate) waiting: VecDeque<Publication>,
    /// Set when a publication has ended, until `take_mutations` returns its mutations. Until then no publication that
    /// makes mutations may begin. If one were always in progress, no commit could ever begin.
    pub(crate) is_sealed: bool,
}

/// A message with the data that its delivery needs in a later turn.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) message: Arc<Message>,
    /// The QoS and the packet identifier of the PUBLISH.
    pub(crate) delivery: Delivery,
    pub(crate) expires: Option<Instant>,
    /// The publisher, which must not receive the message through a subscription with No Local.
    pub(crate) from: Option<ClientKey>,
    /// The publisher that is stored with the retained message, for `check_retain_source`.
    pub(crate) source: Option<Arc<Principal>>,
    /// The connection that waits for the acknowledgement. `None` for wills and messages of the broker itself.
    pub(crate) origin: Option<Origin>,
    /// Set for a will. A will must not wait in `FanOuts::waiting`: the mutation that removes the will from the store is
    /// made in the same turn, and a crash between its commit and the delivery would lose the will.
    pub(crate) is_will: bool,
}

/// The connection that has sent a publication, and its client. The client may reconnect during the delivery.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) connection: ConnectionId,
    pub(crate) client: ClientKey,
}

/// The publication that is being delivered, and the subscribers that are left.
#[derive(Debug)]
pub(crate) struct FanOut {
    pub(crate) publication: Publication,
    pub(crate) targets: Targets,
    /// The number of mutations when the publication began. Mutations after this number may belong to the publication.
    pub(crate) mutations_before: usize,
}

impl FanOuts {
    /// Returns `true` if a publication is being delivered in slices or waits for its turn.
    pub(crate) fn has_any(&self) -> bool {
        self.current.is_some() || !self.waiting.is_empty()
    }

    /// Returns `true` if a publication that the client sent on an earlier connection is not completely delivered yet.
    /// The next PUBLISH of the client must wait for that publication: the PUBLISH must not overtake it, and may be the
    /// same message, resent.
    pub(crate) fn has_orphan_of(&self, connections: &Connections, id: ConnectionId) -> bool {
        let Self {
            current, waiting, ..
        } = self;
        // The client has reconnected if a publication has the same client but another connection.
        let client = connections.get(id).and_then(|connection| connection.client);
        let is_orphan = |publication: &Publication| {
            let origin = publication.origin;
            origin.is_some_and(|origin| origin.connection != id && Some(origin.client) == client)
        };
        current
            .iter()
            .any(|current| is_orphan(&current.publication))
            || waiting.iter().any(is_orphan)
    }

    /// Drops the waiting publications of a connection that has ended, if they have QoS 1 or 2: the publisher resends
    /// them. The publisher does not resend publications of QoS 0, so they are dropped only if too many publications
    /// wait.
    pub(crate) fn forget_unbegun(&mut self, connections: &Connections, id: ConnectionId) {
        let is_full = self.waiting.len() > connections.len() + MAXIMUM_WITHOUT_CONNECTION;
        self.waiting.retain(|publication| {
            let is_of_it = publication
                .origin
                .is_some_and(|origin| origin.connection == id);
            // No waiting publication was acknowledged, so the publisher resends those of QoS 1 and 2.
            let is_unacknowledged = publication.delivery.qos() > QoS::AtMostOnce;
            !(is_of_it && (is_unacknowledged || is_full))
        });
    }
}

impl Publication {
    pub(crate) fn publish(&self) -> PublishRef<'_> {
        self.message.publish(self.delivery)
    }

    /// Returns `true` if the delivery may make mutations: the message has QoS 1 or 2 or RETAIN set, or
    /// `upgrade_outgoing_qos` may raise its QoS to that of a subscription.
    pub(crate) fn may_mutate(&self, upgrade_qos: bool) -> bool {
        self.delivery.qos() > QoS::AtMostOnce || self.message.retain || upgrade_qos
    }
}
