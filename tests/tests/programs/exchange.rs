//! Exchanges messages between programs: our programs and the mosquitto tools, through rbroker and mosquitto.

use tests::{Broker, Kind, Program, has_mosquitto};

/// A pair of programs that publish and subscribe.
#[derive(Debug, Clone, Copy)]
struct Tools {
    publish: &'static str,
    subscribe: &'static str,
}

const OURS: Tools = Tools {
    publish: "rpub",
    subscribe: "rsub",
};
const THEIRS: Tools = Tools {
    publish: "mosquitto_pub",
    subscribe: "mosquitto_sub",
};

/// Runs a test with our programs and broker, and again with each of them replaced by the one of mosquitto.
fn with_each(test: &str, settings: &str, check: impl Fn(&Broker, Tools)) {
    check(&Broker::start(settings), OURS);
    if has_mosquitto(test) {
        check(&Broker::start_kind(Kind::Mosquitto, settings), OURS);
        check(&Broker::start(settings), THEIRS);
    }
}

impl Tools {
    fn publish(self, broker: &Broker, arguments: &str) -> Program {
        broker.program(self.publish).args(arguments)
    }

    /// Starts a subscriber with this client identifier and waits until its subscription works.
    fn subscribe(self, broker: &Broker, identifier: &str, arguments: &str) -> tests::Running {
        let running = broker
            .program(self.subscribe)
            .args(&format!("-i {identifier}"))
            .args(arguments)
            .start();
        broker.wait_for_log(&format!("Sending SUBACK to {identifier}"));
        running
    }
}

#[test]
fn messages_of_each_qos_are_delivered_in_each_version() {
    with_each(
        "messages_of_each_qos_are_delivered_in_each_version",
        "",
        |broker, tools| {
            for version in ["31", "311", "5"] {
                for qos in 0..=2 {
                    let name = format!("sub-{version}-{qos}");
                    let subscriber = tools.subscribe(
                        broker,
                        &name,
                        &format!("-t # -v -q {qos} -C 1 -V {version}"),
                    );
                    let arguments = format!("-t temp/random -m 23.0 -q {qos} -V {version}");
                    tools.publish(broker, &arguments).run().success();
                    let finished = subscriber.wait().success();
                    assert_eq!(
                        finished.text(),
                        "temp/random 23.0\n",
                        "{tools:?} {version} {qos}"
                    );
                }
            }
        },
    );
}

#[test]
fn subscriber_gets_the_lower_of_published_and_granted_qos() {
    let broker = Broker::start("");
    for (published, subscribed, line) in [
        (2, 1, "d0, q1, r0, m1"),
        (1, 2, "d0, q1, r0, m1"),
        (2, 0, "d0, q0, r0, m0"),
    ] {
        let name = format!("s{published}{subscribed}");
        let subscriber = OURS.subscribe(&broker, &name, &format!("-t t -q {subscribed} -C 1 -d"));
        OURS.publish(&broker, &format!("-t t -m x -q {published}"))
            .run()
            .success();
        let finished = subscriber.wait().success();
        assert!(
            finished
                .errors
                .contains(&format!("received PUBLISH ({line}")),
            "{finished:?}"
        );
    }
}

#[test]
fn retained_messages_are_kept_replaced_and_removed() {
    with_each(
        "retained_messages_are_kept_replaced_and_removed",
        "",
        |broker, tools| {
            for version in ["311", "5"] {
                tools
                    .publish(broker, &format!("-t r/a -m 1 -r -q 1 -V {version}"))
                    .run()
                    .success();
                tools
                    .publish(broker, &format!("-t r/a -m 2 -r -q 1 -V {version}"))
                    .run()
                    .success();
                tools
                    .publish(broker, &format!("-t r/b -m 3 -r -q 2 -V {version}"))
                    .run()
                    .success();
                let read = |count: u8| {
                    let arguments = format!("-t r/# -v -q 2 -C {count} -W 30 -V {version}");
                    let command = broker.program(tools.subscribe);
                    let mut lines: Vec<_> = command
                        .args(&arguments)
                        .run()
                        .success()
                        .text()
                        .lines()
                        .map(str::to_owned)
                        .collect();
                    lines.sort();
                    lines
                };
                assert_eq!(read(2), ["r/a 2", "r/b 3"], "{tools:?}");
                tools.publish(broker, "-t r/b -n -r -q 1").run().success();
                // r/c is published after the removal of r/b. If r/b were still retained, it would be read before r/c.
                tools.publish(broker, "-t r/c -m 5 -r -q 1").run().success();
                assert_eq!(read(2), ["r/a 2", "r/c 5"], "{tools:?}");
                tools.publish(broker, "-t r/c -n -r -q 1").run().success();
                // A subscription that exists already gets the message with RETAIN 0.
                let name = format!("live{version}");
                let arguments = format!("-t r/a -R -C 1 -V {version}");
                let subscriber = tools.subscribe(broker, &name, &arguments);
                tools.publish(broker, "-t r/a -m 4 -r").run().success();
                assert_eq!(subscriber.wait().success().text(), "4\n", "{tools:?}");
            }
        },
    );
}

