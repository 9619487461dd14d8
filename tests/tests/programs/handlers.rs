//! Handlers of `rsub --exec`: a message is acknowledged after its handler has exited with 0, and not before.
#![cfg(unix)]

use std::path::Path;
use std::time::Instant;

use tests::{Broker, Program, Running, named_pipe};

pub(crate) fn publish(broker: &Broker, arguments: &str, input: &str) {
    let command = Program::new("rpub").args(&broker.options());
    command.args(arguments).input(input).run().success();
}

/// Starts `rsub` with a handler, a shell script, and waits until it has subscribed.
pub(crate) fn handle(broker: &Broker, arguments: &str, script: &str) -> Running {
    let running = resume(broker, arguments, script);
    running.wait_for_error("received SUBACK");
    running
}

/// Starts `rsub` with a handler. The messages of a session may come before SUBACK and end the program.
pub(crate) fn resume(broker: &Broker, arguments: &str, script: &str) -> Running {
    let command = Program::new("rsub").args(&broker.options()).args(arguments);
    command
        .args("-d --exec sh -c")
        .arg(script)
        .arg("handler")
        .start()
}

#[test]
fn handler_gets_payload_and_fields_without_a_shell() {
    let broker = Broker::start("");
    let script = r#"printf '%s|' "$(od -An -tx1 | tr -d ' \n')" "$MQTT_TOPIC" "$MQTT_QOS" "$MQTT_RETAIN" "$MQTT_RUN" "$MQTT_CONTENT_TYPE" "$MQTT_USER_PROPERTIES" "$MQTT_CORRELATION_DATA_BASE64" "$MQTT_PASSWORD" "$#"; echo "$MQTT_TIME""#;
    let command = Program::new("rsub")
        .args(&broker.options())
        .args("-V 5 -q 1 -t a/# -C 1 -d");
    let command = command
        .env("MQTT_PASSWORD", "secret")
        .args("--exec sh -c")
        .arg(script);
    let running = command.args("handler -t --quiet").start();
    running.wait_for_error("received SUBACK");
    let line = r#"{"topic":"a/$(touch x)`id`; 'x'","payload_base64":"AP8kKGlkKQ==","qos":1,"properties":[{"content_type":"$(id)"},{"user_property":["a","b c"]},{"user_property":["a",""]},{"correlation_data_base64":"AP8="}]}"#;
    publish(&broker, "-V 5 --jsonl", line);
    let printed = running.wait().success().text();
    let expected =
        r#"00ff2428696429|a/$(touch x)`id`; 'x'|1|0|1|$(id)|[["a","b c"],["a",""]]|AP8=||2|20"#;
    assert!(printed.starts_with(expected), "{printed}");
}

#[test]
fn a_message_is_acknowledged_after_its_handler_has_exited() {
    for (qos, answer) in [
        (1, "Received PUBACK from worker"),
        (2, "Received PUBREC from worker"),
    ] {
        let broker = Broker::start("");
        let folder = tempfile::tempdir().unwrap();
        let gate = named_pipe(folder.path());
        let script = format!("echo started; read -r line < {}", gate.display());
        let arguments = format!("-i worker -q {qos} -t a -C 1");
        let running = handle(&broker, &arguments, &script);
        publish(&broker, &format!("-t a -m x -q {qos}"), "");
        running.wait_for_output("started");
        // The broker has handled everything that rsub sent before this answer.
        publish(&broker, "-t other -m x -q 1", "");
        assert!(!broker.running.error_so_far().contains(answer), "QoS {qos}");
        std::fs::write(&gate, "go\n").unwrap();
        broker.wait_for_log(answer);
        running.wait().success();
    }
}

