//! Log lines for packets, which `-d` of the clients and `-v` of the broker print. The lines are equal to those of
//! mosquitto, because scripts match them. The log target is [`PACKETS`], and the level is debug.
//!
//! The lines are written here and not in the programs, so that the lines of all connections are in the order in which
//! the packets were handled.

#[cfg(test)]
mod tests;

use std::fmt;

use mqtt_codec::{Ack, PacketRef, PublishRef, Role};

use crate::observer::{Direction, Observed};
use crate::printable::Printable;

/// Log target of the packet lines.
pub const PACKETS: &str = "mqtt::packets";

/// Returns `true` if a logger may print the lines. Reading the maximum level costs one load for each packet. Asking the
/// logger would cost a call.
#[inline]
pub(crate) fn is_wanted() -> bool {
    log::max_level() >= log::LevelFilter::Debug
}

/// Writes the log lines of one packet.
pub(crate) fn log(observed: &Observed<'_>) {
    if log::log_enabled!(target: PACKETS, log::Level::Debug) {
        for text in Line(*observed).to_string().lines() {
            log::debug!(target: PACKETS, "{text}");
        }
    }
}

struct Line<'a>(Observed<'a>);

impl<'a> std::ops::Deref for Line<'a> {
    type Target = Observed<'a>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.role, self.packet) {
            // The broker itself logs CONNECT, in a line with more details.
            (Role::Server, PacketRef::Connect(_)) => Ok(()),
            (Role::Client, PacketRef::Subscribe(subscribe)) => {
                // The clients of mosquitto print one line for each topic filter.
                for subscription in &subscribe.subscriptions {
                    let options = subscription.options;
                    self.start(f)?;
                    writeln!(
                        f,
                        " (Mid: {}, Topic: {}, QoS: {}, Options: {:#04x})",
                        subscribe.packet_identifier,
                        Printable(&subscription.topic_filter),
                        options.qos,
                        options.byte(self.version) & !3,
                    )?;
                }
                Ok(())
            }
            (Role::Client, PacketRef::Unsubscribe(unsubscribe)) => {
                for topic_filter in &unsubscribe.topic_filters {
                    self.start(f)?;
                    let identifier = unsubscribe.packet_identifier;
                    writeln!(
                        f,
                        " (Mid: {identifier}, Topic: {})",
                        Printable(topic_filter)
                    )?;
                }
                Ok(())
            }
            (Role::Client, PacketRef::Disconnect(disconnect))
                if self.direction == Direction::Received =>
            {
                write!(
                    f,
                    "Received DISCONNECT ({})",
                    disconnect.reason_code.value()
                )
            }
            _ => {
                self.start(f)?;
                self.details(f)
            }
        }
    }
}

impl Line<'_> {
    fn start(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packet_type = self.packet.packet_type();
        let name = match (self.client_identifier, self.role) {
            // mosquitto 2.0 prints `(null)` on each line. 2.1 prints `null` on some lines and `(null)` on others.
            ("", Role::Client) => "(null)",
            // The client has not sent CONNECT, or has been rejected. The broker uses the same name in its other log
            // lines.
            ("", Role::Server) => "<unknown>",
            (name, _) => name,
        };
        let name = Printable(name);
        match (self.role, self.direction) {
            (Role::Client, Direction::Received) => {
                write!(f, "Client {name} received {packet_type}")
            }
            (Role::Client, Direction::Sending) => write!(f, "Client {name} sending {packet_type}"),
            (Role::Server, Direction::Received) => write!(f, "Received {packet_type} from {name}"),
            (Role::Server, Direction::Sending) => write!(f, "Sending {packet_type} to {name}"),
        }
    }

    fn details(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.packet {
            PacketRef::Connack(connack) => {
                let code = connack.code(self.version);
                match self.role {
                    Role::Client => write!(f, " ({code})"),
                    Role::Server => write!(f, " ({}, {code})", u8::from(connack.session_present)),
                }
            }
            PacketRef::Publish(publish) => Self::publish(f, publish),
            PacketRef::Puback(ack) => self.ack(f, ack, true, true),
            PacketRef::Pubrec(ack) => self.ack(f, ack, true, false),
            PacketRef::Pubrel(ack) => self.ack(f, ack, false, false),
            PacketRef::Pubcomp(ack) => self.ack(f, ack, false, true),
            PacketRef::Subscribe(subscribe) => {
                for subscription in &subscribe.subscriptions {
                    let qos = subscription.options.qos;
                    write!(
                        f,
                        "\n\t{} (QoS {qos})",
                        Printable(&subscription.topic_filter)
                    )?;
                }
                Ok(())
            }
            PacketRef::Unsubscribe(unsubscribe) => {
                for topic_filter in &unsubscribe.topic_filters {
                    write!(f, "\n\t{}", Printable(topic_filter))?;
                }
                Ok(())
            }
            PacketRef::Disconnect(disconnect)
                if self.role == Role::Server && disconnect.reason_code.value() != 0 =>
            {
                write!(f, " ({})", disconnect.reason_code.value())
            }
            _ => Ok(()),
        }
    }

    fn publish(f: &mut fmt::Formatter<'_>, publish: &PublishRef<'_>) -> fmt::Result {
        let delivery = publish.delivery;
        write!(
            f,
            " (d{}, q{}, r{}, m{}, '{}', ... ({} bytes))",
            u8::from(delivery.dup()),
            delivery.qos(),
            u8::from(publish.retain),
            delivery
                .packet_identifier()
                .map_or(0, |identifier| identifier.get()),
            Printable(publish.topic_name),
            publish.payload.len(),
        )
    }

    /// Writes the packet identifier and the reason code. As in mosquitto, some lines have no reason code.
    fn ack(
        &self,
        f: &mut fmt::Formatter<'_>,
        ack: &Ack,
        code_when_sent: bool,
        code_when_received: bool,
    ) -> fmt::Result {
        let code = ack.reason_code.value();
        let identifier = ack.packet_identifier;
        match self.direction {
            Direction::Sending if code_when_sent => write!(f, " (m{identifier}, rc{code})"),
            Direction::Sending => write!(f, " (m{identifier})"),
            Direction::Received if code_when_received => {
                write!(f, " (Mid: {identifier}, RC:{code})")
            }
            Direction::Received => write!(f, " (Mid: {identifier})"),
        }
    }
}
