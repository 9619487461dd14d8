//! The names and the issuers of legacy certificates.

use tests::{Broker, Issue, Kind, OpenSsl, Program, has_mosquitto};

use super::legacy_certificates::{ECDSA, Fault, KINDS, make, publish};

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
