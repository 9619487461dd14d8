//! Failures before MQTT begins. The errors of proxies, TLS and WebSocket have different words.

use tests::{FakeServer, HttpProxy, Program, SocksProxy};

#[test]
fn errors_of_a_proxy_name_the_proxy() {
    let socks = SocksProxy::start(Some(("me", "secret"))).address;
    let http = HttpProxy::start("Basic bWU6c2VjcmV0").address;
    let target = "-h broker.invalid -p 1883 -t a -m x";
    for (proxy, words) in [
        (
            format!("socks5h://me:wrong@{socks}"),
            "rejected the user name and password of --proxy",
        ),
        (
            format!("socks5h://{socks}"),
            "requires a user name and a password in --proxy",
        ),
        (
            format!("http://me:wrong@{http}"),
            "rejected the user name and password of --proxy",
        ),
        (
            format!("http://{http}"),
            "requires a user name and a password in --proxy",
        ),
    ] {
        let address = proxy.rsplit(['@', '/']).next().unwrap();
        let command = Program::new("rpub")
            .args(target)
            .args("--proxy")
            .arg(&proxy);
        let finished = command.run();
        assert_eq!(finished.status, 1, "{finished:?}");
        let expected = format!(
            "Unable to connect (Proxy error). The proxy {address} does not connect to broker.invalid:1883: it {words}"
        );
        assert!(finished.errors.starts_with(&expected), "{finished:?}");
    }
    for (proxy, expected) in [
        (
            "http://127.0.0.1:1",
            "Error: Connection refused. Is there a proxy on 127.0.0.1:1?\n",
        ),
        (
            "http://proxy.invalid:1",
            "Unable to connect (Lookup error). Cannot find the proxy proxy.invalid:1: ",
        ),
    ] {
        let command = Program::new("rpub").args(target).args("--proxy");
        let finished = command.arg(proxy).run();
        assert_eq!(finished.status, 1, "{finished:?}");
        assert!(finished.errors.starts_with(expected), "{finished:?}");
    }
}

#[test]
fn failed_handshake_is_reported_for_its_layer() {
    let closed = "the peer closed the connection during the handshake";
    for (options, layer) in [
        ("--ws", "WebSocket"),
        ("--proxy http://127.0.0.1:{port}", "Proxy error"),
        ("--proxy socks5h://127.0.0.1:{port} --ws", "Proxy error"),
        ("--tls-use-os-certs", "A TLS error occurred"),
        ("--tls-use-os-certs --ws", "A TLS error occurred"),
    ] {
        // The server closes the connection when it has received a byte, or sends nothing.
        for (closes, words) in [
            (true, closed),
            (false, "the handshake did not finish in time"),
        ] {
            let server = FakeServer::start(&[&[(3, b"")]], closes);
            let options = options.replace("{port}", &server.address.port().to_string());
            let command = server.program("rpub").args(&options);
            let finished = command.args("-t a -m x --connect-timeout 1s").run();
            assert_eq!(finished.status, 1, "{options} {finished:?}");
            let expected = format!("Unable to connect ({layer}). ");
            assert!(
                finished.errors.starts_with(&expected),
                "{options} {finished:?}"
            );
            assert!(finished.errors.contains(words), "{options} {finished:?}");
        }
    }
}
