//! Mistakes of operators of `rbroker` on the command line, in the configuration and with files. The error names the
//! mistake and says what to write. `mistakes.rs` has mistakes with the client programs.
#![cfg(unix)]

use std::path::{Path, PathBuf};

use tests::{Broker, Kind, Program, Running};

/// Runs rbroker, which must not start, and returns what it printed to standard error.
fn error_of(words: &[&str], status: i32) -> String {
    let command = words.iter().fold(Program::new("rbroker"), Program::arg);
    let finished = command.run();
    assert_eq!(finished.status, status, "{finished:?}");
    assert_eq!(finished.text(), "", "{finished:?}");
    finished.errors
}

/// Text processors replace hyphens by dashes.
#[test]
fn an_option_with_another_dash_than_a_hyphen_names_the_character() {
    for (word, hint) in [
        (
            "\u{2013}v",
            "'\u{2013}' is U+2013 (en dash), which does not start an option: write '-v'.",
        ),
        (
            "\u{2014}check-config",
            "'\u{2014}' is U+2014 (em dash), which does not start an option: write '--check-config'.",
        ),
        (
            "\u{2212}\u{2212}port=1",
            "'\u{2212}' is U+2212 (minus sign), which does not start an option: write '--port'.",
        ),
    ] {
        let shown = word.split('=').next().unwrap();
        let expected = format!(
            "Error: Unknown option '{shown}'.\n{hint} Use 'rbroker --help' to see usage.\n"
        );
        assert_eq!(error_of(&[word], 3), expected);
    }
    let finished = Program::new("rpub").arg("\u{2013}t").args("a -m x").run();
    let expected = "Error: Unknown option '\u{2013}t'.\n'\u{2013}' is U+2013 (en dash), which does not start an option: \
                    write '-t'. Use 'rpub --help' to see usage.\n";
    assert_eq!((finished.status, finished.errors.as_str()), (1, expected));
}

#[test]
fn log_reports_a_loopback_listener_as_open_to_local_programs_only() {
    let broker = Broker::start("");
    let log = broker.wait_for_log(" running.");
    let line = ": Every program on this machine can use the broker without a password.\n";
    assert!(log.contains(line), "{log}");
    assert!(!log.contains("Open to everyone"), "{log}");
}

#[test]
fn client_without_identifier_is_logged_as_unknown() {
    let lines = "allow_anonymous false\nlog_type all";
    let broker = Broker::start_silent(Kind::Rbroker, lines);
    let client = broker.program("rsub");
    let finished = client.args("-V 5 -t t").run();
    assert_eq!(finished.status, 135, "{finished:?}");
    let log = broker
        .running
        .wait_for_error("Sending CONNACK to <unknown> (0, 135)");
    assert!(log.contains(": Client <unknown> [127.0.0.1:"), "{log}");
    assert!(!log.contains("null"), "{log}");
    assert!(!log.contains("Client  ["), "{log}");
}

/// A folder with a configuration.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(configuration: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let text = configuration.replace("{}", folder.0.path().to_str().unwrap());
        std::fs::write(folder.configuration(), text).unwrap();
        folder
    }

    fn configuration(&self) -> PathBuf {
        self.0.path().join("c.conf")
    }

    /// Returns the errors of a start and of `--check-config`. `{}` is the folder in them.
    fn errors(&self) -> (Option<String>, String) {
        let shown = |text: &str| text.replace(self.0.path().to_str().unwrap(), "{}");
        let rbroker = || Program::new("rbroker").folder(self.0.path());
        let check = rbroker()
            .args("--check-config -c")
            .arg(self.configuration());
        let check = check.run();
        assert_eq!(check.text(), "", "{check:?}");
        let mut running = rbroker().args("-c").arg(self.configuration()).start();
        let has_started = has_started(&mut running);
        if has_started {
            running.signal("TERM");
        }
        let errors = running.wait().errors;
        let from_error = errors.find("Error: ").map(|at| shown(&errors[at..]));
        (from_error.filter(|_| !has_started), shown(&check.errors))
    }
}

/// Waits until the broker is ready or has ended. Returns `true` if it is ready.
fn has_started(running: &mut Running) -> bool {
    let start = std::time::Instant::now();
    while !running.has_ended() {
        if running.error_so_far().contains(" running.\n") {
            return true;
        }
        assert!(
            start.elapsed() < tests::PATIENCE,
            "{}",
            running.error_so_far()
        );
        std::thread::yield_now();
    }
    false
}

