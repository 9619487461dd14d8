//! [`Auth`]: the listener policies, and the passwords that wait for their check.

use crate::auth::check_queue::CheckQueue;
use crate::auth::policy::{ListenerPolicies, ListenerPolicy};
use crate::topics::names::MAXIMUM_SLASHES;

/// The listener policies, and the passwords that wait for their check.
#[derive(Debug, Default)]
pub(crate) struct Auth {
    pub(crate) policies: ListenerPolicies,
    pub(crate) checks: CheckQueue,
}

impl Auth {
    /// Returns the policy of a listener.
    pub(crate) fn policy(&self, listener: u32) -> &ListenerPolicy {
        self.policies.of(listener)
    }

    /// Returns the maximum number of levels of a stored topic, which includes the levels of the longest mount point.
    pub(crate) fn maximum_levels(&self) -> usize {
        let access = self.policies.listeners.iter();
        let mount_points = access.filter_map(|access| access.mount_point.as_deref());
        let levels = mount_points.map(|mount_point| mqtt_codec::levels(mount_point).count());
        MAXIMUM_SLASHES + 1 + levels.max().unwrap_or(0)
    }
}
