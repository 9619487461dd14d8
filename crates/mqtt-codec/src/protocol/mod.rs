//! Terms that all packets share: roles, versions, packet types, qualities of service, packet identifiers and reason
//! codes. The layout of each packet is in the folder `packet`.

pub(crate) mod invalid_value;
mod limits;
mod packet_identifier;
mod packet_type;
mod protocol_version;
mod qos;
mod reason_code;
mod role;

pub use invalid_value::InvalidValue;
pub use limits::{MAXIMUM_PACKET_SIZE, MAXIMUM_REMAINING_LENGTH};
pub use packet_identifier::PacketIdentifier;
pub use packet_type::PacketType;
pub use protocol_version::ProtocolVersion;
pub use qos::QoS;
pub use reason_code::ReasonCode;
pub use role::Role;
