//! Measures the programs that publish and subscribe. Their peer is the cheap broker of `peer.rs`; for TLS it is
//! mosquitto.

use std::path::PathBuf;

use mqtt_codec::QoS;
use tests::{Broker, Certificates, Kind, Validity};

use crate::Row;
use crate::measure::{Sample, measure};
use crate::peer::serve;

const SHOTS: usize = 50;

fn ours(name: &str) -> PathBuf {
    tests::programs().join(name)
}

fn theirs(name: &str) -> PathBuf {
    tests::find(name).expect("mosquitto is installed")
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for qos in 0..3 {
        let run = |program: PathBuf| move || one_shots(&program, qos);
        let name = format!("one message, QoS {qos}");
        let (ours, theirs) = (run(ours("rpub")), run(theirs("mosquitto_pub")));
        rows.push(Row::measure(&name, SHOTS, ours, theirs));
    }
    rows.push(over_tls());
    for (size, count, qos) in [
        (64, 200_000, 0),
        (64, 60_000, 1),
        (64, 60_000, 2),
        (4096, 20_000, 0),
    ] {
        let input = lines(size, count);
        let path = input.path().to_owned();
        let run = |program: PathBuf| {
            let path = path.clone();
            move || publish_lines(&program, &path, count, qos)
        };
        let name = format!("`-l`, {count} lines of {size} bytes, QoS {qos}");
        let (ours, theirs) = (run(ours("rpub")), run(theirs("mosquitto_pub")));
        rows.push(Row::measure(&name, count, ours, theirs));
    }
    for (count, qos, options) in [
        (200_000, 0, ""),
        (200_000, 0, "-v"),
        (100_000, 0, "-F %j"),
        (65_000, 1, ""),
        (65_000, 2, ""),
    ] {
        let run = |program: PathBuf| move || subscribe(&program, count, qos, options);
        let name = format!("subscribe {options} to {count} messages of 64 bytes, QoS {qos}");
        let (ours, theirs) = (run(ours("rsub")), run(theirs("mosquitto_sub")));
        rows.push(Row::measure(&name.replace("  ", " "), count, ours, theirs));
    }
    rows
}

/// Runs [`SHOTS`] programs one after the other, each of which publishes one message.
fn one_shots(program: &PathBuf, qos: u8) -> Sample {
    let (address, server) = serve(SHOTS, None);
    let arguments = format!("-h 127.0.0.1 -p {} -t t -m 23.0 -q {qos}", address.port());
    let sample = in_a_row((0..SHOTS).map(|_| measure(program, &arguments, None)));
    let published = server.join().expect("it counts");
    Sample {
        is_complete: sample.is_complete && published == SHOTS,
        ..sample
    }
}

/// Measures one message over TLS, from the handshake to the end of the program.
fn over_tls() -> Row {
    let certificates = Certificates::new();
    certificates.server("server", &["localhost", "127.0.0.1"], Validity::Now);
    let path = |name: &str| certificates.path(name).display().to_string();
    let (certificate, key) = (path("server.crt"), path("server.key"));
    let settings = format!("certfile {certificate}\nkeyfile {key}");
    let broker = Broker::start_silent(Kind::Mosquitto, &settings);
    let options = format!("--cafile {} -q 1 -t t -m 23.0", path("ca.crt"));
    let arguments = format!("-h 127.0.0.1 -p {} {options}", broker.port);
    let run = |program: PathBuf| {
        let arguments = &arguments;
        move || in_a_row((0..SHOTS).map(|_| measure(&program, arguments, None)))
    };
    let (ours, theirs) = (run(ours("rpub")), run(theirs("mosquitto_pub")));
    Row::measure("one message over TLS, QoS 1", SHOTS, ours, theirs)
}

/// Returns the sum of the measurements of programs that ran one after the other.
fn in_a_row(samples: impl Iterator<Item = Sample>) -> Sample {
    let nothing = Sample {
        wall: 0.0,
        cpu: 0.0,
        memory: 0,
        is_complete: true,
    };
    samples.fold(nothing, |sum, sample| Sample {
        wall: sum.wall + sample.wall,
        cpu: sum.cpu + sample.cpu,
        memory: sum.memory.max(sample.memory),
        is_complete: sum.is_complete && sample.is_complete,
    })
}

fn lines(size: usize, count: usize) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("there is room");
    let line = [vec![b'x'; size], b"\n".to_vec()].concat();
    std::fs::write(file.path(), line.repeat(count)).expect("there is room");
    file
}

fn publish_lines(program: &PathBuf, input: &PathBuf, count: usize, qos: u8) -> Sample {
    let (address, server) = serve(1, None);
    let arguments = format!(
        "-h 127.0.0.1 -p {} -t bench/topic/1 -l -q {qos}",
        address.port()
    );
    let sample = measure(program, &arguments, Some(input));
    let published = server.join().expect("it counts");
    Sample {
        is_complete: sample.is_complete && published == count,
        ..sample
    }
}

fn subscribe(program: &PathBuf, count: usize, qos: u8, options: &str) -> Sample {
    let granted = QoS::from_value(qos).expect("0, 1 or 2");
    let (address, server) = serve(1, Some((count, granted)));
    let port = address.port();
    let arguments = format!("-h 127.0.0.1 -p {port} -t bench/# -q {qos} -C {count} {options}");
    let sample = measure(program, &arguments, None);
    let _ = server.join();
    sample
}
