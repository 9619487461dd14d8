//! Publishers on links that are so slow that a message takes several keep alives, and a PINGREQ waits after it.

use std::io::Write;

use tempfile::NamedTempFile;
use tests::{Broker, Certificates, Kind, Program, SlowLink, Validity};

const SETTINGS: &str = "max_packet_size 10000000";

/// The rates of the links in KiB per second, and the sizes of the messages in KiB. Each message takes about 13 seconds.
const LINKS: [(u32, usize); 3] = [(64, 800), (32, 400), (8, 100)];

/// Publishes messages with a keep alive of five seconds over all links at the same time.
fn publish(broker: &Broker, arguments: &str) {
    let mut running = Vec::new();
    for (rate, size) in LINKS {
        for (version, qos) in [("311", 0), ("5", 1), ("5", 2)] {
            let link = SlowLink::start(broker.address(), rate * 1024);
            let mut file = NamedTempFile::new().unwrap();
            file.write_all(&vec![b'x'; size * 1024]).unwrap();
            let port = link.address.port();
            let publisher = Program::new("rpub")
                .args(arguments)
                .args(&format!("-p {port} -V {version} -q {qos} -k 5 -t slow -f"));
            let publisher = publisher.arg(file.path()).start();
            running.push((
                format!("{rate} KiB/s, {version}, QoS {qos}"),
                publisher,
                file,
            ));
        }
    }
    for (what, publisher, _file) in running {
        let finished = publisher.wait();
        assert_eq!(finished.status, 0, "{what}: {finished:?}");
    }
}

#[test]
fn sending_a_message_may_take_longer_than_the_keep_alive() {
    publish(
        &Broker::start_silent(Kind::Rbroker, SETTINGS),
        "-h 127.0.0.1",
    );
}

#[test]
fn sending_a_message_over_tls_may_take_longer_than_the_keep_alive() {
    let certificates = Certificates::new();
    certificates.server("server", &["localhost"], Validity::Now);
    let (certificate, key) = (
        certificates.path("server.crt"),
        certificates.path("server.key"),
    );
    let settings = format!(
        "{SETTINGS}\ncertfile {}\nkeyfile {}",
        certificate.display(),
        key.display()
    );
    let broker = Broker::start_silent(Kind::Rbroker, &settings);
    let authority = certificates.path("ca.crt");
    publish(
        &broker,
        &format!("-h localhost --cafile {}", authority.display()),
    );
}
