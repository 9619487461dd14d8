//! `--jsonl`: rpub publishes the messages that rsub prints, without any loss.
#![cfg(unix)]

use std::fmt::Write as _;
use std::io::Write as _;

use tests::{Broker, FakeServer, Kind, Program, Running, find, has_mosquitto, skip};

/// The number of messages to copy. The environment variable [`COPIED_VARIABLE`] sets another number.
const COPIED: usize = 3000;
const COPIED_VARIABLE: &str = "RPUBSUB_COPIED_MESSAGES";

fn run(program: &str, broker: &Broker, arguments: &str, input: &[u8]) -> tests::Finished {
    let command = broker.program(program);
    command.args(arguments).input(input).run()
}

/// Starts `rsub` and waits until the broker has its subscription.
fn subscribe(broker: &Broker, arguments: &str) -> Running {
    let command = broker.program("rsub");
    let running = command.args(arguments).args("-d").start();
    running.wait_for_error("received SUBACK");
    running
}

/// Returns lines of mixed messages: each QoS, text and bytes, with and without RETAIN and properties.
fn mixed(count: usize, version: u8) -> String {
    let mut lines = String::new();
    for number in 0..count {
        let payload = match number % 5 {
            0 => format!(r#""payload":"{number}""#),
            1 => format!(r#""payload":"line\n\"{number}\"\\ \u00e4 \ud83d\ude00 \u0000""#),
            2 => r#""payload_base64":"/wD+AYA=""#.to_owned(),
            3 => r#""payload":"""#.to_owned(),
            _ => format!(r#""payload":"{}""#, "x".repeat(number % 700)),
        };
        let qos = number % 3;
        // A retained message with an empty payload would delete the retained message of its topic.
        let retain = number % 7 == 0 && number % 5 != 3;
        write!(
            lines,
            r#"{{"topic":"copy/{}/{number}",{payload},"qos":{qos},"retain":{retain}"#,
            number % 11
        )
        .unwrap();
        if version == 5 && number % 2 == 0 {
            write!(lines, r#","properties":[{{"user_property":["a","{number}"]}},{{"content_type":"t"}},{{"user_property":["a",""]}},{{"correlation_data_base64":"/w=="}},{{"payload_format_indicator":0}}]"#).unwrap();
        }
        lines.push_str("}\n");
    }
    lines
}

/// Removes the values that differ between connections (DUP, packet identifier and time), and sorts the lines.
fn comparable(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = text
        .lines()
        .map(|line| {
            let mut rest = line;
            let mut kept = String::new();
            for key in [",\"dup\":", ",\"packet_identifier\":", ",\"time\":"] {
                let Some((before, after)) = rest.split_once(key) else {
                    continue;
                };
                kept.push_str(before);
                let end = after.find([',', '}']).unwrap();
                rest = &after[end..];
            }
            kept + rest
        })
        .collect();
    lines.sort();
    lines
}

/// Copies mixed messages from one broker to another one of the same kind with `rsub --jsonl | rpub --jsonl`.
fn copy(kind: Kind, version: u8, settings: &str) {
    let count = std::env::var(COPIED_VARIABLE).ok();
    let count = count.map_or(COPIED, |count| count.parse().unwrap());
    let (from, to) = (
        Broker::start_silent(kind, settings),
        Broker::start_silent(kind, settings),
    );
    let options = format!("-V {version} -q 2 -t copy/# -C {count} --jsonl --retain-as-published");
    let target = subscribe(&to, &options);
    let source = subscribe(&from, &options);
    let programs = tests::programs().display();
    let pipeline = format!(
        "{programs}/rsub {} {options} -d -i copier | {programs}/rpub {} -V {version} --jsonl",
        from.options(),
        to.options(),
    );
    let pipeline = Program::new("sh").arg("-c").arg(pipeline).start();
    pipeline.wait_for_error("received SUBACK");
    let lines = mixed(count, version);
    let start = std::time::Instant::now();
    let published = run(
        "rpub",
        &from,
        &format!("-V {version} --jsonl"),
        lines.as_bytes(),
    );
    published.success();
    let sent = source.wait().success().text();
    pipeline.wait().success();
    let arrived = target.wait().success().text();
    println!(
        "{kind:?} {version}: {count} messages in {:?}",
        start.elapsed()
    );
    let (sent, arrived) = (comparable(&sent), comparable(&arrived));
    assert_eq!(sent.len(), count);
    for (sent, arrived) in sent.iter().zip(&arrived) {
        assert_eq!(sent, arrived, "{kind:?} {version}");
    }
    assert_eq!(arrived.len(), count);
    // The broker must have delivered the published messages. Only 5.0 shows RETAIN of live messages (Retain As
    // Published).
    if version == 5 {
        let own = lines
            .lines()
            .map(|line| line.replace("\\u00e4", "ä").replace("\\ud83d\\ude00", "😀"));
        let own: Vec<_> = own.collect();
        assert_eq!(comparable(&own.join("\n")), sent);
    }
}

#[test]
fn messages_are_copied_from_rbroker_to_rbroker_without_a_difference() {
    // The queue of the subscriber has no limit. On a busy machine the broker would otherwise drop messages of QoS 0.
    copy(
        Kind::Rbroker,
        5,
        "max_queued_messages 0\nmax_queued_bytes 0\n",
    );
}

#[test]
fn messages_are_copied_from_mosquitto_to_mosquitto_without_a_difference() {
    if has_mosquitto("copy with JSON lines") {
        copy(
            Kind::Mosquitto,
            5,
            "max_queued_messages 0\nmax_inflight_messages 0\n",
        );
    }
}

#[test]
fn each_version_prints_and_publishes_json_lines() {
    for version in ["31", "311", "5"] {
        let broker = Broker::start("");
        let options = format!("-V {version} -q 2 -t a -C 3 --jsonl");
        let subscriber = subscribe(&broker, &options);
        let lines = r#"{"topic":"a","payload":"1","qos":2}
{"payload_base64":"//4=","unknown":[1,{"a":null}],"topic":"a"}
{"payload":"three","properties":[{"content_type":"text/plain"}]}"#;
        let arguments = format!("-V {version} --jsonl -t a -q 1");
        run("rpub", &broker, &arguments, lines.as_bytes()).success();
        let printed = subscriber.wait().success().text();
        let property = if version == "5" {
            r#","properties":[{"content_type":"text/plain"}]"#
        } else {
            ""
        };
        let expected = [
            r#"{"topic":"a","payload":"1","qos":2,"retain":false}"#.to_owned(),
            r#"{"topic":"a","payload":"three","qos":1,"retain":false"#.to_owned() + property + "}",
            r#"{"topic":"a","payload_base64":"//4=","qos":1,"retain":false}"#.to_owned(),
        ];
        assert_eq!(comparable(&printed), expected, "{version}");
    }
}

#[test]
fn a_line_has_the_flags_the_identifier_and_the_time_of_the_packet() {
    let broker = Broker::start("");
    run("rpub", &broker, "-t now -m x -r -q 1", b"").success();
    let now = || {
        let clock = broker.program("rsub").env("TZ", "UTC");
        let clock = clock.args("-t now -C 1 -F @Y-@m-@dT@H:@M:@S");
        clock.run().success().text().trim_end().to_owned()
    };
    // The broker resends the message `x` with packet identifier 513, a Message Expiry Interval and a Response Topic.
    let publish: &[u8] = b"\x90\x04\x00\x01\x00\x01\
        \x3b\x10\x00\x01a\x02\x01\x09\x02\x00\x00\x00\x3c\x08\x00\x01rx";
    let script: tests::Script<'_> = &[(15, b"\x20\x03\x00\x00\x00"), (9, publish), (4 + 2, b"")];
    let server = FakeServer::start(&[script], true);
    let before = now();
    let subscriber = server.program("rsub");
    let subscriber = subscriber.args("-V 5 -t a -q 1 -C 1 --jsonl");
    let printed = subscriber.run().success().text();
    let after = now();
    let fields = r#"{"topic":"a","payload":"x","qos":1,"retain":true,"dup":true,"packet_identifier":513,"time":""#;
    let rest = printed.strip_prefix(fields).expect(&printed);
    let (time, end) = rest.split_at("2026-11-29T10:40:11.123456Z".len());
    let properties = r#"[{"message_expiry_interval":60},{"response_topic":"r"}]"#;
    assert_eq!(end, format!("\",\"properties\":{properties}}}\n"));
    let (second, fraction) = time.split_once('.').unwrap();
    assert!(*before <= *second && *second <= *after, "{before} {time}");
    assert!(fraction.ends_with('Z'), "{time}");
}

#[test]
fn invalid_line_is_reported_and_stops_rpub_or_is_skipped() {
    let broker = Broker::start("");
    let lines = b"{\"topic\":\"a\",\"payload\":\"1\"}\n{\"topic\":\"a/+\"}\n\n{\"topic\":\"a\",\"payload\":\"4\"}\n";
    for (on_error, expected) in [("stop", "1\n"), ("skip", "1\n4\n")] {
        let count = expected.lines().count();
        let subscriber = subscribe(&broker, &format!("-q 1 -t a -C {count}"));
        let arguments =
            format!("--jsonl -q 1 --on-error {on_error} --exit-status sysexits --report -");
        let finished = run("rpub", &broker, &arguments, lines);
        assert_eq!(finished.status, 65, "{finished:?}");
        let error = "Line 2 of the input is not a message: the topic must have";
        assert!(finished.errors.contains(error), "{finished:?}");
        let skipped = finished
            .errors
            .contains("Line 3 of the input is not a message: EOF");
        assert_eq!(skipped, on_error == "skip", "{finished:?}");
        let failed = if skipped {
            "\"failed_lines\":[2,3]"
        } else {
            "\"failed_lines\":[2]"
        };
        assert!(finished.text().contains(failed), "{finished:?}");
        let invalid = format!("\"invalid\":{}", if skipped { 2 } else { 1 });
        assert!(finished.text().contains(&invalid), "{finished:?}");
        assert_eq!(subscriber.wait().success().text(), expected);
    }
}

#[test]
fn a_report_lists_at_most_a_hundred_invalid_lines() {
    let broker = Broker::start("");
    let arguments = "--jsonl --on-error skip --quiet --report -";
    let report = run("rpub", &broker, arguments, "x\n".repeat(150).as_bytes()).text();
    let first: Vec<_> = (1..=100).map(|line: u32| line.to_string()).collect();
    let failed = format!("\"failed_lines\":[{}]", first.join(","));
    assert!(report.contains(&failed), "{report}");
    assert!(report.contains("\"invalid\":150"), "{report}");
}

#[test]
fn publishes_lines_of_a_file_and_of_mosquitto_sub() {
    let broker = Broker::start("");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let subscriber = subscribe(&broker, "-t m/# -C 2 -F %j -q 1 -V 5");
    let arguments = "-V 5 -t m/a -q 1 -D publish user-property k v -l";
    run("rpub", &broker, arguments, b"text\n\xff\x00\n").success();
    let printed = subscriber.wait().success().text();
    file.write_all(printed.as_bytes()).unwrap();
    // mosquitto 2.0 prints RETAIN as a number, and rsub prints correlation data that is not UTF-8 as digits, too.
    let line = "{\"topic\":\"m/b\",\"payload\":\"2\",\"qos\":1,\"retain\":1,\
                \"properties\":{\"correlation-data\":\"\u{fffd}\",\"correlation-data-hex\":\"ff\"}}\n";
    file.write_all(line.as_bytes()).unwrap();
    let subscriber = "-t m/# -C 3 --jsonl -q 1 -V 5 --retain-as-published";
    let subscriber = subscribe(&broker, subscriber);
    let command = broker.program("rpub");
    let command = command.args("-V 5 --jsonl -f").arg(file.path());
    command.run().success();
    let copied = comparable(&subscriber.wait().success().text());
    let expected = [
        r#"{"topic":"m/a","payload":"text","qos":1,"retain":false,"properties":[{"user_property":["k","v"]}]}"#,
        r#"{"topic":"m/a","payload_base64":"/wA=","qos":1,"retain":false,"properties":[{"user_property":["k","v"]}]}"#,
        r#"{"topic":"m/b","payload":"2","qos":1,"retain":true,"properties":[{"correlation_data_base64":"/w=="}]}"#,
    ];
    assert_eq!(copied, expected);
    let line = br#"{"topic":"a","payload":"x","payload_base64":"eA=="}"#;
    let finished = run("rpub", &broker, "--jsonl", line);
    assert_eq!(finished.status, 1, "{finished:?}");
    let error =
        "Line 1 of the input is not a message: payload and payload_base64 exclude each other";
    assert!(finished.errors.contains(error), "{finished:?}");
}

#[test]
fn lines_with_topics_and_records_with_nul_go_through_a_pipe() {
    let broker = Broker::start("");
    let other = Broker::start("");
    for (end, separator) in [("", "\n"), ("-0", "\0")] {
        let payloads = ["a b", "", " x", "(null)"];
        let target = subscribe(
            &other,
            &format!("-q 1 -t r/# -C {} -v {end}", payloads.len()),
        );
        let programs = tests::programs().display();
        let pipeline = format!(
            "{programs}/rsub {} -q 1 -t r/# -C {} -v {end} -d | {programs}/rpub {} -l --with-topic {end} -q 1",
            broker.options(),
            payloads.len(),
            other.options(),
        );
        let pipeline = Program::new("sh").arg("-c").arg(pipeline).start();
        pipeline.wait_for_error("received SUBACK");
        let input = payloads
            .map(|payload| format!("r/1 {payload}{separator}"))
            .concat();
        let arguments = format!("-l --with-topic -q 1 {end}");
        run("rpub", &broker, &arguments, input.as_bytes()).success();
        pipeline.wait().success();
        let printed = target.wait().success().text();
        // Before a newline an empty payload is printed as (null), and (null) is read as an empty payload.
        let expected = if end == "-0" {
            input
        } else {
            input.replace("r/1 \n", "r/1 (null)\n")
        };
        assert_eq!(printed, expected);
    }
    // With newlines, (null) is an empty payload; with NUL it is a payload.
    for (end, length) in [("", "0"), ("-0", "6")] {
        let subscriber = subscribe(&broker, "-q 1 -t null -C 1 -F %l");
        let arguments = format!("-l --with-topic -q 1 {end}");
        run("rpub", &broker, &arguments, b"null (null)").success();
        assert_eq!(subscriber.wait().success().text().trim_end(), length);
    }
    let finished = run("rpub", &broker, "-l --with-topic", b"no-blank\n");
    assert_eq!(finished.status, 1);
    assert!(
        finished
            .errors
            .contains("Line 1 of the input is not a message: no blank"),
        "{finished:?}"
    );
}

#[test]
fn rrr_prints_the_response_as_a_json_line() {
    let broker = Broker::start("");
    let service = subscribe(&broker, "-t ask -C 1");
    let command = broker.program("rrr");
    let asking = command.args("-t ask -e answer -m x --jsonl").start();
    service.wait().success();
    run("rpub", &broker, "-t answer -m y", b"").success();
    let printed = comparable(&asking.wait().success().text());
    assert_eq!(
        printed,
        [r#"{"topic":"answer","payload":"y","qos":0,"retain":false}"#]
    );
}

#[test]
fn the_advice_for_bridges_names_a_pipeline_that_these_programs_accept() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"connection cloud\n").unwrap();
    let finished = Program::new("rbroker").arg("-c").arg(file.path()).run();
    assert_eq!(finished.status, 3);
    let advice = "'rsub --jsonl | rpub --jsonl'";
    assert!(finished.errors.contains(advice), "{finished:?}");
}

/// Validates each line of standard input with the schema that the argument names, and checks that the schema describes
/// each key: readers may ignore unknown keys, but rsub must not print any. Prints the number of valid lines.
const VALIDATE: &str = r"
import json, sys, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
lines = [json.loads(line) for line in sys.stdin]
for line in lines:
    validator.validate(line)
    assert line.keys() <= schema['properties'].keys(), line
    for item in line.get('properties', []):
        assert item.keys() <= schema['properties']['properties']['items']['properties'].keys(), item
for wrong in [dict(lines[0], qos=3), dict(lines[0], payload=1), dict(lines[0], properties={})]:
    assert not validator.is_valid(wrong), wrong
print(len(lines))
";

#[test]
fn printed_lines_are_valid_by_the_schema_of_the_documents() {
    let python = Program::new("python3").arg("-c");
    if find("python3").is_none() || python.arg("import jsonschema").run().status != 0 {
        return skip("the JSON Schema", "Python with jsonschema is not installed");
    }
    let broker = Broker::start("");
    let properties = "-D publish content-type a/b -D publish response-topic r -D publish payload-format-indicator 1 \
                      -D publish message-expiry-interval 60 -D publish user-property k v -D publish correlation-data c";
    let publish = |arguments: &str, payload: &[u8]| {
        let publisher = broker.program("rpub").args(arguments).args("-r -s");
        publisher.input(payload).run().success();
    };
    publish("-t plain", b"text \"\\ \n");
    publish("-t bytes -q 1", b"\xff\x00");
    publish(&format!("-V 5 -t properties -q 2 {properties}"), b"text");
    publish(
        "-V 5 -t binary -q 2 -D publish user-property k \u{e9}",
        b"{}",
    );
    let mut lines = Vec::new();
    for arguments in ["-V 311 -q 0", "-V 5 -q 2"] {
        let subscriber = broker.program("rsub").args("-t # --snapshot --jsonl");
        lines.extend(subscriber.args(arguments).run().success().output);
    }
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/message.schema.json");
    let validator = Program::new("python3").arg("-c").arg(VALIDATE).arg(schema);
    assert_eq!(validator.input(lines).run().success().text(), "8\n");
}
