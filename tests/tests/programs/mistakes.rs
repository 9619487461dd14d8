//! Mistakes on the command line and in options files. The error names the mistake and says what to write.
#![cfg(unix)]

use std::path::Path;

use tests::{Broker, Finished, Program};

/// Runs a program with these words, and returns its standard error. The program must fail before it connects.
fn error_of(program: &str, words: &[&str]) -> String {
    let command = words.iter().fold(Program::new(program), Program::arg);
    failed(command.run())
}

/// Runs rpub with an options file.
fn error_of_file(path: &Path, content: &str) -> String {
    std::fs::write(path, content).unwrap();
    let command = Program::new("rpub").env("HOME", "/home/me").arg("-o");
    failed(command.arg(path).run())
}

fn failed(finished: Finished) -> String {
    assert_eq!(finished.status, 1, "{finished:?}");
    assert_eq!(finished.text(), "", "{finished:?}");
    finished.errors
}

fn usage(program: &str) -> String {
    format!("Use '{program} --help' to see usage.\n")
}

/// A shell ignores the rest of the line from a word that starts with `#`.
#[test]
fn explains_that_a_shell_treats_an_unquoted_hash_as_a_comment() {
    for (program, words, option, noun) in [
        ("rsub", &["-t"][..], "-t", "topic"),
        ("rsub", &["-v", "--topic"], "-t", "topic"),
        ("rsub", &["-T"], "-T", "topic filter"),
        ("rsub", &["-U"], "-U", "unsubscribe topic"),
    ] {
        let expected = format!(
            "Error: {option} argument given but no {noun} specified.\n\
             A shell takes an unquoted # as the start of a comment: write {option} '#'. {}",
            usage(program)
        );
        assert_eq!(error_of(program, words), expected);
    }
    let expected = format!(
        "Error: -m argument given but no message specified.\n\
         A shell takes an unquoted # as the start of a comment: quote a value that starts with #. {}",
        usage("rpub")
    );
    assert_eq!(error_of("rpub", &["-t", "a", "-m"]), expected);
    let expected = format!(
        "Error: -p argument given but no port specified.\n{}",
        usage("rpub")
    );
    assert_eq!(error_of("rpub", &["-p"]), expected);
}

#[test]
fn names_the_options_for_topic_and_message() {
    let topic_and_message =
        "Give the topic with -t and the message with -m, and quote a message with spaces.";
    for (program, words, stray, hint) in [
        ("rpub", &["test", "hello"][..], "test", topic_and_message),
        (
            "rpub",
            &["-t", "test", "-m", "good", "morning"],
            "morning",
            topic_and_message,
        ),
        (
            "rsub",
            &["test/#"],
            "test/#",
            "Give each topic filter with -t, in quotes.",
        ),
        (
            "rrr",
            &["ask", "answer", "now"],
            "ask",
            "Give the topic with -t, the response topic with -e and the message with -m, and quote a message with spaces.",
        ),
    ] {
        let expected = format!(
            "Error: Unknown option '{stray}'.\n{hint} {}",
            usage(program)
        );
        assert_eq!(error_of(program, words), expected);
    }
}

#[test]
fn explains_that_the_host_option_takes_no_port_and_no_url() {
    for (host, hint) in [
        (
            "localhost:1883",
            "Give the port with -p: '-h localhost -p 1883'.",
        ),
        ("[::1]:1883", "Give the port with -p: '-h [::1] -p 1883'."),
        (
            "mqtt://host",
            "Give a URL with -L, as in '-L mqtt://HOST:PORT/TOPIC'.",
        ),
        (
            "http://10.0.0.1:8080",
            "Give a URL with -L, as in '-L mqtt://HOST:PORT/TOPIC'.",
        ),
    ] {
        let expected = |program| {
            format!(
                "Error: Invalid host '{host}': expected a host name or an IP address.\n{hint} {}",
                usage(program)
            )
        };
        assert_eq!(error_of("rsub", &["-h", host, "-t", "a"]), expected("rsub"));
        // The mistake is also found in a fallback host, and if the host is a domain.
        let words = ["-h", "localhost", "-h", host, "-t", "a", "-m", "x"];
        assert_eq!(error_of("rpub", &words), expected("rpub"));
        let words = ["-S", "-h", host, "-t", "a", "-e", "b", "-m", "x"];
        assert_eq!(error_of("rrr", &words), expected("rrr"));
    }
}

#[test]
fn names_file_and_line_of_a_mistake_in_an_options_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("options");
    let place = |line: u32| format!("({}:{line})", path.display());
    for (content, text, line, hint) in [
        (
            "# mine\n-h localhost -p 1883\n",
            "-h and -p are on the same line: write each option on a line of its own",
            2,
            "",
        ),
        (
            "-t a --qos 1\n",
            "-t and --qos are on the same line: write each option on a line of its own",
            1,
            "",
        ),
        (
            "-d -q 1 -r\n",
            "-d and -q are on the same line: write each option on a line of its own",
            1,
            "",
        ),
        (
            "-t a\n\n--cafile ~/ca.crt\n",
            "Cannot find '~/ca.crt' (--cafile): only a shell replaces '~' with the home directory",
            3,
            "Write '/home/me/ca.crt'. ",
        ),
        (
            "-f ~/message\n",
            "Cannot find '~/message' (-f): only a shell replaces '~' with the home directory",
            1,
            "Write '/home/me/message'. ",
        ),
        (
            "-t a\n-q 7\n",
            "Invalid QoS given: 7",
            2,
            "The QoS must be 0 (at most once), 1 (at least once) or 2 (exactly once). ",
        ),
    ] {
        let stop = if text.starts_with("Invalid") { "" } else { "." };
        let expected = format!(
            "Error: {text} {}{stop}\n{hint}{}",
            place(line),
            usage("rpub")
        );
        assert_eq!(error_of_file(&path, content), expected, "{content}");
    }
    // A shell does not replace '~' after '=' either. The error of -o also names the '~'.
    let command = Program::new("rpub").env("HOME", "/home/me");
    let text = failed(command.args("-t a -n --cafile=~/ca.crt").run());
    assert!(
        text.starts_with("Error: Cannot find '~/ca.crt' (--cafile): "),
        "{text}"
    );
    let command = Program::new("rpub").env("HOME", "/home/me");
    let text = failed(command.args("-t a -n -o ~/options").run());
    assert!(
        text.starts_with("Error: Cannot find '~/options' (-o): "),
        "{text}"
    );
}

