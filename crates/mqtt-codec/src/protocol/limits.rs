//! Sizes that the encoding of MQTT limits.

/// The largest Remaining Length in bytes (MQTT 5.0, 1.5.5).
pub const MAXIMUM_REMAINING_LENGTH: u32 = 268_435_455;

/// The largest packet in bytes, including the fixed header.
pub const MAXIMUM_PACKET_SIZE: u32 = MAXIMUM_REMAINING_LENGTH + 5;
