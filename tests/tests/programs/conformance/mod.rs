//! A trace of every normative statement of MQTT 3.1.1 and 5.0, and of the rules that have no number:
//! bytes go in, bytes come out. See `record.rs` for how a test names the statements it proves, and
//! docs/generated/conformance.md for the list.

mod bytes;
mod client;
mod record;
mod server;

mod client_authentication;
mod client_connection;
mod client_messages;
mod client_refuses;
mod server_authentication;
mod server_connect;
mod server_messages;
mod server_refuses;
mod server_retained;
mod server_sessions;
mod server_subscriptions;
mod server_wills;
mod text;
mod transport;
mod websocket;
