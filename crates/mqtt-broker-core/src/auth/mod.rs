//! Authentication and permissions: listener policies, access control lists, and passwords that wait to be verified.

pub(crate) mod acl;
pub(crate) mod check_queue;
pub(crate) mod policy;

use self::check_queue::CheckQueue;
use self::policy::{ListenerPolicies, ListenerPolicy};
use crate::topics::names::MAXIMUM_SLASHES;

/// The listener policies, and the passwords that wait to be verified.
#[derive(Debug, Default)]
pub(crate) struct Auth {
    pub(crate) policies: ListenerPolicies,
    pub(crate) checks: CheckQueue,
}

impl Auth {
    /// The rules of a listener.
    pub(crate) fn policy(&self, listener: u32) -> &ListenerPolicy {
        self.policies.of(listener)
    }

    /// Returns the number of levels that a topic may have behind any of the mount points.
    pub(crate) fn most_levels(&self) -> usize {
        let access = self.policies.listeners.iter();
        let mount_points = access.filter_map(|access| access.mount_point.as_deref());
        let levels = mount_points.map(|mount_point| mqtt_codec::levels(mount_point).count());
        MAXIMUM_SLASHES + 1 + levels.max().unwrap_or(0)
    }
}