#[test]
fn will_is_published_when_a_client_is_killed_and_not_after_disconnect() {
    with_each(
        "will_is_published_when_a_client_is_killed",
        "",
        |broker, tools| {
            for version in ["311", "5"] {
                let name = format!("witness{version}");
                let arguments = format!("-t will -t end -v -q 2 -C 2 -V {version}");
                let witness = tools.subscribe(broker, &name, &arguments);
                let options =
                    format!("-t x -V {version} --will-topic will --will-qos 2 --will-payload");
                let mut dying =
                    tools.subscribe(broker, &format!("d{version}"), &format!("{options} died"));
                let leaving = tools.subscribe(
                    broker,
                    &format!("l{version}"),
                    &format!("{options} left -C 1"),
                );
                tools.publish(broker, "-t x -m bye -q 1").run().success();
                leaving.wait().success();
                dying.kill();
                broker.wait_for_log(&format!("Sending PUBLISH to {name} (d0, q2"));
                tools.publish(broker, "-t end -m . -q 2").run().success();
                assert_eq!(
                    witness.wait().success().text(),
                    "will died\nend .\n",
                    "{tools:?} {version}"
                );
            }
        },
    );
}

#[test]
fn a_session_keeps_messages_while_its_client_is_away() {
    with_each(
        "a_session_keeps_messages_while_its_client_is_away",
        "",
        |broker, tools| {
            for (version, qos) in [("311", 1), ("311", 2), ("5", 1), ("5", 2)] {
                let name = format!("away-{version}-{qos}");
                let arguments = format!("-c -t {name}/# -v -q {qos} -V {version}");
                let first = tools.subscribe(broker, &name, &format!("{arguments} -C 1"));
                let publish = |number: u8| {
                    let arguments = format!("-t {name}/{number} -m {number} -q {qos} -V {version}");
                    tools.publish(broker, &arguments).run().success();
                };
                publish(0);
                first.wait().success();
                (1..=5).for_each(publish);
                let subscribe = |rest: &str| {
                    let command = broker.program(tools.subscribe);
                    command.args(&format!("-i {name} {arguments} {rest}")).run()
                };
                let lines: String = (1..=5).map(|n| format!("{name}/{n} {n}\n")).collect();
                assert_eq!(
                    subscribe("-C 5 -W 30").success().text(),
                    lines,
                    "{tools:?} {name}"
                );
                // All messages were acknowledged, so none is sent again. mosquitto_sub 2.0 with -C acknowledges only
                // some of the messages that it printed.
                if tools.subscribe != OURS.subscribe {
                    continue;
                }
                let again = subscribe("-C 1 -W 1");
                assert_eq!(
                    (again.status, again.text().as_str()),
                    (27, ""),
                    "{tools:?} {name}"
                );
            }
        },
    );
}

#[test]
fn rsub_with_count_1_reads_each_message_of_a_session_once() {
    let broker = Broker::start("");
    for qos in [1, 2] {
        let name = format!("one{qos}");
        let first = OURS.subscribe(&broker, &name, &format!("-c -t {name} -q {qos} -C 1"));
        for number in 0..4 {
            OURS.publish(&broker, &format!("-t {name} -m {number} -q {qos}"))
                .run()
                .success();
        }
        let mut printed = first.wait().success().text();
        for _ in 1..4 {
            let arguments = format!("-c -i {name} -t {name} -q {qos} -C 1 -W 30");
            let command = broker.program("rsub").args(&arguments);
            printed += &command.run().success().text();
        }
        assert_eq!(printed, "0\n1\n2\n3\n", "QoS {qos}");
    }
}

#[test]
fn a_clean_start_ends_the_session() {
    let broker = Broker::start("");
    OURS.subscribe(&broker, "gone", "-c -t q -q 1 -C 1 -U other")
        .signal("TERM");
    broker.wait_for_log("disconnected");
    OURS.publish(&broker, "-t q -m kept -q 1").run().success();
    let arguments = "-i gone -t q -q 1 -C 1 -W 1";
    let finished = broker.program("rsub").args(arguments).run();
    assert_eq!((finished.status, finished.text().as_str()), (27, ""));
}

