//! Revocation lists of certificates.

use tests::{Broker, Certificates, Kind, Program, Validity};

use super::tls::{TRUST, publish};

/// A case: the client certificate, the lists of `crlfile`, the end of the line in the log of rbroker (empty if the
/// client is accepted), and `true` if mosquitto accepts the client.
type Revocation<'a> = (&'a str, Vec<String>, &'a str, bool);

#[test]
fn certificates_are_rejected_without_a_valid_revocation_list() {
    let root = Certificates::new();
    root.server("server", &["127.0.0.1"], Validity::Now);
    root.client("good");
    root.client("bad");
    let intermediate = root.intermediate("between");
    intermediate.client("deep");
    let read = |path| std::fs::read_to_string(path).unwrap();
    let chain = read(intermediate.path("deep.crt")) + &read(intermediate.path("ca.crt"));
    std::fs::write(root.path("deep.crt"), chain).unwrap();
    std::fs::copy(intermediate.path("deep.key"), root.path("deep.key")).unwrap();
    let of_root = |names: &[&str]| root.revocation_list(names, Validity::Now);
    let of_between = || intermediate.revocation_list(&[], Validity::Now);
    let foreign = Certificates::new().revocation_list(&[], Validity::Now);
    let expired = root.revocation_list(&[], Validity::Past);
    let uncovered = "is issued by 'CN=";
    let cases: [Revocation<'_>; 9] = [
        ("good", vec![of_root(&["bad"])], "", true),
        (
            "bad",
            vec![of_root(&["bad"])],
            "the certificate is revoked by the list in '",
            false,
        ),
        ("good", vec![expired.clone()], "expired ", false),
        ("good", vec![foreign], uncovered, false),
        ("good", vec![of_between()], uncovered, false),
        ("deep", vec![of_root(&[])], uncovered, false),
        // The list of the root is not required for clients of the intermediate authority, as in mosquitto.
        ("deep", vec![of_between()], "", true),
        // If it is present, rbroker checks it. mosquitto does not.
        (
            "deep",
            vec![of_root(&["between"]), of_between()],
            "an intermediate certificate is revoked by the list in",
            true,
        ),
        ("deep", vec![expired, of_between()], "expired ", true),
    ];
    let folder = root.folder().display();
    let settings = format!(
        "certfile {folder}/server.crt\nkeyfile {folder}/server.key\ncafile {folder}/ca.crt\n\
         require_certificate true\ncrlfile {folder}/lists.pem"
    );
    let has_mosquitto = tests::find("mosquitto").is_some();
    for (name, lists, why, mosquitto) in cases {
        std::fs::write(root.path("lists.pem"), lists.concat()).unwrap();
        let publish = |broker: &Broker| {
            let with = format!("{TRUST} --cert {folder}/{name}.crt --key {folder}/{name}.key");
            publish(&broker.options(), &root, &with).status
        };
        let broker = Broker::start(&settings);
        assert_eq!(publish(&broker) == 0, why.is_empty(), "{name} {why}");
        if !why.is_empty() {
            let log = broker.wait_for_log(why);
            assert!(
                log.contains("lists.pem'") && !log.contains("--cafile"),
                "{log}"
            );
        }
        if has_mosquitto {
            let theirs = publish(&Broker::start_kind(Kind::Mosquitto, &settings));
            assert_eq!(theirs == 0, mosquitto, "mosquitto: {name} {why}");
        }
    }
}

#[test]
fn invalid_revocation_lists_are_reported() {
    let certificates = Certificates::new();
    certificates.server("server", &["127.0.0.1"], Validity::Now);
    let folder = certificates.folder().display();
    let broken = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    for (lists, words) in [
        (
            "nonsense",
            "no list of revoked certificates in PEM format in",
        ),
        (broken, "the list of revoked certificates in"),
    ] {
        std::fs::write(certificates.path("lists.pem"), lists).unwrap();
        let text = format!(
            "listener 0 127.0.0.1\ncertfile {folder}/server.crt\nkeyfile {folder}/server.key\n\
             cafile {folder}/ca.crt\nrequire_certificate true\ncrlfile {folder}/lists.pem\n"
        );
        std::fs::write(certificates.path("conf"), text).unwrap();
        let program = Program::new("rbroker").arg("-c");
        let finished = program.arg(certificates.path("conf")).run();
        assert_ne!(finished.status, 0, "{finished:?}");
        assert!(finished.errors.contains(words), "{finished:?}");
        assert!(!finished.errors.contains("--cafile"), "{finished:?}");
    }
}