#[test]
fn a_failed_handler_runs_again_and_a_hopeless_message_becomes_a_dead_letter() {
    let broker = Broker::start("");
    let letters = Program::new("rsub").args(&broker.options());
    let letters = letters.args("-V 5 -q 1 -t dead -C 1 --jsonl -d").start();
    letters.wait_for_error("received SUBACK");
    // The first message succeeds in its third run, the second one never.
    let script = r#"word=$(cat); echo "$word $MQTT_RUN"; [ "$word" = good ] && [ "$MQTT_RUN" = 3 ] || exit 3"#;
    let arguments = "-V 5 -i worker -q 1 -t a -C 2 --retries 2 --dead-letter dead";
    let running = handle(&broker, arguments, script);
    publish(
        &broker,
        "-V 5 -t a -l -q 1 -D publish content-type c",
        "good\nbad\n",
    );
    let finished = running.wait().success();
    assert_eq!(
        finished.text(),
        "good 1\ngood 2\ngood 3\nbad 1\nbad 2\nbad 3\n"
    );
    let warning = "The handler of a message of topic 'a' failed: exit status 3.";
    assert_eq!(finished.errors.matches(warning).count(), 5, "{finished:?}");
    for (run, wait) in [(1, "0.25"), (2, "0.50")] {
        let warning = format!("{warning} Running it again in {wait} s.");
        let count = finished.errors.matches(&warning).count();
        assert_eq!(count, 2, "run {run}: {finished:?}");
    }
    let letter = letters.wait().success().text();
    for field in [
        r#""payload":"bad""#,
        r#"{"content_type":"c"}"#,
        r#"{"user_property":["dead-letter-topic","a"]}"#,
        r#"{"user_property":["dead-letter-reason","exit status 3"]}"#,
        r#"{"user_property":["dead-letter-runs","3"]}"#,
    ] {
        assert!(letter.contains(field), "{letter}");
    }
}

#[test]
fn without_a_dead_letter_rsub_ends_and_the_broker_keeps_the_message() {
    let broker = Broker::start("");
    let running = handle(&broker, "-i worker -c -q 1 -t a", "exit 1");
    publish(&broker, "-t a -m kept -q 1", "");
    let finished = running.wait();
    assert_eq!(finished.status, 1, "{finished:?}");
    assert!(
        finished.errors.contains("The message is not acknowledged."),
        "{finished:?}"
    );
    let again = resume(&broker, "-i worker -c -q 1 -t a -C 1", "cat");
    assert_eq!(again.wait().success().text(), "kept");
    let missing = Program::new("rsub").args(&broker.options());
    let missing = missing
        .args("-t a -q 1 -d --exec /nonexistent/handler")
        .start();
    missing.wait_for_error("received SUBACK");
    publish(&broker, "-t a -m x -q 1", "");
    let finished = missing.wait();
    assert_eq!(finished.status, 1, "{finished:?}");
    assert!(
        finished
            .errors
            .contains("Cannot start the handler '/nonexistent/handler'"),
        "{finished:?}"
    );
}

#[test]
fn a_message_whose_dead_letter_is_rejected_is_not_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let permissions = folder.path().join("permissions");
    std::fs::write(&permissions, "topic readwrite a\n").unwrap();
    let broker = Broker::start(&format!("acl_file {}", permissions.display()));
    let arguments = "-V 5 -i worker -c -q 1 -t a";
    let running = handle(
        &broker,
        &format!("{arguments} --dead-letter dead"),
        "exit 1",
    );
    publish(&broker, "-t a -m kept -q 1", "");
    let finished = running.wait();
    assert_eq!(finished.status, 0x87, "{finished:?}");
    let again = resume(&broker, &format!("{arguments} -C 1"), "cat");
    assert_eq!(again.wait().success().text(), "kept");
}

#[test]
fn a_dead_letter_that_is_too_large_has_no_properties() {
    let broker = Broker::start("max_packet_size 150");
    let letters = Program::new("rsub").args(&broker.options());
    let letters = letters.args("-V 5 -q 1 -t dead -C 1 --jsonl -d").start();
    letters.wait_for_error("received SUBACK");
    let arguments = "-V 5 -q 1 -t a -C 1 --dead-letter dead -W 30";
    let running = handle(&broker, arguments, "exit 1");
    let payload = "x".repeat(100);
    publish(&broker, &format!("-t a -m {payload} -q 1"), "");
    running.wait().success();
    let letter = letters.wait().success().text();
    assert!(letter.contains(&payload), "{letter}");
    assert!(!letter.contains("properties"), "{letter}");
}

