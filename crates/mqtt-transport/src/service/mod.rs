//! Look-ups of service records (SRV, RFC 2782), which list the servers of a service in a domain.
//!
//! The resolver of the operating system has no call for SRV records. Therefore this module sends its own query to a
//! name server: over UDP, and again over TCP if the answer is truncated.

mod answer;
mod query;
#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use resolv_conf::ScopedIp;

use self::query::Query;
use crate::address::LookUp;

/// Number of queries to each name server. UDP packets may be lost.
const ROUNDS: usize = 2;

/// Port of name servers.
const PORT: u16 = 53;

/// Name servers and domain of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameServers {
    /// The name servers, in the order in which they are queried.
    pub addresses: Vec<SocketAddr>,
    /// Domain of this machine, or `None` if the configuration names no domain.
    pub domain: Option<String>,
}

impl NameServers {
    /// Reads `/etc/resolv.conf`. If the file lists no name server, returns the address of a name server on this
    /// machine.
    pub fn of_system() -> Self {
        Self::parse(&std::fs::read("/etc/resolv.conf").unwrap_or_default())
    }

    fn parse(file: &[u8]) -> Self {
        let config = resolv_conf::Config::parse(file).unwrap_or_default();
        let address = |server: &ScopedIp| match server {
            ScopedIp::V4(address) => IpAddr::from(*address),
            ScopedIp::V6(address, _) => IpAddr::from(*address),
        };
        let mut addresses: Vec<_> = config
            .nameservers
            .iter()
            .map(|server| SocketAddr::new(address(server), PORT))
            .collect();
        if addresses.is_empty() {
            addresses.push((Ipv4Addr::LOCALHOST, PORT).into());
        }
        let domain = config.get_last_search_or_domain().next().map(String::from);
        Self { addresses, domain }
    }

    /// Starts to look up a service, such as `_mqtt._tcp.example.org`. The results are hosts and ports, in the order in
    /// which the client must try them. The look-up takes at most `timeout`, and then calls `wake` from another thread.
    ///
    /// # Errors
    /// Returns an error if the thread cannot be started. The result of the look-up is an error if the service does not
    /// exist, or if no name server answers.
    pub fn look_up(
        self,
        name: String,
        timeout: Duration,
        wake: impl FnOnce() + Send + 'static,
    ) -> io::Result<LookUp<(String, u16)>> {
        LookUp::in_thread(move || self.services(&name, timeout), wake)
    }

    fn services(&self, name: &str, timeout: Duration) -> io::Result<Vec<(String, u16)>> {
        let deadline = Instant::now() + timeout;
        let mut last_error: io::Error = ErrorKind::TimedOut.into();
        // Packets may be lost, so each name server is queried again after the others.
        for server in self
            .addresses
            .iter()
            .cycle()
            .take(self.addresses.len() * ROUNDS)
        {
            match Query::new(name, deadline)?.ask(*server) {
                Ok(services) => return Ok(services),
                // The domain has no such service. This is a definite answer, so no other name server is queried.
                Err(error) if error.kind() == ErrorKind::NotFound => return Err(error),
                Err(error) => last_error = error,
            }
        }
        Err(last_error)
    }
}
