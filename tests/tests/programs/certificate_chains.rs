//! Certificate chains. Like OpenSSL, our programs complete their own chain with intermediate certificates, and select
//! an issuer by its key if several have the same name.

use std::process::Command;

use tests::{Broker, OpenSsl};

use super::openssl_files::{CLIENT, ECDSA, SERVER, kinds, publish};

#[test]
fn completes_the_chain_of_a_server() {
    let Some(root) = OpenSsl::new("completes_the_chain_of_a_server", ECDSA) else {
        return;
    };
    let between = root.intermediate("between");
    let below = between.intermediate("below");
    below.issue("server", SERVER);
    let chain = [&below, &between, &root].map(|authority| authority.read("ca.crt"));
    below.write("chain.pem", &chain.concat());
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in ["a.pem", "b.pem", "c.pem"].iter().zip(&chain) {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let rehash = Command::new("openssl")
        .arg("rehash")
        .arg(folder.path())
        .status();
    assert!(rehash.unwrap().success());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
    }
    let trust = format!("--cafile {}", root.path("ca.crt").display());
    let own = below.folder().display();
    for kind in kinds() {
        for authorities in [
            format!("cafile {own}/chain.pem"),
            format!("capath {}", folder.path().display()),
        ] {
            let settings =
                format!("certfile {own}/server.crt\nkeyfile {own}/server.key\n{authorities}");
            let broker = Broker::start_kind(kind, &settings);
            let finished = publish(broker.port, &trust);
            assert_eq!(
                (finished.status, &*finished.errors),
                (0, ""),
                "{kind:?} {authorities}"
            );
        }
    }
    // The root alone does not complete the chain, because the intermediate certificate is missing.
    let settings = format!(
        "certfile {own}/server.crt\nkeyfile {own}/server.key\ncafile {}",
        root.path("ca.crt").display()
    );
    let broker = Broker::start(&settings);
    assert_eq!(publish(broker.port, &trust).status, 1);
}

#[test]
fn completes_the_chain_of_a_client() {
    let Some(root) = OpenSsl::new("completes_the_chain_of_a_client", ECDSA) else {
        return;
    };
    root.issue("server", SERVER);
    let between = root.intermediate("between");
    between.issue("client", CLIENT);
    between.write("both.pem", &(between.read("ca.crt") + &root.read("ca.crt")));
    let (folder, own) = (root.folder().display(), between.folder().display());
    let settings = format!(
        "certfile {folder}/server.crt\nkeyfile {folder}/server.key\ncafile {folder}/ca.crt\nrequire_certificate true"
    );
    for kind in kinds() {
        let broker = Broker::start_kind(kind, &settings);
        let with = |authorities: &str| {
            publish(
                broker.port,
                &format!("--cafile {authorities} --cert {own}/client.crt --key {own}/client.key"),
            )
        };
        assert_eq!(with(&format!("{own}/both.pem")).status, 0, "{kind:?}");
        // Here the intermediate certificate is in no file.
        assert_ne!(with(&format!("{folder}/ca.crt")).status, 0, "{kind:?}");
    }
}

#[test]
fn chooses_the_issuer_whose_key_signed_the_certificate() {
    let Some(root) = OpenSsl::new("chooses_the_issuer_whose_key_signed_the_certificate", ECDSA)
    else {
        return;
    };
    // The certificate of the authority was renewed with a new key, so two certificates have the same name.
    let (old, new) = (root.intermediate("between"), root.intermediate("between"));
    new.issue("server", SERVER);
    new.write(
        "chain.pem",
        &[&old, &new, &root].map(|it| it.read("ca.crt")).concat(),
    );
    let own = new.folder().display();
    let settings =
        format!("certfile {own}/server.crt\nkeyfile {own}/server.key\ncafile {own}/chain.pem");
    let broker = Broker::start(&settings);
    let finished = publish(
        broker.port,
        &format!("--cafile {}", root.path("ca.crt").display()),
    );
    assert_eq!(finished.status, 0, "{finished:?}");
}
