//! A wrong command line is reported in one line, with the status of the mosquitto tools, before the program connects.

use std::net::TcpListener;

use tests::Program;

/// Runs a program against a listener that must not get a connection.
fn refused(program: &str, arguments: &[&str], status: i32, expected: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut command = Program::new(program);
    if program != "rbroker" {
        command = command.args("-h 127.0.0.1 -p").arg(&port);
    }
    for argument in arguments {
        command = command.arg(argument);
    }
    let finished = command.run();
    let what = format!("{program} {arguments:?}: {:?}", finished.errors);
    assert_eq!(finished.status, status, "{what}");
    let lines: Vec<_> = finished.errors.lines().collect();
    assert!(
        lines[0].starts_with(&format!("Error: {expected}")),
        "{what}"
    );
    if program != "rbroker" || arguments[0] != "-c" {
        let usage = format!("Use '{program} --help' to see usage.");
        assert_eq!(lines.len(), 2, "{what}");
        assert!(lines[1].ends_with(&usage), "{what}");
    }
    assert_eq!(finished.output, b"", "{what}");
    let connection = listener.accept();
    assert_eq!(
        connection.unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock,
        "{what}"
    );
}

#[test]
fn rpub_rejects_invalid_command_lines() {
    let table: &[(&[&str], &str)] = &[
        (
            &["-t", "a", "-m", "x", "--nonsense"],
            "Unknown option '--nonsense'.",
        ),
        (&["-t", "a", "-m", "x", "-C", "1"], "Unknown option '-C'."),
        (&["-t", "a", "-m", "x", "word"], "Unknown option 'word'."),
        (&["-t", "a", "-m", "x", "-q", "3"], "Invalid QoS given: 3"),
        (
            &["-t", "a", "-m", "x", "-q", "two"],
            "Invalid QoS given: two",
        ),
        (
            &["-t", "a/+", "-m", "x"],
            "Invalid publish topic 'a/+', does it contain '+' or '#'?",
        ),
        (&["-t", "#", "-m", "x"], "Invalid publish topic '#'"),
        (
            &["-t", "a", "-m", "x", "--ws-path", "no slash"],
            "Invalid path given for --ws-path: no slash",
        ),
        (
            &["-t", "a", "-m", "x", "--ws-header", "X: 1\r\nY: 2"],
            "Invalid header given for --ws-header: expected 'Name: value' on one line.",
        ),
        (
            &["-m", "x", "-L", "mqtt:///a"],
            "Invalid URL for -L argument specified - host missing.",
        ),
        (&["-t", "", "-m", "x"], "Invalid publish topic ''"),
        (
            &["-t", "a", "-m", "x", "-n"],
            "Only one type of message can be sent at once",
        ),
        (
            &["-t", "a", "-m", "x", "-m", "y"],
            "Only one type of message can be sent at once",
        ),
        (
            &["-t", "a", "-l", "-s"],
            "Only one type of message can be sent at once",
        ),
        (
            &["-t", "a", "-m", "x", "-p", "65536"],
            "Invalid port given: 65536",
        ),
        (
            &["-t", "a", "-m", "x", "-p", "-1"],
            "Invalid port given: -1",
        ),
        (
            &["-t", "a", "-f", "/no/such/file"],
            "Unable to read file \"/no/such/file\": No such file or directory",
        ),
        (
            &["-t", "a", "-f", "/"],
            "Unable to read file \"/\": Is a directory",
        ),
        (&["-t", "a", "-s"], "Zero length input."),
        (&["-t", "a"], "Both topic and message must be supplied."),
        (&["-m", "x"], "Both topic and message must be supplied."),
        (&["-t"], "-t argument given but no topic specified."),
        (
            &["-t", "a", "-m", "x", "-k", "4"],
            "Invalid keepalive given, it must be between 5 and 65535 inclusive.",
        ),
        (
            &["-t", "a", "-m", "x", "-k", "20h"],
            "Invalid keepalive given",
        ),
        (
            &["-t", "a", "-m", "x", "-M", "0"],
            "Maximum inflight messages must be greater than 0",
        ),
        (
            &["-t", "a", "-m", "x", "-V", "4"],
            "Invalid protocol version argument given.",
        ),
        (
            &["-t", "a", "-m", "x", "-c"],
            "You must provide a client id",
        ),
        (
            &["-t", "a", "-m", "x", "-c", "-V", "5"],
            "You must provide a client id",
        ),
        (&["-t", "a", "-m", "x", "-i", ""], "Invalid id."),
        (
            &["-t", "a", "-m", "x", "-i", "a", "-I", "b"],
            "-i and -I argument cannot be used together.",
        ),
        (
            &["-t", "a", "-m", "x", "-P", "p"],
            "Problem setting username and/or password.",
        ),
        (
            &["-t", "a", "-m", "x", "--will-payload", "w"],
            "Will payload given, but no will topic given",
        ),
        (
            &["-t", "a", "-m", "x", "--will-retain"],
            "Will retain given, but no will topic given",
        ),
        (
            &["-t", "a", "-m", "x", "--will-topic", "w/#"],
            "Invalid will topic 'w/#'",
        ),
        (
            &["-t", "a", "-m", "x", "--will-topic", "w", "--will-qos", "3"],
            "Invalid will QoS 3.",
        ),
    ];
    for (arguments, expected) in table {
        refused("rpub", arguments, 1, expected);
    }
}

