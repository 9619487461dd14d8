//! Tests for every normative statement of MQTT 3.1.1 and 5.0, and for the rules without a number. Tests send bytes and
//! compare the bytes of the answer. `record.rs` explains how a test names the statements that it proves.
//! docs/generated/conformance.md has the list.

mod bytes;
mod client;
mod record;
mod server;

mod client_authentication;
mod client_connection;
mod client_messages;
mod client_refuses;
mod client_topics;
mod server_authentication;
mod server_connect;
mod server_connection;
mod server_message_properties;
mod server_messages;
mod server_problem_information;
mod server_refuses;
mod server_retained;
mod server_sessions;
mod server_subscriptions;
mod server_wills;
mod text;
mod transport;
mod websocket;
