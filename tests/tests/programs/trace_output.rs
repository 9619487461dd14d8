//! The output for people: traces, terminals, retained messages and rates. Also tests how secrets and options reach the
//! programs.
#![cfg(unix)]

use std::io::Write;

use mqtt_codec::{Decoder, PacketRef};
use tests::{Broker, Finished, From, Program, Proxy, find};

fn run(broker: &Broker, program: &str, arguments: &str) -> Finished {
    Program::new(program)
        .args(&broker.options())
        .args(arguments)
        .run()
        .success()
}

/// Returns the names of packets with their direction, as the ladder of `--trace` shows them.
fn rungs(errors: &str) -> Vec<String> {
    let rung = |line: &str| {
        let arrow = if line.contains('▶') { ">" } else { "<" };
        let name = line
            .split_whitespace()
            .find(|word| word.len() > 4 && word.chars().all(|letter| letter.is_ascii_uppercase()));
        format!("{arrow}{}", name.unwrap_or(line))
    };
    errors.lines().map(rung).collect()
}

#[test]
fn a_trace_shows_the_handshake_of_each_qos() {
    let broker = Broker::start("");
    for (qos, handshake) in [
        (0, &[">PUBLISH"][..]),
        (1, &[">PUBLISH", "<PUBACK"]),
        (2, &[">PUBLISH", "<PUBREC", ">PUBREL", "<PUBCOMP"]),
    ] {
        let arguments = format!("-t temp/random -m 23.0 -q {qos} --trace");
        let errors = run(&broker, "rpub", &arguments).errors;
        let rungs = rungs(&errors);
        assert_eq!(rungs[..2], [">CONNECT", "<CONNACK"], "{errors}");
        assert_eq!(&rungs[2..rungs.len() - 1], handshake, "{errors}");
        assert_eq!(rungs[rungs.len() - 1], ">DISCONNECT", "{errors}");
        assert!(errors.contains("topic name temp/random"), "{errors}");
        assert!(!errors.contains('\u{1b}'), "no colours in a pipe");
    }
}

#[test]
fn json_trace_contains_no_password() {
    let broker = Broker::start("");
    let arguments = "-t a -m x -q 1 -V 5 -u name -P secret -i c --trace=json";
    let errors = run(&broker, "rpub", arguments).errors;
    assert_eq!(errors.lines().count(), 5, "{errors}");
    for (line, packet) in
        errors
            .lines()
            .zip(["CONNECT", "CONNACK", "PUBLISH", "PUBACK", "DISCONNECT"])
    {
        assert!(
            line.starts_with("{\"seconds\":") && line.ends_with('}'),
            "{line}"
        );
        assert!(line.contains(&format!("\"packet\":\"{packet}\"")), "{line}");
    }
    assert!(
        errors.contains("\"user_name\":\"name\",\"password_length\":6"),
        "{errors}"
    );
    assert!(!errors.contains("secret"), "{errors}");
}

#[test]
fn broker_and_all_clients_print_traces() {
    let broker = Program::new("rbroker").args("-p 0 --trace").start();
    let log = broker.wait_for_error("running.");
    let (_, rest) = log.split_once("Listening on 127.0.0.1:").unwrap();
    let port = rest.split_once('.').unwrap().0;
    let target = format!("-h 127.0.0.1 -p {port}");
    let subscriber = Program::new("rsub")
        .args(&target)
        .args("-i sub -t q -C 1 --trace")
        .start();
    subscriber.wait_for_error("SUBACK");
    let asking = Program::new("rrr").args(&target);
    let asking = asking
        .args("-i asks -t q -e r -m question --trace -W 30")
        .start();
    assert!(subscriber.wait().success().errors.contains("topic name q"));
    let answer = Program::new("rpub")
        .args(&target)
        .args("-t r -m answer")
        .run()
        .success();
    assert_eq!(answer.errors, "");
    let asked = asking.wait().success();
    assert_eq!(asked.text(), "answer\n");
    assert!(
        asked.errors.contains("response topic r"),
        "{}",
        asked.errors
    );
    broker.wait_for_error("asks ── DISCONNECT ──▶ rbroker");
    let log = broker.wait_for_error("sub ── DISCONNECT ──▶ rbroker");
    assert!(log.contains("sub ◀─── PUBLISH ──── rbroker"), "{log}");
}

