//! A mosquitto that bridges to `rbroker`, with mosquitto's default settings and in each version of the protocol.
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt;

use tests::{Broker, Certificates, Kind, Program, Running, Validity, has_mosquitto};

/// The values of `bridge_protocol_version`, with the number in the log of the remote broker.
const VERSIONS: [(&str, u8); 3] = [("", 4), ("mqttv31", 3), ("mqttv50", 5)];

/// Starts a mosquitto whose bridge `cloud` connects to this broker.
fn start_bridge(remote: &Broker, lines: &str) -> Broker {
    let address = remote.address();
    let settings = format!(
        "connection cloud\naddress {address}\nremote_clientid edge.cloud\nrestart_timeout 1\n{lines}"
    );
    Broker::start_kind(Kind::Mosquitto, &settings)
}

fn version_line(version: &str) -> String {
    match version {
        "" => String::new(),
        version => format!("bridge_protocol_version {version}\n"),
    }
}

/// Starts `rsub` and waits until it has subscribed.
fn subscribe(broker: &Broker, filter: &str, more: &str) -> Running {
    let options = format!("{} -d -v -q 2 -t {filter} {more}", broker.options());
    let running = Program::new("rsub").args(&options).start();
    running.wait_for_error("Subscribed");
    running
}

fn publish(broker: &Broker, options: &str) {
    let options = format!("{} -q 1 {options}", broker.options());
    Program::new("rpub").args(&options).run().success();
}

#[test]
fn a_bridge_with_default_settings_is_accepted_at_its_first_connection() {
    if !has_mosquitto("a_bridge_with_default_settings_is_accepted_at_its_first_connection") {
        return;
    }
    for (version, number) in VERSIONS {
        let remote = Broker::start("");
        let local = start_bridge(
            &remote,
            &format!("topic # both 2\n{}", version_line(version)),
        );
        // mosquitto marks a bridge in the protocol level of 3.1 and 3.1.1, but not in 5.0.
        let kind = if number == 5 { "client" } else { "bridge" };
        let log = remote.wait_for_log("as edge.cloud (");
        assert!(log.contains(&format!("New {kind} connected from")), "{log}");
        assert!(
            log.contains(&format!("as edge.cloud (p{number}, c0, k60)")),
            "{log}"
        );
        assert!(!log.contains("disconnected"), "{log}");
        drop(local);
    }
}

#[test]
fn bridge_forwards_each_message_once_in_both_directions_with_its_retain_flag() {
    let test = "bridge_forwards_each_message_once_in_both_directions_with_its_retain_flag";
    if !has_mosquitto(test) {
        return;
    }
    for (version, _) in VERSIONS {
        let remote = Broker::start("");
        let local = start_bridge(
            &remote,
            &format!("topic # both 2\n{}", version_line(version)),
        );
        remote.wait_for_log("Sending SUBACK to edge.cloud");
        let at_remote = subscribe(&remote, "x/#", "");
        let at_local = subscribe(&local, "x/#", "");
        publish(&local, "-t x/up -m one -r");
        at_remote.wait_for_output("x/up one\n");
        publish(&remote, "-t x/down -m two -r");
        at_local.wait_for_output("x/down two\n");
        // An echo of the first messages would arrive before these messages.
        publish(&local, "-t x/last -m up");
        publish(&remote, "-t x/last -m down");
        for running in [&at_remote, &at_local] {
            running.wait_for_output("x/last down\n");
            let output = running.wait_for_output("x/last up\n");
            for message in ["x/up one\n", "x/down two\n"] {
                assert_eq!(output.matches(message).count(), 1, "{version} {output}");
            }
        }
        // Both brokers retain both messages.
        for broker in [&remote, &local] {
            let options = format!("{} -t x/# -C 2 -F %t=%p=%r", broker.options());
            let output = Program::new("rsub").args(&options).run().success().text();
            for message in ["x/up=one=1\n", "x/down=two=1\n"] {
                assert!(output.contains(message), "{version} {output}");
            }
        }
    }
}

#[test]
fn the_state_of_a_bridge_is_published_when_it_connects_and_when_it_is_lost() {
    let test = "the_state_of_a_bridge_is_published_when_it_connects_and_when_it_is_lost";
    if !has_mosquitto(test) {
        return;
    }
    let topic = "$SYS/broker/connection/edge.cloud/state";
    for (version, _) in VERSIONS {
        let remote = Broker::start("");
        let states = subscribe(&remote, "$SYS/broker/connection/#", "");
        let mut local = start_bridge(
            &remote,
            &format!("topic x/# out 1\n{}", version_line(version)),
        );
        states.wait_for_output(&format!("{topic} 1\n"));
        local.running.kill();
        states.wait_for_output(&format!("{topic} 0\n"));
    }
}

