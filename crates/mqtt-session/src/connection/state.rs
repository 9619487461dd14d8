//! [`Phase`] is the progress of a connection from CONNECT to its end. [`Agreement`] is the result of CONNECT and
//! CONNACK.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::ProtocolVersion;

use crate::limits::PeerLimits;

/// Phase of a connection, with the data that is needed in this phase only.
#[derive(Debug, Clone, Copy)]
pub(super) enum Phase {
    /// Server: CONNECT has not been received.
    AwaitingConnect { deadline: Instant },
    /// Client: CONNECT is in the output, and CONNACK has not been received.
    AwaitingConnack {
        deadline: Instant,
        resumption: Resumption,
    },
    /// Server: the application has sent AUTH, and the next AUTH of the client has not been received.
    Authenticating { deadline: Instant },
    /// Server: the application has not answered CONNECT or AUTH. No packet is handled in this phase.
    AwaitingAnswer { deadline: Instant },
    /// The server has accepted the connection.
    Connected,
    /// The connection has ended. The output may still contain bytes.
    Ended,
}

/// The session that a client can resume. This value decides whether CONNACK may have Session Present set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resumption {
    /// CONNECT has Clean Start set.
    CleanStart,
    /// CONNECT resumes a session, but the client does not have the session state.
    WithoutState,
    /// CONNECT resumes a session, and the client has the session state.
    WithState,
}

/// Values of CONNECT and CONNACK that apply to the whole connection.
#[derive(Debug)]
pub(super) struct Agreement {
    /// Protocol version. At a server, MQTT 3.1.1 until CONNECT is received.
    pub(super) version: ProtocolVersion,
    /// Client identifier, or an empty string while the identifier is unknown. Shared, because the application and the
    /// observers of packets use it too.
    pub(super) client_identifier: Arc<str>,
    /// Limits that the peer has announced.
    pub(super) peer: PeerLimits,
    /// Client: `false` if CONNECT has Request Problem Information 0. The server must then omit reason strings and user
    /// properties.
    pub(super) accepts_problem_information: bool,
    /// Server: set if the session expiry interval in CONNECT is 0, so that the session ends with the connection.
    pub(super) session_ends_with_connection: bool,
}

impl Phase {
    /// Returns the deadline of the handshake, or `None` after the handshake.
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
