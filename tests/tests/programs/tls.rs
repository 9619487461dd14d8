//! Mistakes with TLS: each has an error line that names the mistake, and an exit status.

use std::io::Write;
use std::net::{TcpListener, TcpStream};

use tests::{Broker, Certificates, FakeServer, Finished, Program, Proxy, Validity};

/// Starts a broker with this certificate and further lines for its listener.
pub(super) fn broker(certificates: &Certificates, name: &str, more: &str) -> Broker {
    let file = |name: String| certificates.path(&name).display().to_string();
    let (certificate, key) = (file(format!("{name}.crt")), file(format!("{name}.key")));
    Broker::start(&format!("certfile {certificate}\nkeyfile {key}\n{more}"))
}

pub(super) fn publish(options: &str, certificates: &Certificates, more: &str) -> Finished {
    let more = more.replace("{}/", &format!("{}/", certificates.folder().display()));
    Program::new("rpub")
        .args(options)
        .args("-t a -m x -q 1")
        .args(&more)
        .run()
}

/// Asserts that the error line begins like that of the mosquitto tools and contains this text.
fn fails(finished: &Finished, status: i32, text: &str) {
    println!("{}: {}", finished.status, finished.errors.trim_end());
    assert_eq!(finished.status, status, "{finished:?}");
    assert!(finished.errors.contains(text), "{finished:?}");
    if status == 1 {
        let start = "Unable to connect (A TLS error occurred). 127.0.0.1:";
        assert!(finished.errors.starts_with(start), "{finished:?}");
        assert_eq!(finished.errors.lines().count(), 1, "{finished:?}");
    }
}

pub(super) const TRUST: &str = "--cafile {}/ca.crt";

#[test]
fn a_wrong_server_certificate_is_described() {
    let certificates = Certificates::new();
    let hosts = &["localhost", "127.0.0.1"];
    certificates.server("expired", hosts, Validity::Past);
    certificates.server("early", hosts, Validity::Future);
    certificates.server("elsewhere", &["broker.example.org"], Validity::Now);
    certificates.self_signed("lonely", hosts);
    for (name, text) in [
        ("expired", "the certificate expired"),
        ("early", "the certificate is not valid yet"),
        (
            "elsewhere",
            "the certificate is not for 127.0.0.1, but for broker.example.org.",
        ),
        ("lonely", "not signed by a trusted authority"),
    ] {
        let broker = broker(&certificates, name, "");
        fails(&publish(&broker.options(), &certificates, TRUST), 1, text);
        broker.wait_for_log("failed: the peer ended the handshake");
    }
    // The certificate is signed by another authority.
    let others = Certificates::new();
    others.server("server", hosts, Validity::Now);
    let stranger = broker(&others, "server", "");
    let text = "use --cafile to trust its authority";
    fails(&publish(&stranger.options(), &certificates, TRUST), 1, text);
}

#[test]
fn insecure_accepts_any_host_name_but_no_untrusted_certificate() {
    let certificates = Certificates::new();
    certificates.server("elsewhere", &["broker.example.org"], Validity::Now);
    certificates.server("expired", &["broker.example.org"], Validity::Past);
    certificates.self_signed("lonely", &["127.0.0.1"]);
    let insecure = format!("{TRUST} --insecure");
    let elsewhere = broker(&certificates, "elsewhere", "");
    publish(&elsewhere.options(), &certificates, &insecure).success();
    for name in ["lonely", "expired"] {
        let broker = broker(&certificates, name, "");
        assert_eq!(
            publish(&broker.options(), &certificates, &insecure).status,
            1
        );
    }
}

#[test]
fn missing_untrusted_and_revoked_client_certificates_are_reported() {
    let certificates = Certificates::new();
    certificates.server("server", &["127.0.0.1"], Validity::Now);
    certificates.client("good");
    certificates.client("revoked");
    certificates.revoke("revoked");
    let others = Certificates::new();
    others.client("stranger");
    let folder = certificates.folder().display();
    let mutual =
        format!("cafile {folder}/ca.crt\nrequire_certificate true\ncrlfile {folder}/crl.pem");
    let broker = broker(&certificates, "server", &mutual);
    let with = |folder: &Certificates, name: &str| {
        let folder = folder.folder().display();
        format!("{TRUST} --cert {folder}/{name}.crt --key {folder}/{name}.key")
    };
    let publish = |more: &str| publish(&broker.options(), &certificates, more);
    publish(&with(&certificates, "good")).success();
    fails(
        &publish(TRUST),
        1,
        "it requires a client certificate (use --cert and --key)",
    );
    fails(
        &publish(&with(&others, "stranger")),
        1,
        "it does not trust the authority of this side's certificate",
    );
    fails(
        &publish(&with(&certificates, "revoked")),
        1,
        "it reports that the certificate of this side is revoked",
    );
    broker.wait_for_log("failed: the client sent no certificate, but one is required");
    broker.wait_for_log("failed: the certificate is revoked");
    broker.wait_for_log("add its authority to cafile or capath");
}

