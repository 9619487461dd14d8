//! Attacks a running rbroker, and mosquitto if it is installed, while a bystander measures its round trips. `cargo
//! xtask siege` runs this program. It prints the report in Markdown on standard output, and one line for each row on
//! standard error. Its exit status is 1 if a row exceeds a limit.
//!
//! `scenario` describes an attack, `attacks` has one entry for each attack, `ground` starts a broker and measures it,
//! `bystander` is the client whose service is measured, and `report` checks the limits and prints the table.

mod attacks;
mod bystander;
mod ground;
mod report;
mod scenario;

use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tests::{Kind, find};

use report::Row;
use scenario::{Scale, Scenario};

/// The options of the command line.
struct Options {
    scale: Scale,
    only: Vec<String>,
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if arguments == ["--list"] {
        for scenario in attacks::all() {
            println!("{:5} {}", scenario.name, scenario.title);
        }
        return ExitCode::SUCCESS;
    }
    let Some(options) = parse(&arguments) else {
        eprintln!("usage: siege [--list] [--quick | --long] [--only NAME]...");
        return ExitCode::from(2);
    };
    allow_many_connections();
    let rows: Vec<_> = attacks::all()
        .into_iter()
        .filter(|scenario| options.wants(scenario))
        .map(|scenario| run(&scenario, options.scale))
        .collect();
    println!("{}", report::markdown(&rows, options.scale));
    let failures: Vec<_> = rows.iter().flat_map(Row::failures).collect();
    for failure in &failures {
        eprintln!("FAILED {failure}");
    }
    if failures.is_empty() && !rows.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn parse(arguments: &[String]) -> Option<Options> {
    let mut options = Options {
        scale: Scale::Full,
        only: Vec::new(),
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--quick" => options.scale = Scale::Quick,
            "--long" => options.scale = Scale::Long,
            "--only" => options.only.push(rest.next()?.to_lowercase()),
            _ => return None,
        }
    }
    Some(options)
}

impl Options {
    fn wants(&self, scenario: &Scenario) -> bool {
        let is_named = self.only.contains(&scenario.name.to_lowercase());
        match self.scale {
            _ if !self.only.is_empty() => is_named,
            Scale::Quick => scenario.is_quick,
            Scale::Full | Scale::Long => true,
        }
    }
}

/// Runs one scenario against each broker.
fn run(scenario: &Scenario, scale: Scale) -> Row {
    // The short form checks counts only, which need no comparison with mosquitto.
    let has_mosquitto = scale != Scale::Quick && find("mosquitto").is_some();
    let theirs = has_mosquitto.then(|| ground::run(scenario, Kind::Mosquitto, scale));
    let ours = ground::run(scenario, Kind::Rbroker, scale);
    let row = Row::new(
        scenario,
        scale,
        ours.expect("rbroker runs each scenario"),
        theirs.flatten(),
    );
    eprintln!("{}", row.line());
    row
}

/// Raises the limit of file descriptors of this program, which the brokers inherit.
fn allow_many_connections() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