#[test]
fn dead_letters_above_the_limits_of_the_broker_end_the_program() {
    let broker = Broker::start("max_packet_size 150");
    let topic = "dead/".repeat(20);
    let subscription = "-V 5 -q 1 -i worker -c -t a";
    let arguments = format!("{subscription} -C 4 --jobs 4 --dead-letter {topic} -W 30");
    let running = handle(&broker, &arguments, "exit 1");
    let line = "x".repeat(100);
    let lines = format!("{line}\n{line}\n{line}\n{line}\n");
    publish(&broker, "-t a -l -q 1", &lines);
    let finished = running.wait();
    assert_eq!(finished.status, 1, "{finished:?}");
    let text = "does not accept the dead letter";
    assert!(finished.errors.contains(text), "{finished:?}");
    // The messages are still there.
    let next = handle(&broker, &format!("{subscription} -C 4 -W 30"), "cat; echo");
    assert_eq!(next.wait().success().text(), lines);
}

/// The queue is full while the first message waits for the acknowledgement of its dead letter.
#[test]
fn a_full_queue_still_reads_the_acknowledgement_of_a_dead_letter() {
    let broker = Broker::start("");
    let arguments = "-V 5 -q 1 -t t/# -C 20 --dead-letter dead -W 30";
    let script = "cat > /dev/null; [ $MQTT_TOPIC != t/1 ]";
    let running = handle(&broker, arguments, script);
    let payload = "x".repeat(1024 * 1024);
    let lines: String = (1..=20)
        .map(|number| format!("t/{number} {payload}\n"))
        .collect();
    publish(&broker, "-l --with-topic -q 1", &lines);
    running.wait().success();
}

#[test]
fn jobs_run_at_a_time_and_keep_the_order_of_each_topic() {
    let broker = Broker::start("");
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "cd {} && echo + >> runs && word=$(cat) && echo \"$word\" >> \"${{MQTT_TOPIC#t/}}\" && echo - >> runs",
        folder.path().display()
    );
    let running = handle(&broker, "-q 1 -t t/# -C 60 --jobs 3", &script);
    let lines: String = (0..60)
        .map(|number| format!("t/{} {number}\n", number % 5))
        .collect();
    publish(&broker, "-l --with-topic -q 1", &lines);
    running.wait().success();
    for topic in 0..5 {
        let text = std::fs::read_to_string(folder.path().join(topic.to_string())).unwrap();
        let expected: String = (0..60)
            .filter(|n| n % 5 == topic)
            .map(|n| format!("{n}\n"))
            .collect();
        assert_eq!(text, expected, "topic {topic}");
    }
    let runs = std::fs::read_to_string(folder.path().join("runs")).unwrap();
    let mut running = 0;
    for line in runs.lines() {
        running += if line == "+" { 1 } else { -1 };
        assert!(running <= 3, "{runs}");
    }
    // The first handler ends only after the second one has started.
    let gate = named_pipe(folder.path());
    let script = format!(
        "if [ $MQTT_TOPIC = t/1 ]; then read -r line < {0}; else echo go > {0}; fi",
        gate.display()
    );
    let running = handle(&broker, "-q 1 -t t/# -C 2 --jobs 2 -W 50", &script);
    publish(&broker, "-l --with-topic -q 1", "t/1 x\nt/2 x\n");
    running.wait().success();
}

