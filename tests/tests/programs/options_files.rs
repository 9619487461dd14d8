//! Settings that are not on the command line: options files, and passwords in files and environment variables.
#![cfg(unix)]

use std::io::Write;

use mqtt_codec::{Decoder, PacketRef};
use tests::{Broker, Program, Proxy};

#[test]
fn passwords_are_read_from_files_and_the_environment() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"from file\r\n").unwrap();
    let path = file.path().display();
    for (arguments, password) in [
        ("-u n -P typed".to_owned(), Some("typed")),
        (format!("-u n --password-file {path}"), Some("from file")),
        ("-u n".to_owned(), Some("from environment")),
        ("-i c".to_owned(), None), // without a user name rpub sends no password
    ] {
        let broker = Broker::start("");
        let proxy = Proxy::start(broker.address());
        let publisher = Program::new("rpub")
            .env("MQTT_PASSWORD", "from environment")
            .args(&format!("-h 127.0.0.1 -p {} -t a -n", proxy.address.port()));
        publisher.args(&arguments).run().success();
        let sent = proxy.sent();
        let mut bytes = &sent[0][..];
        let packet = Decoder::server(1000).decode(&mut bytes).unwrap();
        let Some(PacketRef::Connect(connect)) = packet else {
            panic!("{packet:?}");
        };
        assert_eq!(
            connect.password.as_deref(),
            password.map(str::as_bytes),
            "{arguments}"
        );
    }
    let missing = "-t a -n -u n --password-file /no/such/file";
    let finished = Program::new("rpub").args(missing).run();
    assert_eq!(finished.status, 1);
    assert!(
        finished
            .errors
            .contains("Unable to read password file '/no/such/file'")
    );
}

#[test]
fn program_reads_its_own_options_file_or_else_that_of_mosquitto() {
    let broker = Broker::start("");
    let folder = tempfile::tempdir().unwrap();
    let publish = |variable: &str, folder: &std::path::Path| {
        Program::new("rpub")
            .without("XDG_CONFIG_HOME")
            .env(variable, &folder.to_string_lossy())
            .args(&broker.options())
            .args("-m x -d")
            .run()
    };
    let config = folder.path().join(".config");
    std::fs::create_dir(&config).unwrap();
    std::fs::write(config.join("mosquitto_pub"), "-t theirs\n").unwrap();
    assert!(
        publish("HOME", folder.path())
            .success()
            .errors
            .contains("'theirs'")
    );
    assert!(
        publish("XDG_CONFIG_HOME", &config)
            .success()
            .errors
            .contains("'theirs'")
    );
    std::fs::write(
        config.join("rpub"),
        "# ours\n-t ours\n-D publish user-property a b c\n",
    )
    .unwrap();
    assert!(
        publish("HOME", folder.path())
            .success()
            .errors
            .contains("'ours'")
    );
    std::fs::write(config.join("rpub"), "-t ours\n-q 7\n").unwrap();
    let finished = publish("HOME", folder.path());
    let place = format!("{}/rpub", config.display());
    let text = format!("Error: Invalid QoS given: 7 ({place}:2)\n");
    assert!(finished.errors.starts_with(&text), "{finished:?}");
    std::fs::write(config.join("rpub"), "--help\n").unwrap();
    let finished = publish("HOME", folder.path());
    let text =
        format!("Error: --help and --version have no effect in an options file ({place}:1).\n");
    assert!(finished.errors.starts_with(&text), "{finished:?}");
    // With -o only this options file is read.
    let finished = Program::new("rpub")
        .env("HOME", &folder.path().to_string_lossy())
        .args(&broker.options())
        .args("-m x -o")
        .arg(config.join("mosquitto_pub"))
        .run();
    finished.success();
}
