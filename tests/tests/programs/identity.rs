//! Clients whose certificate gives them their user name in rbroker.

use tests::{Broker, Certificates, Program, Validity};

fn settings(certificates: &Certificates, more: &str) -> String {
    let file = |name: &str| certificates.path(name).display().to_string();
    format!(
        "certfile {}\nkeyfile {}\ncafile {}\n{more}",
        file("server.crt"),
        file("server.key"),
        file("ca.crt")
    )
}

fn certificates() -> Certificates {
    let certificates = Certificates::new();
    certificates.server("server", &["127.0.0.1"], Validity::Now);
    certificates.client("sensor, 7");
    certificates
}

#[test]
fn user_name_of_the_certificate_replaces_that_of_connect() {
    let certificates = certificates();
    let file = |name: &str| certificates.path(name);
    for (line, user_name) in [
        ("use_identity_as_username true", "u'sensor, 7'"),
        ("use_subject_as_username true", "u'CN=sensor\\, 7'"),
    ] {
        let broker = Broker::start(&settings(&certificates, line));
        let publish = || {
            broker
                .program("rpub")
                .args("-t a -m x -q 1 -i me -u somebody -P else --cafile")
                .arg(file("ca.crt"))
        };
        publish()
            .arg("--cert")
            .arg(file("sensor, 7.crt"))
            .arg("--key")
            .arg(file("sensor, 7.key"))
            .run()
            .success();
        let log = broker.wait_for_log("New client connected");
        assert!(log.contains(user_name), "{log}");
        // A client without a certificate has no user name.
        let nameless = publish().run();
        assert_eq!(nameless.status, 4, "{nameless:?}");
    }
}

#[test]
fn user_names_from_certificates_require_a_ca() {
    let certificates = certificates();
    let text = settings(&certificates, "use_identity_as_username true");
    let text = text.replace("cafile", "#cafile");
    let file = certificates.path("broker.conf");
    std::fs::write(&file, format!("listener 0 127.0.0.1\n{text}\n")).unwrap();
    let finished = Program::new("rbroker").arg("-c").arg(&file).run();
    assert_eq!(finished.status, 3, "{finished:?}");
    let words =
        "Error: 'use_identity_as_username' needs 'cafile' or 'capath' for the same listener.";
    assert!(finished.errors.starts_with(words), "{finished:?}");
}

#[test]
fn rejects_a_certificate_with_an_empty_name() {
    let certificates = certificates();
    certificates.client("");
    let file = |name: &str| certificates.path(name);
    let broker = Broker::start(&settings(&certificates, "use_identity_as_username true"));
    let nameless = broker
        .program("rpub")
        .args("-t a -m x -q 1 -i me --cafile")
        .arg(file("ca.crt"))
        .arg("--cert")
        .arg(file(".crt"))
        .arg("--key")
        .arg(file(".key"))
        .run();
    assert_eq!(nameless.status, 4, "{nameless:?}");
}
