//! Handlers that stay (`rsub --stdio --exec`): a message is acknowledged after the line of its handler, and not before.
#![cfg(unix)]

use tests::{Broker, Program, named_pipe};

use crate::handlers::{handle, publish, resume};

#[test]
fn a_message_is_acknowledged_after_the_line_of_its_handler() {
    for (qos, answer) in [
        (1, "Received PUBACK from worker"),
        (2, "Received PUBREC from worker"),
    ] {
        let broker = Broker::start("");
        let folder = tempfile::tempdir().unwrap();
        let gate = named_pipe(folder.path());
        let script = format!(
            "while read -r line; do echo started >&2; read -r go < {}; echo ok; done; echo ended >&2",
            gate.display()
        );
        let arguments = format!("-i worker -q {qos} -t a -C 1 --stdio");
        let running = handle(&broker, &arguments, &script);
        publish(&broker, &format!("-t a -m x -q {qos}"), "");
        running.wait_for_error("started");
        // The broker has handled everything that rsub sent before this answer.
        publish(&broker, "-t other -m x -q 1", "");
        assert!(!broker.running.error_so_far().contains(answer), "QoS {qos}");
        std::fs::write(&gate, "go\n").unwrap();
        broker.wait_for_log(answer);
        // The input of the handler has ended, and rsub has waited for the handler.
        let finished = running.wait().success();
        assert!(finished.errors.contains("\nended\n"), "{finished:?}");
    }
}

#[test]
fn a_handler_that_stays_gets_each_message_as_a_line_of_json_without_a_shell() {
    let broker = Broker::start("");
    let folder = tempfile::tempdir().unwrap();
    let lines = folder.path().join("lines");
    let script = format!(
        "while read -r line; do printf '%s %s\\n' $$ \"$line\" >> {}; echo ok; done",
        lines.display()
    );
    let arguments = "-V 5 -q 1 -t a/# -C 2 --stdio";
    let running = handle(&broker, arguments, &script);
    let messages = r#"{"topic":"a/$(touch x)`id`; 'x'","payload_base64":"AP8kKGlkKQ==","properties":[{"content_type":"$(id)"},{"user_property":["a","b c"]}]}
{"topic":"a/b","payload":"$(id)\n\"","retain":true}"#;
    publish(&broker, "-V 5 -q 1 --jsonl", messages);
    running.wait().success();
    let text = std::fs::read_to_string(&lines).unwrap();
    let (first, second) = text.split_once('\n').unwrap();
    let (process, first) = first.split_once(' ').unwrap();
    assert!(
        first.starts_with(r#"{"topic":"a/$(touch x)`id`; 'x'","payload_base64":"AP8kKGlkKQ==","qos":1,"retain":false,"dup":false,"packet_identifier":1,"time":""#),
        "{first}"
    );
    assert!(
        first.ends_with(
            r#"Z","properties":[{"content_type":"$(id)"},{"user_property":["a","b c"]}],"run":1}"#
        ),
        "{first}"
    );
    let second = second.strip_prefix(process).unwrap(); // the same handler
    assert!(
        second.starts_with(r#" {"topic":"a/b","payload":"$(id)\n\"","qos":1"#),
        "{second}"
    );
    let finished = Program::new("rsub").args("-t a --stdio").run();
    assert_eq!(finished.status, 1);
    assert!(
        finished.errors.contains("--stdio needs a command"),
        "{finished:?}"
    );
}

#[test]
fn a_message_with_an_error_line_runs_again_and_becomes_a_dead_letter() {
    let broker = Broker::start("");
    let letters = Program::new("rsub").args(&broker.options());
    let letters = letters.args("-V 5 -q 1 -t dead -C 1 --jsonl -d").start();
    letters.wait_for_error("received SUBACK");
    // The first message succeeds in its second run, the second one never.
    let script = r#"while read -r line; do case $line in *'"good"'*'"run":2}') echo ok;; *) echo "error no $$";; esac; done"#;
    let arguments = "-V 5 -i worker -q 1 -t a -C 2 --retries 1 --dead-letter dead --stdio";
    let running = handle(&broker, arguments, script);
    publish(&broker, "-V 5 -t a -l -q 1", "good\nbad\n");
    let finished = running.wait().success();
    let failures = finished.errors.matches("of topic 'a' failed: no ");
    assert_eq!(failures.count(), 3, "{finished:?}");
    let letter = letters.wait().success().text();
    for field in [
        r#""payload":"bad""#,
        r#"{"user_property":["dead-letter-reason","no "#,
        r#"{"user_property":["dead-letter-runs","2"]}"#,
    ] {
        assert!(letter.contains(field), "{letter}");
    }
    // Without a topic for dead letters rsub ends, and the message stays with the broker.
    let arguments = "-i other -c -q 1 -t b --stdio";
    let running = handle(&broker, arguments, script);
    publish(&broker, "-t b -m kept -q 1", "");
    let finished = running.wait();
    assert_eq!(finished.status, 1, "{finished:?}");
    let again = resume(&broker, "-i other -c -q 1 -t b -C 1", "cat");
    assert_eq!(again.wait().success().text(), "kept");
}

#[test]
fn a_handler_that_dies_or_writes_something_else_starts_again_and_keeps_the_order() {
    let broker = Broker::start("");
    let folder = tempfile::tempdir().unwrap();
    // In their first runs, some messages end their handler in each of its ways.
    let script = format!(
        r#"cd {} && while read -r line; do
            case $line in
                *'"payload":"10"'*'"run":1}}') kill -9 $$;;
                *'"payload":"21"'*'"run":1}}') exit 3;;
                *'"payload":"32"'*'"run":1}}') exit 0;;
                *'"payload":"43"'*'"run":1}}') echo hello; read -r line;;
            esac
            line=${{line#*t/}}; topic=${{line%%\"*}}; line=${{line#*payload\":\"}}
            echo "${{line%%\"*}}" >> "$topic"
            echo ok
        done"#,
        folder.path().display()
    );
    let running = handle(&broker, "-q 1 -t t/# -C 60 --jobs 4 --stdio", &script);
    let lines: String = (0..60)
        .map(|number| format!("t/{} {number}\n", number % 5))
        .collect();
    publish(&broker, "-l --with-topic -q 1", &lines);
    let finished = running.wait().success();
    for reason in [
        "failed: signal 9. Running it again in 0.25 s.",
        "failed: exit status 3 without an answer.",
        "failed: exit status 0 without an answer.",
        "failed: it has written 'hello' instead of 'ok' or 'error TEXT'.",
    ] {
        assert!(finished.errors.contains(reason), "{reason}: {finished:?}");
    }
    for topic in 0..5 {
        let text = std::fs::read_to_string(folder.path().join(topic.to_string())).unwrap();
        let expected: String = (0..60)
            .filter(|n| n % 5 == topic)
            .map(|n| format!("{n}\n"))
            .collect();
        assert_eq!(text, expected, "topic {topic}");
    }
}

