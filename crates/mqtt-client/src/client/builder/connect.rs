//! Functions that set fields of CONNECT from several options, and check that the options fit together.

use std::time::Duration;

use mqtt_codec::{Connect, ProtocolVersion};

use crate::client::error::ConnectError;

/// Time for which the server keeps the session of a client that is not connected. The session contains the
/// subscriptions, and the messages of QoS 1 and 2 that the client has not received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionRetention {
    /// Each connection has a new session. The client does not receive messages that others publish while it is not
    /// connected.
    Connection,
    /// The session ends this long after the connection. This option needs MQTT 5.0.
    For(Duration),
    /// The session never expires, if the server allows this.
    Forever,
}

/// Sets the keep alive. 1 to 999 ms are an error: rounded down to seconds, they would be 0, which disables the keep
/// alive.
pub(super) fn set_keep_alive(
    connect: &mut Connect,
    keep_alive: Duration,
) -> Result<(), ConnectError> {
    let seconds = u16::try_from(keep_alive.as_secs()).ok();
    let seconds = seconds.filter(|seconds| *seconds > 0 || keep_alive.is_zero());
    connect.keep_alive = seconds.ok_or_else(|| {
        let text = format!("{keep_alive:?}: must be 0 or 1 to 65535 seconds");
        ConnectError::invalid_option("keep alive", text)
    })?;
    Ok(())
}

/// Sets Clean Start and the Session Expiry Interval.
pub(super) fn set_session(
    connect: &mut Connect,
    session: SessionRetention,
) -> Result<(), ConnectError> {
    let is_v5 = connect.protocol_version == ProtocolVersion::V5_0;
    let seconds = match session {
        SessionRetention::Connection => return Ok(()),
        SessionRetention::For(_) if !is_v5 => {
            let text = "a session expiry interval needs MQTT 5.0 (use Forever)";
            return Err(ConnectError::invalid_option("session", text));
        }
        SessionRetention::For(time) => {
            // 0xFFFFFFFF means that the session never expires, so the longest limited time is one second less.
            u32::try_from(time.as_secs()).map_or(u32::MAX - 1, |all| all.min(u32::MAX - 1))
        }
        SessionRetention::Forever => u32::MAX,
    };
    if connect.client_identifier.is_empty() {
        let text = "a session that outlives its connection needs a client identifier";
        return Err(ConnectError::invalid_option("session", text));
    }
    connect.clean_start = false;
    if is_v5 {
        connect.properties.session_expiry_interval = Some(seconds);
    }
    Ok(())
}

/// Sets the Will Delay Interval, which only a will of MQTT 5.0 can have.
pub(super) fn set_will_delay(
    connect: &mut Connect,
    delay: Option<Duration>,
) -> Result<(), ConnectError> {
    let Some(delay) = delay else {
        return Ok(());
    };
    let Some(will) = &mut connect.will else {
        let text = "the client has no will";
        return Err(ConnectError::invalid_option("will delay", text));
    };
    if connect.protocol_version != ProtocolVersion::V5_0 {
        return Err(ConnectError::invalid_option("will delay", "needs MQTT 5.0"));
    }
    will.will_delay_interval = Some(u32::try_from(delay.as_secs()).unwrap_or(u32::MAX));
    Ok(())
}
