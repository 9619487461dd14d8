//! [`Phase`]: the progress of a connection from CONNECT to its end, and [`Agreement`]: the result of CONNECT and
//! CONNACK.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::ProtocolVersion;

use crate::limits::PeerLimits;

/// The phase of a connection, with the data that only this phase needs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Phase {
    /// Server: CONNECT has not been received.
    AwaitingConnect { deadline: Instant },
    /// Client: CONNECT is in the output, and CONNACK has not been received.
    AwaitingConnack {
        deadline: Instant,
        resumption: Resumption,
    },
    /// Server: the application has sent AUTH in answer to CONNECT, and waits for the next AUTH of the client.
    Authenticating { deadline: Instant },
    /// Server: the application has not answered CONNECT or AUTH. Nothing is read in this phase.
    AwaitingAnswer { deadline: Instant },
    /// The server has accepted the connection.
    Connected,
    /// The connection has ended. Its output may still hold bytes.
    Ended,
}

/// The session that a client may resume, which decides whether CONNACK may have Session Present set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resumption {
    /// CONNECT asks for a clean start.
    CleanStart,
    /// CONNECT resumes a session, but the client has no state of it.
    WithoutState,
    /// CONNECT resumes a session of which the client has the state.
    WithState,
}

/// The facts from CONNECT and CONNACK that apply to the whole connection.
#[derive(Debug)]
pub(super) struct Agreement {
    /// Version of the protocol. MQTT 3.1.1 until a server has received CONNECT.
    pub(super) version: ProtocolVersion,
    /// Client identifier, or an empty text while it is unknown. Shared, because the observers of packets and the
    /// application use it as well.
    pub(super) client_identifier: Arc<str>,
    /// Limits of the peer.
    pub(super) peer: PeerLimits,
    /// Client: `false` if CONNECT asked the server to leave out reason strings and user properties.
    pub(super) accepts_problem_information: bool,
    /// Server: set if CONNECT asked for a session that ends with the connection.
    pub(super) session_ends_with_connection: bool,
}

impl Phase {
    /// Returns the time at which the handshake must be complete, or `None` after the handshake.
    pub(super) fn handshake_deadline(self) -> Option<Instant> {
        match self {
            Self::AwaitingConnect { deadline }
            | Self::AwaitingConnack { deadline, .. }
            | Self::Authenticating { deadline }
            | Self::AwaitingAnswer { deadline } => Some(deadline),
            Self::Connected | Self::Ended => None,
        }
    }
}

impl Agreement {
    pub(super) fn new(version: ProtocolVersion) -> Self {
        Self {
            version,
            client_identifier: Arc::default(),
            peer: PeerLimits::default(),
            accepts_problem_information: true,
            session_ends_with_connection: false,
        }
    }
}