#[test]
fn a_handler_that_takes_too_long_is_killed_with_its_children() {
    let broker = Broker::start("");
    let arguments = "-V 5 -q 1 -t a -C 1 --exec-timeout 300ms --dead-letter dead -W 30";
    let running = handle(&broker, arguments, "sleep 1000 & echo $!; wait");
    publish(&broker, "-t a -m x -q 1", "");
    let finished = running.wait().success();
    assert!(
        finished
            .errors
            .contains("it took longer than --exec-timeout"),
        "{finished:?}"
    );
    assert_is_killed(&finished.text());
    // The timeout of the whole program kills handlers, too.
    let script = "sleep 1000 & echo $!; wait";
    let script = format!("{{ {script}; }} >&2");
    let modes = ["", "--stdio"].map(|mode| {
        let arguments = format!("-q 1 -t b -W 2 {mode}");
        handle(&broker, &arguments, &script)
    });
    publish(&broker, "-t b -m x -q 1", "");
    for running in modes {
        let finished = running.wait();
        assert_eq!(finished.status, 27, "{finished:?}");
        let is_number = |line: &&str| line.parse::<u32>().is_ok();
        assert_is_killed(finished.errors.lines().find(is_number).unwrap());
    }
}

/// Waits until the `sleep` with this process identifier has ended.
#[track_caller]
fn assert_is_killed(process: &str) {
    let command = Path::new("/proc").join(process.trim()).join("cmdline");
    let end = Instant::now() + tests::PATIENCE;
    while std::fs::read_to_string(&command).is_ok_and(|command| command.contains("sleep")) {
        assert!(Instant::now() < end, "{process} still runs");
        std::thread::yield_now();
    }
}

#[test]
fn sigterm_lets_a_handler_end_and_acknowledges_its_message_only() {
    let broker = Broker::start("");
    let folder = tempfile::tempdir().unwrap();
    let gate = named_pipe(folder.path());
    let script = format!(
        "echo started; read -r line < {}; echo ended",
        gate.display()
    );
    let running = handle(&broker, "-i worker -c -q 1 -t a", &script);
    publish(&broker, "-t a -l -q 1", "first\nsecond\n");
    running.wait_for_output("started");
    running.signal("TERM");
    std::fs::write(&gate, "go\n").unwrap();
    let finished = running.wait().success();
    assert_eq!(finished.text(), "started\nended\n");
    let again = resume(&broker, "-i worker -c -q 1 -t a -C 1", "cat");
    assert_eq!(again.wait().success().text(), "second");
    // A second signal does not wait for the handler. Signals that arrive together are one signal.
    let mut running = handle(&broker, "-q 1 -t b", &script);
    publish(&broker, "-t b -m x -q 1", "");
    running.wait_for_output("started");
    let end = Instant::now() + tests::PATIENCE;
    while !running.has_ended() {
        assert!(Instant::now() < end, "rsub waits for its handler");
        running.signal("TERM");
    }
    // The handler continues. Its end closes the standard output that it shares with rsub.
    std::fs::write(&gate, "go\n").unwrap();
    assert_eq!(running.wait().status, 143);
}

#[test]
fn a_table_has_a_command_for_each_topic_filter() {
    let broker = Broker::start("");
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table");
    std::fs::write(
        &table,
        "lamp/+ echo lamp\n\nlamp/# echo lamps\nfan/# echo fan\n",
    )
    .unwrap();
    // The first line that matches is used, and --exec for a topic without a line. A message with neither is
    // acknowledged.
    for (rest, expected) in [
        ("", "lamp\nlamps\nfan\n"),
        ("--exec echo rest", "lamp\nlamps\nrest\nfan\n"),
    ] {
        let command = broker
            .program("rsub")
            .args("-i worker -c -q 1 -C 4 -d -t door");
        let command = command.arg("--exec-table").arg(&table).args(rest);
        let running = command.start();
        running.wait_for_error("received SUBACK");
        let lines = "lamp/1 x\nlamp/1/2 x\ndoor x\nfan/a/b x\n";
        publish(&broker, "-l --with-topic -q 1", lines);
        assert_eq!(running.wait().success().text(), expected);
        let acknowledged = "Received PUBACK from worker (Mid: 4,";
        broker.wait_for_log(acknowledged);
    }
    std::fs::write(&table, "lamp/+ echo\nfan/#\n").unwrap();
    let command = Program::new("rsub").args("--exec-table").arg(&table);
    let finished = command.run();
    assert_eq!(finished.status, 1);
    assert!(
        finished
            .errors
            .contains("No command follows the topic filter 'fan/#' (line 2 of"),
        "{finished:?}"
    );
}
