//! paho-mqtt against rbroker: a client that is not ours in anything.

use std::path::Path;

use tests::{Broker, Program, paho_python};

#[test]
fn paho_exchanges_messages_through_rbroker() {
    let Some(python) = paho_python("paho_exchanges_messages_through_rbroker") else {
        return;
    };
    let broker = Broker::start("");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("paho/exchange.py");
    for version in ["31", "311", "5"] {
        let port = broker.port.to_string();
        let command = Program::at(python.clone())
            .arg(&script)
            .arg(&port)
            .arg(version);
        let finished = command.run().success();
        assert!(finished.text().ends_with("all passed\n"), "{finished:?}");
    }
}
