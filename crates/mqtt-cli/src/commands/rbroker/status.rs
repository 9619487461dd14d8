//! The subcommand `rbroker status`: asks a broker on this machine for its state, and prints the state for people or as
//! JSON. The broker sends lines of a name, a tab and a value; this module does not compute any number.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, Command};
use mqtt_broker::{BrokerConfig, ControlSocket};

use super::control_socket::{folders, name};
use super::serve::settings::DEFAULT_PORT;
use super::subcommand;
use crate::exit_status::Status;
use crate::failure::Failure;
use crate::flags::help::{Body, Help, Section};
use crate::output::standard_streams;
use crate::wording::system_text;

/// The help text before and after the list of options.
pub(crate) const HELP: Help = Help {
    about: "Print the state of a broker on this machine: clients, queues, memory and rates",
    usage: &["rbroker status [OPTIONS]"],
    subcommands: &[],
    examples: &[
        ("Ask the broker at port 1883", "rbroker status"),
        (
            "Ask the broker of a configuration",
            "rbroker status -c /etc/rbroker.conf",
        ),
        (
            "Print the number of connected clients",
            "rbroker status --json | jq .clients.connected",
        ),
    ],
    notes: &[
        Section {
            heading: "Control socket",
            body: Body::Text(
                "rbroker answers at a Unix socket that only its own user can open. The port or \
                 the configuration ('control_socket PATH') names the socket. The names of --json \
                 are those of the topics below $SYS/broker.",
            ),
        },
        Section {
            heading: "Exit status",
            body: Body::Rows(&[&[
                ("0", "The broker answered"),
                ("1", "No broker of this user answered"),
                ("3", "The configuration file of -c is invalid"),
            ]]),
        },
    ],
};

/// The time in which the broker must answer.
#[cfg(unix)]
const PATIENCE: Duration = Duration::from_secs(5);

/// Maximum length of an answer in bytes. A longer answer is cut, because it cannot come from a broker.
#[cfg(unix)]
const MAXIMUM_ANSWER: u64 = 1024 * 1024;

/// Returns the command line.
pub(crate) fn command() -> Command {
    let option = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .help_heading(subcommand::OPTIONS)
            .help(help)
    };
    let path = |arg: Arg| arg.value_parser(clap::value_parser!(PathBuf));
    let port = option(
        "port",
        "First port that the broker listens on [default: 1883]",
    )
    .short('p')
    .value_name("PORT")
    .value_parser(clap::value_parser!(u16));
    let file = option("config-file", "Configuration file of the broker")
        .short('c')
        .value_name("FILE");
    let socket = option("socket", "Control socket of the broker").value_name("PATH");
    let json = option("json", "Print JSON, for scripts").action(ArgAction::SetTrue);
    Command::new("rbroker status")
        .disable_help_flag(true)
        .args([port, path(file), path(socket), json])
        .arg(subcommand::help_option())
}

/// Runs the subcommand. `arguments` are the words after `status`.
pub(super) fn run(arguments: &[OsString]) -> Result<Status, Failure> {
    let Some(matches) = subcommand::matches(command(), HELP, arguments)? else {
        return Ok(Status::Success);
    };
    let settings = match matches.get_one::<PathBuf>("config-file") {
        Some(path) => {
            BrokerConfig::read(path).map_err(|error| Failure::new(Status::Configuration, error))?
        }
        None => BrokerConfig::new(),
    };
    let first = settings.listeners.first();
    // The broker names its socket after the port of its first listener.
    let of_config = first.map_or(DEFAULT_PORT, |listener| listener.port);
    let port = matches.get_one("port").copied().unwrap_or(of_config);
    let socket = match matches.get_one::<PathBuf>("socket") {
        Some(path) => ControlSocket::At(path.clone()),
        None => settings.control_socket,
    };
    let paths = match socket {
        ControlSocket::At(path) => vec![path],
        ControlSocket::Default => folders()
            .iter()
            .map(|folder| folder.join(name(port)))
            .collect(),
        ControlSocket::None => {
            let text = "Cannot ask the broker: 'control_socket none' in its configuration turns the control socket off.";
            return Err(Failure::failed(text));
        }
    };
    let values = ask(&paths)?;
    let text = if matches.get_flag("json") {
        json(&values)
    } else {
        text(&values)
    };
    standard_streams::print(&text).map_err(|error| {
        Failure::failed(format!(
            "Cannot write to standard output: {}.",
            system_text(&error)
        ))
    })?;
    Ok(Status::Success)
}