/// A check reports the errors that would prevent the start, with the same words. It starts nothing.
#[test]
fn check_config_reports_errors_that_prevent_the_start() {
    for (configuration, error) in [
        (
            "listener 0 127.0.0.1\nlistener 1883 no.such.host.invalid\n",
            "cannot listen on 'no.such.host.invalid': cannot find the address of this host: ",
        ),
        (
            "listener 0 192.0.2.7\n",
            "cannot listen on 192.0.2.7:0: Cannot assign requested address ({}/c.conf:1).\nThe address must be one of \
             this machine, or 0.0.0.0 for all addresses.\n",
        ),
        (
            "listener 0 {}/missing/socket",
            "cannot listen on {}/missing/socket: No such file or directory ({}/c.conf:1).\nCreate the folder: mkdir -p \
             '{}/missing'\n",
        ),
        (
            "listener 0 {}/c.conf",
            "cannot listen on {}/c.conf: the path exists and is not a socket ({}/c.conf:1).\n",
        ),
        (
            "listener 0 127.0.0.1\n\npersistence true\npersistence_location {}/missing/\nallow_anonymous true\n",
            "cannot open the store '{}/missing/rbroker.db': the folder '{}/missing' does not exist ({}/c.conf:4).\n\
             Create the folder: mkdir -p '{}/missing'\n",
        ),
        (
            "listener 0 127.0.0.1\npassword_file {}/users",
            "cannot read the password file '{}/users': No such file or directory ({}/c.conf:2).\n\
             Create a password file: rbroker passwd -c '{}/users' USER\n",
        ),
        (
            "listener 0 127.0.0.1\nacl_file {}/list",
            "cannot read the ACL file '{}/list': No such file or directory ({}/c.conf:2).\n\
             Create the file, or remove the line 'acl_file' from the configuration.\n",
        ),
        (
            "listener 0 127.0.0.1\ncertfile {}/c\nkeyfile {}/k",
            "cannot read '{}/c': No such file or directory ({}/c.conf:2).\n",
        ),
        (
            "pid_file {}/missing/pid\nlistener 0 127.0.0.1",
            " the pid_file '{}/missing/pid': ",
        ),
        // mosquitto finds the missing password file first.
        (
            "listener 0 127.0.0.1\npersistence true\npersistence_location {}/missing/\npassword_file {}/users",
            "cannot read the password file '{}/users': No such file or directory ({}/c.conf:4).\n",
        ),
    ] {
        let (start, check) = Folder::new(configuration).errors();
        let start = start.unwrap_or_else(|| panic!("it starts: {configuration}"));
        for (text, subject) in [
            (start, "Error: The broker cannot start: "),
            (check, "Error: The configuration is invalid: "),
        ] {
            assert!(text.starts_with(subject), "{text}");
            assert!(text.contains(error), "{text}\n{error}");
            assert!(text.contains("({}/c.conf:"), "{text}");
            assert!(!text.contains("os error"), "{text}");
            assert!(!text.contains("another"), "{text}");
            assert!(text.lines().count() <= 2, "{text}");
        }
    }
}

/// A full or read-only disk must not prevent the start, so only the check reports a log that cannot be opened.
#[test]
fn a_check_finds_a_log_that_cannot_be_opened() {
    let folder = Folder::new("listener 0 127.0.0.1\nlog_dest file {}/missing/log\n");
    let (start, check) = folder.errors();
    assert_eq!(start, None);
    let expected = "Error: The configuration is invalid: cannot open the log file '{}/missing/log': the folder \
                    '{}/missing' does not exist ({}/c.conf:2).\nCreate the folder: mkdir -p '{}/missing'\n";
    assert_eq!(check, expected);
    let (_, check) = Folder::new("log_dest file {}").errors();
    assert!(
        check.contains("cannot open the log file '{}': is a directory ({}/c.conf:1)."),
        "{check}"
    );
}

