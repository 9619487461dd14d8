//! Configuration files as users have them: rbroker accepts them or rejects a line. `limits.rs` and `access.rs` test the
//! effects of most directives.
#![cfg(unix)]

use std::path::Path;

use tests::{Broker, Certificates, Program, Validity};

/// The expected result: `None` if the file is accepted, otherwise the number of the rejected line and the words of the
/// error.
type Verdict = Option<(usize, &'static str)>;

/// The name, the text and the expected result of each file. `{}` is a folder with the files that the lines name.
const FILES: &[(&str, &str, Verdict)] = &[
    (
        "Debian's own",
        "# Place your local configuration in /etc/mosquitto/conf.d/\n#\n\npid_file {}/mosquitto.pid\n\n\
         persistence true\npersistence_location {}/\n\nlog_dest file {}/mosquitto.log\n\n\
         include_dir {}/conf.d",
        None,
    ),
    (
        "open to the network at home",
        "listener 1883\nallow_anonymous true",
        None,
    ),
    (
        "with users",
        "listener 1883 0.0.0.0\nallow_anonymous false\npassword_file {}/users",
        None,
    ),
    (
        "with users and rights",
        "per_listener_settings false\nallow_anonymous false\npassword_file {}/users\nacl_file {}/acl\n\
         listener 1883",
        None,
    ),
    (
        "of a time when 'port' was enough",
        "port 1884\nbind_address 127.0.0.1\nmax_connections 100\nuser mosquitto",
        None,
    ),
    (
        "TLS beside a plain port on this machine",
        "listener 1883 localhost\n\nlistener 8883\ncafile {}/ca.crt\ncertfile {}/server.crt\n\
         keyfile {}/server.key\ntls_version tlsv1.2\nallow_anonymous true",
        None,
    ),
    (
        "client certificates",
        "listener 8883\ncafile {}/ca.crt\ncertfile {}/server.crt\nkeyfile {}/server.key\n\
         require_certificate true\nuse_identity_as_username true\ncrlfile {}/crl.pem",
        None,
    ),
    (
        "web pages",
        "listener 1883\nlistener 9001\nprotocol websockets\nsocket_domain ipv4\nallow_anonymous true\n\
         websockets_origin https://example.org",
        None,
    ),
    (
        "a listener for each kind of client",
        "per_listener_settings true\nlistener 1883 127.0.0.1\nallow_anonymous true\n\nlistener 1884\n\
         allow_anonymous false\npassword_file {}/users\nmount_point guests/\nmax_connections 20\nmax_qos 1",
        None,
    ),
    (
        "a container",
        "persistence true\npersistence_location {}/\nlog_dest stdout\nlog_type all\nlistener 1883\n\
         allow_anonymous true\nconnection_messages true",
        None,
    ),
    (
        "a small machine",
        "listener 1883\nmax_queued_messages 100\nmax_queued_bytes 100000\nmax_inflight_messages 10\n\
         max_inflight_bytes 0\nmax_packet_size 65536\nmessage_size_limit 0\nqueue_qos0_messages false\n\
         autosave_interval 900\nautosave_on_changes false\npersistent_client_expiration 14d",
        None,
    ),
    (
        "chatty, with times that people read",
        "log_dest stderr\nlog_dest file {}/log\nlog_type error\nlog_type warning\nlog_type notice\n\
         log_type information\nlog_type subscribe\nlog_type unsubscribe\nlog_timestamp true\n\
         log_timestamp_format %Y-%m-%dT%H:%M:%S\nsys_interval 30",
        None,
    ),
    (
        "quiet",
        "log_type none\nlog_dest none\nsys_interval 0\nlistener 1883",
        None,
    ),
    (
        "a socket for programs of this machine",
        "listener 0 {}/socket\nallow_anonymous true\nset_tcp_nodelay true",
        None,
    ),
    (
        "limits of 5.0",
        "listener 1883\nmax_topic_alias 20\nmax_topic_alias_broker 5\nmax_keepalive 600\n\
         retain_available true\nupgrade_outgoing_qos false\nallow_duplicate_messages false\n\
         check_retain_source true\nallow_zero_length_clientid true\nauto_id_prefix auto-",
        None,
    ),
    (
        "a store that may lose a little",
        "persistence true\npersistence_location {}/\nsync interval 1s\nlistener 1883 ::1",
        None,
    ),
    (
        "a bridge",
        "listener 1883\nallow_anonymous true\nconnection cloud\naddress broker.example.org:8883\n\
         topic # out 1\nbridge_cafile {}/ca.crt\nremote_username me\nremote_password secret",
        Some((
            3,
            "'connection' is not supported by this broker: it accepts bridges but does not create them.",
        )),
    ),
    (
        "a plugin",
        "listener 1883\nplugin /usr/lib/mosquitto_dynamic_security.so\n\
         plugin_opt_config_file /var/lib/mosquitto/dynamic-security.json",
        Some((
            2,
            "'plugin' is not supported by this broker: it has no plugins.",
        )),
    ),
    (
        "a pre-shared key",
        "listener 8883\npsk_hint hint\npsk_file {}/psk",
        Some((
            2,
            "'psk_hint' is not supported by this broker: TLS with pre-shared keys is not supported;",
        )),
    ),
    (
        "a certificate without its key",
        "listener 8883\ncertfile {}/server.crt",
        Some((
            2,
            "A listener with TLS needs both 'certfile' and 'keyfile'.",
        )),
    ),
    (
        "a typing error",
        "listener 1883\nallow_anonymus true",
        Some((2, "Unknown configuration variable 'allow_anonymus'.")),
    ),
    (
        "a word where a number is wanted",
        "max_queued_messages many",
        Some((
            1,
            "Invalid 'max_queued_messages' value (many): expected 0 to 4294967295.",
        )),
    ),
    (
        "security of listeners, too late",
        "allow_anonymous true\nper_listener_settings true",
        Some((
            2,
            "'per_listener_settings' must stand above all directives about security.",
        )),
    ),
];

fn check(path: &Path) -> tests::Finished {
    Program::new("rbroker")
        .args("--check-config -c")
        .arg(path)
        .run()
}

#[test]
fn public_configurations_are_accepted_or_rejected_with_a_line_number() {
    let certificates = Certificates::new();
    certificates.server("server", &["localhost"], Validity::Now);
    certificates.client("client");
    certificates.revoke("client");
    let folder = certificates.folder();
    std::fs::create_dir(folder.join("conf.d")).unwrap();
    std::fs::write(folder.join("conf.d/local.conf"), "listener 1883\n").unwrap();
    let hash = "me:$6$AAECAwQFBgcICQoL$JqsxEv/ucyxjA5DKsQ+Y8CDWaQDNQI9FpAkmfwAqWfwZLk/JEGgM0EpylrJHAZKKy\
                FQjJeZ3nFaHjPzOzPPmPw==\n";
    std::fs::write(folder.join("users"), hash).unwrap();
    std::fs::write(folder.join("acl"), "user me\ntopic #\n").unwrap();
    let path = folder.join("test.conf");
    assert!(FILES.len() > 20);
    for (name, text, verdict) in FILES {
        std::fs::write(&path, text.replace("{}", folder.to_str().unwrap())).unwrap();
        let finished = check(&path);
        match verdict {
            None => {
                assert_eq!(finished.errors, "Configuration file is OK.\n", "{name}");
                assert_eq!(finished.status, 0, "{name}");
            }
            Some((line, words)) => {
                assert_eq!(finished.status, 3, "{name} {finished:?}");
                let place = format!("Error found at {}:{line}.\n", path.display());
                assert!(
                    finished.errors.starts_with(&format!("Error: {words}")),
                    "{finished:?}"
                );
                assert!(finished.errors.ends_with(&place), "{name} {finished:?}");
            }
        }
    }
}

#[test]
fn included_files_are_read_in_order_and_named_in_errors() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    std::fs::create_dir(folder.path().join("d")).unwrap();
    write(
        "main.conf",
        &format!(
            "listener 0 127.0.0.1\ninclude_dir {}/d\n",
            folder.path().display()
        ),
    );
    write("d/b.conf", "allow_anonymous true\n");
    write("d/a.conf", "mount_point a/\nallow_anonymous false\n");
    write("d/not.txt", "nonsense\n");
    let main = folder.path().join("main.conf");
    let broker = Program::new("rbroker").arg("-c").arg(&main).start();
    // b.conf is read after a.conf, so its `allow_anonymous` applies.
    broker.wait_for_error("Every program on this machine can use the broker without a password.\n");
    write("d/c.conf", "\nnonsense 1\n");
    let finished = check(&main);
    assert_eq!(finished.status, 3);
    let place = format!("{}/d/c.conf:2.\n", folder.path().display());
    assert!(finished.errors.ends_with(&place), "{finished:?}");
    write("d/c.conf", "include_dir /\n");
    assert!(
        check(&main)
            .errors
            .contains("is allowed in the main file only")
    );
    write("main.conf", "include_dir /no/such/folder\n");
    assert!(check(&main).errors.contains("/no/such/folder"));
}

