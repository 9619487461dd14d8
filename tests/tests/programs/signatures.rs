//! Signatures of certificates on each curve of OpenSSL, with each hash.

use tests::{Broker, Kind, OpenSsl, Program, find};

use super::openssl_files::{CLIENT, ECDSA, SERVER, publish};

#[test]
fn verifies_signatures_on_all_curves_of_openssl_with_each_hash() {
    let test = "verifies_signatures_on_all_curves";
    for (curve, hash) in [
        ("P-256", "sha384"),
        ("P-256", "sha512"),
        ("P-384", "sha256"),
        ("P-384", "sha512"),
        ("P-521", "sha256"),
        ("P-521", "sha384"),
        ("P-521", "sha512"),
    ] {
        let key = format!("-algorithm EC -pkeyopt ec_paramgen_curve:{curve}");
        let Some(authority) = OpenSsl::new(test, &key) else {
            return;
        };
        let impostor = authority.impostor();
        for own in [&authority, &impostor] {
            let hashed = own
                .read("cnf")
                .replace("default_md = default", &format!("default_md = {hash}"));
            own.write("cnf", &hashed);
            own.make_key_with("server.key", ECDSA);
            own.issue("server", SERVER);
            // Certificates of peers may have keys on P-521.
            own.issue("client", CLIENT);
        }
        let folder = authority.folder().display();
        let settings = format!(
            "certfile {folder}/server.crt\nkeyfile {folder}/server.key\ncafile {folder}/ca.crt\n\
             require_certificate true"
        );
        let broker = Broker::start(&settings);
        let own = |name: &str| format!("--cert {folder}/{name}.crt --key {folder}/{name}.key");
        let trust = format!("--cafile {folder}/ca.crt");
        let finished = publish(broker.port, &format!("{trust} {}", own("server")));
        // This certificate is valid for servers and clients.
        assert_eq!(finished.status, 0, "{curve} {hash}: {finished:?}");
        let other = impostor.folder().display();
        let foreign = format!("{trust} --cert {other}/server.crt --key {other}/server.key");
        assert_eq!(publish(broker.port, &foreign).status, 1, "{curve} {hash}");
        broker.wait_for_log("failed: the signature of the certificate is invalid");
        if find("mosquitto_pub").is_none() {
            continue;
        }
        let theirs = Program::new("mosquitto_pub")
            .args(&format!(
                "-h localhost -p {} -t a -m x -q 1 {trust} {}",
                broker.port,
                own("client")
            ))
            .run();
        assert_eq!(theirs.status, 0, "{curve} {hash}: {theirs:?}");
        if find("mosquitto").is_some() {
            authority.issue("both", SERVER); // with a key on the curve
            let settings = format!("certfile {folder}/both.crt\nkeyfile {folder}/both.key");
            let broker = Broker::start_kind(Kind::Mosquitto, &settings);
            let finished = publish(broker.port, &trust);
            assert_eq!(finished.status, 0, "{curve} {hash}: {finished:?}");
        }
    }
}