#[test]
fn bridge_works_without_its_private_protocol_version_and_with_unsubscribe() {
    let test = "bridge_works_without_its_private_protocol_version_and_with_unsubscribe";
    if !has_mosquitto(test) {
        return;
    }
    for lines in [
        "topic x/# out 1\nbridge_attempt_unsubscribe true\ncleansession false",
        "topic x/# out 1\nbridge_attempt_unsubscribe false",
        "topic x/# out 1\ntry_private false",
        "topic x/# out 1\ntry_private true\ncleansession true\nnotifications false",
        "topic x/# out 2 \"\" far/\nbridge_outgoing_retain false",
    ] {
        let remote = Broker::start("");
        let prefix = if lines.contains("far/") { "far/" } else { "" };
        let at_remote = subscribe(&remote, "#", "");
        let local = start_bridge(&remote, lines);
        remote.wait_for_log("as edge.cloud (");
        publish(&local, "-t x/a -m one");
        at_remote.wait_for_output(&format!("{prefix}x/a one\n"));
        assert!(
            !remote.running.error_so_far().contains("disconnected"),
            "{lines}"
        );
    }
}

#[test]
fn messages_queued_at_a_bridge_arrive_after_the_remote_broker_restarts() {
    let test = "messages_queued_at_a_bridge_arrive_after_the_remote_broker_restarts";
    if !has_mosquitto(test) {
        return;
    }
    let remote = Broker::start("");
    let local = start_bridge(&remote, "topic x/# out 1");
    remote.wait_for_log("as edge.cloud (");
    let stopped = remote.stop();
    publish(&local, "-t x/a -m waited -r");
    let remote = stopped.start();
    remote.wait_for_log("as edge.cloud (");
    let options = format!("{} -t x/a -C 1", remote.options());
    let output = Program::new("rsub").args(&options).run().success().text();
    assert_eq!(output, "waited\n");
}

#[test]
fn a_bridge_over_tls_has_the_permissions_of_its_user() {
    if !has_mosquitto("a_bridge_over_tls_has_the_permissions_of_its_user") {
        return;
    }
    let certificates = Certificates::new();
    certificates.server("server", &["localhost"], Validity::Now);
    let file = |name: &str| certificates.path(name).display().to_string();
    let hash = Program::new("rbroker")
        .args("passwd -b -c")
        .arg(certificates.path("users"))
        .args("edge secret")
        .run();
    hash.success();
    let list = "topic read #\ntopic read $SYS/#\nuser edge\ntopic readwrite x/#\n\
                pattern write $SYS/broker/connection/%c/state\n";
    std::fs::write(certificates.path("acl"), list).unwrap();
    let remote = Broker::start(&format!(
        "acl_file {}\npassword_file {}\nlistener 0 localhost\ncertfile {}\nkeyfile {}",
        file("acl"),
        file("users"),
        file("server.crt"),
        file("server.key")
    ));
    let log = remote.running.error_so_far();
    let (_, port) = log.rsplit_once("Listening on 127.0.0.1:").unwrap();
    let (port, _) = port.split_once('.').unwrap();
    let states = subscribe(&remote, "$SYS/broker/connection/#", "");
    let at_remote = subscribe(&remote, "#", "");
    // mosquitto reads the files as another user if root has started it.
    let folder = certificates.folder();
    let everybody = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder, everybody).unwrap();
    let local = Broker::start_kind(
        Kind::Mosquitto,
        &format!(
            "connection cloud\naddress localhost:{port}\nremote_clientid edge.cloud\n\
             remote_username edge\nremote_password secret\nbridge_cafile {}\ntopic # out 1",
            file("ca.crt")
        ),
    );
    states.wait_for_output("$SYS/broker/connection/edge.cloud/state 1\n");
    publish(&local, "-t y/a -m denied");
    publish(&local, "-t x/a -m allowed");
    at_remote.wait_for_output("x/a allowed\n");
    assert!(!at_remote.has_printed("y/a"));
}

/// docs/differences.md recommends this set-up for two brokers that cannot create bridges.
#[test]
fn a_mosquitto_with_two_bridges_connects_two_brokers() {
    if !has_mosquitto("a_mosquitto_with_two_bridges_connects_two_brokers") {
        return;
    }
    let (house, cloud) = (Broker::start(""), Broker::start(""));
    let bridge = |name: &str, remote: &Broker| {
        let address = remote.address();
        format!("connection {name}\naddress {address}\ntopic x/# both 1\n")
    };
    let settings = bridge("house", &house) + &bridge("cloud", &cloud);
    let _between = Broker::start_kind(Kind::Mosquitto, &settings);
    house.wait_for_log(".house (p4");
    cloud.wait_for_log(".cloud (p4");
    let (at_house, at_cloud) = (subscribe(&house, "x/#", ""), subscribe(&cloud, "x/#", ""));
    publish(&house, "-t x/up -m one -r");
    at_cloud.wait_for_output("x/up one\n");
    publish(&cloud, "-t x/down -m two -r");
    at_house.wait_for_output("x/down two\n");
    publish(&house, "-t x/last -m three");
    publish(&cloud, "-t x/last -m four");
    for running in [&at_house, &at_cloud] {
        running.wait_for_output("x/last three\n");
        let output = running.wait_for_output("x/last four\n");
        assert_eq!(output.lines().count(), 4, "{output}");
    }
    let options = format!("{} -t x/down -C 1 -F %p=%r", house.options());
    let retained = Program::new("rsub").args(&options).run().success().text();
    assert_eq!(retained, "two=1\n");
}
