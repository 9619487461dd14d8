//! Look-ups of host names and of services, in a thread. This module also splits `host:port`.

use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// A look-up in progress. The results have the type `T`.
#[derive(Debug)]
pub struct LookUp<T> {
    answer: Receiver<io::Result<Vec<T>>>,
}

/// Look-up of the addresses of a host.
pub type Resolver = LookUp<SocketAddr>;

impl<T: Send + 'static> LookUp<T> {
    /// Calls `ask` and then `wake` in a new thread.
    pub(crate) fn in_thread(
        ask: impl FnOnce() -> io::Result<Vec<T>> + Send + 'static,
        wake: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        // The resolver of the operating system blocks without a timeout, so the event loop cannot call it. If the
        // caller gives up, the thread continues until the resolver returns, and its answer is dropped.
        let (sender, answer) = sync_channel(1);
        let thread = thread::Builder::new().name("resolver".into());
        thread.spawn(move || {
            let _ = sender.send(ask());
            wake();
        })?;
        Ok(Self { answer })
    }

    /// Returns the results in the order of the answer, or `None` while the look-up is in progress.
    pub fn poll(&self) -> Option<io::Result<Vec<T>>> {
        match self.answer.try_recv() {
            Ok(answer) => Some(answer.and_then(not_empty)),
            Err(TryRecvError::Empty) => None,
            // The thread has panicked, or an earlier call has returned the answer.
            Err(TryRecvError::Disconnected) => Some(Err(io::ErrorKind::NotFound.into())),
        }
    }
}

impl Resolver {
    /// Starts to look up `host`: a name, an IPv4 address, or an IPv6 address with or without brackets. Calls `wake`
    /// when the answer is available. This call comes from another thread, or from this function before it returns.
    ///
    /// # Errors
    /// Returns an error if the thread cannot be started.
    pub fn start(host: &str, port: u16, wake: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let unbracketed = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = unbracketed.unwrap_or(host).to_owned();
        // An address needs no resolver, and therefore no thread.
        if let Ok(address) = host.parse::<IpAddr>() {
            let (sender, answer) = sync_channel(1);
            let _ = sender.send(Ok(vec![SocketAddr::new(address, port)]));
            wake();
            return Ok(Self { answer });
        }
        Self::in_thread(move || ask(&host, port), wake)
    }
}

/// Returns the addresses of a host.
fn ask(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    #[cfg(target_env = "musl")]
    if crate::multicast_dns::is_local(host) {
        let name = host.to_owned();
        return crate::multicast_dns::look_up(host, port, move || ask_system(&name, port));
    }
    ask_system(host, port)
}

/// Asks the resolver of the operating system, which uses `/etc/hosts`, the search domains and, except with musl,
/// multicast DNS. A DNS client would use none of these.
fn ask_system(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

/// Returns the host without the zone of an IPv6 address: `[fe80::1]` for `[fe80::1%eth0]`. The zone is an interface of
/// this machine. It has no meaning in a certificate, an HTTP header or a request to a proxy.
pub(crate) fn without_zone(host: &str) -> Cow<'_, str> {
    match host.split_once('%') {
        Some((address, _)) if address.contains(':') => {
            let bracket = if address.starts_with('[') { "]" } else { "" };
            format!("{address}{bracket}").into()
        }
        _ => host.into(),
    }
}

/// Splits `host`, `host:port` and `[address]:port` into the host, including its brackets, and the text of the port.
/// Returns `None` if the closing bracket is missing, or if the text after the bracket is not a port.
///
/// The port is not parsed, because each caller reports an invalid port in its own way. An IPv6 address must be in
/// brackets. Without them the text before the first colon is returned as the host.
pub fn split_host_and_port(text: &str) -> Option<(&str, Option<&str>)> {
    let end_of_host = if text.starts_with('[') {
        text.find(']')? + 1
    } else {
        text.find(':').unwrap_or(text.len())
    };
    let (host, rest) = text.split_at_checked(end_of_host)?;
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Some((host, None)),
        None => None,
        Some(port) => Some((host, Some(port))),
    }
}

/// Looks up `host`, and blocks until the answer arrives or `timeout` passes.
///
/// # Errors
/// Returns an error if the name has no address, or if the resolver does not answer in time.
pub fn resolve(host: &str, port: u16, timeout: Duration) -> io::Result<Vec<SocketAddr>> {
    // No event loop must be woken, because this function itself waits for the answer.
    let resolver = Resolver::start(host, port, || {})?;
    let deadline = Instant::now() + timeout;
    match resolver
        .answer
        .recv_timeout(deadline.saturating_duration_since(Instant::now()))
    {
        Ok(answer) => answer.and_then(not_empty),
        Err(RecvTimeoutError::Timeout) => Err(io::ErrorKind::TimedOut.into()),
        Err(RecvTimeoutError::Disconnected) => Err(io::ErrorKind::NotFound.into()),
    }
}

fn not_empty<T>(found: Vec<T>) -> io::Result<Vec<T>> {
    if found.is_empty() {
        Err(io::ErrorKind::NotFound.into())
    } else {
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_host_from_port() {
        for (text, expected) in [
            ("h", Some(("h", None))),
            ("h:1", Some(("h", Some("1")))),
            ("h:", Some(("h", Some("")))),
            ("[::1]", Some(("[::1]", None))),
            ("[::1]:65535", Some(("[::1]", Some("65535")))),
            ("::1", Some(("", Some(":1")))),
            ("", Some(("", None))),
            ("[::1", None),
            ("[::1]x", None),
        ] {
            assert_eq!(split_host_and_port(text), expected, "{text}");
        }
    }

    #[test]
    fn zone_selects_the_interface_and_is_not_sent() {
        for (host, expected) in [
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%eth0]", "[fe80::1]"),
            ("[::1]", "[::1]"),
            ("a%b", "a%b"),
        ] {
            assert_eq!(without_zone(host), expected);
        }
        let addresses = resolve("[fe80::1%1]", 7, Duration::from_secs(10)).unwrap();
        assert!(matches!(addresses[..], [SocketAddr::V6(address)] if address.scope_id() == 1));
    }

    #[test]
    fn addresses_are_used_without_a_resolver() {
        let timeout = Duration::from_secs(10);
        for (host, expected) in [
            ("127.0.0.1", "127.0.0.1:7"),
            ("::1", "[::1]:7"),
            ("[::1]", "[::1]:7"),
        ] {
            assert_eq!(
                resolve(host, 7, timeout).unwrap(),
                [expected.parse().unwrap()]
            );
        }
        assert!(resolve("no.such.host.invalid", 7, timeout).is_err());
    }
}