/// A check creates no file, and does not disturb a broker that runs with the same configuration.
#[test]
fn a_check_leaves_everything_unchanged() {
    let broker = Broker::start("");
    let folder = Folder::new(&format!(
        "listener {} 127.0.0.1 # of this machine\nlistener 0 #\nlistener 0 {{}}/socket\nlog_dest file {{}}/log\n\
         persistence true\npersistence_location {{}}/\npid_file {{}}/pid\n",
        broker.port
    ));
    let check = Program::new("rbroker").args("--check-config -c");
    let check = check.arg(folder.configuration()).run();
    assert_eq!(
        (check.status, check.errors.as_str()),
        (0, "Configuration file is OK.\n")
    );
    let left: Vec<_> = std::fs::read_dir(folder.0.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn a_port_in_use_names_the_command_that_shows_the_program() {
    let broker = Broker::start("");
    let port = broker.port;
    let expected = format!(
        "Error: The broker cannot start: cannot listen on 127.0.0.1:{port}: Address already in use.\n\
         Another broker, such as a mosquitto service, may be running. This command shows the program: "
    );
    let text = error_of(&["-q", "-p", &port.to_string()], 1);
    let command = text
        .strip_prefix(&expected)
        .unwrap_or_else(|| panic!("{text}"));
    if cfg!(target_os = "linux") {
        assert_eq!(command, format!("ss -ltnp 'sport = :{port}'\n"));
    }
    let folder = Folder::new(&format!("\nlistener {port} 127.0.0.1\n"));
    let (start, check) = folder.errors();
    let start = start.unwrap();
    assert!(
        start.contains("Address already in use ({}/c.conf:2).\n"),
        "{start}"
    );
    assert_eq!(check, "Configuration file is OK.\n");
}

#[test]
fn errors_of_the_store_name_the_cause() {
    let folder = Folder::new("listener 0 127.0.0.1\npersistence true\npersistence_location {}\n");
    let store = folder.0.path().join("rbroker.db");
    std::fs::write(&store, "this is not a store").unwrap();
    let start = folder.errors().0.unwrap();
    let expected = "Error: The broker cannot start: cannot open the store '{}/rbroker.db': it is corrupt or is not an \
                    rbroker store ({}/c.conf:3).\nRestore '{}/rbroker.db' from a backup, or move it away to start with \
                    an empty store.\n";
    assert_eq!(start, expected);
    std::fs::remove_file(&store).unwrap();
    let path: &Path = &folder.configuration();
    let first = Program::new("rbroker").arg("-c").arg(path).start();
    first.wait_for_error(" running.");
    let start = folder.errors().0.unwrap();
    let expected = "Error: The broker cannot start: cannot open the store '{}/rbroker.db': another broker has locked it \
                    ({}/c.conf:3).\nThis command shows the program: fuser -v '{}/rbroker.db'\n";
    assert_eq!(start, expected);
}

#[test]
fn secrets_never_appear_in_an_error_of_the_broker() {
    for (configuration, status) in [
        ("remote_password SECRET\n", 3),
        ("remote_password=SECRET\n", 3),
        ("password: SECRET\n", 3),
        (
            "connection c\nremote_username me\nremote_password SECRET\n",
            3,
        ),
        ("auth_opt_pg_password SECRET\n", 3),
        ("me:$7$101$SECRET$SECRET\n", 3),
        (
            "listener 1883 127.0.0.1 remote_password SECRET\nmax_qos 7\n",
            3,
        ),
    ] {
        let folder = Folder::new(configuration);
        let finished = Program::new("rbroker")
            .arg("-c")
            .arg(folder.configuration())
            .run();
        assert_eq!(finished.status, status, "{finished:?}");
        assert!(!finished.errors.contains("SECRET"), "{finished:?}");
        assert!(finished.errors.starts_with("Error: "), "{finished:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    let file = file.to_str().unwrap();
    for words in [
        &["-b", "-c", file, "me", "my", "SECRET"][..],
        &["-b", "-c", file, "me", "--SECRET"],
        &["-b", "-c", file, "me", "-SECRET"],
        &["-c", file, "me", "SECRET"],
        &["-D", file, "me", "SECRET"],
        &["-b", "-c", file, "m:e", "SECRET"],
        &["-b", "-c", "/no/such/folder/users", "me", "SECRET"],
    ] {
        let text = error_of(&[&["passwd"], words].concat(), 1);
        assert!(!text.contains("SECRET") && !text.contains("'-S'"), "{text}");
        assert!(text.starts_with("Error: "), "{text}");
        assert!(text.lines().count() <= 2, "{text}");
    }
    // Invalid lines in the password file, which `passwd` and the broker read.
    for content in [
        "me:SECRET\n",
        "me:$7$SECRET$x\n",
        "me:$argon2id$v=19$SECRET$x\n",
        "\u{feff}:SECRET\n",
    ] {
        std::fs::write(file, content).unwrap();
        let folder = Folder::new(&format!("listener 0 127.0.0.1\npassword_file {file}\n"));
        let (start, check) = folder.errors();
        for text in [start.unwrap(), check] {
            assert!(!text.contains("SECRET"), "{text}");
        }
    }
}
