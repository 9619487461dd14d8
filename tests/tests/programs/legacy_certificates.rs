//! Certificates of old forms, as users of OpenSSL have them: X.509 version 1, the host in the common name, `CA:TRUE` in
//! a leaf.
//!
//! The tests contain no expected results. Debian's mosquitto and its tools, which use openssl, decide about each
//! certificate, and our programs must decide the same, as client and as server.

use std::collections::BTreeMap;

use tests::{Broker, Finished, Issue, Kind, OpenSsl, Program, has_mosquitto};

const RSA: &str = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";
const ECDSA: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
const ED25519: &str = "-algorithm ED25519";

/// The kinds of certificates: a name and the extensions. `HOST` is replaced by the host.
const KINDS: [(&str, &str); 5] = [
    ("version 1", ""),
    ("common name", "basicConstraints=CA:FALSE"),
    ("common name, CA:TRUE", "basicConstraints=CA:TRUE"),
    (
        "alternative name",
        "basicConstraints=CA:FALSE\nsubjectAltName=DNS:HOST",
    ),
    (
        "alternative name, CA:TRUE",
        "basicConstraints=CA:TRUE\nsubjectAltName=DNS:HOST",
    ),
];

/// The fault of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Expired,
    /// Another authority with the same name has signed the certificate.
    Foreign,
    WrongHost,
    Revoked,
}

/// Publishes with a program. Returns its result.
fn publish(program: &str, port: u16, authority: &OpenSsl, more: &str) -> Finished {
    Program::new(program)
        .args(&format!("-h localhost -p {port} -t a -m x -q 1 --cafile"))
        .arg(authority.path("ca.crt"))
        .args(more)
        .run()
}

/// Creates a certificate of a kind with a fault. Returns its path without `.crt` and `.key`.
fn make(
    authority: &OpenSsl,
    impostor: &OpenSsl,
    name: &str,
    extensions: &str,
    fault: Fault,
) -> String {
    let host = match fault {
        Fault::WrongHost => "broker.example.org",
        _ => "localhost",
    };
    let issuer = match fault {
        Fault::Foreign => impostor,
        _ => authority,
    };
    let extensions = extensions.replace("HOST", host);
    issuer.issue(
        name,
        Issue {
            common_name: host,
            extensions: &extensions,
            has_expired: fault == Fault::Expired,
        },
    );
    if fault == Fault::Revoked {
        issuer.revoke(name);
    }
    issuer.path(name).display().to_string()
}

/// Starts a broker of each kind with a certificate that has a fault, and compares the decisions of the clients.
fn compare_servers(test: &str, key: &str) {
    if !has_mosquitto(test) {
        return;
    }
    let Some(authority) = OpenSsl::new(test, key) else {
        return;
    };
    let impostor = authority.impostor();
    let mut table = BTreeMap::new();
    for (kind, extensions) in KINDS {
        for fault in [
            Fault::None,
            Fault::Expired,
            Fault::Foreign,
            Fault::WrongHost,
        ] {
            let path = make(&authority, &impostor, "server", extensions, fault);
            let settings = format!("certfile {path}.crt\nkeyfile {path}.key");
            let theirs = Broker::start_kind(Kind::Mosquitto, &settings);
            let ours = Broker::start(&settings);
            let decide = |program, broker: &Broker| publish(program, broker.port, &authority, "");
            let expected = decide("mosquitto_pub", &theirs).status == 0;
            for (client, server, result) in [
                ("rpub", "mosquitto", decide("rpub", &theirs)),
                ("rpub", "rbroker", decide("rpub", &ours)),
                ("mosquitto_pub", "rbroker", decide("mosquitto_pub", &ours)),
            ] {
                let cell = format!("{kind}, {fault:?}: {client} to {server}");
                assert_eq!(result.status == 0, expected, "{cell}: {result:?}");
                if client == "rpub" {
                    explains(&result, kind, fault);
                }
            }
            table.insert(format!("{kind}, {fault:?}"), expected);
        }
    }
    println!("{table:#?}");
    assert_eq!(
        table.values().filter(|accepted| **accepted).count(),
        5,
        "all but the faulty ones"
    );
}