#[test]
fn two_handlers_that_stay_work_at_the_same_time() {
    let broker = Broker::start("");
    let folder = tempfile::tempdir().unwrap();
    // The first handler answers only after the second one has its message.
    let script = format!(
        "while read -r line; do case $line in *t/1*) read -r go < {0};; *) echo go > {0};; esac; echo ok; done",
        named_pipe(folder.path()).display()
    );
    let arguments = "-q 1 -t t/# -C 2 --jobs 2 -W 50 --stdio";
    let running = handle(&broker, arguments, &script);
    publish(&broker, "-l --with-topic -q 1", "t/1 x\nt/2 x\n");
    running.wait().success();
}

#[test]
fn a_silent_handler_is_killed_and_started_again() {
    let broker = Broker::start("");
    // The handler does not end at the end of its input either.
    let script = r#"while read -r line; do case $line in *'"run":1}') sleep 1000;; esac; echo ok; done; sleep 1000"#;
    let arguments = "-q 1 -t a -C 1 --exec-timeout 200ms -W 30 --stdio";
    let running = handle(&broker, arguments, script);
    publish(&broker, "-t a -m x -q 1", "");
    let finished = running.wait().success();
    let warning = "failed: it took longer than --exec-timeout. Running it again in 0.25 s.";
    assert!(finished.errors.contains(warning), "{finished:?}");
    let warning = "A handler was killed, because it has not exited at the end of its input.";
    assert!(finished.errors.contains(warning), "{finished:?}");
    // With a topic for dead letters, a message that always silences its handler does not hold the others for ever.
    let arguments = "-q 1 -t a -C 2 --exec-timeout 200ms --dead-letter dead -W 30 --stdio";
    let script = "while read -r line; do case $line in *bad*) sleep 1000;; esac; echo ok; done";
    let running = handle(&broker, arguments, script);
    publish(&broker, "-t a -l -q 1", "bad\ngood\n");
    running.wait().success();
}

#[test]
fn a_handler_that_fails_at_the_end_of_its_input_is_reported() {
    let broker = Broker::start("");
    let script = "while read -r line; do echo ok; done; exit 3";
    let running = handle(&broker, "-q 1 -t a -C 1 --stdio", script);
    publish(&broker, "-t a -m x -q 1", "");
    let finished = running.wait().success();
    let warning = "A handler without a message failed: exit status 3.";
    assert!(finished.errors.contains(warning), "{finished:?}");
}

#[test]
fn sigterm_lets_a_handler_that_stays_answer_and_end() {
    let broker = Broker::start("");
    let folder = tempfile::tempdir().unwrap();
    let gate = named_pipe(folder.path());
    let script = format!(
        "while read -r line; do echo started >&2; read -r go < {}; echo ok; done; echo ended >&2",
        gate.display()
    );
    let running = handle(&broker, "-i worker -c -q 1 -t a --stdio", &script);
    publish(&broker, "-t a -l -q 1", "first\nsecond\n");
    running.wait_for_error("started");
    running.signal("TERM");
    std::fs::write(&gate, "go\n").unwrap();
    let finished = running.wait().success();
    assert_eq!(finished.errors.matches("\nstarted\n").count(), 1);
    assert!(finished.errors.contains("\nended\n"), "{finished:?}");
    let again = resume(&broker, "-i worker -c -q 1 -t a -C 1", "cat");
    assert_eq!(again.wait().success().text(), "second");
}