#[test]
fn tls_on_only_one_side_is_reported() {
    let certificates = Certificates::new();
    certificates.server("server", &["127.0.0.1"], Validity::Now);
    let secret = broker(&certificates, "server", "");
    // The client does not use TLS.
    let finished = publish(&secret.options(), &certificates, "");
    let expected = format!(
        "Unable to connect. {}: the server speaks TLS on this port (use --cafile or --tls-use-os-certs).\n",
        secret.address()
    );
    assert_eq!((finished.status, finished.errors), (1, expected));
    secret.wait_for_log("failed: the peer does not speak TLS on this port");
    let plain = Broker::start("");
    let text = "during the handshake; it may speak another protocol on this port";
    fails(&publish(&plain.options(), &certificates, TRUST), 1, text);
    let server = FakeServer::start(&[&[(5, b"\x20\x02\x00\x05\x00\x00")]], false);
    let text = "the peer does not speak TLS on this port";
    fails(&publish(&server.options(), &certificates, TRUST), 1, text);
}

#[test]
fn truncated_and_stalled_handshakes_end_within_the_time_limit() {
    let certificates = Certificates::new();
    // The start of a record of 100 bytes.
    let server = FakeServer::start(&[&[(5, b"\x16\x03\x03\x00\x64\x02")]], true);
    let text = "closed the connection during the handshake";
    fails(&publish(&server.options(), &certificates, TRUST), 1, text);
    let server = FakeServer::start(&[&[(5, b"\x16\x03\x03\x00\x64\x02")]], false);
    let stalled = format!("{TRUST} --connect-timeout 300ms");
    let text = "the handshake did not finish in time";
    fails(
        &publish(&server.options(), &certificates, &stalled),
        1,
        text,
    );
}

#[test]
fn obsolete_tls_versions_are_rejected_on_both_sides() {
    let certificates = Certificates::new();
    certificates.server("server", &["127.0.0.1"], Validity::Now);
    // An alert: protocol version.
    let server = FakeServer::start(&[&[(5, b"\x15\x03\x03\x00\x02\x02\x46")]], false);
    let text = "it supports none of the TLS versions of this side";
    fails(&publish(&server.options(), &certificates, TRUST), 1, text);
    // A ClientHello of TLS 1.0 with one cipher suite and without extensions.
    let broker = broker(&certificates, "server", "");
    let hello = [
        &[0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 1][..],
        &[7; 32],
        &[0, 0, 2, 0xC0, 0x13, 1, 0],
    ];
    let mut stream = TcpStream::connect(broker.address()).unwrap();
    stream.write_all(&hello.concat()).unwrap();
    broker.wait_for_log("no TLS version or cipher suite is supported by both sides");
}

#[test]
fn tls_stream_that_ends_without_close_notify_is_an_error() {
    let certificates = Certificates::new();
    certificates.server("server", &["127.0.0.1"], Validity::Now);
    let mut broker = broker(&certificates, "server", "");
    let subscriber = broker
        .program("rsub")
        .args("-t a -i s -d --cafile")
        .arg(certificates.path("ca.crt"))
        .start();
    subscriber.wait_for_error("Subscribed");
    broker.running.kill();
    subscriber.wait_for_error("the peer closed the connection without ending TLS");
    subscriber.wait_for_error("Trying again");
}

#[test]
fn invalid_certificate_files_are_reported_before_connecting() {
    let certificates = Certificates::new();
    certificates.client("client");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let key = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    std::fs::write(certificates.path("encrypted.key"), key).unwrap();
    for (more, text) in [
        ("--cafile /no/such/file", "File not found."),
        ("--cafile {}/client.key", "no certificate in PEM format"),
        (
            "--cafile {}/ca.crt --cert {}/client.crt",
            "Both certfile and keyfile must be provided",
        ),
        (
            "--cafile {}/ca.crt --cert {}/client.crt --key {}/ca.crt",
            "no private key in PEM format",
        ),
        (
            "--cafile {}/ca.crt --cert {}/client.crt --key {}/encrypted.key",
            "openssl pkey -in",
        ),
        (
            "--cafile {}/ca.crt --ciphers none",
            "no cipher suite of 'none' is supported",
        ),
        (
            "--cafile {}/ca.crt --tls-version tlsv1",
            "check the options are valid.",
        ),
    ] {
        let options = format!("-h 127.0.0.1 -p {port}");
        let finished = publish(&options, &certificates, more);
        assert_eq!(finished.status, 1, "{finished:?}");
        assert!(finished.errors.contains(text), "{more} {finished:?}");
        assert!(listener.accept().is_err(), "nothing is connected");
    }
}

