//! Output on a terminal: lines fit the width of the terminal, progress and colours are shown, `--watch` keeps a row for
//! each topic, and control characters of messages are not printed.
#![cfg(unix)]

use tests::{Broker, Program, find};

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
            // The fields of a packet are on the line after its arrow.
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
    let publisher = broker.program("rpub").args("-t t -r -m");
    publisher.arg(payload).run().success();
    assert_eq!(
        broker.run("rsub", "-t t -C 1").text(),
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
    assert_eq!(broker.run("rpub", options).errors, "");
}

/// A person ends rsub with Ctrl-C. A line is printed only if rsub would have ended by itself.
#[test]
fn signal_ends_rsub_on_a_terminal_without_an_error() {
    let broker = Broker::start("");
    broker.run("rpub", "-t room -m warm -r -q 1");
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
        broker.run("rpub", &format!("-t {topic} -m {payload} -r -q 1"));
    }
    let rsub = tests::programs().join("rsub");
    let command = format!("{} {} -t '#' -w -v -W 5", rsub.display(), broker.options());
    // Regression test: the loop slept until another event woke it, so `rsub -w -E` took eleven seconds or more.
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
fn watching_updates_a_row_only_for_messages_that_are_selected() {
    let broker = Broker::start("");
    let rsub = tests::programs().join("rsub");
    let row = |row: usize, text: &str| format!("\u{1b}[{row};1H\u{1b}[K\u{1b}[?7l{text}\u{1b}[?7h");
    // The second message repeats the first one. With --every the last one waits for the end of the period.
    for options in ["--on-change", "--every 200ms", "--every 200ms --on-change"] {
        // The session has all messages before rsub prints the first one.
        broker.run("rsub", "-c -i w -q 1 -t # -E");
        let publisher = broker.program("rpub").args("-l --with-topic -q 1");
        let lines = "a 1\na 1\nb 1\na 2\n";
        publisher.input(lines).run().success();
        let command = format!(
            "{} {} -c -i w -q 1 -t '#' -w -v -C 3 -W 30 {options}",
            rsub.display(),
            broker.options()
        );
        let Some(shown) = at_terminal(&command) else {
            return;
        };
        let below = |row: usize| format!("\u{1b}[{row};1H");
        let (_, rows) = shown.split_once("127.0.0.1\r\n").unwrap();
        let expected = [
            row(2, "a 1") + &below(3),
            row(3, "b 1") + &below(4),
            row(2, "a 2") + &below(4),
        ];
        assert_eq!(rows, expected.concat(), "{options}");
    }
}

#[test]
fn watching_writes_no_escape_sequences_if_there_is_no_terminal() {
    let broker = Broker::start("");
    broker.run("rpub", "-t room -m warm -r -q 1");
    let finished = broker.run("rsub", "-t # -w -v -C 1 -W 5");
    assert_eq!(finished.success().text(), "room warm\n");
}
