//! Options that select which messages rsub and rrr print or remove, and which messages rpub sends.
#![cfg(unix)]

use tests::{Broker, From, Program, Proxy};

#[test]
fn rate_option_prints_a_rate_each_second_and_no_messages() {
    let broker = Broker::start("");
    let subscriber = broker.program("rsub");
    let subscriber = subscriber.args("-i m -t x -C 1 --message-rate").start();
    broker.wait_for_log("Sending SUBACK to m");
    let publisher = broker.program("rpub");
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
        let subscriber = broker.program("rsub");
        let arguments = format!("-i {name} -t x -q 1 -C 1000 --random-filter {chance}");
        let subscriber = subscriber.args(&arguments).start();
        broker.wait_for_log(&format!("Sending SUBACK to {name}"));
        let publisher = broker.program("rpub");
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
        broker.run("rpub", &format!("-t {topic} -m x -r -q 1"));
    }
    for topic in ["r/4", "r/5", "r/6"] {
        broker.run("rpub", &format!("-t {topic} -m x -r -q 1"));
    }
    // rsub removes no more messages than -C permits.
    let removed = broker.run("rsub", "-t r/# -T r/2 --remove-retained -C 2 -v");
    assert_eq!(removed.text(), "r/1 x\nr/3 x\n");
    let left = || {
        let command = broker.program("rsub");
        let left = command.args("-t r/# -W 500ms -v").run();
        assert_eq!(left.status, 27);
        left.text()
    };
    assert_eq!(left(), "r/2 x\nr/4 x\nr/5 x\nr/6 x\n");
    // With --retain-as-published the removal itself is sent back to rsub with RETAIN 1. rsub must not remove it again.
    let command = broker.program("rsub");
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
    broker.run("rpub", "-t r -m no -V 5 -D publish correlation-data other");
    broker.run("rpub", "-t r -m yes -V 5 -D publish correlation-data mine");
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
    broker.run("rpub", "-t t -m nojson -r");
    let told = broker.run("rsub", "-t t -C 1 -F %J");
    let expected = "Error: Message payload is not valid JSON on topic t.\n";
    assert_eq!(
        (told.text().as_str(), told.errors.as_str()),
        ("\n", expected)
    );
    assert_eq!(broker.run("rsub", "-t t -C 1 -F %J --quiet").errors, "");
}
