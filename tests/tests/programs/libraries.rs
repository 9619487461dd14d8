//! Client libraries that devices and programs use, against rbroker: each major version of MQTT.js and of paho-mqtt, in
//! each protocol version, over TCP and WebSocket. They exchange messages with rpub and rsub.

use std::path::Path;

use tests::{Broker, Program, mqtt_js, paho_1_6, paho_python};

/// The transports: the name in the scripts, the settings of the broker, and the options of rpub and rsub.
const TRANSPORTS: [(&str, &str, &str); 2] =
    [("tcp", "", ""), ("ws", "protocol websockets", "--ws")];

/// The names of a protocol version in a library, and in rpub and rsub.
type Version = (&'static str, &'static str);

/// Runs the exchange in each version over each transport. `library` returns the script of the library, which gets port,
/// transport, version and topic prefix as arguments.
fn exchange_each(versions: [Version; 3], library: impl Fn() -> Program) {
    for (transport, settings, options) in TRANSPORTS {
        let broker = Broker::start(settings);
        for (version, ours) in versions {
            let prefix = format!("{transport}{version}");
            let library = library()
                .arg(broker.port.to_string())
                .arg(transport)
                .arg(version)
                .arg(&prefix);
            let options = format!("{} {options} -V {ours}", broker.options());
            exchange(&broker, &options, library, &prefix);
        }
    }
}

/// Lets a library and our programs exchange messages of each QoS, retained messages and a will.
fn exchange(broker: &Broker, options: &str, library: Program, prefix: &str) {
    let ours = |name: &str| Program::new(name).args(options);
    let publish = |arguments: &str| {
        ours("rpub").args(arguments).run().success();
    };
    publish(&format!("-q 1 -r -t {prefix}/to/kept -m kept"));
    let name = format!("{prefix}-rsub");
    let subscriber = ours("rsub")
        .args(&format!("-i {name} -q 2 -t {prefix}/from/# -C 5 -F"))
        .arg("%t %q %r %p")
        .start();
    broker.wait_for_log(&format!("Sending SUBACK to {name}"));
    let library = library.start();
    library.wait_for_output("subscribed");
    for qos in 0..3 {
        publish(&format!("-q {qos} -t {prefix}/to/q{qos} -m message"));
    }
    let finished = library.wait().success();
    assert!(finished.text().ends_with("all passed\n"), "{finished:?}");
    let text = subscriber.wait().success().text();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    let from = |line: &str| format!("{prefix}/from/{line}");
    let expected = [
        "kept 1 0 kept",
        "q0 0 0 message",
        "q1 1 0 message",
        "q2 2 0 message",
        "will 1 0 gone",
    ];
    assert_eq!(lines, expected.map(from));
    let late = ours("rsub").args(&format!("-q 1 -t {prefix}/from/kept -C 1 -F"));
    assert_eq!(late.arg("%q %r %p").run().success().text(), "1 1 kept\n");
}

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn exchange_with_mqtt_js(test: &str, module: &str) {
    let Some((node, modules)) = mqtt_js(test) else {
        return;
    };
    exchange_each([("3", "31"), ("4", "311"), ("5", "5")], || {
        Program::at(node.clone())
            .arg(script("mqttjs/exchange.js"))
            .arg(modules.join(module))
    });
}

#[test]
fn mqtt_js_3_exchanges_messages() {
    exchange_with_mqtt_js("mqtt_js_3_exchanges_messages", "mqtt3");
}

#[test]
fn mqtt_js_4_exchanges_messages() {
    exchange_with_mqtt_js("mqtt_js_4_exchanges_messages", "mqtt4");
}

#[test]
fn mqtt_js_5_exchanges_messages() {
    exchange_with_mqtt_js("mqtt_js_5_exchanges_messages", "mqtt");
}

const PAHO_VERSIONS: [Version; 3] = [("31", "31"), ("311", "311"), ("5", "5")];

#[test]
fn paho_1_6_exchanges_messages() {
    let Some((python, packages)) = paho_1_6("paho_1_6_exchanges_messages") else {
        return;
    };
    exchange_each(PAHO_VERSIONS, || {
        Program::at(python.clone())
            .env("PYTHONPATH", &packages)
            .arg(script("paho/interop.py"))
    });
}

#[test]
fn paho_2_exchanges_messages() {
    let Some(python) = paho_python("paho_2_exchanges_messages") else {
        return;
    };
    exchange_each(PAHO_VERSIONS, || {
        Program::at(python.clone()).arg(script("paho/interop.py"))
    });
}
