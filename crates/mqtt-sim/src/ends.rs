//! Handles the ends of connections. Client and broker notice the end of a connection at different times, so each side
//! has its own functions here.

use mqtt_client::ClientError;
use mqtt_session::CloseReason;

use crate::Violation;
use crate::simulation::Simulation;

impl Simulation {
    /// Handles the loss of a client's connection, and decides when the client reconnects.
    pub(crate) fn client_lost(
        &mut self,
        index: usize,
        error: ClientError,
    ) -> Result<(), Violation> {
        // Faults of the network and of the broker end connections with these errors. With any other error the client
        // blames an honest broker for breaking the protocol.
        let passing = matches!(
            &error,
            ClientError::Closed(
                CloseReason::ConnectionLost
                    | CloseReason::HandshakeTimeout
                    | CloseReason::KeepAliveTimeout
                    | CloseReason::Disconnected(_)
            )
        );
        if !passing {
            return Err(Violation::new(
                "I11",
                format!("client {index} blames the broker: {error}"),
            ));
        }
        let random = self.rng.u32(..);
        let client = &mut self.clients[index];
        if let Some(link) = client.link.take() {
            let link = &mut self.links[link];
            link.client_is_open = false;
            // The client core resends all packets of its output with DUP 1, even those that never reached the socket.
            // So they count as sent in the checker, too.
            let up = &mut client.up;
            link.client_sent
                .read(client.core.output(), |packet| up.sends(&packet))?;
        }
        client.up.fault();
        client.down.fault();
        client.application.pending.clear(); // the broker sends them again
        let (_, wait) = client
            .core
            .handle_lost(self.now, error, random)
            .map_err(|error| Violation::new("I13", format!("client {index} gives up: {error}")))?;
        client.retry_at = self.now + wait;
        Ok(())
    }

    /// Removes the broker's end of a link, together with input that the broker has not handled.
    pub(crate) fn broker_end_is_gone(&mut self, index: usize) {
        let link = &mut self.links[index];
        let Some(id) = link.connection.take() else {
            return;
        };
        link.broker_input.clear();
        self.broker.remove(self.now, id);
        self.connection_has_ended(index);
    }

    /// Updates the model for the end of a connection that the broker had accepted. Calls after the first have no
    /// effect.
    pub(crate) fn connection_has_ended(&mut self, index: usize) {
        let link = &mut self.links[index];
        if self.is_stopping
            || !link.connack_seen
            || std::mem::replace(&mut link.end_is_counted, true)
        {
            return;
        }
        let client = link.client;
        // Only the end of the newest connection ends the session. Older connections were taken over, and their ends
        // only concern their wills.
        let accepted = link.accepted;
        let is_newest = self.links.iter().all(|other| {
            other.client != client || !other.connack_seen || other.accepted <= accepted
        });
        let (number, left) = (self.links[index].number, self.links[index].left);
        self.clients[client].connection_ends(self.now, number, is_newest, left);
    }

    /// Moves the last output of connections that the broker has ended, for example because another connection took over
    /// the session. The models see this output before they see packets that follow from the end, such as a will.
    pub(crate) fn ended_connections_send(&mut self) -> Result<(), Violation> {
        // The loop below looks at every connection, so the list of changed ones is only emptied.
        while self.broker.poll_changed().is_some() {}
        for index in 0..self.links.len() {
            let connection = self.links[index].connection;
            if connection.is_some_and(|id| self.broker.has_ended(id)) {
                self.broker_sends(index)?;
                self.check_output(index)?;
                // The last bytes may wait for room in the link or for a commit, but the session of the broker has
                // already changed.
                self.connection_has_ended(index);
            }
        }
        Ok(())
    }

    /// Checks all output of the broker that was not checked before.
    pub(crate) fn check_all_output(&mut self) -> Result<(), Violation> {
        // Output of a connection that has ended is checked first, because other packets may follow from the end.
        for index in 0..self.links.len() {
            let connection = self.links[index].connection;
            if connection.is_some_and(|id| self.broker.has_ended(id)) {
                self.check_output(index)?;
                self.connection_has_ended(index);
            }
        }
        for index in 0..self.links.len() {
            self.check_output(index)?;
        }
        Ok(())
    }
}
