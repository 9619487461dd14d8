//! Measures the cost of a message in rbroker while something else grows by factors of ten: a table, and a plot for each
//! row.

use std::fmt::Write as _;

use mqtt_codec::QoS;
use tests::{Broker, Kind, Peer};

use crate::brokers::{LOAD, Load, SETTINGS};

/// Number of measurements of each figure. The smallest counts, because disturbances only add time.
const ROUNDS: usize = 5;

/// The amount, and the cost of a message with this amount.
type Figures = Vec<(usize, f64)>;

pub(crate) fn growth() -> String {
    let of_payload = payloads();
    let per_byte = of_payload
        .iter()
        .map(|(size, cost)| (*size, cost / *size as f64));
    let per_byte = per_byte.collect();
    let rows = [
        ("messages", messages()),
        ("connections beside", connections()),
        ("subscriptions beside", subscriptions()),
        ("bytes of payload, QoS 1, for each byte", per_byte),
    ];
    let head = "| What grows | CPU for each message, as a multiple of the least |\n| --- | --- |\n";
    let mut text = head.to_owned();
    for (name, figures) in &rows {
        add_row(&mut text, name, figures);
    }
    add_row(&mut text, "bytes of payload, QoS 1", &of_payload);
    text += &largest();
    for (name, figures) in &rows {
        add_plot(&mut text, name, figures);
    }
    text
}

/// Returns each amount with its cost as a multiple of the smallest cost. The multiple is NaN where a message was lost.
fn multiples(figures: &Figures) -> impl Iterator<Item = (usize, f64)> {
    let costs = figures.iter().map(|(_, cost)| *cost);
    let least = costs.fold(f64::NAN, f64::min);
    figures
        .iter()
        .map(move |(count, cost)| (*count, cost / least))
}

fn add_row(text: &mut String, name: &str, figures: &Figures) {
    let cells = multiples(figures).map(|(count, multiple)| format!("{count}: {multiple:.2}"));
    let cells: Vec<_> = cells.collect();
    let _ = writeln!(text, "| {name} | {} |", cells.join(", "));
}

/// Appends a plot in Mermaid, which GitHub and other viewers of Markdown draw.
fn add_plot(text: &mut String, name: &str, figures: &Figures) {
    let marks: Vec<_> = multiples(figures)
        .map(|(count, _)| format!("\"{count}\""))
        .collect();
    let points: Vec<_> = multiples(figures)
        .map(|(_, multiple)| format!("{multiple:.2}"))
        .collect();
    let top = multiples(figures)
        .map(|(_, multiple)| multiple)
        .fold(2.0, f64::max)
        .ceil();
    let _ = write!(
        text,
        "
```mermaid
xychart-beta
    title \"{name}\"
    x-axis [{}]
    y-axis \"CPU\" 0 --> {top}
    line [{}]
```
",
        marks.join(", "),
        points.join(", "),
    );
}

fn messages() -> Figures {
    let counts = [10_000, 100_000, 1_000_000];
    let cost = |messages| (messages, cost(Load { messages, ..LOAD }, |_| ()));
    counts.map(cost).into()
}

fn connections() -> Figures {
    let counts = [1, 10, 100, 1000, 10_000];
    let connect = |broker: &Broker, count: usize| -> Vec<Peer> {
        let names = (0..count).map(|number| format!("idle{number}"));
        names
            .map(|name| Peer::connect(broker.address(), &name))
            .collect()
    };
    counts
        .map(|count| (count, cost(LOAD, |broker| connect(broker, count))))
        .into()
}

/// Measures with subscriptions of one other client, none of which matches the topic of the messages.
fn subscriptions() -> Figures {
    const BATCH: usize = 100;
    let counts = [100, 1000, 10_000, 100_000, 1_000_000];
    let subscribe = |broker: &Broker, count: usize| -> Peer {
        let mut peer = Peer::connect(broker.address(), "other");
        for first in (0..count).step_by(BATCH) {
            let numbers = first..first + BATCH;
            let filters = numbers.map(|number| format!("bench/{}/{number}/+", number % 1000));
            peer.subscribe_all(filters, QoS::AtMostOnce);
        }
        peer
    };
    counts
        .map(|count| (count, cost(LOAD, |broker| subscribe(broker, count))))
        .into()
}

/// Measures payloads with QoS 1: the broker could drop large messages of QoS 0 for which it has no room.
fn payloads() -> Figures {
    let sizes = [
        (64, 100_000),
        (1024, 100_000),
        (16 * 1024, 20_000),
        (256 * 1024, 2000),
        (4 << 20, 100),
        (64 << 20, 6),
    ];
    let qos = QoS::AtLeastOnce;
    let load = |size, messages| Load {
        size,
        messages,
        qos,
        ..LOAD
    };
    let cost = |(size, messages)| (size, cost(load(size, messages), |_| ()));
    sizes.map(cost).into()
}

/// Returns the CPU time for each message after `prepare` has run, or NaN if a message was lost.
fn cost<T>(load: Load, prepare: impl Fn(&Broker) -> T) -> f64 {
    let broker = start();
    let beside = prepare(&broker);
    let samples: Vec<_> = (0..ROUNDS).map(|_| load.run(&broker).0).collect();
    drop(beside);
    if samples.iter().all(|sample| sample.is_complete) {
        let costs = samples.iter().map(|sample| sample.cpu);
        costs.fold(f64::INFINITY, f64::min) / load.messages as f64
    } else {
        f64::NAN
    }
}

fn start() -> Broker {
    let settings = format!("{SETTINGS}\nmax_packet_size 268435455");
    Broker::start_silent(Kind::Rbroker, &settings)
}

/// Measures the memory for one message with the largest payload that MQTT permits.
fn largest() -> String {
    let (size, qos) = ((256 << 20) - 64, QoS::AtLeastOnce);
    let messages = 1;
    let (sample, _) = Load {
        size,
        qos,
        messages,
        ..LOAD
    }
    .run(&start());
    let passes = if sample.is_complete {
        "passes"
    } else {
        "**is lost**"
    };
    let times = sample.memory as f64 * 1024.0 / size as f64;
    format!(
        "\nA payload of {size} bytes {passes}; the broker's memory is then {times:.1} times as much.\n"
    )
}
