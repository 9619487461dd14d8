//! Defects that can be planted, to show that the simulation finds them. Without the feature
//! `planted-defects` nothing of this is compiled into a program: [`Defect::is_planted`] is `false`.

/// A defect; the numbers are those of the list in `docs/simulation.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// M1: output is written before what it promises is durable.
    WrittenBeforeCommit,
    /// M2: a message is handed on in one commit and its identifier held in another.
    HeldInAnotherCommit,
    /// M3: the identifiers that are held are forgotten when the connection breaks.
    HeldForgotten,
    /// M4: a repeat is told by DUP.
    RepeatByDup,
    /// M5: the message is sent again after PUBREC.
    PublishAfterPubrec,
    /// M6: an identifier is free at PUBREC.
    FreedAtPubrec,
    /// M7: identifiers are given out without looking whether they are in use.
    IdentifiersReused,
    /// M8: what is sent again is sent in another order.
    RepeatedOutOfOrder,
    /// M9: new messages go before what has to be sent again.
    NewBeforeRepeated,
    /// M10: the window is not empty after a reconnect.
    WindowKept,
    /// M11: an acknowledgement of nothing gives room in the window.
    UnknownGivesRoom,
    /// M12: a message that is too large keeps its place in the window.
    OversizedKeepsRoom,
    /// M13: the late close of an old connection takes the session from the new one.
    LateCloseTakesSession,
    /// M14: a will is not cancelled when its client comes back.
    WillNotCancelled,
    /// M15: a will is published twice.
    WillTwice,
    /// M16: DUP is copied from the publisher.
    DupCopied,
    /// M17: topic aliases are kept over a reconnect.
    AliasesKept,
    /// M18: a message is acknowledged before the application has it.
    AcknowledgedTooEarly,
    /// M19: an exchange that is under way expires with its message.
    ExpiryUnderWay,
    /// M20: an error of the store is passed over.
    CommitErrorIgnored,
    /// M21: a commit does not wait until it is durable.
    CommitUnsynced,
    /// M22: each byte of a packet that is not complete counts as a sign of life.
    BytesAreActivity,
    /// M23: a session is gone on with after its expiry.
    SessionAfterExpiry,
    /// M24: a repeat counts twice towards the receive maximum.
    RepeatCounts,
    /// M25: a commit releases what was promised while it was made.
    CommitCoversLater,
    /// M26: a session that ends before the delay of its will takes the will with it.
    WillLostAtExpiry,
    /// M27: each DISCONNECT takes the will back, also with reason code 0x04.
    WillLostAtDisconnect,
    /// M28: the broker forgets wills when it starts again.
    WillLostAtRestart,
    /// M29: an empty retained message does not remove the one before it.
    RetainedNotRemoved,
    /// M30: a subscription gets each retained message twice.
    RetainedTwice,
    /// M31: a new subscription does not get the retained messages.
    RetainedNotSent,
    /// M32: messages go on after UNSUBACK.
    UnsubscribeIgnored,
    /// M33: a full queue drops its oldest message.
    OldestDropped,
    /// M34: a queue takes one message more than its limit.
    QueueOverLimit,
    /// M35: a message is dropped and not counted.
    DropNotCounted,
    /// M36: a queue is full at half of its limit.
    QueueFullTooSoon,
    /// M37: a graceful stop takes all wills back.
    WillLostAtStop,
    /// M38: a connection that waits for a commit is forgotten.
    ThrottledForEver,
    /// M39: connections make records without limit.
    BacklogIgnored,
    /// M40: output waits for a peer without limit.
    OutputUnbounded,
    /// M41: the broker forgets when it starts again which retained messages a client lacks.
    ReplayLostAtRestart,
    /// M42: a message that a retained one has overtaken is sent again before it.
    OvertakenKeepsNumber,
    /// M43: a will is published in one commit and deleted in a later one.
    WillKeptAfterPublication,
    /// M44: a client without its state uses identifiers that the server may hold.
    HeldIdentifiersUsed,
}