#[test]
fn rsub_rejects_invalid_command_lines() {
    let table: &[(&[&str], &str)] = &[
        (
            &[],
            "You must specify a topic to subscribe to (-t) or unsubscribe from (-U).",
        ),
        (&["-t", "a", "-m", "x"], "Unknown option '-m'."),
        (
            &["-t", "a#"],
            "Invalid subscription topic 'a#', are all '+' and '#' wildcards correct?",
        ),
        (&["-t", "$share/g"], "Invalid subscription topic '$share/g'"),
        (&["-t", "a", "-T", "b/#/c"], "Invalid filter topic 'b/#/c'"),
        (&["-U", "+a"], "Invalid unsubscribe topic '+a'"),
        (&["-t", "a", "-C", "0"], "Invalid message count \"0\"."),
        (&["-t", "a", "-C", "-5"], "Invalid message count \"-5\"."),
        (&["-t", "a", "-W", "0"], "Invalid timeout \"0\"."),
        (&["-t", "a", "-W", "soon"], "Invalid timeout \"soon\"."),
        (&["-t", "a", "-q", "-1"], "Invalid QoS given: -1"),
    ];
    for (arguments, expected) in table {
        refused("rsub", arguments, 1, expected);
    }
}

#[test]
fn rbroker_rejects_invalid_command_lines() {
    let table: &[(&[&str], &str)] = &[
        (&["--nonsense"], "Unknown option '--nonsense'."),
        (&["-p", "65536"], "Invalid port specified (65536)."),
        (
            &["-c", "/no/such/file"],
            "Unable to open config file '/no/such/file': No such file",
        ),
    ];
    for (arguments, expected) in table {
        refused("rbroker", arguments, 3, expected);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.conf");
    std::fs::write(
        &file,
        "# mine\nlistener 0 127.0.0.1\nallow_anonymous perhaps\n",
    )
    .unwrap();
    let finished = Program::new("rbroker").arg("-c").arg(&file).run();
    let expected = format!(
        "Error: Invalid 'allow_anonymous' value (perhaps): expected true, false, 1 or 0. Error found at {}:3.\n",
        file.display()
    );
    assert_eq!((finished.status, finished.errors), (3, expected));
}

#[test]
fn rbroker_reports_a_port_in_use_and_opens_no_other_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let finished = Program::new("rbroker").arg("-q").arg("-p").arg(&port).run();
    assert_eq!(finished.status, 1);
    assert!(
        finished
            .errors
            .contains(&format!("cannot listen on 127.0.0.1:{port}")),
        "{finished:?}"
    );
    assert!(finished.errors.contains("in use"), "{finished:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn full_or_closed_output_neither_changes_the_status_nor_panics() {
    use std::process::{Command, Stdio};
    let full = || {
        std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap()
    };
    let rpub = || Command::new(tests::programs().join("rpub"));
    let failed = rpub().arg("--nonsense").stderr(full()).status().unwrap();
    assert_eq!(failed.code(), Some(1));
    let help = rpub()
        .arg("--help")
        .stdout(full())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(help.code(), Some(0));
    // A time longer than a century has no effect.
    let arguments = "-h 127.0.0.1 -p 1 -t a -W 1e19";
    assert_eq!(Program::new("rsub").args(arguments).run().status, 1);
}

#[test]
fn help_and_version_are_printed_to_standard_output_with_success() {
    for program in ["rpub", "rsub", "rrr", "rbroker"] {
        let help = Program::new(program).arg("--help").run().success();
        assert!(
            help.text().contains(&format!("Usage: {program}")),
            "{}",
            help.text()
        );
        let version = Program::new(program).arg("--version").run().success();
        assert_eq!(
            version.text(),
            format!("{program} {}\n", env!("CARGO_PKG_VERSION"))
        );
    }
}

#[test]
fn options_of_transports_that_are_not_built_in_are_rejected_by_name() {
    for words in [
        "--keyform engine --key f --cert f",
        "--tls-engine e",
        "--tls-engine-kpass-sha1 0",
        "--psk 00",
    ] {
        for (program, rest) in [
            ("rpub", "-t a -m x"),
            ("rsub", "-t a"),
            ("rrr", "-t a -e b -m x"),
        ] {
            let arguments: Vec<_> = rest.split(' ').chain(words.split(' ')).collect();
            refused(program, &arguments, 1, "This program does not support ");
        }
    }
}

/// Brokers end the connection because of such a character: some after they have accepted the message, others at each
/// attempt.
#[test]
fn rejects_control_characters_before_connecting() {
    for (program, option, more) in [
        ("rpub", "-t", "-m x"),
        ("rsub", "-t", ""),
        ("rsub", "-U", ""),
        ("rsub", "-T", "-t a"),
        ("rrr", "-e", "-t a -m x"),
        ("rpub", "-i", "-t a -m x"),
        ("rpub", "-I", "-t a -m x"),
        ("rpub", "-u", "-t a -m x"),
        ("rpub", "--will-topic", "-t a -m x"),
    ] {
        for (value, cause) in [("b\r", "Windows line ends"), ("b\u{9c}", "U+009C")] {
            let command = Program::new(program).args("-h 127.0.0.1 -p 1").args(more);
            let finished = command.arg(option).arg(value).run();
            assert_eq!(finished.status, 1, "{finished:?}");
            let words = format!("Error: Malformed UTF-8 in {option} argument.");
            assert!(finished.errors.contains(&words), "{finished:?}");
            assert!(finished.errors.contains(cause), "{finished:?}");
        }
    }
    let url = "mqtt://a%0D@127.0.0.1:1/b";
    let finished = Program::new("rpub").args("-m x -L").arg(url).run();
    assert!(finished.errors.contains("-L argument"), "{finished:?}");
}
