//! Sizes that are limited by the encoding of the Remaining Length.

/// Maximum Remaining Length in bytes (MQTT 5.0, 1.5.5).
pub const MAXIMUM_REMAINING_LENGTH: u32 = 268_435_455;

/// Maximum size of a packet in bytes, including the fixed header of five bytes.
pub const MAXIMUM_PACKET_SIZE: u32 = MAXIMUM_REMAINING_LENGTH + 5;
