//! The transports to rbroker and mosquitto, each with every program and every QoS.
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt;

use tests::{
    Broker, Certificates, HttpProxy, Kind, Program, SocksProxy, Validity, has_mosquitto, skip,
};

/// A transport to a broker: the configuration of the broker and the options of the client.
struct Transport {
    name: &'static str,
    settings: String,
    options: Box<dyn Fn(&Broker) -> String>,
}

fn certificates() -> Certificates {
    let certificates = Certificates::new();
    certificates.server("server", &["localhost", "127.0.0.1"], Validity::Now);
    certificates.client("client");
    certificates
}

fn transports(certificates: &Certificates) -> Vec<Transport> {
    let file = |name: &str| certificates.path(name).display().to_string();
    let tls = format!(
        "certfile {}\nkeyfile {}\n",
        file("server.crt"),
        file("server.key")
    );
    let mutual = format!("{tls}cafile {}\nrequire_certificate true\n", file("ca.crt"));
    let trust = format!("--cafile {}", file("ca.crt"));
    let who = format!("--cert {} --key {}", file("client.crt"), file("client.key"));
    let open = std::fs::Permissions::from_mode(0o777); // mosquitto creates its socket as another user
    std::fs::set_permissions(certificates.folder(), open).unwrap();
    let socket = file("socket");
    let websocket = "protocol websockets\n".to_owned();
    let proxy = SocksProxy::start(Some(("me", "p@ss"))).address;
    let proxy = format!("--proxy socks5h://me:p%40ss@{proxy}");
    let http = HttpProxy::start("Basic bWU6cEBzcw==").address;
    let http = format!("--proxy http://me:p%40ss@{http}");
    let with = |more: String| -> Box<dyn Fn(&Broker) -> String> {
        Box::new(move |broker| format!("{} {more}", broker.options()))
    };
    let transport = |name, settings: &str, options| Transport {
        name,
        settings: settings.to_owned(),
        options,
    };
    vec![
        transport("tcp", "", with(String::new())),
        transport("tls", &tls, with(trust.clone())),
        transport("mutual tls", &mutual, with(format!("{trust} {who}"))),
        transport("ws", &websocket, with("--ws".into())),
        transport(
            "wss",
            &format!("{websocket}{tls}"),
            with(format!("--ws {trust}")),
        ),
        transport(
            "unix",
            &format!("listener 0 {socket}"),
            Box::new(move |_| format!("--unix {socket}")),
        ),
        transport("socks5", "", with(proxy.clone())),
        transport("http proxy", "", with(http.clone())),
        transport("http proxy and tls", &tls, with(format!("{http} {trust}"))),
        transport("socks5 and tls", &tls, with(format!("{proxy} {trust}"))),
        transport(
            "socks5, tls and ws",
            &format!("{websocket}{tls}"),
            with(format!("{proxy} {trust} --ws")),
        ),
    ]
}

/// Exchanges messages of each QoS from rpub to rsub, and a request with its response.
fn exchange_messages(transport: &Transport, broker: &Broker, kind: Kind) {
    let place = format!("{} to {kind:?}", transport.name);
    println!("{place}"); // cargo shows the line if the test fails
    let options = (transport.options)(broker);
    let start = |program: &str, arguments: &str| {
        Program::new(program).args(&options).args(arguments).start()
    };
    for qos in 0..3 {
        let subscriber = start("rsub", &format!("-i s{qos} -t t -q {qos} -C 3"));
        broker.wait_for_log(&format!("Sending SUBACK to s{qos}"));
        let large = "x".repeat(100_000);
        let publisher = Program::new("rpub")
            .args(&options)
            .args(&format!("-t t -l -q {qos}"));
        let published = publisher.input(format!("1\n{large}\n3\n")).run();
        assert_eq!(published.status, 0, "{place} {published:?}");
        let finished = subscriber.wait();
        assert_eq!(finished.status, 0, "{place} {finished:?}");
        assert_eq!(finished.text(), format!("1\n{large}\n3\n"), "{place}");
        let asked = start("rsub", &format!("-i q{qos} -t ask -q {qos} -C 1"));
        broker.wait_for_log(&format!("Sending SUBACK to q{qos}"));
        let asking = start(
            "rrr",
            &format!("-t ask -e answer -m question -q {qos} -W 50"),
        );
        assert_eq!(asked.wait().text(), "question\n", "{place}");
        start("rpub", &format!("-t answer -m yes -q {qos}"))
            .wait()
            .success();
        let answered = asking.wait();
        assert_eq!(
            (answered.status, answered.text().as_str()),
            (0, "yes\n"),
            "{place} {answered:?}"
        );
    }
}

#[test]
fn every_program_uses_every_transport_to_rbroker() {
    let certificates = certificates();
    for transport in transports(&certificates) {
        let broker = Broker::start(&transport.settings);
        exchange_messages(&transport, &broker, Kind::Rbroker);
    }
}

#[test]
fn every_program_uses_every_transport_to_mosquitto() {
    if !has_mosquitto("every_program_uses_every_transport_to_mosquitto") {
        return;
    }
    let certificates = certificates();
    for transport in transports(&certificates) {
        match Broker::try_start(Kind::Mosquitto, &transport.settings) {
            Some(broker) => exchange_messages(&transport, &broker, Kind::Mosquitto),
            // Debian's mosquitto may fail to start with WebSocket, because its library needs features that some systems
            // lack.
            None => {
                assert!(
                    transport.settings.contains("websockets"),
                    "{}",
                    transport.name
                );
                let test = "every_program_uses_every_transport_to_mosquitto";
                skip(
                    test,
                    &format!("mosquitto does not start with {}", transport.name),
                );
            }
        }
    }
}

#[test]
fn url_scheme_selects_the_transport() {
    let certificates = certificates();
    let file = |name: &str| certificates.path(name).display().to_string();
    let tls = format!(
        "certfile {}\nkeyfile {}",
        file("server.crt"),
        file("server.key")
    );
    for (scheme, settings) in [
        ("mqtt", String::new()),
        ("mqtts", tls.clone()),
        ("ws", "protocol websockets".into()),
        ("wss", format!("protocol websockets\n{tls}")),
    ] {
        let broker = Broker::start(&settings);
        let publisher = Program::new("rpub")
            .args(&format!(
                "-L {scheme}://127.0.0.1:{}/a/b -m x -q 1 --cafile",
                broker.port
            ))
            .arg(certificates.path("ca.crt"));
        let publisher = match scheme {
            "mqtt" | "ws" => publisher.arg("--no-tls"),
            _ => publisher,
        };
        publisher.run().success();
        broker.wait_for_log("'a/b'");
    }
}
