//! Files and settings of TLS as users of OpenSSL have them. Our programs accept them, or print one line that names the
//! faulty file and says what to do. Debian's mosquitto runs beside ours where it can decide about a case.

use std::io::Write;

use tests::{Broker, Finished, Issue, Kind, OpenSsl, Program, find, free_port};

pub(super) const ECDSA: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
pub(super) const SERVER: Issue<'_> = Issue {
    common_name: "server",
    extensions: "subjectAltName=DNS:localhost",
    has_expired: false,
};
pub(super) const CLIENT: Issue<'_> = Issue {
    common_name: "client",
    extensions: "extendedKeyUsage=clientAuth",
    has_expired: false,
};

/// Returns the brokers that are installed.
pub(super) fn kinds() -> Vec<Kind> {
    let mosquitto = find("mosquitto").map(|_| Kind::Mosquitto);
    [Kind::Rbroker].into_iter().chain(mosquitto).collect()
}

pub(super) fn publish(port: u16, more: &str) -> Finished {
    let options = format!("-h localhost -p {port} -t a -m x -q 1");
    Program::new("rpub").args(&options).args(more).run()
}

/// Starts rbroker with a listener that must fail. Returns the line of the error.
fn refuse(authority: &OpenSsl, lines: &str) -> String {
    authority.write("conf", &format!("listener 0 127.0.0.1\n{lines}\n"));
    let program = Program::new("rbroker").arg("-c");
    let finished = program.arg(authority.path("conf")).run();
    assert_eq!(finished.status, 3, "{finished:?}");
    let line = finished.errors.lines().last().unwrap_or_default();
    line.to_owned()
}

#[test]
fn reads_the_forms_of_certificate_files_that_openssl_reads() {
    let Some(root) = OpenSsl::new("reads_the_forms_of_certificate_files", ECDSA) else {
        return;
    };
    root.issue("server", SERVER);
    let folder = root.folder().display();
    let text = root.read("ca.crt");
    root.write("bom.pem", &format!("\u{feff}{text}"));
    root.write("dos.pem", &text.replace('\n', "\r\n"));
    root.write("comment.pem", &format!("# authority\n\u{feff}{text}"));
    root.write("old.pem", &text.replace("CERTIFICATE", "X509 CERTIFICATE"));
    root.run("x509 -in ca.crt -trustout -setalias mine -out trusted.pem");
    assert!(
        root.read("trusted.pem")
            .contains("BEGIN TRUSTED CERTIFICATE")
    );
    let settings = format!("certfile {folder}/server.crt\nkeyfile {folder}/server.key");
    let broker = Broker::start(&settings);
    // Only our programs accept a byte order mark in the middle, which comes from files that were joined.
    for (name, is_theirs) in [
        ("bom.pem", true),
        ("dos.pem", true),
        ("comment.pem", false),
        ("old.pem", true),
        ("trusted.pem", true),
    ] {
        let trust = format!("--cafile {folder}/{name}");
        let finished = publish(broker.port, &trust);
        assert_eq!(finished.status, 0, "{name}: {finished:?}");
        if is_theirs && find("mosquitto_pub").is_some() {
            let theirs = Program::new("mosquitto_pub")
                .args(&format!(
                    "-h localhost -p {} -t a -m x -q 1 {trust}",
                    broker.port
                ))
                .run();
            assert_eq!(theirs.status, 0, "{name}: {theirs:?}");
        }
    }
    // A certificate that is trusted for some uses only must not be trusted for all uses.
    for limit in ["-addtrust emailProtection", "-addreject serverAuth"] {
        root.run(&format!("x509 -in ca.crt {limit} -out limited.pem"));
        let finished = publish(broker.port, &format!("--cafile {folder}/limited.pem"));
        assert_eq!(finished.status, 1, "{finished:?}");
        let words = "limited.pem' is trusted for some uses only, which is not supported (trust it for all uses with 'openssl x509 -in";
        assert!(finished.errors.contains(words), "{finished:?}");
    }
}