/// A publisher and a subscriber of each version use a broker that traces. A packet must show only the fields of its
/// version.
#[test]
fn trace_shows_properties_only_for_5_0() {
    let broker = Program::new("rbroker").args("-p 0 --trace=json").start();
    let log = broker.wait_for_error("running.");
    let (_, rest) = log.split_once("Listening on 127.0.0.1:").unwrap();
    let target = format!("-h 127.0.0.1 -p {}", rest.split_once('.').unwrap().0);
    let mut subscribers = Vec::new();
    for version in ["31", "311", "5"] {
        let subscriber = Program::new("rsub").args(&target);
        let arguments = format!("-i s{version} -V {version} -t t -C 1 --trace=json -W 60");
        let subscriber = subscriber.args(&arguments).start();
        subscriber.wait_for_error("SUBACK");
        subscribers.push((version, subscriber));
    }
    let publisher = Program::new("rpub").args(&target);
    let publisher = publisher.args("-t t -m x -D publish content-type text -q 1");
    publisher.run().success();
    let mut traces = Vec::new();
    for (version, subscriber) in subscribers {
        let finished = subscriber.wait().success();
        traces.push((version, "rsub", finished.errors));
        let own = format!("\"client_identifier\":\"s{version}\"");
        broker.wait_for_error(&format!("{own},\"packet\":\"DISCONNECT\""));
        let log = broker.error_so_far();
        let lines = log.lines().filter(|line| line.contains(&own));
        traces.push((version, "rbroker", lines.collect::<Vec<_>>().join("\n")));
    }
    for (version, program, trace) in traces {
        let what = format!("{program} {version}: {trace}");
        for packet in ["CONNECT", "CONNACK", "SUBSCRIBE", "SUBACK", "PUBLISH"] {
            assert!(
                trace.contains(&format!("\"packet\":\"{packet}\"")),
                "{what}"
            );
        }
        for field in [
            "clean_start",
            "receive_maximum",
            "reason_code",
            "content_type",
            "no_local",
        ] {
            assert_eq!(
                trace.contains(&format!("\"{field}")),
                version == "5",
                "{field} {what}"
            );
        }
        for field in ["clean_session", "return_code"] {
            assert_eq!(
                trace.contains(&format!("\"{field}")),
                version != "5",
                "{field} {what}"
            );
        }
        assert_eq!(trace.contains("session_present"), version != "31", "{what}");
    }
}

#[test]
fn a_trace_fits_a_narrow_terminal() {
    let broker = Broker::start("");
    let rpub = tests::programs().join("rpub");
    let options = "-t temp/random -m 23.0 -q 1 -V 5 --trace -i thermometer";
    for columns in [80, 120] {
        let command = format!(
            "stty cols {columns} && {} {} {options}",
            rpub.display(),
            broker.options()
        );
        let Some(shown) = at_terminal(&command) else {
            return;
        };
        let shown = without_colors(&shown);
        let rungs = shown.lines().filter(|line| line.contains('─')).count();
        assert_eq!(rungs, 5, "{shown}");
        for line in shown.lines() {
            assert!(line.chars().count() <= columns, "{line}");
            // The line after an arrow has its fields.
            assert!(
                line.contains('─') || line.starts_with("           "),
                "{line}"
            );
        }
        let line = "\n           QoS 1, packet identifier 1, topic name temp/random";
        assert!(shown.contains(line), "{shown}");
    }
}

/// Returns the text without the escape sequences of colours.
fn without_colors(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + part.split_once('m').map_or(part, |(_, rest)| rest)
    })
}