#[test]
fn broker_in_the_background_writes_its_process_id_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let (conf, pid, log) = (
        folder.path().join("conf"),
        folder.path().join("pid"),
        folder.path().join("log"),
    );
    let text = format!(
        "listener 0 127.0.0.1\nallow_anonymous true\npid_file {}\nlog_dest file {}\n",
        pid.display(),
        log.display()
    );
    std::fs::write(&conf, text).unwrap();
    let started = Program::new("rbroker").args("-d -c").arg(&conf).run();
    assert_eq!(started.status, 0, "{started:?}");
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let start = std::time::Instant::now();
    let wait_for = |is_so: &dyn Fn() -> bool| {
        while !is_so() {
            assert!(start.elapsed() < tests::PATIENCE, "{}", read(&log));
            std::thread::yield_now();
        }
    };
    wait_for(&|| read(&log).contains(" running."));
    let number = read(&pid);
    let stopped = Program::at("/bin/kill".into())
        .args("-TERM")
        .arg(number.trim())
        .run();
    assert_eq!(stopped.status, 0);
    wait_for(&|| read(&log).contains(" terminating.") && !pid.exists());
}

#[test]
fn broker_in_the_background_reports_that_its_port_is_in_use() {
    let broker = Broker::start("");
    let port = broker.port;
    let options = format!("-d -p {port}");
    let refused = Program::new("rbroker").args(&options).run();
    assert_eq!(refused.status, 1, "{refused:?}");
    let words = format!("cannot listen on 127.0.0.1:{port}");
    assert!(refused.errors.contains(&words), "{refused:?}");
}