/// The answer of the broker: names and values, in the order of the answer.
type Values = Vec<(String, String)>;

/// Asks the broker at the first socket that answers.
///
/// # Errors
/// If no socket answers.
#[cfg(unix)]
fn ask(paths: &[PathBuf]) -> Result<Values, Failure> {
    let mut errors = Vec::new();
    // All folders are tried, because the broker may run as root or as this user.
    for path in paths {
        match ask_at(path) {
            Ok(values) => return Ok(values),
            Err(error) => errors.push(format!("{}: {}", path.display(), system_text(&error))),
        }
    }
    let hint =
        "The broker must run as this user. 'rbroker status -p PORT' asks a broker at another port.";
    let tried = errors.join("; ");
    Err(Failure::failed(format!("No broker answers ({tried}).")).with_hint(hint))
}

#[cfg(not(unix))]
fn ask(_: &[PathBuf]) -> Result<Values, Failure> {
    Err(Failure::failed(
        "'rbroker status' needs Unix sockets, which this system does not have.",
    ))
}

#[cfg(unix)]
fn ask_at(path: &std::path::Path) -> std::io::Result<Values> {
    use std::io::Read;

    let stream = std::os::unix::net::UnixStream::connect(path)?;
    // The broker sends its answer when a program connects, and closes the connection. So no request is sent, and the
    // answer needs no length.
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    stream.take(MAXIMUM_ANSWER).read_to_string(&mut answer)?;
    // Lines without a tab are skipped, because a newer broker may send lines of another form.
    let pair = |line: &str| {
        let (name, value) = line.split_once('\t')?;
        Some((name.to_owned(), value.to_owned()))
    };
    let values: Values = answer.lines().filter_map(pair).collect();
    if values.is_empty() {
        Err(std::io::ErrorKind::UnexpectedEof.into())
    } else {
        Ok(values)
    }
}

