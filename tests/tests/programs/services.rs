//! `rrr --serve` answers requests with the output of a command, and acknowledges a request after its response.
#![cfg(unix)]

use tests::{Broker, Kind, Program, Running, find, named_pipe};

use super::responses::kinds;

/// Starts a service with a shell script, and waits until it has subscribed.
pub(super) fn serve(broker: &Broker, arguments: &str, script: &str) -> Running {
    let command = broker.program("rrr").args(arguments);
    let command = command.args("-d --serve sh -c").arg(script).arg("service");
    let service = command.start();
    service.wait_for_error("received SUBACK");
    service
}

#[test]
fn the_response_is_the_output_and_no_word_of_the_request_reaches_a_shell() {
    for kind in kinds() {
        let broker = Broker::start_kind(kind, "");
        let script = r#"printf '%s|%s|%s' "$(cat)" "$MQTT_TOPIC" "$MQTT_QOS""#;
        let _service = serve(&broker, "-t ask/# -q 2", script);
        for qos in 0..=2 {
            let asking = broker.program("rrr").arg("-t").arg("ask/$(id)");
            let asking = asking.args("-m `id` -W 50 -q").arg(qos.to_string());
            let expected = format!("`id`|ask/$(id)|{qos}\n");
            assert_eq!(asking.run().success().text(), expected, "{kind:?}");
        }
        if find("mosquitto_rr").is_none() {
            continue;
        }
        let asking = Program::new("mosquitto_rr").args(&broker.options());
        let asking = asking
            .args("-t ask/x -e answer -m y -W 50 -D publish correlation-data z -F %p,%t,%D")
            .run();
        assert_eq!(asking.text(), "y|ask/x|0,answer,z\n", "{kind:?}");
    }
}