/// The broker opens these files at the start as the configured user, because it opens them as this user at a reload,
/// too.
#[test]
#[cfg(target_os = "linux")]
fn broker_started_by_root_changes_its_user_before_it_opens_files() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let test = "broker_started_by_root_changes_its_user_before_it_opens_files";
    let folder = tempfile::tempdir().unwrap();
    if std::fs::metadata(folder.path()).unwrap().uid() != 0 {
        return tests::skip(test, "it is not root who runs the tests");
    }
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let place = folder.path().display();
    let users = folder.path().join("users");
    std::fs::write(&users, "").unwrap();
    let lines = format!(
        "user nobody\npersistence true\npersistence_location {place}\npassword_file {}",
        users.display()
    );
    let broker = Broker::start(&lines);
    let status = std::fs::read_to_string(format!("/proc/{}/status", broker.running.id())).unwrap();
    let ids = status
        .lines()
        .find(|line| line.starts_with("Uid:"))
        .unwrap();
    assert!(!ids.split_whitespace().any(|id| id == "0"), "{ids}");
    let store = std::fs::metadata(folder.path().join("rbroker.db")).unwrap();
    assert_ne!(store.uid(), 0);
    broker.running.signal("HUP");
    broker.wait_for_log("Config reloaded.");
    // A password file that the user may not read prevents the start.
    std::fs::set_permissions(&users, std::fs::Permissions::from_mode(0o600)).unwrap();
    let conf = folder.path().join("broker.conf");
    std::fs::write(
        &conf,
        format!("listener 0 127.0.0.1\n{lines}\npersistence false\n"),
    )
    .unwrap();
    let refused = Program::new("rbroker").arg("-c").arg(&conf).run();
    assert_eq!(refused.status, 13, "{refused:?}");
}

#[test]
fn the_socket_has_the_mode_and_owner_that_mosquitto_gives_it() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let folder = tempfile::tempdir().unwrap();
    let everybody = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(folder.path(), everybody).unwrap();
    let path = folder.path().join("socket");
    let lines = format!("user nobody\nlistener 0 {}", path.display());
    let broker = Broker::start(&lines);
    let socket = std::fs::metadata(&path).unwrap();
    assert_eq!(socket.mode() & 0o777, 0o770);
    let process = std::fs::metadata(format!("/proc/{}", broker.running.id())).unwrap();
    assert_eq!((socket.uid(), socket.gid()), (process.uid(), process.gid()));
    assert_ne!(socket.uid(), 0);
    let options = format!("--unix {} -t a -m x -q 1", path.display());
    Program::new("rpub").args(&options).run().success();
}

#[test]
fn the_store_has_the_name_of_the_persistence_file_and_a_suffix() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display();
    let store = format!("persistence true\npersistence_location {place}\n");
    let named = |name: &str| format!("{store}persistence_file {name}");
    // The broker does not change the file of mosquitto.
    std::fs::write(folder.path().join("second.db"), "theirs").unwrap();
    let brokers = [named("second.db"), named("mosquitto.db")].map(|lines| Broker::start(&lines));
    for broker in &brokers {
        let options = format!("{} -t a -m x -q 1 -r", broker.options());
        Program::new("rpub").args(&options).run().success();
    }
    for name in ["second.db.rbroker", "rbroker.db"] {
        assert!(folder.path().join(name).exists(), "{name}");
    }
    let theirs = std::fs::read_to_string(folder.path().join("second.db")).unwrap();
    assert_eq!(theirs, "theirs");
}

#[test]
fn warns_of_obsolete_directives_with_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let conf = folder.path().join("conf");
    std::fs::write(
        &conf,
        "listener 0 127.0.0.1\nretry_interval 20\ncontrol_socket none\n",
    )
    .unwrap();
    let words = format!(
        "The retry_interval option is no longer available. ({}:2)",
        conf.display()
    );
    let checked = check(&conf);
    assert_eq!(checked.status, 0);
    assert!(
        checked.errors.starts_with(&format!("Warning: {words}\n")),
        "{checked:?}"
    );
    let running = Program::new("rbroker").arg("-c").arg(&conf).start();
    running.wait_for_error(&words);
    running.wait_for_error(" running.");
}