#[test]
fn logs_tls_secrets_and_obeys_cipher_and_version_options() {
    let certificates = Certificates::new();
    certificates.server("server", &["127.0.0.1"], Validity::Now);
    let broker = broker(&certificates, "server", "tls_version tlsv1.2");
    let has = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    // Parts of ClientHello: cipher suites of TLS 1.2 with AES-128 and AES-256, the name of an ALPN protocol, and TLS
    // 1.3 and 1.2 among the supported versions.
    let parts: [&[u8]; 4] = [b"\xC0\x2B", b"\xC0\x2C", b"\x04mqtt", b"\x03\x04\x03\x03"];
    for (more, expected) in [
        ("", [true, true, false, true]),
        ("--tls-version tlsv1.3", [false, false, false, false]),
        (
            "--ciphers ECDHE-ECDSA-AES128-GCM-SHA256",
            [true, false, false, true],
        ),
        ("--tls-alpn mqtt", [true, true, true, true]),
    ] {
        let log = certificates.path("keys");
        let _ = std::fs::remove_file(&log);
        let proxy = Proxy::start(broker.address());
        let options = format!("-h 127.0.0.1 -p {}", proxy.address.port());
        let more = format!("{TRUST} --tls-keylog {} {more}", log.display());
        publish(&options, &certificates, &more).success();
        let secrets = std::fs::read_to_string(&log).unwrap();
        assert!(secrets.contains("CLIENT_TRAFFIC_SECRET_0 "), "{more}");
        #[cfg(unix)]
        {
            let data = std::fs::metadata(&log).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::mode(&data.permissions());
            assert_eq!(mode & 0o777, 0o600);
        }
        let sent = proxy.sent();
        let record = 5 + usize::from(u16::from_be_bytes([sent[0][3], sent[0][4]]));
        // The cipher suites follow 76 bytes of header, random and session identifier.
        let hello = &sent[0][76..record];
        let found = parts.map(|part| has(hello, part));
        assert_eq!(found, expected, "{more} {hello:?}");
    }
}

#[test]
fn a_folder_of_authorities_is_read() {
    let certificates = Certificates::new();
    certificates.server("server", &["127.0.0.1"], Validity::Now);
    let broker = broker(&certificates, "server", "");
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(
        certificates.path("ca.crt"),
        folder.path().join("any name.pem"),
    )
    .unwrap();
    let finished = broker
        .program("rpub")
        .args("-t a -m x -q 1 --capath")
        .arg(folder.path())
        .run();
    finished.success();
}

#[test]
#[cfg(unix)]
fn reload_reads_certificates_again_and_keeps_connections() {
    let certificates = Certificates::new();
    certificates.server("server", &["127.0.0.1"], Validity::Past);
    let broker = broker(&certificates, "server", "");
    assert_eq!(publish(&broker.options(), &certificates, TRUST).status, 1);
    certificates.server("server", &["127.0.0.1"], Validity::Now);
    broker.running.signal("HUP");
    broker.wait_for_log("Config reloaded.");
    let subscriber = broker
        .program("rsub")
        .args("-t a -i s -C 1 --cafile")
        .arg(certificates.path("ca.crt"))
        .start();
    broker.wait_for_log("Sending SUBACK to s");
    // After a reload with an invalid file, the old certificate stays in use.
    std::fs::write(certificates.path("server.crt"), "nonsense").unwrap();
    broker.running.signal("HUP");
    broker.wait_for_log("Cannot reload the configuration, which is unchanged: ");
    publish(&broker.options(), &certificates, TRUST).success();
    assert_eq!(subscriber.wait().success().text(), "x\n");
}

#[test]
fn self_signed_server_certificate_is_accepted_if_it_is_trusted() {
    let certificates = Certificates::new();
    certificates.serving_authority("home", &["127.0.0.1"], Validity::Now);
    certificates.serving_authority("away", &["example.org"], Validity::Now);
    certificates.serving_authority("old", &["127.0.0.1"], Validity::Past);
    let publish = |name: &str, more: &str| {
        let broker = broker(&certificates, name, "");
        publish(&broker.options(), &certificates, more)
    };
    publish("home", "--cafile {}/home.crt").success();
    fails(
        &publish("home", TRUST),
        1,
        "not signed by a trusted authority",
    );
    fails(
        &publish("away", "--cafile {}/away.crt"),
        1,
        "the certificate is",
    );
    publish("away", "--cafile {}/away.crt --insecure").success();
    fails(
        &publish("old", "--cafile {}/old.crt"),
        1,
        "the certificate expired",
    );
}

#[test]
fn system_certificates_are_trusted_by_default_or_if_requested() {
    let certificates = Certificates::new();
    certificates.server("server", &["127.0.0.1"], Validity::Now);
    let broker = broker(&certificates, "server", "");
    let others = Certificates::new();
    let publish = |options: &str, authorities: &Certificates| {
        broker
            .program("rpub")
            .args("-t a -m x -q 1")
            .args(options)
            .env(
                "SSL_CERT_FILE",
                authorities.path("ca.crt").to_str().unwrap(),
            )
            .run()
    };
    publish("--tls-use-os-certs", &certificates).success();
    let text = "not signed by a trusted authority";
    fails(&publish("--tls-use-os-certs", &others), 1, text);
    // Other authorities are named, too.
    let named = format!("--cafile {}", others.path("ca.crt").display());
    fails(&publish(&named, &certificates), 1, text);
    publish(&format!("{named} --tls-use-os-certs"), &certificates).success();
}
