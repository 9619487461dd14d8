//! The state of a running broker: the topics below `$SYS/broker`, and `rbroker status`.
#![cfg(unix)]

use tests::{Broker, Finished, Kind, Program, has_mosquitto, stored_in};

#[test]
fn sys_topics_are_published_at_start_and_updated() {
    let broker = Broker::start("sys_interval 1");
    let version = broker
        .run("rsub", "-t $SYS/broker/version -C 1 -F %r%q%p -q 2")
        .text();
    assert!(version.starts_with("12rbroker version "), "{version}");
    let uptime = broker
        .run("rsub", "-t $SYS/broker/uptime -C 2 -W 50")
        .text();
    assert!(uptime.contains(" seconds\n"), "{uptime}");
    let subscriber = broker
        .program("rsub")
        .args("-i watch -t $SYS/broker/publish/bytes/received -W 50")
        .args("-F %p -C 2 -R")
        .start();
    broker.wait_for_log("Sending SUBACK to watch");
    broker.run("rpub", "-t a -m 12345 -q 1");
    subscriber.wait_for_output("5\n");
    broker.run("rpub", "-t a -m 1234567 -q 2");
    assert_eq!(subscriber.wait().success().text(), "5\n12\n");
    // Wildcards at the first level do not match these topics, and clients cannot publish to them.
    broker.run("rpub", "-t $SYS/broker/version -r -m forged -q 1");
    assert_eq!(
        broker
            .run("rsub", "-t $SYS/broker/version -C 1 -F %r%q%p -q 2")
            .text(),
        version
    );
    broker.run("rpub", "-t b -m kept -r -q 1");
    assert_eq!(broker.run("rsub", "-t # -v -C 1").text(), "b kept\n");
}

#[test]
fn sys_topics_can_be_disabled() {
    let broker = Broker::start("sys_interval 0");
    broker.run("rpub", "-t $SYS2 -m end -r -q 1");
    let all = "-t $SYS/# -t $SYS2 -C 1";
    assert_eq!(broker.run("rsub", all).text(), "end\n");
}

/// rbroker has the topics of mosquitto. `docs/differences.md` lists the differences.
#[test]
fn sys_topics_are_those_of_mosquitto() {
    if !has_mosquitto("sys_topics_are_those_of_mosquitto") {
        return;
    }
    let names = |kind| {
        let broker = Broker::start_kind(kind, "sys_interval 1");
        // Some topics appear with the first traffic, some with the second interval.
        broker.run("rpub", "-t a -m x -q 1");
        let options = "-t $SYS/broker/# -F %t -W 4";
        let finished = broker.program("rsub").args(options).run();
        assert_eq!(finished.status, 27);
        let mut names: Vec<_> = finished.text().lines().map(str::to_owned).collect();
        names.sort();
        names.dedup();
        names
    };
    let ours = names(Kind::Rbroker);
    let missing: Vec<_> = names(Kind::Mosquitto)
        .into_iter()
        .filter(|name| !ours.contains(name))
        .collect();
    let expected = ["heap/current", "heap/maximum"].map(|name| format!("$SYS/broker/{name}"));
    let unexpected: Vec<_> = missing
        .iter()
        .filter(|name| !expected.contains(name))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
}

fn status(options: &str) -> Finished {
    Program::new("rbroker").arg("status").args(options).run()
}

#[test]
fn status_shows_clients_and_their_queued_messages() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control").display().to_string();
    let broker = Broker::start(&format!("control_socket {socket}\nsys_interval 0"));
    let away = "-i away -c -x 1000 -V 5 -q 1 -t a -t $share/g/b -E";
    let subscriber = broker.program("rsub").args(away);
    subscriber.run().success();
    broker.run("rpub", "-t a -m 1234567890 -q 1 -r");
    let told = status(&format!("--socket {socket}")).success().text();
    for line in [
        &format!("Listening on  127.0.0.1:{}", broker.port),
        "Clients       0 connected (peak 1), 1 disconnected with a session",
        "Subscriptions 2, 1 of them shared",
        "Dropped       0 messages",
    ] {
        assert!(told.lines().any(|told| told == line), "{line}: {told}");
    }
    let json = status(&format!("--socket {socket} --json"))
        .success()
        .text();
    for part in [
        "\"clients\":{\"active\":0,\"connected\":0,\"disconnected\":1,",
        "\"queues\":{\"longest\":{\"client\":\"away\",\"count\":1}}",
        &format!("\"listeners\":[\"127.0.0.1:{}\"]", broker.port),
    ] {
        assert!(json.contains(part), "{part}: {json}");
    }
    // No other user may open the socket, and the broker removes it at its end.
    use std::os::unix::fs::PermissionsExt;
    let permissions = std::fs::metadata(&socket).unwrap().permissions();
    assert_eq!(permissions.mode() & 0o777, 0o600);
    broker.running.signal("TERM");
    assert_eq!(broker.running.wait().status, 0);
    let gone = status(&format!("--socket {socket}"));
    assert_eq!(gone.status, 1);
    assert!(
        gone.errors.starts_with("Error: No broker answers ("),
        "{gone:?}"
    );
    assert!(!std::path::Path::new(&socket).exists());
}

