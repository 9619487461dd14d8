//! [`Wakers`] without the feature `async`: no future waits for a change.

/// Stands for the wakers of futures where there are none.
#[derive(Debug, Default)]
pub(super) struct Wakers {}

impl Wakers {
    /// Does nothing. The compiler removes the calls.
    #[allow(clippy::unused_self)] // the same call with the feature
    pub(super) fn wake(&self) {}
}
