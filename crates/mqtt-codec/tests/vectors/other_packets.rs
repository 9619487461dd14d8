//! Tests of PINGREQ, PINGRESP, DISCONNECT and AUTH.

use bytes::Bytes;
use mqtt_codec::*;

use ProtocolVersion::{V3_1, V3_1_1, V5_0};

use crate::vector::{from_client, from_server};

#[test]
fn encodes_and_decodes_pings_disconnect_and_auth() {
    for version in [V3_1, V3_1_1, V5_0] {
        from_client(version, "C0 00", &PacketRef::Pingreq);
        from_server(version, "D0 00", &PacketRef::Pingresp);
        let disconnect = Disconnect::new(ReasonCode::Success);
        from_client(
            version,
            "E0 00",
            &PacketRef::Disconnect(Box::new(disconnect)),
        );
    }
    let disconnect = |code| PacketRef::Disconnect(Box::new(Disconnect::new(code)));
    from_client(
        V5_0,
        "E0 01 04",
        &disconnect(ReasonCode::DisconnectWithWillMessage),
    );
    from_server(V5_0, "E0 01 8E", &disconnect(ReasonCode::SessionTakenOver));
    let properties = DisconnectProperties {
        session_expiry_interval: Some(0),
        ..DisconnectProperties::default()
    };
    let ending = Disconnect {
        properties,
        ..Disconnect::new(ReasonCode::Success)
    };
    from_client(
        V5_0,
        "E0 07 00 05 11 00 00 00 00",
        &PacketRef::Disconnect(Box::new(ending)),
    );
    let auth = Auth {
        reason_code: ReasonCode::ContinueAuthentication,
        properties: AuthProperties {
            authentication_method: Some("M".into()),
            authentication_data: Some(Bytes::from_static(&[1, 2])),
            ..AuthProperties::default()
        },
    };
    from_client(
        V5_0,
        "F0 0B 18 09 15 00 01 4D 16 00 02 01 02",
        &PacketRef::Auth(Box::new(auth)),
    );
}
