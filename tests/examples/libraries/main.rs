//! Compares two client libraries: runs the programs of `comparison/` against brokers. `cargo xtask libraries` builds
//! the programs, starts this example, and copies its tables into a README.
//!
//! ```text
//! libraries check NAME=FOLDER ...     the six programs of each library, against rbroker
//! libraries measure NAME=FOLDER ...   time and CPU time for publishing and receiving, against mosquitto and rbroker
//! ```

mod load;
mod programs;

use std::path::PathBuf;
use std::process::ExitCode;

/// A client library.
struct Library {
    name: String,
    /// The folder with the programs of the library.
    folder: PathBuf,
}

impl Library {
    fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let task = arguments.next();
    let libraries: Vec<_> = arguments
        .filter_map(|argument| {
            let (name, folder) = argument.split_once('=')?;
            Some(Library {
                name: name.into(),
                folder: folder.into(),
            })
        })
        .collect();
    match (task.as_deref(), &libraries[..]) {
        (Some("check"), [_, ..]) => libraries.iter().for_each(programs::check),
        (Some("measure"), [ours, theirs]) => print!("{}", load::table(ours, theirs)),
        _ => {
            eprintln!("expected check or measure, and NAME=FOLDER for each library");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
