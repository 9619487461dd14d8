//! [`ReasonCode`] lists the reason codes of MQTT 5.0 (section 2.4) and the packets that may carry each reason code.
//! This module also translates between reason codes and the return codes of MQTT 3.1 and 3.1.1.

use std::fmt;

use super::invalid_value::integer_conversions;
use super::packet_type::PacketType;
use super::qos::QoS;
use super::role::Role;

/// Bits for the packets that may carry a reason code. DISCONNECT and AUTH have one bit for each sender.
mod place {
    pub(super) const CONNACK: u16 = 1;
    pub(super) const PUBACK: u16 = 1 << 1; // PUBREC has the same codes.
    pub(super) const PUBREL: u16 = 1 << 2; // PUBCOMP has the same codes.
    pub(super) const SUBACK: u16 = 1 << 3;
    pub(super) const UNSUBACK: u16 = 1 << 4;
    pub(super) const DISCONNECT_CLIENT: u16 = 1 << 5;
    pub(super) const DISCONNECT_SERVER: u16 = 1 << 6;
    pub(super) const DISCONNECT: u16 = DISCONNECT_CLIENT | DISCONNECT_SERVER;
    pub(super) const AUTH_CLIENT: u16 = 1 << 7;
    pub(super) const AUTH_SERVER: u16 = 1 << 8;
}