#[test]
fn status_shows_memory_and_the_reasons_of_dropped_messages() {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("{}/control", folder.path().display());
    let store = stored_in(folder.path());
    let broker = Broker::start(&format!(
        "control_socket {socket}\n{store}max_queued_messages 2"
    ));
    let away = "-i away -c -x 1000 -V 5 -q 1 -t a -E";
    let subscriber = broker.program("rsub").args(away);
    subscriber.run().success();
    let small = "-i small -V 5 -t a -C 1 -D connect maximum-packet-size 100";
    let small = broker.program("rsub").args(small);
    let small = small.start();
    broker.wait_for_log("Sending SUBACK to small");
    broker.run("rpub", "-t r -m 1234567890 -q 1 -r");
    broker.run("rpub", &format!("-t a -m {}", "x".repeat(200)));
    for _ in 0..4 {
        broker.run("rpub", "-t a -m 1234567890 -q 1");
    }
    small.wait().success();
    let told = status(&format!("--socket {socket}")).success().text();
    for (name, words) in [
        ("Retained", "1 messages, "),
        ("Queued", "2 messages, "),
        (
            "Queued",
            " bytes of memory; the longest queue is that of away: 2",
        ),
        ("Buffered", " bytes to be written, "),
        ("Store", " bytes"),
        ("Dropped", "3 messages (2 queue full, 1 packet too large)"),
    ] {
        let line = told.lines().find(|line| line.starts_with(name));
        assert!(
            line.is_some_and(|line| line.contains(words)),
            "{name} {words}: {told}"
        );
    }
    let json = status(&format!("--socket {socket} --json"))
        .success()
        .text();
    for part in [
        "\"dropped\":3,\"dropped_by_reason\":{\"expired\":0,",
        "\"queue_full\":2}",
        "\"queued messages\":{\"bytes\":",
        "\"file\":{\"bytes\":",
    ] {
        assert!(json.contains(part), "{part}: {json}");
    }
}

#[test]
fn many_simultaneous_status_requests_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control");
    let _broker = Broker::start(&format!("control_socket {}", socket.display()));
    let asking: Vec<_> = (0..50)
        .map(|_| std::os::unix::net::UnixStream::connect(&socket).unwrap())
        .collect();
    for mut stream in asking {
        stream.set_read_timeout(Some(tests::PATIENCE)).unwrap();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
        assert!(answer.contains("clients/total\t0\n"), "{answer}");
    }
}

#[test]
fn status_finds_a_broker_by_its_port_even_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_str().unwrap();
    let start = |port: u16| {
        let running = Program::new("rbroker")
            .env("XDG_RUNTIME_DIR", place)
            .args(&format!("-p {port}"))
            .start();
        let log = running.wait_for_error("running.");
        let (_, rest) = log.split_once("127.0.0.1:").unwrap();
        let port: u16 = rest.split_once('.').unwrap().0.parse().unwrap();
        (running, port)
    };
    let ask = |port: u16| {
        Program::new("rbroker")
            .arg("status")
            .env("XDG_RUNTIME_DIR", place)
            .args(&format!("-p {port}"))
            .run()
    };
    let (mut first, port) = start(0);
    ask(port).success();
    first.kill();
    assert_eq!(ask(port).status, 1);
    let (_second, _) = start(port);
    ask(port).success();
}

#[test]
fn file_at_the_path_of_the_control_socket_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("precious");
    std::fs::write(&file, "content").unwrap();
    let broker = Broker::start(&format!("control_socket {}", file.display()));
    broker.wait_for_log("'rbroker status' is not available");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "content");
}

/// A broker that is killed leaves its control socket, which must not stay in a folder of the system.
#[test]
#[cfg(unix)]
fn control_sockets_of_test_brokers_are_beside_the_programs() {
    let broker = Program::new("rbroker").args("-p 0 -v").start();
    let log = broker.wait_for_error("Answering 'rbroker status' at ");
    let folder = tests::programs().join("run");
    assert!(log.contains(folder.to_str().unwrap()), "{log}");
}
