//! Host and port of a server in the form that requests to proxies and WebSocket servers need.

/// Returns `true` if `host` has neither control characters nor white space. Host names also come from service records
/// and from other servers. A line break in a name could add a header to the request to a proxy or a WebSocket server.
pub(crate) fn is_host(host: &str) -> bool {
    !host.is_empty() && !host.chars().any(|c| c.is_control() || c.is_whitespace())
}

/// Returns `host:port`, with brackets around an IPv6 address.
#[cfg(any(feature = "proxy", feature = "websocket"))]
pub(crate) fn with_port(host: &str, port: u16) -> String {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}