macro_rules! reason_codes {
    ($($name:ident = $value:literal, $text:literal, $($place:ident)|+;)*) => {
        /// Result of an operation. Values below 0x80 mean success, the others mean failure.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[cfg_attr(feature = "serde", serde(try_from = "u8", into = "u8"))]
        #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
        #[repr(u8)]
        pub enum ReasonCode {
            $(#[doc = $text] $name = $value,)*
        }

        impl ReasonCode {
            /// All reason codes, in the order of their values.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Returns the reason code with this value, or `None` if the standard does not define the value.
            pub fn from_value(value: u8) -> Option<Self> {
                match value {
                    $($value => Some(Self::$name),)*
                    _ => None,
                }
            }

            fn places(self) -> u16 {
                match self {
                    $(Self::$name => $(place::$place)|+,)*
                }
            }

            /// Returns the name of the reason code in the standard.
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

impl ReasonCode {
    /// Returns the byte that represents this reason code in a packet.
    pub fn value(self) -> u8 {
        self as u8
    }

    /// Returns `true` if the reason code means failure (0x80 and above).
    pub fn is_error(self) -> bool {
        self.value() >= 0x80
    }

    /// Returns `true` if a packet of this type from `sender` may carry this reason code (MQTT 5.0, table 2.6).
    pub fn is_allowed(self, packet_type: PacketType, sender: Role) -> bool {
        // Only DISCONNECT and AUTH have reason codes that depend on the sender.
        let place = match (packet_type, sender) {
            (PacketType::Connack, _) => place::CONNACK,
            (PacketType::Puback | PacketType::Pubrec, _) => place::PUBACK,
            (PacketType::Pubrel | PacketType::Pubcomp, _) => place::PUBREL,
            (PacketType::Suback, _) => place::SUBACK,
            (PacketType::Unsuback, _) => place::UNSUBACK,
            (PacketType::Disconnect, Role::Client) => place::DISCONNECT_CLIENT,
            (PacketType::Disconnect, Role::Server) => place::DISCONNECT_SERVER,
            (PacketType::Auth, Role::Client) => place::AUTH_CLIENT,
            (PacketType::Auth, Role::Server) => place::AUTH_SERVER,
            _ => 0,
        };
        self.places() & place != 0
    }

    /// Returns the reason code with which SUBACK grants this QoS.
    pub fn granted(qos: QoS) -> Self {
        match qos {
            QoS::AtMostOnce => Self::Success,
            QoS::AtLeastOnce => Self::GrantedQoS1,
            QoS::ExactlyOnce => Self::GrantedQoS2,
        }
    }

    /// Returns the CONNACK return code of MQTT 3.1 and 3.1.1 with the same meaning. Returns `None` if no return code
    /// has this meaning. The server must then close the connection without a CONNACK [MQTT-3.2.2-6 of 3.1.1].
    pub fn connect_return_code(self) -> Option<u8> {
        Some(match self {
            Self::Success => 0,
            Self::UnsupportedProtocolVersion => 1,
            Self::ClientIdentifierNotValid => 2,
            // Return code 3 is "server unavailable". It also fits failures that are temporary or that concern the
            // server.
            Self::ServerUnavailable
            | Self::ServerBusy
            | Self::QuotaExceeded
            | Self::UseAnotherServer
            | Self::ServerMoved
            | Self::ConnectionRateExceeded => 3,
            Self::BadUserNameOrPassword => 4,
            // Return code 5 is "not authorized". It fits failures that no retry of this client can solve.
            Self::NotAuthorized | Self::Banned | Self::BadAuthenticationMethod => 5,
            _ => return None,
        })
    }

    /// Returns the reason code with the meaning of a CONNACK return code of MQTT 3.1 and 3.1.1. Returns `None` if the
    /// return code is above 5.
    pub fn from_connect_return_code(value: u8) -> Option<Self> {
        Some(match value {
            // Return codes 1 to 5 must be translated: as reason codes the same numbers have another meaning or none.
            0 => Self::Success,
            1 => Self::UnsupportedProtocolVersion,
            2 => Self::ClientIdentifierNotValid,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }
}

integer_conversions!(
    ReasonCode,
    u8,
    ReasonCode::from_value,
    ReasonCode::value,
    "a reason code that MQTT 5.0 defines"
);

/// Formats the reason code as its name in the standard.
impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

reason_codes! {
    Success = 0x00, "Success", CONNACK | PUBACK | PUBREL | SUBACK | UNSUBACK | DISCONNECT | AUTH_SERVER;
    GrantedQoS1 = 0x01, "Granted QoS 1", SUBACK;
    GrantedQoS2 = 0x02, "Granted QoS 2", SUBACK;
    DisconnectWithWillMessage = 0x04, "Disconnect with Will Message", DISCONNECT_CLIENT;
    NoMatchingSubscribers = 0x10, "No matching subscribers", PUBACK;
    NoSubscriptionExisted = 0x11, "No subscription existed", UNSUBACK;
    ContinueAuthentication = 0x18, "Continue authentication", AUTH_CLIENT | AUTH_SERVER;
    ReAuthenticate = 0x19, "Re-authenticate", AUTH_CLIENT;
    UnspecifiedError = 0x80, "Unspecified error", CONNACK | PUBACK | SUBACK | UNSUBACK | DISCONNECT;
    MalformedPacket = 0x81, "Malformed Packet", CONNACK | DISCONNECT;
    ProtocolError = 0x82, "Protocol Error", CONNACK | DISCONNECT;
    ImplementationSpecificError = 0x83, "Implementation specific error", CONNACK | PUBACK | SUBACK | UNSUBACK | DISCONNECT;
    UnsupportedProtocolVersion = 0x84, "Unsupported Protocol Version", CONNACK;
    ClientIdentifierNotValid = 0x85, "Client Identifier not valid", CONNACK;
    BadUserNameOrPassword = 0x86, "Bad User Name or Password", CONNACK;
    NotAuthorized = 0x87, "Not authorized", CONNACK | PUBACK | SUBACK | UNSUBACK | DISCONNECT_SERVER;
    ServerUnavailable = 0x88, "Server unavailable", CONNACK;
    ServerBusy = 0x89, "Server busy", CONNACK | DISCONNECT_SERVER;
    Banned = 0x8A, "Banned", CONNACK;
    ServerShuttingDown = 0x8B, "Server shutting down", DISCONNECT_SERVER;
    BadAuthenticationMethod = 0x8C, "Bad authentication method", CONNACK | DISCONNECT;
    KeepAliveTimeout = 0x8D, "Keep Alive timeout", DISCONNECT_SERVER;
    SessionTakenOver = 0x8E, "Session taken over", DISCONNECT_SERVER;
    TopicFilterInvalid = 0x8F, "Topic Filter invalid", SUBACK | UNSUBACK | DISCONNECT_SERVER;
    TopicNameInvalid = 0x90, "Topic Name invalid", CONNACK | PUBACK | DISCONNECT;
    PacketIdentifierInUse = 0x91, "Packet Identifier in use", PUBACK | SUBACK | UNSUBACK;
    PacketIdentifierNotFound = 0x92, "Packet Identifier not found", PUBREL;
    ReceiveMaximumExceeded = 0x93, "Receive Maximum exceeded", DISCONNECT;
    TopicAliasInvalid = 0x94, "Topic Alias invalid", DISCONNECT;
    PacketTooLarge = 0x95, "Packet too large", CONNACK | DISCONNECT;
    MessageRateTooHigh = 0x96, "Message rate too high", DISCONNECT;
    QuotaExceeded = 0x97, "Quota exceeded", CONNACK | PUBACK | SUBACK | DISCONNECT;
    AdministrativeAction = 0x98, "Administrative action", DISCONNECT;
    PayloadFormatInvalid = 0x99, "Payload format invalid", CONNACK | PUBACK | DISCONNECT;
    RetainNotSupported = 0x9A, "Retain not supported", CONNACK | DISCONNECT_SERVER;
    QoSNotSupported = 0x9B, "QoS not supported", CONNACK | DISCONNECT_SERVER;
    UseAnotherServer = 0x9C, "Use another server", CONNACK | DISCONNECT_SERVER;
    ServerMoved = 0x9D, "Server moved", CONNACK | DISCONNECT_SERVER;
    SharedSubscriptionsNotSupported = 0x9E, "Shared Subscriptions not supported", SUBACK | DISCONNECT_SERVER;
    ConnectionRateExceeded = 0x9F, "Connection rate exceeded", CONNACK | DISCONNECT_SERVER;
    MaximumConnectTime = 0xA0, "Maximum connect time", DISCONNECT_SERVER;
    SubscriptionIdentifiersNotSupported = 0xA1, "Subscription identifiers not supported", SUBACK | DISCONNECT_SERVER;
    WildcardSubscriptionsNotSupported = 0xA2, "Wildcard Subscriptions not supported", SUBACK | DISCONNECT_SERVER;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares the number of reason codes of each packet with the columns of MQTT 5.0, table 2.6.
    #[test]
    fn each_packet_has_as_many_reason_codes_as_its_table() {
        let count = |packet_type, sender| {
            ReasonCode::ALL
                .iter()
                .filter(|code| code.is_allowed(packet_type, sender))
                .count()
        };
        let table = [
            (PacketType::Connack, Role::Server, 22),
            (PacketType::Puback, Role::Server, 9),
            (PacketType::Pubrec, Role::Client, 9),
            (PacketType::Pubrel, Role::Client, 2),
            (PacketType::Pubcomp, Role::Client, 2),
            (PacketType::Suback, Role::Server, 12),
            (PacketType::Unsuback, Role::Server, 7),
            (PacketType::Auth, Role::Client, 2),
            (PacketType::Auth, Role::Server, 2),
            // Section 3.14.2.1 lists 14 reason codes for a client and 28 for a server. Table 2.6 adds 0x8C for both.
            (PacketType::Disconnect, Role::Client, 15),
            (PacketType::Disconnect, Role::Server, 29),
            (PacketType::Pingreq, Role::Client, 0),
        ];
        for (packet_type, sender, expected) in table {
            assert_eq!(
                count(packet_type, sender),
                expected,
                "{packet_type:?} {sender:?}"
            );
        }
        assert_eq!(ReasonCode::ALL.len(), 43);
        assert!(
            ReasonCode::ALL
                .iter()
                .all(|code| ReasonCode::from_value(code.value()) == Some(*code))
        );
    }

    #[test]
    fn return_codes_of_3_1_1_survive_conversion_to_reason_codes() {
        for value in 0..=5 {
            let code = ReasonCode::from_connect_return_code(value).unwrap();
            assert_eq!(code.connect_return_code(), Some(value));
        }
        assert_eq!(ReasonCode::from_connect_return_code(6), None);
    }
}
