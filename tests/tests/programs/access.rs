//! Authentication and authorization in rbroker: users and access control lists, as an operator sets them up.
#![cfg(unix)]

use std::path::{Path, PathBuf};

use tests::{Broker, Finished, Program};

pub(super) fn passwd(arguments: &[&str], file: &Path, rest: &[&str]) -> Program {
    let mut program = Program::new("rbroker").arg("passwd");
    for argument in arguments {
        program = program.arg(argument);
    }
    program = program.arg(file);
    rest.iter().fold(program, |program, word| program.arg(word))
}

/// Creates a password file with the user `me`, whose password is `secret`.
pub(super) fn users(folder: &Path) -> PathBuf {
    let file = folder.join("users");
    passwd(&["-c", "-b"], &file, &["me", "secret"])
        .run()
        .success();
    file
}

pub(super) fn publish(broker: &Broker, options: &str) -> Finished {
    broker
        .program("rpub")
        .args("-t a -m x -q 1 -i id")
        .args(options)
        .run()
}

/// Starts a broker that requires a password.
pub(super) fn guarded(file: &Path, more: &str) -> Broker {
    Broker::start(&format!(
        "allow_anonymous false\npassword_file {}\n{more}",
        file.display()
    ))
}

#[test]
fn accepts_only_users_with_the_right_password() {
    let folder = tempfile::tempdir().unwrap();
    let file = users(folder.path());
    passwd(&["-b", "-H", "argon2id"], &file, &["you", "other"])
        .run()
        .success();
    let broker = guarded(&file, "");
    for (options, statuses) in [
        ("-u me -P secret", [0, 0]),
        ("-u you -P other", [0, 0]),
        ("-u me -P other", [5, 135]),
        ("-u me", [5, 135]),
        ("-u nobody -P secret", [5, 135]),
        ("", [5, 135]),
    ] {
        for (version, status) in ["-V 311", "-V 5"].into_iter().zip(statuses) {
            let finished = publish(&broker, &format!("{options} {version}"));
            assert_eq!(finished.status, status, "{options} {version} {finished:?}");
        }
    }
    let log = broker.wait_for_log("disconnected: not authorised.");
    assert!(!log.contains("secret") && !log.contains("other"), "{log}");
}

#[test]
fn broker_does_not_start_with_unusable_files() {
    let folder = tempfile::tempdir().unwrap();
    let (users, list) = (folder.path().join("users"), folder.path().join("list"));
    std::fs::write(&users, "me:plain\n").unwrap();
    std::fs::write(&list, "user me\ntopics a\n").unwrap();
    for (line, status, words) in [
        (format!("password_file {}", users.display()), 3, "line 1 of"),
        (format!("acl_file {}", list.display()), 3, "line 2 of"),
        (
            "acl_file /no/such/file".to_owned(),
            13,
            "cannot read the ACL file '/no/such/file': No such file or directory (",
        ),
    ] {
        let config = folder.path().join("conf");
        std::fs::write(&config, format!("listener 0 127.0.0.1\n{line}\n")).unwrap();
        for check in ["", "--check-config"] {
            let finished = Program::new("rbroker")
                .args(check)
                .arg("-c")
                .arg(&config)
                .run();
            assert_eq!(finished.status, status, "{finished:?}");
            assert!(finished.errors.contains(words), "{finished:?}");
        }
    }
}

const LIST: &str = "\
topic read open/#
user me
topic readwrite mine/#
topic deny mine/not
user you
topic read mine/#
pattern readwrite own/%u/%c/#
";

#[test]
fn permissions_apply_to_publishing_and_receiving() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list");
    std::fs::write(&list, LIST).unwrap();
    // Every client may connect without a password. The user name alone selects the permissions.
    let broker = Broker::start(&format!("acl_file {}", list.display()));
    let subscriber = broker
        .program("rsub")
        .args("-t # -v -q 1 -C 2 -u you -i s")
        .start();
    broker.wait_for_log("Sending SUBACK to s");
    let publish = |options: &str| {
        broker
            .program("rpub")
            .args("-m x -q 1 -V 5 -i id")
            .args(options)
            .run()
    };
    for (options, status) in [
        ("-t mine/not -u me", 135),
        ("-t open/a", 135),
        ("-t mine/a -u you", 135),
        ("-t own/me/id/a -u me", 0), // permitted, but the subscriber may not read it
        ("-t own/you/id/a -u me", 135),
        ("-t mine/a -u me", 0),
        ("-t mine/b -u me -q 0", 0),
    ] {
        assert_eq!(publish(options).status, status, "{options}");
    }
    assert_eq!(subscriber.wait().success().text(), "mine/a x\nmine/b x\n");
    broker.wait_for_log("Denied PUBLISH from id ('mine/not', 1 bytes)");
    // In 3.1.1 a PUBACK cannot report the rejection.
    publish("-t mine/not -u me -V 311").success();
}

#[test]
fn permissions_apply_to_wills_and_queued_messages() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list");
    std::fs::write(&list, LIST).unwrap();
    let broker = Broker::start(&format!("acl_file {}", list.display()));
    let away = || broker.program("rsub").args("-t # -q 1 -c -i away -u you");
    away().args("-E").run().success();
    for topic in ["mine/a", "mine/b"] {
        let publish = format!("-t {topic} -m x -q 1 -u me");
        broker.program("rpub").args(&publish).run().success();
    }
    for (name, topic, said) in [
        ("w1", "open/will", "Denied will of w1 ('open/will')"),
        ("w2", "mine/will", "Sending will of w2"),
    ] {
        let will =
            format!("-t none -u me -i {name} --will-topic {topic} --will-payload w --will-qos 1");
        let mut dying = broker.program("rsub").args(&will).start();
        broker.wait_for_log(&format!("Sending SUBACK to {name}"));
        dying.kill();
        broker.wait_for_log(said);
    }
    // The broker checks the permission again when it sends a waiting message.
    let changed = LIST.replace(
        "user you\ntopic read mine/#",
        "user you\ntopic read mine/b\ntopic read mine/will",
    );
    std::fs::write(&list, changed).unwrap();
    broker.running.signal("HUP");
    broker.wait_for_log("Config reloaded");
    let got = away().args("-v -C 2").run().success();
    assert_eq!(got.text(), "mine/b x\nmine/will w\n");
}

