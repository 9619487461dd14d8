//! Runs the examples. Each example starts its own broker. Cargo builds the examples with the tests.

use std::path::PathBuf;
use std::process::Command;

fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    profile.join("examples").join(file)
}

#[test]
fn examples_run_to_their_end() {
    for (name, expected) in [
        ("publish", "the broker has 'kitchen/door'"),
        ("subscribe", "kitchen/temperature: b\"21.5\""),
        ("tls", "published with TLS"),
        ("request_response", "b\"HELLO\""),
        ("worker", "all workers have ended"),
        ("custom_loop", "has acknowledged the message"),
        #[cfg(feature = "async")]
        ("asynchronous", "received 3 messages"),
        ("bench", "messages in a second"),
    ] {
        let output = Command::new(example(name)).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {text}{error}");
        assert!(text.contains(expected), "{name}: {text}{error}");
    }
}