#[test]
fn passwords_come_from_files_and_the_environment() {
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

/// Runs a program with its standard output or standard error on a new terminal. Returns the text on the terminal.
fn at_terminal(command: &str) -> Option<String> {
    let script = find("script")?;
    let finished = Program::at(script)
        .args("--quiet --return --command")
        .arg(command)
        .arg("/dev/null")
        .env("TERM", "xterm")
        .without("NO_COLOR")
        .run();
    assert_eq!(finished.status, 0, "{finished:?}");
    Some(finished.text())
}

#[test]
fn control_characters_are_masked_on_a_terminal_and_kept_in_a_pipe() {
    let broker = Broker::start("");
    let payload = "\u{1b}[31mred\u{7}";
    let publisher = Program::new("rpub")
        .args(&broker.options())
        .args("-t t -r -m");
    publisher.arg(payload).run().success();
    assert_eq!(
        run(&broker, "rsub", "-t t -C 1").text(),
        format!("{payload}\n")
    );
    let rsub = tests::programs().join("rsub");
    let command = format!("{} {} -t t -C 1", rsub.display(), broker.options());
    if let Some(shown) = at_terminal(&command) {
        assert_eq!(shown, "\\u{1b}[31mred\\u{7}\r\n");
    }
}

#[test]
fn progress_is_shown_on_a_terminal_only() {
    let broker = Broker::start("");
    let rpub = tests::programs().join("rpub");
    let options = "-t x -m y -q 1 --repeat 8 --repeat-delay 0.2";
    let command = format!("{} {} {options}", rpub.display(), broker.options());
    if let Some(shown) = at_terminal(&command) {
        assert!(
            shown.contains(" messages, ") && shown.contains(" acknowledged"),
            "{shown:?}"
        );
        let quiet = at_terminal(&format!("{command} --quiet")).unwrap();
        assert_eq!(quiet, "");
        // Messages of QoS 0 are not acknowledged.
        let shown = at_terminal(&command.replace("-q 1", "-q 0 --repeat-delay 0.3")).unwrap();
        assert!(shown.contains(" messages, "), "{shown:?}");
        assert!(!shown.contains("acknowledged"), "{shown:?}");
    }
    assert_eq!(run(&broker, "rpub", options).errors, "");
}

/// A person ends rsub with Ctrl-C. A line is printed only if rsub would have ended by itself.
#[test]
fn signal_ends_rsub_on_a_terminal_without_an_error() {
    let broker = Broker::start("");
    run(&broker, "rpub", "-t room -m warm -r -q 1");
    let rsub = tests::programs().join("rsub");
    for (options, warning) in [
        ("", ""),
        (
            "-C 5",
            "Warning: Interrupted: received 1 of 5 messages.\r\n",
        ),
    ] {
        let command = format!(
            "sh -c 'echo $$; exec {} {} -t room {options}' | {{ read pid; read message; echo $message; kill -INT $pid; cat; }}",
            rsub.display(),
            broker.options()
        );
        let Some(shown) = at_terminal(&command) else {
            return;
        };
        assert_eq!(without_colors(&shown), format!("warm\r\n{warning}"));
    }
}

#[test]
fn watching_subscribes_immediately_and_gives_each_topic_a_row_of_the_terminal() {
    let broker = Broker::start("");
    for (topic, payload) in [("a", "1"), ("b", "2")] {
        run(&broker, "rpub", &format!("-t {topic} -m {payload} -r -q 1"));
    }
    let rsub = tests::programs().join("rsub");
    let command = format!("{} {} -t '#' -w -v -W 5", rsub.display(), broker.options());
    // `rsub -w -E` once took 11 seconds and more, until another event woke the program.
    for _ in 0..3 {
        let Some(shown) = at_terminal(&format!("{command} -E && echo subscribed")) else {
            return;
        };
        assert!(shown.ends_with("subscribed\r\n"), "{shown:?}");
    }
    let shown = at_terminal(&format!("{command} -C 2")).unwrap();
    let expected = "\u{1b}[2J\u{1b}[1;1HBroker: 127.0.0.1\r\n\
                    \u{1b}[2;1H\u{1b}[K\u{1b}[?7la 1\u{1b}[?7h\u{1b}[3;1H\
                    \u{1b}[3;1H\u{1b}[K\u{1b}[?7lb 2\u{1b}[?7h\u{1b}[4;1H";
    assert_eq!(shown, expected);
}

#[test]
fn watching_writes_no_escape_sequences_if_there_is_no_terminal() {
    let broker = Broker::start("");
    run(&broker, "rpub", "-t room -m warm -r -q 1");
    let finished = run(&broker, "rsub", "-t # -w -v -C 1 -W 5");
    assert_eq!(finished.success().text(), "room warm\n");
}

#[test]
fn rate_option_prints_a_rate_each_second_and_no_messages() {
    let broker = Broker::start("");
    let subscriber = Program::new("rsub").args(&broker.options());
    let subscriber = subscriber.args("-i m -t x -C 1 --message-rate").start();
    broker.wait_for_log("Sending SUBACK to m");
    let publisher = Program::new("rpub").args(&broker.options());
    publisher.args("-t x -l").input("a\nb\nc\n").run().success();
    subscriber.wait_for_output("3 msgs/s\n");
    let output = subscriber.wait_for_output("0 msgs/s\n");
    assert!(!output.contains('a'), "{output}");
    subscriber.signal("TERM");
    subscriber.wait().success();
}

#[test]
fn hidden_messages_count_towards_the_rate() {
    let broker = Broker::start("max_queued_messages 0");
    let lines = "x\n".repeat(1000);
    for (chance, shown) in [("100", 1000..=1000), ("50", 350..=650), ("0.1", 0..=20)] {
        let name = format!("c{chance}");
        let subscriber = Program::new("rsub").args(&broker.options());
        let arguments = format!("-i {name} -t x -q 1 -C 1000 --random-filter {chance}");
        let subscriber = subscriber.args(&arguments).start();
        broker.wait_for_log(&format!("Sending SUBACK to {name}"));
        let publisher = Program::new("rpub").args(&broker.options());
        publisher
            .args("-t x -l -q 1")
            .input(lines.clone())
            .run()
            .success();
        let count = subscriber.wait().success().text().lines().count();
        assert!(shown.contains(&count), "{chance} %: {count}");
    }
}

#[test]
fn retained_messages_are_removed_and_the_program_ends() {
    let broker = Broker::start("");
    for topic in ["r/1", "r/2", "r/3"] {
        run(&broker, "rpub", &format!("-t {topic} -m x -r -q 1"));
    }
    for topic in ["r/4", "r/5", "r/6"] {
        run(&broker, "rpub", &format!("-t {topic} -m x -r -q 1"));
    }
    // rsub removes no more messages than -C permits.
    let removed = run(&broker, "rsub", "-t r/# -T r/2 --remove-retained -C 2 -v");
    assert_eq!(removed.text(), "r/1 x\nr/3 x\n");
    let left = || {
        let command = Program::new("rsub").args(&broker.options());
        let left = command.args("-t r/# -W 500ms -v").run();
        assert_eq!(left.status, 27);
        left.text()
    };
    assert_eq!(left(), "r/2 x\nr/4 x\nr/5 x\nr/6 x\n");
    // With --retain-as-published the removal itself is sent back to rsub with RETAIN 1. rsub must not remove it again.
    let command = Program::new("rsub").args(&broker.options());
    let arguments = "-V 5 -t r/4 --remove-retained --retain-as-published -W 500ms -v";
    let removed = command.args(arguments).run();
    assert_eq!(removed.text(), "r/4 x\nr/4 (null)\n");
    assert_eq!(left(), "r/2 x\nr/5 x\nr/6 x\n");
}

#[test]
fn ignores_responses_to_other_requests() {
    let broker = Broker::start("");
    let proxy = Proxy::start(broker.address());
    let target = format!("-h 127.0.0.1 -p {}", proxy.address.port());
    let asking = Program::new("rrr").args(&target);
    let arguments = "-t q -e r -m x -W 30 -D publish correlation-data mine";
    let asking = asking.args(arguments).start();
    assert!(proxy.wait_for(From::Client, |bytes| bytes.ends_with(b"x")));
    run(
        &broker,
        "rpub",
        "-t r -m no -V 5 -D publish correlation-data other",
    );
    run(
        &broker,
        "rpub",
        "-t r -m yes -V 5 -D publish correlation-data mine",
    );
    assert_eq!(asking.wait().success().text(), "yes\n");
}

#[test]
fn topic_alias_replaces_the_topic_from_the_second_message_on() {
    let broker = Broker::start("");
    let proxy = Proxy::start(broker.address());
    let publisher = Program::new("rpub").args(&format!("-h 127.0.0.1 -p {}", proxy.address.port()));
    let arguments = "-t topic -m x --repeat 2 -D publish topic-alias 3";
    publisher.args(arguments).run().success();
    let sent = proxy.sent();
    let text = sent[0].escape_ascii().to_string();
    let first = "\\x00\\x05topic\\x03#\\x00\\x03x";
    let second = "\\x00\\x00\\x03#\\x00\\x03x";
    assert!(text.contains(first) && text.contains(second), "{text}");
}

#[test]
fn quiet_suppresses_errors_about_payloads() {
    let broker = Broker::start("");
    run(&broker, "rpub", "-t t -m nojson -r");
    let told = run(&broker, "rsub", "-t t -C 1 -F %J");
    let expected = "Error: Message payload is not valid JSON on topic t.\n";
    assert_eq!(
        (told.text().as_str(), told.errors.as_str()),
        ("\n", expected)
    );
    assert_eq!(run(&broker, "rsub", "-t t -C 1 -F %J --quiet").errors, "");
}
