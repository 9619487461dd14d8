//! The properties of MQTT 5.0 that `-D COMMAND NAME VALUE` sets for the packets of the client programs. The texts of
//! the errors are mosquitto's.

mod given;
mod packets;
mod value;

pub(crate) use given::Given;
pub(crate) use packets::Properties;
