//! Packets of every type as bytes. Each packet is decoded whole and byte by byte, compared, and encoded again. Further
//! tables have bytes that the decoder must reject.

mod connecting;
mod other_packets;
mod properties;
mod publishing;
mod rejected;
mod subscribing;
mod tolerated;
mod vector;