#[test]
fn retained_messages_are_removed_when_their_publisher_loses_its_permission() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list");
    let all = "user me\ntopic readwrite a/#\nuser you\ntopic read a/#\n";
    for check in [true, false] {
        std::fs::write(&list, all).unwrap();
        let broker = Broker::start(&format!(
            "acl_file {}\ncheck_retain_source {check}",
            list.display()
        ));
        for (topic, user) in [("a/1", "me"), ("a/2", "me")] {
            let publish = format!("-t {topic} -m x -r -q 1 -u {user}");
            broker.program("rpub").args(&publish).run().success();
        }
        std::fs::write(&list, all.replace("readwrite a/#", "readwrite a/2")).unwrap();
        broker.running.signal("HUP");
        broker.wait_for_log("Config reloaded");
        let got = broker
            .program("rsub")
            .args("-t # -v -u you -W 1 -F %t")
            .run();
        let expected = if check { "a/2\n" } else { "a/1\na/2\n" };
        assert_eq!(got.text(), expected);
    }
}

#[test]
fn reload_reads_users_again_and_ignores_an_invalid_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = users(folder.path());
    let broker = guarded(&file, "");
    assert_eq!(publish(&broker, "-u you -P new").status, 5);
    passwd(&["-b"], &file, &["you", "new"]).run().success();
    broker.running.signal("HUP");
    broker.wait_for_log("Config reloaded");
    publish(&broker, "-u you -P new").success();
    std::fs::write(&file, "me:plain\n").unwrap();
    broker.running.signal("HUP");
    broker.wait_for_log("Cannot reload the configuration, which is unchanged: line 1 of");
    publish(&broker, "-u me -P secret").success();
}

#[test]
fn session_is_kept_when_another_user_connects_with_its_client_identifier() {
    let folder = tempfile::tempdir().unwrap();
    let file = users(folder.path());
    passwd(&["-b"], &file, &["you", "secret"]).run().success();
    let broker = guarded(&file, "");
    let session = |user: &str, more: &str| {
        broker
            .program("rsub")
            .args(&format!("-u {user} -P secret -i same -q 1 {more}"))
            .run()
    };
    session("me", "-c -t secret/# -E").success();
    let publish = format!("{} -u me -P secret -q 1 -m x -t secret/a", broker.options());
    Program::new("rpub").args(&publish).run().success();
    // The client identifier is rejected in each version, with and without a clean start.
    for (more, status) in [("-c", 2), ("", 2), ("-V 5", 133)] {
        let refused = session("you", &format!("{more} -t mine -E"));
        assert_eq!(refused.status, status, "{more} {refused:?}");
    }
    broker.wait_for_log(
        "Rejected client same: the session of this client identifier belongs to another user",
    );
    // The message still waits in the session of its user.
    assert_eq!(
        session("me", "-c -t secret/# -F %t -C 1").success().text(),
        "secret/a\n"
    );
}

#[test]
fn disconnects_removed_users_at_reload() {
    let folder = tempfile::tempdir().unwrap();
    let file = users(folder.path());
    passwd(&["-b"], &file, &["you", "secret"]).run().success();
    let broker = guarded(&file, "");
    let start = |user: &str| {
        let rsub = broker.program("rsub");
        let options = format!("-u {user} -P secret -i {user} -V 5 -t a -C 1");
        let running = rsub.args(&options).start();
        broker.wait_for_log(&format!("Sending SUBACK to {user}"));
        running
    };
    let (goes, stays) = (start("you"), start("me"));
    passwd(&["-D"], &file, &["you"]).run().success();
    broker.running.signal("HUP");
    let told = goes.wait();
    assert_eq!(told.status, 4, "{told:?}");
    let options = format!("{} -u me -P secret -t a -m x", broker.options());
    Program::new("rpub").args(&options).run().success();
    assert_eq!(stays.wait().success().text(), "x\n");
}

#[test]
fn listeners_with_equal_settings_keep_their_rules_at_reload() {
    let folder = tempfile::tempdir().unwrap();
    let conf = folder.path().join("conf");
    let text = "per_listener_settings true\nlistener 0 127.0.0.1\nallow_anonymous true\n\
                listener 0 127.0.0.1\nallow_anonymous false\n";
    std::fs::write(&conf, text).unwrap();
    let running = Program::new("rbroker").args("-v -c").arg(&conf).start();
    let log = running.wait_for_error("running.");
    let places = log.split("Listening on 127.0.0.1:").skip(1);
    let ports: Vec<_> = places.map(|rest| rest.split_once('.').unwrap().0).collect();
    let statuses = || {
        [ports[0], ports[1]].map(|port| {
            let options = format!("-p {port} -h 127.0.0.1 -t a -m x -q 1");
            Program::new("rpub").args(&options).run().status
        })
    };
    assert_eq!(statuses(), [0, 5]);
    running.signal("HUP");
    running.wait_for_error("Config reloaded.");
    assert_eq!(statuses(), [0, 5]);
}
