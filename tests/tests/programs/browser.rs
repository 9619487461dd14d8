//! MQTT.js in a page of a browser exchanges messages with rbroker over WebSocket.

use std::path::Path;
use std::process::{Command, Stdio};

use tests::{Broker, find, mqtt_js, skip};

#[test]
fn a_page_exchanges_messages_over_websocket() {
    let test = "a_page_exchanges_messages_over_websocket";
    let Some(browser) = find("chromium") else {
        return skip(test, "chromium is not installed");
    };
    let Some((_, modules)) = mqtt_js(test) else {
        return;
    };
    let script = modules.join("mqtt/dist/mqtt.min.js");
    let broker = Broker::start("protocol websockets");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("mqttjs/page.html");
    let page = std::fs::read_to_string(page).unwrap();
    let page = page
        .replace("SCRIPT", &format!("file://{}", script.display()))
        .replace("PORT", &broker.port.to_string());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page.html");
    std::fs::write(&file, page).unwrap();
    let result = broker.program("rsub");
    let result = result.args("--ws -i r -t result -C 1 -W 50").start();
    broker.wait_for_log("Sending SUBACK to r");
    let mut browser = Command::new(browser)
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--remote-debugging-port=0",
        ])
        .arg("--allow-file-access-from-files")
        .arg(format!(
            "--user-data-dir={}",
            folder.path().join("profile").display()
        ))
        .arg(format!("file://{}", file.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let result = result.wait();
    let _ = browser.kill();
    let _ = browser.wait();
    let expected: Vec<_> = [4, 5]
        .iter()
        .flat_map(|version| {
            (0..3).map(move |qos| format!("version {version} QoS {qos}: 70000 bytes"))
        })
        .collect();
    let expected = format!("{}\nall passed\n", expected.join("\n"));
    assert_eq!(
        (result.status, result.text()),
        (0, expected),
        "{}",
        result.errors
    );
}