#[test]
fn names_the_file_that_is_at_fault() {
    let Some(root) = OpenSsl::new("names_the_file_that_is_at_fault", ECDSA) else {
        return;
    };
    root.issue("server", SERVER);
    root.make_key_with("other.key", ECDSA);
    let folder = root.folder().display();
    let with = |certificate: &str, key: &str| {
        refuse(
            &root,
            &format!("certfile {folder}/{certificate}\nkeyfile {folder}/{key}"),
        )
    };
    let line = with("server.crt", "other.key");
    assert!(
        line.contains("other.key' does not match the certificate in '"),
        "{line}"
    );
    root.write(
        "broken.key",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    );
    let line = with("server.crt", "broken.key");
    assert!(line.contains("broken.key' is malformed"), "{line}");
    root.write(
        "broken.crt",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let line = with("broken.crt", "server.key");
    assert!(line.contains("broken.crt' is malformed"), "{line}");
    let empty = tempfile::tempdir().unwrap();
    let words = format!(
        "no certificate in PEM format in '{}'",
        empty.path().display()
    );
    let finished = publish(free_port(), &format!("--capath {}", empty.path().display()));
    assert!(finished.errors.contains(&words), "{finished:?}");
    let line = refuse(
        &root,
        &format!(
            "certfile {folder}/server.crt\nkeyfile {folder}/server.key\ncapath {}\nrequire_certificate true",
            empty.path().display()
        ),
    );
    assert!(line.contains(&words), "{line}");
    for (name, options, words) in [
        (
            "p521",
            "-algorithm EC -pkeyopt ec_paramgen_curve:P-521",
            "ECDSA on the curve P-521",
        ),
        ("pss", "-algorithm RSA-PSS", "RSA-PSS"),
        (
            "short",
            "-algorithm RSA -pkeyopt rsa_keygen_bits:1024",
            "RSA of 1024 bits",
        ),
        ("ed448", "-algorithm ED448", "Ed448"),
    ] {
        root.make_key_with(&format!("{name}.key"), options);
        root.issue(name, SERVER);
        let line = with(&format!("{name}.crt"), &format!("{name}.key"));
        let words = format!(
            "{name}.key' cannot be used: {words} is not supported (make one with 'openssl genpkey"
        );
        assert!(line.contains(&words), "{line}");
        let own = format!(
            "--cafile {folder}/ca.crt --cert {folder}/{name}.crt --key {folder}/{name}.key"
        );
        let finished = publish(free_port(), &own);
        assert!(finished.errors.contains(&words), "{finished:?}");
    }
}

#[test]
fn accepts_cipher_lists_of_openssl() {
    let Some(root) = OpenSsl::new("accepts_cipher_lists_of_openssl", ECDSA) else {
        return;
    };
    root.issue("server", SERVER);
    let folder = root.folder().display();
    let trust = format!("--cafile {folder}/ca.crt");
    for kind in kinds() {
        for list in [
            "HIGH",
            "DEFAULT:!aNULL:!MD5",
            "ECDHE+AESGCM",
            "HIGH:!CHACHA20:@STRENGTH",
        ] {
            let settings = format!(
                "certfile {folder}/server.crt\nkeyfile {folder}/server.key\nciphers {list}"
            );
            let broker = Broker::start_kind(kind, &settings);
            assert_eq!(publish(broker.port, &trust).status, 0, "{kind:?} {list}");
            let finished = publish(broker.port, &format!("{trust} --ciphers {list}"));
            assert_eq!(finished.status, 0, "{kind:?} {list} {finished:?}");
        }
    }
    let line = refuse(
        &root,
        &format!("certfile {folder}/server.crt\nkeyfile {folder}/server.key\nciphers AES256-SHA"),
    );
    assert!(
        line.contains("no cipher suite of 'AES256-SHA' is supported (use DEFAULT or"),
        "{line}"
    );
}

#[test]
fn warns_of_settings_that_have_no_effect() {
    let Some(root) = OpenSsl::new("warns_of_settings_that_have_no_effect", ECDSA) else {
        return;
    };
    root.issue("server", SERVER);
    let folder = root.folder().display();
    let broker = Broker::start(&format!(
        "certfile {folder}/server.crt\nkeyfile {folder}/server.key\ntls_version tlsv1.1\ndhparamfile {folder}/dh.pem"
    ));
    broker.wait_for_log("Warning: TLS 1.1 is not supported, so TLS 1.2 is the lowest version");
    broker.wait_for_log("dh.pem' has no effect");
    let trust = format!("--cafile {folder}/ca.crt --tls-version tlsv1.1");
    let finished = publish(broker.port, &trust);
    assert_eq!(finished.status, 0, "{finished:?}");
    let line =
        "Warning: TLS 1.1 is not supported, so TLS 1.2 is the lowest version (write tlsv1.2).\n";
    assert_eq!(finished.errors, line);
    assert_eq!(publish(broker.port, &format!("{trust} --quiet")).errors, "");
}

#[test]
fn legacy_certificates_work_with_tls_1_2() {
    let Some(root) = OpenSsl::new("legacy_certificates_work_with_tls_1_2", ECDSA) else {
        return;
    };
    for kind in [ECDSA, "-algorithm RSA", "-algorithm ED25519"] {
        let old = Issue {
            common_name: "localhost",
            ..Issue::default()
        };
        root.make_key_with("old.key", kind);
        root.issue("old", old);
        let folder = root.folder().display();
        let settings = format!(
            "certfile {folder}/old.crt\nkeyfile {folder}/old.key\ncafile {folder}/ca.crt\nrequire_certificate true"
        );
        let broker = Broker::start(&settings);
        broker.wait_for_log("old.crt' is of X.509 version 1, has its host in the common name only");
        let own =
            format!("-tls1_2 -cert {folder}/old.crt -key {folder}/old.key -CAfile {folder}/ca.crt");
        // openssl is a client of TLS 1.2 and sends CONNECT.
        let (client, mut input) = Program::new("openssl")
            .args(&format!(
                "s_client -quiet {own} -connect 127.0.0.1:{} -verify_return_error",
                broker.port
            ))
            .start_with_input();
        input
            .write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x0a\x00\x01o")
            .unwrap();
        broker.wait_for_log(" as o (");
        drop((input, client));
        // openssl is a server of TLS 1.2. It verifies the client, and sends no MQTT.
        let port = free_port();
        let (server, input) = Program::new("openssl")
            .args(&format!(
                "s_server {own} -accept 127.0.0.1:{port} -Verify 3 -verify_return_error"
            ))
            .start_with_input();
        server.wait_for_output("ACCEPT");
        let client = Program::new("rpub")
            .args(&format!(
                "-h localhost -p {port} -t a -m x --cafile {folder}/ca.crt"
            ))
            .args(&format!("--cert {folder}/old.crt --key {folder}/old.key"))
            .start();
        client.wait_for_error("certificate of the server is of X.509 version 1, has its host in");
        server.wait_for_output("CIPHER is ECDHE-");
        drop((input, client));
    }
}

#[test]
fn rbroker_logs_the_secrets_of_connections() {
    let Some(root) = OpenSsl::new("rbroker_logs_the_secrets_of_connections", ECDSA) else {
        return;
    };
    root.issue("server", SERVER);
    let folder = root.folder().display();
    let port = free_port();
    let lines = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\ncontrol_socket none\ncertfile {folder}/server.crt\n\
         keyfile {folder}/server.key\n"
    );
    root.write("conf", &lines);
    let keys = root.path("keys");
    let broker = Program::new("rbroker")
        .arg("-c")
        .arg(root.path("conf"))
        .arg("--tls-keylog")
        .arg(&keys)
        .start();
    broker.wait_for_error("running");
    assert_eq!(
        publish(port, &format!("--cafile {folder}/ca.crt")).status,
        0
    );
    let secrets = std::fs::read_to_string(&keys).unwrap();
    assert!(secrets.contains("SERVER_TRAFFIC_SECRET_0 "), "{secrets}");
    #[cfg(unix)]
    {
        let data = std::fs::metadata(&keys).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&data.permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
    root.write("plain", &format!("listener {port} 127.0.0.1\n"));
    let finished = Program::new("rbroker")
        .arg("-c")
        .arg(root.path("plain"))
        .args("--tls-keylog keys")
        .run();
    assert_eq!(finished.status, 3, "{finished:?}");
    assert!(
        finished
            .errors
            .contains("--tls-keylog needs a listener with TLS"),
        "{finished:?}"
    );
}

#[test]
fn requests_client_certificates_only_if_they_are_required_or_identify_clients() {
    let Some(root) = OpenSsl::new("requests_client_certificates_only_if", ECDSA) else {
        return;
    };
    root.issue("server", SERVER);
    root.issue("client", CLIENT);
    let foreign = OpenSsl::new("foreign", ECDSA).unwrap();
    foreign.issue("client", CLIENT);
    let folder = root.folder().display();
    let settings = format!(
        "certfile {folder}/server.crt\nkeyfile {folder}/server.key\ncafile {folder}/ca.crt"
    );
    let status = |broker: &Broker, own: &OpenSsl| {
        let own = own.folder().display();
        let own = format!("--cert {own}/client.crt --key {own}/client.key");
        publish(broker.port, &format!("--cafile {folder}/ca.crt {own}")).status
    };
    for kind in kinds() {
        let broker = Broker::start_kind(kind, &settings);
        assert_eq!(status(&broker, &foreign), 0, "{kind:?}");
        assert_eq!(status(&broker, &root), 0, "{kind:?}");
        let broker = Broker::start_kind(kind, &format!("{settings}\nrequire_certificate true"));
        assert_ne!(status(&broker, &foreign), 0, "{kind:?}");
        assert_eq!(status(&broker, &root), 0, "{kind:?}");
    }
    let broker = Broker::start(&format!("{settings}\nuse_identity_as_username true"));
    assert_ne!(status(&broker, &foreign), 0);
    assert_eq!(status(&broker, &root), 0);
}
