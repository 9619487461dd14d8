//! Runs rows with both sets of tools and compares the results.

use std::fmt::Debug;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tests::{Broker, From, Kind, Program, Proxy, find, has_mosquitto, programs};

use super::packets::packets;
use super::row::{Row, split};

/// The observable result of a tool.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    output: String,
    status: i32,
    /// The first line of standard error, if the exit status is not 0.
    error: String,
    /// The packets of each connection.
    packets: Vec<Vec<String>>,
}

/// Runs all rows. Fails if a row without a listed difference differs, or if a row with a listed difference does not.
pub(crate) fn check(test: &str, rows: &[Row]) {
    if !has_mosquitto(test) || find("mosquitto_rr").is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("temporary folders can be made");
    let links = ours(folder.path());
    let mut failures = Vec::new();
    for row in rows {
        let mut ours = run(row, &links.join(row.tool));
        let theirs = run(row, &find(row.tool).expect("it is installed"));
        if row.difference == Some("DISCONNECT") && ours != theirs {
            // Only the DISCONNECT at the end may differ.
            let last = ours.packets.last_mut().and_then(Vec::pop);
            let is_disconnect = last.is_some_and(|packet| packet.starts_with("Disconnect("));
            if is_disconnect && ours == theirs {
                continue;
            }
        }
        match (ours == theirs, row.difference) {
            (true, None) => {}
            (true, Some(difference)) => failures.push(format!(
                "{} {}: no difference {difference:?}: {ours:#?}",
                row.tool, row.words
            )),
            (false, None | Some("DISCONNECT")) => failures.push(format!(
                "{} {}{}",
                row.tool,
                row.words,
                differences(&ours, &theirs)
            )),
            (false, Some(_)) => {}
        }
    }
    let text = failures.join("\n\n");
    assert!(failures.is_empty(), "{} rows:\n{text}", failures.len());
}

/// Returns a text with the parts that differ.
fn differences(ours: &Seen, theirs: &Seen) -> String {
    let part = |name: &str, ours: &dyn Debug, theirs: &dyn Debug| {
        let (ours, theirs) = (format!("{ours:#?}"), format!("{theirs:#?}"));
        if ours == theirs {
            String::new()
        } else {
            format!("\n  {name}: ours {ours}\n  {name}: theirs {theirs}")
        }
    };
    part("output", &ours.output, &theirs.output)
        + &part("status", &ours.status, &theirs.status)
        + &part("error", &ours.error, &theirs.error)
        + &part("packets", &ours.packets, &theirs.packets)
}

/// Creates links to our programs with the names of the mosquitto tools. Returns their folder.
fn ours(folder: &Path) -> PathBuf {
    for (ours, theirs) in [
        ("rpub", "mosquitto_pub"),
        ("rsub", "mosquitto_sub"),
        ("rrr", "mosquitto_rr"),
    ] {
        symlink(programs().join(ours), folder.join(theirs)).expect("links can be made");
    }
    folder.to_owned()
}

fn run(row: &Row, program: &Path) -> Seen {
    let broker = Broker::start_silent(Kind::Mosquitto, row.broker);
    let proxy = Proxy::start(broker.address());
    for words in &row.before {
        rpub(&broker, words);
    }
    let home = tempfile::tempdir().expect("temporary folders can be made");
    let config = home.path().join(".config");
    std::fs::create_dir(&config).expect("folders can be made");
    if !row.file.is_empty() {
        let text = row
            .file
            .replace("{port}", &proxy.address.port().to_string());
        std::fs::write(config.join(row.tool), text).expect("files can be written");
    }
    let mut command = Program::at(program.to_owned())
        .without("XDG_CONFIG_HOME")
        .env("HOME", &home.path().to_string_lossy())
        .without("RUST_BACKTRACE")
        .env("TZ", "EST5EDT")
        .input(row.input.clone());
    let port = proxy.address.port().to_string();
    let words = if row.words.contains("{port}") || row.file.contains("{port}") {
        row.words.replace("{port}", &port)
    } else {
        format!("-h 127.0.0.1 -p {port} {}", row.words)
    };
    for word in split(&words.replace("{home}", &home.path().to_string_lossy())) {
        command = command.arg(word);
    }
    let running = command.start();
    if !row.then.is_empty() {
        // The subscription works when the server has sent SUBACK (packet type 9).
        let has_answered = |bytes: &[u8]| has_packet(bytes, 9);
        assert!(proxy.wait_for(From::Server, has_answered), "{row:?}");
        row.then.iter().for_each(|words| rpub(&broker, words));
    }
    if !row.answer.is_empty() {
        let has_asked = |bytes: &[u8]| has_packet(bytes, 3);
        assert!(proxy.wait_for(From::Client, has_asked), "{row:?}");
        row.answer.iter().for_each(|words| rpub(&broker, words));
    }
    let finished = running.wait();
    let error = match finished.status {
        0 => "",
        _ => {
            let mut lines = finished.errors.lines();
            lines.find(|line| !line.is_empty()).unwrap_or_default()
        }
    };
    let text = |text: &str| {
        if row.any_digits {
            text.replace(|digit: char| digit.is_ascii_digit(), "0")
        } else {
            text.to_owned()
        }
    };
    Seen {
        output: text(&escaped(&finished.output)),
        status: finished.status,
        error: error.trim_end_matches('.').to_owned(),
        packets: proxy.sent().iter().map(|bytes| packets(bytes)).collect(),
    }
}

fn rpub(broker: &Broker, words: &str) {
    let mut command = broker.program("rpub");
    for word in split(words) {
        command = command.arg(word);
    }
    command.run().success();
}

/// Returns the bytes with escapes for unprintable ones.
fn escaped(bytes: &[u8]) -> String {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines.map(|line| line.escape_ascii().to_string()).collect()
}

/// Returns `true` if these whole packets contain one of this packet type.
fn has_packet(mut bytes: &[u8], packet_type: u8) -> bool {
    while let [first, rest @ ..] = bytes {
        if first >> 4 == packet_type {
            return true;
        }
        let mut length = 0;
        let mut shift = 0;
        let mut rest = rest;
        loop {
            let [digit, others @ ..] = rest else {
                return false;
            };
            rest = others;
            length |= usize::from(digit & 0x7F) << shift;
            shift += 7;
            if digit & 0x80 == 0 {
                break;
            }
        }
        bytes = rest.get(length..).unwrap_or_default();
    }
    false
}