/// The tools of mosquitto accept a text that contains the name of an option, and two flags on one line.
#[test]
fn accepts_a_text_that_contains_the_name_of_an_option() {
    let broker = Broker::start("");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("options");
    std::fs::write(&path, "-m turn -r on\n-t my lamp\n-d --retain\n").unwrap();
    let publisher = broker.program("rpub").arg("-o");
    publisher.arg(&path).run().success();
    let subscriber = broker.program("rsub");
    let finished = subscriber.args("-t # -v -C 1 -W 60").run().success();
    assert_eq!(finished.text(), "my lamp turn -r on\n");
}

#[test]
fn secrets_never_appear_in_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let options = folder.path().join("options");
    for words in [
        &["--proxy", "socks5://me:SECRET@p"][..],
        &["--proxy", "me:SECRET@p:1080"],
        &["--proxy", "socks5h://me:SECRET@p:x"],
        &["--proxy", "socks5h://me:SECRET"],
        &["--proxy", "socks5h://me:SECRET:SECRET@p"],
        &["--proxy", "socks5h://me:SECRET@"],
        &["--proxy", "socks5h://me:SECRET@[::1"],
        &["--proxy", "socks5h://me:SECRET%ff@p"],
        &["-L", "mqt://me:SECRET@h/t"],
        &["-L", "me:SECRET@h/t"],
        &["-L", "mqtt://me:SECRET@h"],
        &["-L", "mqtt://me:SECRET@h:x/t"],
        &["-L", "mqtt://me:SECRET@/t"],
        &["-L", "mqtt://me:SECRET/t"],
        &["-L", "mqtt://me:SECRET/SECRET@h/t"],
        &["-L", "mqtt://me:SECRET%ff@h/t"],
        &["-L", "mqtt://me:SECRET@h/#"],
        &["-h", "mqtt://me:SECRET@h"],
        &["-h", "me:SECRET@h:1883"],
        &["--ws-header", "Authorization SECRET"],
        &["--ws-header", "Authorization: SECRET\r\nX: y"],
        &["-P", "SECRET"],
        &["-u", "me\r", "-P", "SECRET"],
        &["-P", "SECRET", "-P"],
        &["-u", "me", "-P", "my", "SECRET"],
        &["--ws-header", "Authorization:", "SECRET"],
        &["--proxy", "socks5h://me:a", "SECRET@p"],
        &["--pww=SECRET"],
        &["\u{2013}PSECRET"],
        &["\u{2014}pw=SECRET"],
        &["--password-file", "/no/such/file", "-u", "me"],
    ] {
        let all = [words, &["-t", "t", "-m", "m"]].concat();
        let command = Program::new("rpub").env("MQTT_PASSWORD", "SECRET");
        let command = all.iter().fold(command, Program::arg);
        let text = failed(command.run());
        assert!(!text.contains("SECRET"), "{words:?}: {text}");
        assert!(text.starts_with("Error: "), "{words:?}: {text}");
        // The error for a line of an options file also names the line.
        let [option, value] = words else { continue };
        if !value.contains(['\r', '\n']) {
            let text = error_of_file(&options, &format!("{option} {value}\n-t t\n-m m\n"));
            assert!(!text.contains("SECRET"), "{words:?}: {text}");
            let text = error_of_file(&options, &format!("{option} {value} -d\n-t t\n"));
            assert!(!text.contains("SECRET"), "{words:?}: {text}");
        }
    }
}

/// An error of the system is explained by its cause. Only "connection refused" asks if a broker runs there.
#[test]
fn explains_why_a_socket_cannot_connect() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let shown = path.display().to_string();
    let connect = |host: &str| error_of("rpub", &["-h", host, "-p", "0", "-t", "a", "-n"]);
    let text = connect(&shown);
    let expected = format!("Error: No such file or directory: there is no socket {shown}.\n");
    assert_eq!(text, expected);
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(listener);
    let text = connect(&shown);
    let expected = format!("Error: Connection refused. Is there a broker on {shown}?\n");
    assert_eq!(text, expected);
    let text = error_of("rpub", &["-h", "no.such.host.invalid", "-t", "a", "-n"]);
    let start = "Unable to connect (Lookup error). Cannot find no.such.host.invalid:1883: ";
    assert!(
        text.starts_with(start) && text.lines().count() == 1,
        "{text}"
    );
    assert!(!text.contains("lookup address information"), "{text}");
}