/// Asserts that the error of a client names the fault, and that a warning names the old form of the certificate.
fn explains(result: &Finished, kind: &str, fault: Fault) {
    let words = match fault {
        Fault::None if kind == "version 1" => "of X.509 version 1",
        Fault::None if kind.ends_with("CA:TRUE") => "(CA:TRUE)",
        Fault::None if kind == "common name" => "has its host in the common name only",
        Fault::None => "",
        Fault::Expired => "the certificate expired",
        Fault::Foreign => "the signature of the certificate is invalid",
        Fault::WrongHost => "the certificate is not for localhost, but for broker.example.org",
        Fault::Revoked => "is revoked by the list in",
    };
    assert!(
        result.errors.contains(words),
        "{kind}, {fault:?}: {result:?}"
    );
    let lines = usize::from(!words.is_empty());
    assert_eq!(
        result.errors.lines().count(),
        lines,
        "{kind}, {fault:?}: {result:?}"
    );
}

/// Sends client certificates with faults to a broker of each kind, and compares the decisions of the brokers.
fn compare_clients(test: &str, key: &str) {
    if !has_mosquitto(test) {
        return;
    }
    let Some(authority) = OpenSsl::new(test, key) else {
        return;
    };
    let impostor = authority.impostor();
    let extensions = "subjectAltName=DNS:localhost";
    authority.issue(
        "server",
        Issue {
            common_name: "server",
            extensions,
            ..Issue::default()
        },
    );
    let mut clients = Vec::new();
    for (kind, extensions) in KINDS {
        for fault in [Fault::None, Fault::Expired, Fault::Foreign, Fault::Revoked] {
            let name = format!("client{}", clients.len());
            let path = make(&authority, &impostor, &name, extensions, fault);
            clients.push((kind, fault, path));
        }
    }
    authority.write_list();
    let folder = authority.folder().display();
    let settings = format!(
        "certfile {folder}/server.crt\nkeyfile {folder}/server.key\ncafile {folder}/ca.crt\n\
         require_certificate true\ncrlfile {folder}/crl.pem"
    );
    let theirs = Broker::start_kind(Kind::Mosquitto, &settings);
    let ours = Broker::start(&settings);
    let mut accepted = 0;
    for (kind, fault, path) in &clients {
        let with = format!("--cert {path}.crt --key {path}.key");
        let decide = |program, broker: &Broker| publish(program, broker.port, &authority, &with);
        let expected = decide("mosquitto_pub", &theirs).status == 0;
        for (client, server, result) in [
            ("rpub", "mosquitto", decide("rpub", &theirs)),
            ("rpub", "rbroker", decide("rpub", &ours)),
            ("mosquitto_pub", "rbroker", decide("mosquitto_pub", &ours)),
        ] {
            let cell = format!("{kind}, {fault:?}: {client} to {server}");
            assert_eq!(result.status == 0, expected, "{cell}: {result:?}");
        }
        println!("{kind}, {fault:?}: {expected}");
        accepted += usize::from(expected);
    }
    assert_eq!(accepted, 5, "all but the faulty ones");
    ours.wait_for_log("the certificate of the client is of X.509 version 1");
    ours.wait_for_log("failed: the certificate expired");
    ours.wait_for_log("failed: the certificate is revoked by the list in");
    ours.wait_for_log("failed: the signature of the certificate is invalid");
}

#[test]
fn servers_with_rsa_are_accepted_as_openssl_does() {
    compare_servers("servers_with_rsa", RSA);
}

#[test]
fn servers_with_ecdsa_are_accepted_as_openssl_does() {
    compare_servers("servers_with_ecdsa", ECDSA);
}