/// `rpub -l` preserves every byte, and publishes a last line without newline.
#[test]
fn lines_of_stdin_are_published_with_every_byte() {
    let broker = Broker::start("");
    let input = b"a\0b\r\n\n\xFF\xFE\xC0\x80\nlast".to_vec();
    for qos in 0..=2 {
        let name = format!("bytes{qos}");
        let subscriber = OURS.subscribe(&broker, &name, &format!("-t {name} -v -q {qos} -C 4"));
        OURS.publish(&broker, &format!("-t {name} -l -q {qos}"))
            .input(input.clone())
            .run()
            .success();
        let expected = format!("{name} a\0b\r\n{name} (null)\n{name} ");
        let expected = [
            expected.as_bytes(),
            b"\xFF\xFE\xC0\x80\n",
            name.as_bytes(),
            b" last\n",
        ];
        assert_eq!(
            subscriber.wait().success().output,
            expected.concat(),
            "QoS {qos}"
        );
    }
    OURS.publish(&broker, "-t x -l -q 2")
        .input("")
        .run()
        .success();
}

#[test]
fn file_and_standard_input_are_published_as_one_message() {
    let broker = Broker::start("");
    let content: Vec<u8> = (0..1_500_000u32)
        .map(|number| (number % 251) as u8)
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("content");
    std::fs::write(&file, &content).unwrap();
    for version in ["311", "5"] {
        let name = format!("whole{version}");
        let subscriber = OURS.subscribe(
            &broker,
            &name,
            &format!("-t {name} -N -q 1 -C 2 -V {version}"),
        );
        let publish =
            |arguments: &str| OURS.publish(&broker, &format!("-t {name} -q 1 {arguments}"));
        publish("-f").arg(&file).run().success();
        publish("-s").input(content.clone()).run().success();
        let output = subscriber.wait().success().output;
        assert!(
            output == [&content[..], &content].concat(),
            "{} bytes came",
            output.len()
        );
    }
}

/// The lines are more than there are packet identifiers. The queue of the broker has no limit, so the test depends on
/// the flow control of the client.
#[test]
fn a_hundred_thousand_lines_are_delivered_once_and_in_order() {
    let lines: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
    let settings = "max_queued_messages 0";
    let check = |broker: &Broker| {
        for qos in [1, 2] {
            // The subscription works when the retained message arrives.
            let publish =
                |rest: &str| OURS.publish(broker, &format!("-t many{qos} -q {qos} {rest}"));
            publish("-m ready -r").run().success();
            let arguments = format!("-t many{qos} -q {qos} -C 100001");
            let command = broker.program("rsub").args(&arguments);
            let subscriber = command.start();
            subscriber.wait_for_output("ready");
            publish("-l").input(lines.clone()).run().success();
            let printed = subscriber.wait().success().text();
            assert!(printed == format!("ready\n{lines}"), "QoS {qos}");
        }
    };
    // The broker runs without -v, because a log line for each packet would dominate the test.
    check(&Broker::start_silent(Kind::Rbroker, settings));
    if has_mosquitto("a_hundred_thousand_lines_are_delivered_once_and_in_order") {
        check(&Broker::start_silent(Kind::Mosquitto, settings));
    }
}

#[test]
fn filters_hide_messages_and_do_not_count_them() {
    let broker = Broker::start("");
    let subscriber = OURS.subscribe(
        &broker,
        "filter",
        "-t f/# -t g -T f/+/x -T f/y -U g -v -C 2",
    );
    broker.wait_for_log("Sending UNSUBACK to filter");
    for topic in ["f/y", "f/1/x", "g", "f/z", "f/1/z"] {
        OURS.publish(&broker, &format!("-t {topic} -m ."))
            .run()
            .success();
    }
    assert_eq!(subscriber.wait().success().text(), "f/z .\nf/1/z .\n");
}

#[test]
fn plain_output_omits_empty_messages_as_mosquitto_does() {
    let broker = Broker::start("");
    for (options, expected) in [
        ("", "x\n"),
        ("-N", "x"),
        ("-v", "p (null)\np x\n"),
        ("-v -N", "p x"),
    ] {
        let name = format!("plain{}", options.replace([' ', '-'], ""));
        let subscriber = OURS.subscribe(&broker, &name, &format!("-t p {options} -C 2"));
        OURS.publish(&broker, "-t p -n").run().success();
        OURS.publish(&broker, "-t p -m x").run().success();
        assert_eq!(subscriber.wait().success().text(), expected, "{options}");
    }
}

#[test]
fn messages_are_written_to_a_pipe_immediately() {
    let broker = Broker::start("");
    let subscriber = OURS.subscribe(&broker, "pipe", "-t p");
    for number in 0..3 {
        OURS.publish(&broker, &format!("-t p -m {number}"))
            .run()
            .success();
        subscriber.wait_for_output(&format!("{number}\n"));
    }
}