impl Defect {
    /// All of them, with their numbers.
    pub const ALL: [(&str, Self); 44] = [
        ("M1", Self::WrittenBeforeCommit),
        ("M2", Self::HeldInAnotherCommit),
        ("M3", Self::HeldForgotten),
        ("M4", Self::RepeatByDup),
        ("M5", Self::PublishAfterPubrec),
        ("M6", Self::FreedAtPubrec),
        ("M7", Self::IdentifiersReused),
        ("M8", Self::RepeatedOutOfOrder),
        ("M9", Self::NewBeforeRepeated),
        ("M10", Self::WindowKept),
        ("M11", Self::UnknownGivesRoom),
        ("M12", Self::OversizedKeepsRoom),
        ("M13", Self::LateCloseTakesSession),
        ("M14", Self::WillNotCancelled),
        ("M15", Self::WillTwice),
        ("M16", Self::DupCopied),
        ("M17", Self::AliasesKept),
        ("M18", Self::AcknowledgedTooEarly),
        ("M19", Self::ExpiryUnderWay),
        ("M20", Self::CommitErrorIgnored),
        ("M21", Self::CommitUnsynced),
        ("M22", Self::BytesAreActivity),
        ("M23", Self::SessionAfterExpiry),
        ("M24", Self::RepeatCounts),
        ("M25", Self::CommitCoversLater),
        ("M26", Self::WillLostAtExpiry),
        ("M27", Self::WillLostAtDisconnect),
        ("M28", Self::WillLostAtRestart),
        ("M29", Self::RetainedNotRemoved),
        ("M30", Self::RetainedTwice),
        ("M31", Self::RetainedNotSent),
        ("M32", Self::UnsubscribeIgnored),
        ("M33", Self::OldestDropped),
        ("M34", Self::QueueOverLimit),
        ("M35", Self::DropNotCounted),
        ("M36", Self::QueueFullTooSoon),
        ("M37", Self::WillLostAtStop),
        ("M38", Self::ThrottledForEver),
        ("M39", Self::BacklogIgnored),
        ("M40", Self::OutputUnbounded),
        ("M41", Self::ReplayLostAtRestart),
        ("M42", Self::OvertakenKeepsNumber),
        ("M43", Self::WillKeptAfterPublication),
        ("M44", Self::HeldIdentifiersUsed),
    ];

    /// Returns `true` if the defect shows only where the broker has a store and dies.
    pub const fn needs_store(self) -> bool {
        matches!(
            self,
            Self::WrittenBeforeCommit
                | Self::HeldInAnotherCommit
                | Self::CommitErrorIgnored
                | Self::CommitUnsynced
                | Self::CommitCoversLater
                | Self::WillLostAtRestart
                | Self::WillLostAtStop
                | Self::ThrottledForEver
                | Self::BacklogIgnored
                | Self::ReplayLostAtRestart
                | Self::OvertakenKeepsNumber
                | Self::WillKeptAfterPublication
        )
    }

    /// Returns `true` if this thread runs with the defect.
    #[cfg(not(feature = "planted-defects"))]
    #[inline(always)]
    pub const fn is_planted(self) -> bool {
        false
    }

    /// Returns `true` if this thread runs with the defect.
    #[cfg(feature = "planted-defects")]
    pub fn is_planted(self) -> bool {
        PLANTED.get() == Some(self)
    }
}

#[cfg(feature = "planted-defects")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Defect>> = const { std::cell::Cell::new(None) };
    static LAST_DUP: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// The DUP flag of a message that came, for [`Defect::DupCopied`].
pub(crate) fn note_dup(_dup: bool) {
    #[cfg(feature = "planted-defects")]
    LAST_DUP.set(_dup);
}

/// The DUP flag of the next new message: not set, unless it is copied.
pub(crate) fn dup_of_new_message() -> bool {
    #[cfg(feature = "planted-defects")]
    return Defect::DupCopied.is_planted() && LAST_DUP.get();
    #[cfg(not(feature = "planted-defects"))]
    false
}

/// From now on this thread runs with the defect, or with none.
#[cfg(feature = "planted-defects")]
pub fn plant(defect: Option<Defect>) {
    PLANTED.set(defect);
}