#[test]
fn servers_with_ed25519_are_accepted_as_openssl_does() {
    compare_servers("servers_with_ed25519", ED25519);
}

#[test]
fn clients_with_rsa_are_accepted_as_openssl_does() {
    compare_clients("clients_with_rsa", RSA);
}

#[test]
fn clients_with_ecdsa_are_accepted_as_openssl_does() {
    compare_clients("clients_with_ecdsa", ECDSA);
}

#[test]
fn clients_with_ed25519_are_accepted_as_openssl_does() {
    compare_clients("clients_with_ed25519", ED25519);
}

#[test]
fn names_are_matched_as_the_mosquitto_tools_do() {
    let test = "names_are_matched";
    if !has_mosquitto(test) {
        return;
    }
    let Some(authority) = OpenSsl::new(test, ECDSA) else {
        return;
    };
    for (common_name, extensions, host) in [
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.2", "", "127.0.0.1"),
        ("LocalHost", "", "localhost"),
        ("localhost", "", "127.0.0.1"),
        ("localhost", "basicConstraints=CA:FALSE", "127.0.0.1"),
        ("*", "", "localhost"),
        ("server", "subjectAltName=IP:127.0.0.1", "127.0.0.1"),
        ("localhost", "subjectAltName=DNS:example.org", "localhost"),
        ("127.0.0.1", "subjectAltName=DNS:example.org", "127.0.0.1"),
        (
            "localhost",
            "keyUsage=digitalSignature,keyEncipherment",
            "localhost",
        ),
        (
            "localhost",
            "basicConstraints=CA:TRUE\nkeyUsage=keyCertSign,cRLSign",
            "localhost",
        ),
        (
            "localhost",
            "basicConstraints=CA:TRUE\nkeyUsage=keyCertSign,digitalSignature",
            "localhost",
        ),
        (
            "localhost",
            "basicConstraints=CA:TRUE,pathlen:0",
            "localhost",
        ),
        ("localhost", "extendedKeyUsage=clientAuth", "localhost"),
        (
            "localhost",
            "basicConstraints=CA:TRUE\nextendedKeyUsage=clientAuth",
            "localhost",
        ),
        ("localhost", "extendedKeyUsage=serverAuth", "localhost"),
        ("localhost", "1.2.3.4=critical,ASN1:NULL", "localhost"),
    ] {
        let issue = Issue {
            common_name,
            extensions,
            has_expired: false,
        };
        authority.issue("server", issue);
        let folder = authority.folder().display();
        let settings = format!("certfile {folder}/server.crt\nkeyfile {folder}/server.key");
        let broker = Broker::start_kind(Kind::Mosquitto, &settings);
        for more in ["", "--insecure"] {
            let publish = |program| {
                Program::new(program)
                    .args(&format!(
                        "-h {host} -p {} -t a -m x -q 1 {more}",
                        broker.port
                    ))
                    .arg("--cafile")
                    .arg(authority.path("ca.crt"))
                    .run()
            };
            let (theirs, ours) = (publish("mosquitto_pub"), publish("rpub"));
            let cell = format!("{common_name}, {extensions:?}, {host} {more}");
            assert_eq!(ours.status == 0, theirs.status == 0, "{cell}: {ours:?}");
            assert_eq!(
                ours.errors.lines().count(),
                usize::from(!ours.errors.is_empty()),
                "{ours:?}"
            );
        }
    }
}

#[test]
fn common_name_is_ignored_if_there_is_an_alternative_name() {
    let Some(authority) = OpenSsl::new("common_name_is_ignored", ECDSA) else {
        return;
    };
    for (extensions, words) in [
        (
            "subjectAltName=IP:127.0.0.2",
            "is not for localhost, but for 127.0.0.2.",
        ),
        (
            "subjectAltName=email:a@example.org",
            "is not for localhost: it names no host.",
        ),
        (
            "subjectAltName=DNS:example.org",
            "is not for localhost, but for example.org.",
        ),
    ] {
        let issue = Issue {
            common_name: "localhost",
            extensions,
            has_expired: false,
        };
        authority.issue("server", issue);
        let folder = authority.folder().display();
        let broker = Broker::start(&format!(
            "certfile {folder}/server.crt\nkeyfile {folder}/server.key"
        ));
        let finished = publish("rpub", broker.port, &authority, "");
        assert_eq!(finished.status, 1, "{finished:?}");
        assert!(finished.errors.contains(words), "{finished:?}");
    }
}