#[test]
fn responses_of_two_services_are_gathered() {
    let started: Vec<_> = kinds()
        .into_iter()
        .map(|kind| {
            let broker = Broker::start_kind(kind, "");
            let services = ["first", "second"]
                .map(|name| serve(&broker, "-t who -q 1", &format!("echo {name}")));
            let both = broker
                .program("rrr")
                .args("-t who -n -N --gather 2 -W 50 -q 1");
            assert_eq!(
                sorted(&both.run().success().text()),
                ["first", "second"],
                "{kind:?}"
            );
            let ask = |arguments: &str| {
                let asking = broker
                    .program("rrr")
                    .args("-t who -n -N --exit-status sysexits");
                asking.args("--gather-for 1500ms").args(arguments).start()
            };
            (ask(""), ask("--gather 3"), broker, services)
        })
        .collect();
    for (all, partial, ..) in started {
        // On a busy machine not every response comes in time. The statuses tell whether some came, and how many.
        let all = all.wait();
        let class = if all.output.is_empty() { 75 } else { 0 };
        assert_eq!(all.status, class, "{all:?}");
        let partial = partial.wait();
        assert_eq!(partial.status, 75, "{partial:?}");
        let count = partial.text().lines().count();
        assert_eq!(
            partial.errors,
            format!("Timed out\n{count} of 3 responses.\n")
        );
    }
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_request_is_acknowledged_after_its_response() {
    for (qos, acknowledged, request) in [
        (
            1,
            "Sending PUBACK to service",
            "Received PUBACK from service",
        ),
        (
            2,
            "Sending PUBCOMP to service",
            "Received PUBREC from service",
        ),
    ] {
        let broker = Broker::start("");
        let folder = tempfile::tempdir().unwrap();
        let gate = named_pipe(folder.path()).display().to_string();
        let script = format!("echo started >&2; read -r line < {gate}; echo $line");
        let service = serve(&broker, &format!("-i service -t ask -q {qos}"), &script);
        let asking = broker.program("rrr");
        let asking = asking.args(&format!("-t ask -n -W 50 -q {qos}")).start();
        service.wait_for_error("started");
        // The broker has handled everything that rrr sent before this answer.
        broker.run("rpub", "-t other -m x -q 1");
        assert!(
            !broker.running.error_so_far().contains(request),
            "QoS {qos}"
        );
        std::fs::write(&gate, "go\n").unwrap();
        assert_eq!(asking.wait().success().text(), "go\n\n");
        let log = broker.wait_for_log(request);
        let at = |text| {
            log.find(text)
                .unwrap_or_else(|| panic!("no {text} in {log}"))
        };
        assert!(at(acknowledged) < at(request), "QoS {qos}: {log}");
    }
}

#[test]
fn a_killed_handler_runs_again_or_its_failure_is_the_response() {
    for kind in kinds() {
        let broker = Broker::start_kind(kind, "");
        let script = r#"[ "$MQTT_RUN" = 1 ] && kill -9 $$; echo answered"#;
        let retrying = serve(&broker, "-t ask/retry -q 1 --retries 1", script);
        let failing = serve(
            &broker,
            "-t ask/fail -q 1",
            r#"[ "$(cat)" = bad ] && kill -9 $$; echo answered"#,
        );
        let ask = |arguments: &str| {
            let asking = broker.program("rrr").args("-q 1 -W 50 -N -t");
            asking.args(arguments).run()
        };
        assert_eq!(
            ask("ask/retry -n").success().text(),
            "answered\n",
            "{kind:?}"
        );
        let failed = ask("ask/fail -m bad -F %P");
        assert_eq!(failed.status, 1, "{failed:?}");
        assert_eq!(failed.text(), "handler-failure:signal 9", "{kind:?}");
        assert_eq!(
            failed.errors,
            "Error: The service reports a failure: signal 9.\n"
        );
        // The request was acknowledged, and the service goes on.
        assert_eq!(
            ask("ask/fail -m good").success().text(),
            "answered\n",
            "{kind:?}"
        );
        retrying.signal("TERM");
        retrying.wait().success();
        failing.signal("TERM");
        let finished = failing.wait().success();
        let line = "1 of 2 requests answered, 1 failed.";
        assert!(finished.errors.contains(line), "{finished:?}");
    }
}

#[test]
fn a_request_of_a_killed_service_is_answered_by_the_next_one() {
    for kind in kinds() {
        let broker = Broker::start_kind(kind, "");
        let folder = tempfile::tempdir().unwrap();
        let gate = named_pipe(folder.path()).display().to_string();
        let arguments = "-i service -c -t ask -q 1";
        let script = format!("echo started >&2; read -r line < {gate}; echo lost");
        let mut service = serve(&broker, arguments, &script);
        let asking = broker
            .program("rrr")
            .args("-t ask -n -N -W 50 -q 1")
            .start();
        service.wait_for_error("started");
        service.kill();
        std::fs::write(&gate, "go\n").unwrap();
        let _next = serve(&broker, arguments, "echo again");
        assert_eq!(asking.wait().success().text(), "again\n", "{kind:?}");
    }
}

/// The client that sent a retained request may have ended long before the service started.
#[test]
fn a_retained_request_is_not_answered() {
    let broker = Broker::start("");
    broker.run(
        "rpub",
        "-V 5 -t ask -m old -r -q 1 -D publish response-topic b",
    );
    let service = serve(&broker, "-t ask -q 1", "echo ran >&2; cat");
    let asking = broker.program("rrr").args("-t ask -m new -q 1 -W 50");
    assert_eq!(asking.run().success().text(), "new\n");
    service.signal("TERM");
    let finished = service.wait().success();
    assert_eq!(finished.errors.matches("ran\n").count(), 1, "{finished:?}");
}

/// Client and service reconnect to a broker that was killed while the handler ran. The inbox stays the same.
#[test]
fn a_request_is_answered_although_the_broker_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().display();
    let settings = format!("persistence true\npersistence_location {store}/\n");
    let broker = Broker::start(&settings);
    let gate = named_pipe(folder.path()).display().to_string();
    // The broker delivers the request again, because it has no acknowledgement. The second run does not wait.
    let script =
        format!("mkdir {store}/run || exit 0; echo started >&2; read -r line < {gate}; echo $line");
    let service = serve(&broker, "-i service -c -t ask -q 1", &script);
    let asking = broker.program("rrr");
    let asking = asking
        .args("-i client -c -t ask -n -N -q 1 -W 50 --reconnect-max 50 -d")
        .start();
    service.wait_for_error("started");
    asking.wait_for_error("received PUBACK");
    let _broker = broker.restart();
    asking.wait_for_errors("received SUBACK", 2);
    std::fs::write(&gate, "go\n").unwrap();
    let text = asking.wait().success().text();
    assert_eq!(text, "go\n");
}

