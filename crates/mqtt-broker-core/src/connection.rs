//! [`ConnectionState`]: what the core knows of one connection beside the protocol.

use std::time::Instant;

use mqtt_codec::Connect;
use mqtt_session::Connection;
use slotmap::new_key_type;

use crate::InputProgress;
use crate::durability::commit_gate::CommitGate;
use crate::packets::input::Task;
use crate::sessions::client::ClientKey;
use crate::stats::Statistics;

new_key_type! {
    /// A connection. Never used again, so a late event of an old connection finds nothing.
    pub struct ConnectionId;
}

/// One connection.
pub(crate) struct ConnectionState {
    /// The state machine of the protocol.
    pub(crate) protocol: Connection,
    pub(crate) client: Option<ClientKey>,
    /// The peer's address, for people.
    pub(crate) peer: Box<str>,
    /// Where it came in.
    pub(crate) listener: u32,
    /// The user name by its certificate.
    pub(crate) identity: Option<Box<str>>,
    /// Set for a bridge that has said so in its CONNECT.
    pub(crate) is_bridge: bool,
    /// Its CONNECT, while its password is being checked.
    pub(crate) waiting: Option<Box<Connect>>,
    /// How much of its output may be written, once it has promised something.
    pub(crate) commit_gate: Option<Box<CommitGate>>,
    pub(crate) scheduled: Option<Instant>,
    pub(crate) is_changed: bool,
    /// The bytes of its output that the statistics know of.
    pub(crate) counted_output: usize,
    /// The progress of the last call with its bytes.
    pub(crate) progress: InputProgress,
    /// The rest of its last packet.
    pub(crate) task: Option<Box<Task>>,
    /// Set while its last publication is delivered in slices.
    pub(crate) is_publishing: bool,
    /// Until when it waits for a subscriber whose queue it has filled.
    pub(crate) throttled_until: Option<Instant>,
    /// The number of the commit with its newest mutations.
    pub(crate) mutated_in: u64,
    /// Set while it is in the list of those that wait for a commit.
    pub(crate) awaits_commit_room: bool,
    /// Set while it waits until its peer reads.
    pub(crate) awaits_output_room: bool,
    /// Control packets that were handled since its peer last read, while the output was full.
    pub(crate) unanswered: u16,
    /// Set while it is in the list of those that may go on.
    pub(crate) is_resumable: bool,
}

impl ConnectionState {
    /// Adds the connection, whose identifier this is, to those that have changed.
    #[inline]
    pub(crate) fn mark_changed(&mut self, id: ConnectionId, changed: &mut Vec<ConnectionId>) {
        if !std::mem::replace(&mut self.is_changed, true) {
            changed.push(id);
        }
    }

    /// Tells the statistics how many bytes of output wait now.
    pub(crate) fn count_output(&mut self, statistics: &mut Statistics) {
        let bytes = self.protocol.output().len();
        statistics.count_output(std::mem::replace(&mut self.counted_output, bytes), bytes);
    }
}