#[test]
fn authorities_of_the_system_sign_no_legacy_certificates() {
    let Some(authority) = OpenSsl::new(
        "authorities_of_the_system_sign_no_legacy_certificates",
        ECDSA,
    ) else {
        return;
    };
    let other = authority.impostor();
    for (kind, extensions) in KINDS {
        make(&authority, &authority, "server", extensions, Fault::None);
        let folder = authority.folder().display();
        let broker = Broker::start(&format!(
            "certfile {folder}/server.crt\nkeyfile {folder}/server.key"
        ));
        for named in [
            String::new(),
            format!("--cafile {}/ca.crt", other.folder().display()),
        ] {
            let finished = Program::new("rpub")
                .args(&format!(
                    "-h localhost -p {} -t a -m x -q 1 --tls-use-os-certs {named}",
                    broker.port
                ))
                .env(
                    "SSL_CERT_FILE",
                    &authority.path("ca.crt").display().to_string(),
                )
                .run();
            let is_new = kind == "alternative name";
            assert_eq!(finished.status == 0, is_new, "{kind} {named}: {finished:?}");
            let words = match kind {
                "version 1" => "X.509 version 3, which is accepted only if",
                "common name" => "it names no host",
                "alternative name" => "",
                _ => "(CA:TRUE), which is accepted only if the authority that signed it is named",
            };
            assert!(
                finished.errors.contains(words),
                "{kind} {named}: {finished:?}"
            );
        }
    }
}

#[test]
fn legacy_certificates_may_be_signed_by_an_intermediate_authority() {
    let test = "legacy_certificates_may_be_signed_by_an_intermediate_authority";
    if !has_mosquitto(test) {
        return;
    }
    let Some(root) = OpenSsl::new(test, ECDSA) else {
        return;
    };
    let between = root.intermediate("between");
    // The same certificates now try to sign other certificates. Those without `CA:TRUE` may not do so.
    let pretender = root.impostor();
    std::fs::copy(pretender.path("ca.key"), between.path("pretender.key")).unwrap();
    for (kind, extensions) in KINDS {
        make(&between, &between, "server", extensions, Fault::None);
        between.write(
            "direct.pem",
            &(between.read("server.crt") + &between.read("ca.crt")),
        );
        let issue = Issue {
            common_name: "authority",
            extensions: &extensions.replace("HOST", "localhost"),
            has_expired: false,
        };
        between.issue("pretender", issue);
        make(&pretender, &pretender, "server", extensions, Fault::None);
        let names = ["pretender.crt", "ca.crt"].map(|name| between.read(name));
        between.write(
            "pretended.pem",
            &(pretender.read("server.crt") + &names.concat()),
        );
        let (own, other) = (between.folder().display(), pretender.folder().display());
        for (chain, key) in [
            (format!("{own}/direct.pem"), format!("{own}/server.key")),
            (
                format!("{own}/pretended.pem"),
                format!("{other}/server.key"),
            ),
        ] {
            let settings = format!("certfile {chain}\nkeyfile {key}");
            let broker = Broker::start_kind(Kind::Mosquitto, &settings);
            let [theirs, ours] = ["mosquitto_pub", "rpub"]
                .map(|program| publish(program, broker.port, &root, "").status == 0);
            let is_right = chain.contains("direct") || kind.ends_with("CA:TRUE");
            assert_eq!((theirs, ours), (is_right, is_right), "{kind}: {chain}");
        }
    }
}