#[test]
fn before_5_0_a_service_answers_to_a_fixed_topic_and_not_after_a_failure() {
    for kind in kinds() {
        let broker = Broker::start_kind(kind, "");
        let script = r#"word=$(cat); [ "$word" = bad ] && exit 3; echo "$word""#;
        let service = serve(&broker, "-V 311 -t ask -e answer -q 1", script);
        service.wait_for_error("MQTT before 5.0 has no correlation data");
        let listening = broker
            .program("rsub")
            .args("-t answer -C 2 -N -d -F %p")
            .start();
        listening.wait_for_error("received SUBACK");
        broker.run("rpub", "-t ask -m bad -q 1");
        service.wait_for_error("failed: exit status 3");
        for word in ["good", "better"] {
            let asking = broker
                .program("rrr")
                .args("-V 311 -t ask -e answer -q 1 -N -W 50 -m");
            let text = asking.arg(word).run().success().text();
            assert_eq!(text, format!("{word}\n"), "{kind:?}");
        }
        assert_eq!(
            listening.wait().success().text(),
            "good\nbetter\n",
            "{kind:?}"
        );
    }
}

#[test]
fn options_that_do_not_fit_a_service_are_rejected() {
    for (arguments, expected) in [
        (
            "-V 311 -t ask --serve cat",
            "--serve needs the topic of the responses (-e) before MQTT 5.0.",
        ),
        (
            "-t ask/# -e ask/x --serve cat",
            "Invalid response topic 'ask/x'",
        ),
        ("--serve cat", "--serve needs a topic filter"),
        ("-t a -m x --serve cat", "--serve cannot be combined"),
        ("-t a/# -m x", "Invalid publish topic 'a/#'"),
        ("-t a/#/b --serve cat", "Invalid publish topic 'a/#/b'"),
    ] {
        let finished = Program::new("rrr").args(arguments).run();
        assert_eq!(finished.status, 1, "{arguments}: {finished:?}");
        assert!(
            finished.errors.contains(expected),
            "{arguments}: {finished:?}"
        );
    }
}

#[test]
fn output_is_bounded_and_ends_with_the_handler() {
    let broker = Broker::start("");
    let script =
        r#"if [ "$(cat)" = long ]; then head -c 17000000 /dev/zero; else sleep 1000 & echo $!; fi"#;
    let _service = serve(&broker, "-t ask -q 1", script);
    let ask = |message: &str| {
        let asking = broker.program("rrr").args("-t ask -q 1 -W 50 -N -m");
        asking.arg(message).run()
    };
    let long = ask("long");
    assert_eq!(long.status, 1, "{long:?}");
    assert!(
        long.errors.contains("its output is longer than 16 MiB"),
        "{long:?}"
    );
    let child = ask("child").success().text();
    let killed = std::process::Command::new("kill")
        .arg(child.trim())
        .status();
    assert!(
        killed.unwrap().success(),
        "the process that was left behind still ran"
    );
}

#[test]
fn sigterm_lets_a_service_send_its_last_response() {
    let broker = Broker::start_kind(Kind::Rbroker, "");
    let folder = tempfile::tempdir().unwrap();
    let gate = named_pipe(folder.path()).display().to_string();
    let script = format!("echo started >&2; read -r line < {gate}; echo $line");
    let service = serve(&broker, "-t ask -q 1", &script);
    let asking = broker
        .program("rrr")
        .args("-t ask -n -N -q 1 -W 50")
        .start();
    service.wait_for_error("started");
    service.signal("TERM");
    std::fs::write(&gate, "last\n").unwrap();
    assert_eq!(asking.wait().success().text(), "last\n");
    let finished = service.wait().success();
    assert!(!finished.errors.contains("answered"), "{finished:?}");
}

#[test]
fn requests_of_one_topic_are_handled_at_a_time_with_jobs() {
    let broker = Broker::start("");
    let folder = tempfile::tempdir().unwrap();
    let gate = named_pipe(folder.path()).display().to_string();
    // The first handler ends only after the second one has started.
    let script = format!(
        "if [ \"$(cat)\" = first ]; then echo started >&2; read -r line < {gate}; echo $line; else echo go > {gate}; fi"
    );
    let service = serve(&broker, "-t ask -q 1 --jobs 2", &script);
    let first = broker
        .program("rrr")
        .args("-t ask -m first -N -q 1 -W 50")
        .start();
    service.wait_for_error("started");
    let second = broker.program("rrr").args("-t ask -m second -q 1 -W 50");
    second.run().success();
    assert_eq!(first.wait().success().text(), "go\n");
}
