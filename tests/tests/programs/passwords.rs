//! Password files of the broker, `rbroker passwd`, and the checks of passwords.
#![cfg(unix)]

use std::io::Write;
use std::net::TcpStream;

use tests::{Program, find, skip};

use super::access::{guarded, passwd, publish, users};

#[test]
fn reads_files_of_mosquitto_passwd() {
    let Some(tool) = find("mosquitto_passwd") else {
        return skip(
            "reads_files_of_mosquitto_passwd",
            "mosquitto is not installed",
        );
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    Program::at(tool)
        .args("-c -b")
        .arg(&file)
        .args("me secret")
        .run()
        .success();
    let broker = guarded(&file, "");
    publish(&broker, "-u me -P secret").success();
    assert_eq!(publish(&broker, "-u me -P Secret").status, 5);
}

#[test]
fn password_files_are_created_changed_and_converted() {
    let folder = tempfile::tempdir().unwrap();
    let file = users(folder.path());
    let read = || std::fs::read_to_string(&file).unwrap();
    let first = read();
    // The password comes from standard input. The line of the other user is preserved.
    passwd(&[], &file, &["you"])
        .input("typed\n")
        .run()
        .success();
    assert!(
        read().starts_with(&first) && read().contains("\nyou:$7$"),
        "{}",
        read()
    );
    passwd(&["-D"], &file, &["me"]).run().success();
    assert!(read().starts_with("you:$7$"), "{}", read());
    assert_eq!(passwd(&["-D"], &file, &["me"]).run().status, 1);
    std::fs::write(&file, "# plain\nme:secret\n").unwrap();
    let plain = Program::new("rbroker")
        .arg("-c")
        .arg(folder.path().join("none"))
        .run();
    assert_eq!(plain.status, 3);
    passwd(&["-U"], &file, &[]).run().success();
    assert!(read().starts_with("# plain\nme:$7$"), "{}", read());
    publish(&guarded(&file, ""), "-u me -P secret").success();
    let missing = Program::new("rbroker").args("passwd").run();
    let words = "Error: the following required arguments were not provided: <FILE> <USER>\n\
                 Use 'rbroker passwd --help' to see usage.\n";
    assert_eq!((missing.status, missing.errors.as_str()), (1, words));
    let wrong = passwd(&["-b"], &file, &["a:b", "c"]).run();
    assert_eq!(wrong.status, 1, "{wrong:?}");
    assert_eq!(
        passwd(&[], &folder.path().join("none"), &["me"])
            .run()
            .status,
        1
    );
}

#[test]
fn password_guesses_do_not_delay_other_clients() {
    let folder = tempfile::tempdir().unwrap();
    let file = users(folder.path());
    let broker = guarded(&file, "");
    let guess = || {
        broker
            .program("rpub")
            .args("-t a -m x -u me -P wrong")
            .start()
    };
    let guesses: Vec<_> = (0..20).map(|_| guess()).collect();
    publish(&broker, "-u me -P secret").success();
    for guess in guesses {
        assert_eq!(guess.wait().status, 5);
    }
}

#[test]
fn account_with_an_empty_password_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    // The line that `mosquitto_passwd -b users me ""` writes.
    let line = "me:$7$101$+G1BqbtYEDCWggLR$U1G0uIFbCdsrM1tGY2bKzDXBe1yLy9emRl/EuBLwx5PVHhye+Uqxagdnd\
                zyYNhDjULUuKsyEJlARYK1zqstfkw==\n";
    std::fs::write(&file, line).unwrap();
    let broker = guarded(&file, "");
    for (options, password) in [
        ("-V 311", Some("")),
        ("-V 311", None),
        ("-V 5", Some("")),
        ("-V 5", None),
    ] {
        let program = broker.program("rpub");
        let program = program.args("-t a -m x -q 1 -u me").args(options);
        let program = match password {
            Some(password) => program.arg("-P").arg(password),
            None => program,
        };
        let finished = program.run();
        assert!(matches!(finished.status, 5 | 135), "{options} {finished:?}");
    }
}

#[test]
fn passwd_rejects_an_empty_password() {
    let folder = tempfile::tempdir().unwrap();
    let file = users(folder.path());
    let before = std::fs::read_to_string(&file).unwrap();
    let batch = passwd(&["-b"], &file, &["you", ""]).run();
    let typed = passwd(&[], &file, &["you"]).input("\n").run();
    for refused in [batch, typed] {
        assert_eq!(refused.status, 1, "{refused:?}");
        assert!(refused.errors.contains("password is empty"), "{refused:?}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    let plain = "# plain\nme:secret\nyou:\n";
    std::fs::write(&file, plain).unwrap();
    let refused = passwd(&["-U"], &file, &[]).run();
    assert_eq!(refused.status, 1, "{refused:?}");
    assert!(refused.errors.contains("line 3 of"), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), plain);
}

#[test]
fn parameters_of_a_password_file_that_would_block_logins_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    for (hash, words) in [
        (
            "$7$4000000000$AAECAwQFBgcICQoL$AAAA",
            "expected at most 1000000, given 4000000000",
        ),
        (
            "$argon2id$v=19$m=8,t=4294967295,p=1$AAECAwQFBgcICQoL$AAAAAAAA",
            "given 4294967295",
        ),
    ] {
        std::fs::write(&file, format!("# users\nme:{hash}\n")).unwrap();
        let config = folder.path().join("conf");
        let text = format!("listener 0 127.0.0.1\npassword_file {}\n", file.display());
        std::fs::write(&config, text).unwrap();
        let finished = Program::new("rbroker").arg("-c").arg(&config).run();
        assert_eq!(finished.status, 3, "{finished:?}");
        assert!(finished.errors.contains(words), "{finished:?}");
        assert!(finished.errors.contains("line 2 of"), "{finished:?}");
    }
}

#[test]
fn no_password_is_hashed_for_closed_connections() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    // The password is "secret". Its hash takes so long that all connections are closed before it is computed.
    let line = "slow:$7$100000$AAECAwQFBgcICQoL$BXIv+r5aByv/Dsec03NyJX9XvGLB+rUzpsN78sFxES0\
                gSeJ9kcOmLDqW3Tm3NbO2ZNh/JM8S8fKnxpEmmWKCUg==\n";
    std::fs::write(&file, line).unwrap();
    let broker = guarded(&file, "");
    // CONNECT of 3.1.1 with the user "slow" and the password "x".
    let connect = b"\x10\x15\x00\x04MQTT\x04\xC2\x00\x3C\x00\x00\x00\x04slow\x00\x01x";
    // One half of the connections is closed immediately, the other half while their passwords wait for the check.
    let mut waiting = Vec::new();
    for number in 0..100 {
        let mut stream = TcpStream::connect(broker.address()).unwrap();
        stream.write_all(connect).unwrap();
        if number % 2 == 0 {
            waiting.push(stream);
        }
    }
    broker.wait_for_log("Checking the password of");
    drop(waiting);
    publish(&broker, "-u slow -P secret").success();
    let log = broker.wait_for_log("New client connected");
    let hashes = log.matches("Checking the password of").count();
    assert!((1..=30).contains(&hashes), "{hashes} of 101");
}
