//! [`SyncPolicy`]: when mutations are synced to the disk.

use std::time::Duration;

/// The policy that decides when a commit is synced to the disk (`sync` in the configuration).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Each commit is synced. An acknowledged message survives a loss of power.
    #[default]
    Always,
    /// A commit is synced after this time at the latest. A crash of the broker or a loss of power may lose the messages
    /// since the last sync.
    Interval(Duration),
    /// No commit is synced. A crash of the broker alone loses no message. A loss of power may leave a corrupt file.
    Never,
}
