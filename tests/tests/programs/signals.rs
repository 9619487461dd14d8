//! Signals that an administrator sends, signals that must not end the broker, and the notifications for systemd.
#![cfg(unix)]

use tests::{Broker, Kind, Program, RawClient, stored_in};

#[test]
fn usr1_writes_the_store_regardless_of_its_interval() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(&(stored_in(folder.path()) + "sync interval 3600"));
    let publish = broker.program("rpub");
    publish.args("-q 1 -r -t t -m x").run().success();
    broker.running.signal("USR1");
    broker.wait_for_log("Saving the store to ");
    broker.wait_for_log("The store is saved.");
    // Without persistence the signal has no effect.
    let broker = Broker::start("");
    broker.running.signal("USR1");
    broker.wait_for_log("Nothing to save");
    RawClient::connect(broker.address(), 4, "later").ping();
}

#[test]
fn usr2_logs_subscriptions_and_retained_messages() {
    let broker = Broker::start_silent(Kind::Rbroker, "sys_interval 0");
    let mut subscriber = RawClient::connect(broker.address(), 4, "sub");
    subscriber.send(b"\x82\x08\x00\x01\x00\x03a/+\x01");
    subscriber.read(5);
    subscriber.send(b"\x82\x06\x00\x01\x00\x01#\x00");
    subscriber.read(5);
    let publish = broker.program("rpub");
    publish.args("-q 1 -r -t b/c -m four").run().success();
    // The broker must not block when the pipe for signals is full.
    (0..400).for_each(|_| broker.running.signal("USR2"));
    let log = broker.wait_for_log("End of subscription tree and retained messages.");
    for line in [
        "Subscription tree:\n",
        "\t#: sub (QoS 0)\n",
        "\ta/+: sub (QoS 1)\n",
        "Retained messages:\n",
        "\tb/c (QoS 1, 4 bytes)\n",
    ] {
        assert!(log.contains(line), "{line} {log}");
    }
    publish_and_dump(&broker);
}

/// Publishes a retained message, and checks that SIGUSR2 logs this message, too.
fn publish_and_dump(broker: &Broker) {
    let publish = broker.program("rpub");
    publish.args("-q 1 -r -t late -m x").run().success();
    broker.running.signal("USR2");
    broker.wait_for_log("\tlate (QoS 1, 1 bytes)\n");
}

#[test]
fn other_signals_do_not_end_the_broker() {
    let broker = Broker::start("");
    let mut client = RawClient::connect(broker.address(), 4, "client");
    for signal in [
        "PIPE", "ALRM", "VTALRM", "PROF", "IO", "WINCH", "CONT", "URG", "CHLD",
    ] {
        broker.running.signal(signal);
        client.ping();
    }
}

/// A service manager with a notification socket, like systemd for units of `Type=notify`.
#[cfg(target_os = "linux")]
struct Supervisor {
    folder: tempfile::TempDir,
    socket: std::os::unix::net::UnixDatagram,
}

#[cfg(target_os = "linux")]
impl Supervisor {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = std::os::unix::net::UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(tests::PATIENCE)).unwrap();
        Self { folder, socket }
    }

    /// Starts a broker that sends notifications to this socket. `watchdog` is the watchdog timeout in microseconds.
    fn start(&self, watchdog: &str) -> tests::Running {
        let path = self.folder.path().join("notify");
        Program::new("rbroker")
            .args("-p 0 -v")
            .env("NOTIFY_SOCKET", path.to_str().unwrap())
            .env("WATCHDOG_USEC", watchdog)
            .start()
    }

    /// Returns the next notification that is not from the watchdog.
    fn next_report(&self) -> String {
        loop {
            let report = self.next();
            if report != "WATCHDOG=1" {
                return report;
            }
        }
    }

    fn next(&self) -> String {
        let mut buffer = [0; 200];
        let count = self.socket.recv(&mut buffer).expect("a report comes");
        String::from_utf8_lossy(&buffer[..count]).trim().to_owned()
    }
}

#[test]
#[cfg(target_os = "linux")]
fn broker_reports_start_reload_and_end_to_systemd() {
    let supervisor = Supervisor::new();
    let broker = supervisor.start("");
    assert_eq!(supervisor.next_report(), "READY=1");
    broker.signal("HUP");
    let reloading = supervisor.next_report();
    assert!(
        reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="),
        "{reloading}"
    );
    assert_eq!(supervisor.next_report(), "READY=1");
    broker.signal("TERM");
    assert_eq!(supervisor.next_report(), "STOPPING=1");
    broker.wait().success();
}

#[test]
#[cfg(target_os = "linux")]
fn idle_broker_answers_the_watchdog_of_systemd() {
    let supervisor = Supervisor::new();
    let _broker = supervisor.start("200000");
    assert_eq!(supervisor.next_report(), "READY=1");
    for _ in 0..5 {
        assert_eq!(supervisor.next(), "WATCHDOG=1");
    }
}
