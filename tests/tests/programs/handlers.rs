//! Handlers of `rsub --exec`: a message is acknowledged after its handler has exited with 0, and not before.
#![cfg(unix)]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use tests::{Broker, Program, Running, named_pipe};

/// The number of jobs of the test that kills the programs, unless the variable sets another.
const JOBS: usize = 300;
const JOBS_VARIABLE: &str = "RPUBSUB_HANDLER_JOBS";

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
fn jobs_run_at_a_time_and_keep_the_order_of_each_topic() {
    let broker = Broker::start("");
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "cd {} && word=$(cat) && echo \"$word\" >> \"${{MQTT_TOPIC#t/}}\"",
        folder.path().display()
    );
    let running = handle(&broker, "-q 1 -t t/# -C 60 --jobs 4", &script);
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
    let child = finished.text();
    let alive = Path::new("/proc").join(child.trim()).join("cmdline");
    let command = std::fs::read_to_string(alive).unwrap_or_default();
    assert!(!command.contains("sleep"), "{command}");
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
}

#[test]
fn a_table_has_a_command_for_each_topic_filter() {
    let broker = Broker::start("");
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table");
    std::fs::write(&table, "lamp/+ echo lamp\n\nfan/# echo fan\n").unwrap();
    let command = Program::new("rsub")
        .args(&broker.options())
        .args("-q 1 -C 2 -d --exec-table");
    let running = command.arg(&table).start();
    running.wait_for_error("received SUBACK");
    publish(&broker, "-l --with-topic -q 1", "lamp/1 x\nfan/a/b x\n");
    assert_eq!(running.wait().success().text(), "lamp\nfan\n");
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

/// Returns a handler of this `rsub` that runs, if there is one.
fn a_handler(rsub: &Running) -> Option<String> {
    let id = rsub.id();
    // The threads of rsub start handlers, so each of them may be the parent.
    let tasks = std::fs::read_dir(format!("/proc/{id}/task")).ok()?;
    let children =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
    children
        .flat_map(|text| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .next()
}

/// Waits until the file has this number of lines.
fn wait_for_lines(path: &Path, count: usize) -> String {
    let end = std::time::Instant::now() + tests::PATIENCE;
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.lines().count() >= count {
            return text;
        }
        assert!(
            std::time::Instant::now() < end,
            "{} of {count} lines",
            text.lines().count()
        );
        std::thread::yield_now();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn no_job_is_lost_while_rsub_handlers_and_the_broker_are_killed_in_turn() {
    let jobs = std::env::var(JOBS_VARIABLE).ok();
    let jobs = jobs.map_or(JOBS, |jobs| jobs.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().display();
    let settings = format!(
        "persistence true\npersistence_location {store}/\nmax_queued_messages 0\nmax_queued_bytes 0\nmax_inflight_messages 8\n"
    );
    let mut broker = Broker::start(&settings);
    let arguments = "-i worker -c -q 1 -t job/# --jobs 4 --retries 1000";
    let session = Program::new("rsub").args(&broker.options());
    session
        .args("-i worker -c -q 1 -t job/# -E")
        .run()
        .success();
    let mut lines = String::new();
    for job in 0..jobs {
        writeln!(lines, "job/{} {job}", job % 16).unwrap();
    }
    publish(&broker, "-l --with-topic -q 1", &lines);
    let runs = folder.path().join("runs");
    let script = format!("job=$(cat); echo \"$job\" >> {}", runs.display());
    let mut rsub = handle(&broker, arguments, &script);
    let (mut kills, steps) = ([0; 3], 30);
    for step in 1..=steps {
        wait_for_lines(&runs, jobs * step / (steps + 1));
        match step % 3 {
            0 => {
                rsub.kill();
                rsub = resume(&broker, arguments, &script);
            }
            1 => {
                // The handler may have ended in between, and then nothing is killed.
                let Some(id) = a_handler(&rsub) else { continue };
                let killed = std::process::Command::new("kill")
                    .args(["-9", &id])
                    .output();
                if !killed.unwrap().status.success() {
                    continue;
                }
            }
            _ => broker = broker.restart(),
        }
        kills[step % 3] += 1;
    }
    let end = std::time::Instant::now() + tests::PATIENCE;
    let counts = loop {
        let text = std::fs::read_to_string(&runs).unwrap();
        let mut counts: HashMap<usize, usize> = HashMap::new();
        for line in text.lines() {
            *counts.entry(line.parse().unwrap()).or_default() += 1;
        }
        if counts.len() == jobs {
            break counts;
        }
        assert!(
            std::time::Instant::now() < end,
            "{} of {jobs} jobs ran",
            counts.len()
        );
        std::thread::yield_now();
    };
    rsub.signal("TERM");
    rsub.wait().success();
    let mut histogram = std::collections::BTreeMap::new();
    for runs in counts.values() {
        *histogram.entry(runs).or_insert(0) += 1;
    }
    println!(
        "{jobs} jobs, none lost; kill -9 of rsub {}, handlers {}, broker {}; jobs by number of runs: {histogram:?}",
        kills[0], kills[1], kills[2]
    );
}