/// Returns the state as text for a person.
fn text(values: &Values) -> String {
    let all = |name: &str| {
        let of_name = values.iter().filter(|(other, _)| other == name);
        of_name
            .map(|(_, value)| value.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    // A value that an older broker does not send is printed as empty or 0.
    let uptime = Duration::from_secs(all("uptime").parse().unwrap_or(0));
    let mut text = format!(
        "{}, running for {} (process {})\n",
        all("version"),
        humantime::format_duration(uptime),
        all("process")
    );
    let mut line = |name: &str, words: String| {
        let _ = writeln!(text, "{name:14}{words}");
    };
    line("Listening on", all("listener"));
    line(
        "Clients",
        format!(
            "{} connected (peak {}), {} disconnected with a session",
            all("clients/connected"),
            all("clients/maximum"),
            all("clients/disconnected")
        ),
    );
    let shared = all("shared_subscriptions/count");
    line(
        "Subscriptions",
        format!("{}, {shared} of them shared", all("subscriptions/count")),
    );
    let memory = |name: &str| {
        let (count, bytes) = (all(&format!("{name}/count")), all(&format!("{name}/bytes")));
        format!("{count} messages, {bytes} bytes of memory")
    };
    line("Retained", memory("retained messages"));
    let longest = match all("queues/longest/client") {
        client if client.is_empty() => "no client has a queue".into(),
        client => format!(
            "the longest queue is that of {client}: {}",
            all("queues/longest/count")
        ),
    };
    line(
        "Queued",
        format!("{}; {longest}", memory("queued messages")),
    );
    line(
        "Buffered",
        format!(
            "{} bytes to be written, {} bytes of incomplete packets",
            all("packet/out/bytes"),
            all("packet/in/bytes")
        ),
    );
    match (all("memory/bytes"), all("memory/limit")) {
        (_, limit) if limit.is_empty() => {}
        (used, limit) => line("Memory", format!("{used} of {limit} bytes")),
    }
    match all("store/file/bytes") {
        size if size.is_empty() => {}
        size => line("Store", format!("{size} bytes")),
    }
    for (name, direction) in [("Received", "received"), ("Sent", "sent")] {
        let messages = all(&format!("publish/messages/{direction}"));
        let rate = all(&format!("load/publish/{direction}/1min"));
        let bytes = all(&format!("bytes/{direction}"));
        line(
            name,
            format!("{messages} messages ({rate} per minute), {bytes} bytes in total"),
        );
    }
    let dropped = all("publish/messages/dropped");
    line(
        "Dropped",
        format!("{dropped} messages{}", drop_reasons(values)),
    );
    text
}

/// Returns the reasons for which messages were dropped, each with its number.
fn drop_reasons(values: &Values) -> String {
    let of_reason = values.iter().filter_map(|(name, count)| {
        let reason = name.strip_prefix(DROPPED)?;
        (count != "0").then(|| format!("{count} {}", reason.replace('_', " ")))
    });
    let reasons: Vec<_> = of_reason.collect();
    if reasons.is_empty() {
        String::new()
    } else {
        format!(" ({})", reasons.join(", "))
    }
}

/// The prefix of the names of the counts of dropped messages, one for each reason. The name without the slash is the
/// sum of these counts.
const DROPPED: &str = "publish/messages/dropped/";

/// A value, or a level with the values and levels below it.
enum Node {
    Value(String),
    Level(BTreeMap<String, Self>),
}

/// Returns the state as JSON. Each level of a name becomes an object.
fn json(values: &Values) -> String {
    let mut root = BTreeMap::new();
    let mut listeners = Vec::new();
    for (name, value) in values {
        match name.as_str() {
            "listener" => listeners.push(quoted(value)),
            // `dropped` is the sum of these counts, and a JSON value cannot be both a number and an object. So the
            // counts go to an object with another name.
            name if name.starts_with(DROPPED) => {
                let name = name.replacen("dropped/", "dropped_by_reason/", 1);
                insert(&mut root, &name, literal(value));
            }
            _ => insert(&mut root, name, literal(value)),
        }
    }
    insert(&mut root, "listeners", format!("[{}]", listeners.join(",")));
    let mut text = String::new();
    write_level(&root, &mut text);
    text + "\n"
}

/// Inserts a value below the levels of its name. A value is dropped if one of its levels is a value already.
fn insert(level: &mut BTreeMap<String, Node>, name: &str, value: String) {
    match name.split_once('/') {
        None => {
            level.insert(name.to_owned(), Node::Value(value));
        }
        Some((first, rest)) => {
            let empty = || Node::Level(BTreeMap::new());
            if let Node::Level(below) = level.entry(first.to_owned()).or_insert_with(empty) {
                insert(below, rest, value);
            }
        }
    }
}

fn write_level(level: &BTreeMap<String, Node>, text: &mut String) {
    text.push('{');
    for (index, (name, node)) in level.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(text, "{comma}{}:", quoted(name));
        match node {
            Node::Value(value) => text.push_str(value),
            Node::Level(below) => write_level(below, text),
        }
    }
    text.push('}');
}

/// Returns a number unchanged and any other value as a JSON string. The broker's digits stay, such as `0.50`.
fn literal(value: &str) -> String {
    match serde_json::from_str::<serde_json::Number>(value) {
        Ok(_) => value.to_owned(),
        Err(_) => quoted(value),
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_of_a_status_name_is_a_json_object() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let values = vec![
            pair("version", "rbroker \"1\""),
            pair("clients/total", "3"),
            pair("load/sent/1min", "0.50"),
            pair("load/sent/5min", "12.00"),
            pair("listener", "a"),
            pair("listener", "b"),
            pair("publish/messages/dropped", "5"),
            pair("publish/messages/dropped/expired", "2"),
            pair("queues/longest/client", "007"),
        ];
        assert_eq!(
            json(&values),
            "{\"clients\":{\"total\":3},\"listeners\":[\"a\",\"b\"],\
             \"load\":{\"sent\":{\"1min\":0.50,\"5min\":12.00}},\
             \"publish\":{\"messages\":{\"dropped\":5,\"dropped_by_reason\":{\"expired\":2}}},\
             \"queues\":{\"longest\":{\"client\":\"007\"}},\"version\":\"rbroker \\\"1\\\"\"}\n"
        );
    }
}
