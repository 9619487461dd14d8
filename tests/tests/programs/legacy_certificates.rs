//! Certificates of old forms, as users of OpenSSL have them: X.509 version 1, the host in the common name, `CA:TRUE` in
//! a leaf.
//!
//! The tests contain no expected results. Debian's mosquitto and its tools, which use openssl, decide about each
//! certificate, and our programs must decide the same, as client and as server.

use std::collections::BTreeMap;

use tests::{Broker, Finished, Issue, Kind, OpenSsl, Program, has_mosquitto};

const RSA: &str = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";
pub(super) const ECDSA: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
const ED25519: &str = "-algorithm ED25519";

/// The kinds of certificates: a name and the extensions. `HOST` is replaced by the host.
pub(super) const KINDS: [(&str, &str); 5] = [
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
pub(super) enum Fault {
    None,
    Expired,
    /// A certificate signed by another authority with the same name.
    Foreign,
    WrongHost,
    Revoked,
}

/// Publishes with a program. Returns its result.
pub(super) fn publish(program: &str, port: u16, authority: &OpenSsl, more: &str) -> Finished {
    Program::new(program)
        .args(&format!("-h localhost -p {port} -t a -m x -q 1 --cafile"))
        .arg(authority.path("ca.crt"))
        .args(more)
        .run()
}

/// Creates a certificate of a kind with a fault. Returns its path without `.crt` and `.key`.
pub(super) fn make(
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
