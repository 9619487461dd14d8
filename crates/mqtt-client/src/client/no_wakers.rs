//! [`Wakers`] without the feature `async`: no future waits for a change.

/// Replaces the wakers of futures in a build without futures.
#[derive(Debug, Default)]
pub(super) struct Wakers {}

impl Wakers {
    /// Does nothing. The compiler removes the calls.
    #[allow(clippy::unused_self)] // the same call with the feature
    pub(super) fn wake(&self) {}
}
