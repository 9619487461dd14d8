//! The run of one page: a temporary folder, the terminals of the page, and the free ports that replace the ports of the
//! text.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use regex_lite::Regex;
use tempfile::TempDir;
use tests::{Program, find, free_port, paho_python, programs, skip};

use super::masks::mask;
use super::page::{Action, Block, Step};
use super::terminal::{Ended, Terminal};

/// The ports that the documents use. In commands and files each is replaced by a free port, and in output the free port
/// is replaced by it.
const PORTS: &[u16] = &[1883, 1884, 8080, 8883];

/// Our programs, which use port 1883 if no argument sets another port.
const PROGRAMS: &[&str] = &["rpub", "rsub", "rrr", "rbroker"];

/// The state of a page whose blocks are being run.
pub(crate) struct Session {
    /// The first field, because the programs must end before their folder is removed.
    terminals: BTreeMap<String, Terminal>,
    folder: TempDir,
    ports: Vec<(u16, u16)>,
}

impl Session {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folders can be made");
        let ports: Vec<_> = PORTS.iter().map(|port| (*port, free_port())).collect();
        for name in ["bin", "home", "run", "work"] {
            fs::create_dir(folder.path().join(name)).expect("it is ours");
        }
        for name in PROGRAMS {
            write_wrapper(&folder.path().join("bin").join(name), name, ports[0].1);
        }
        Self {
            terminals: BTreeMap::new(),
            folder,
            ports,
        }
    }

    /// Runs a block and returns the number of commands in it.
    pub(crate) fn run(&mut self, block: &Block) -> Result<usize, String> {
        match block {
            Block::File { name, text } => {
                let path = self.folder.path().join("work").join(name);
                fs::write(path, self.replace_ports(text)).map_err(|error| error.to_string())?;
                Ok(0)
            }
            Block::NotRun { .. } => Ok(0),
            Block::Console {
                terminal,
                stays,
                needs,
                steps,
            } => {
                if let Some(needs) = needs {
                    if !self.provide(needs) {
                        skip("documents", &format!("{needs} is not installed"));
                        return Ok(0);
                    }
                }
                let mut commands = 0;
                for (index, step) in steps.iter().enumerate() {
                    let stays = *stays && index + 1 == steps.len();
                    commands += usize::from(matches!(step.action, Action::Type(_)));
                    self.step(terminal, step, stays)
                        .map_err(|error| format!("line {}: {error}", step.line))?;
                }
                Ok(commands)
            }
        }
    }

    fn step(&mut self, name: &str, step: &Step, stays: bool) -> Result<(), String> {
        let before = self.brokers();
        let command = match &step.action {
            Action::Type(command) => self.replace_ports(command),
            _ => String::new(),
        };
        let folder = self.folder.path();
        let ports: Vec<_> = self.ports.clone();
        let terminal = self
            .terminals
            .entry(name.to_owned())
            .or_insert_with(|| Terminal::new(folder));
        match step.action {
            Action::Type(_) => terminal.type_command(&command)?,
            Action::Interrupt => terminal.interrupt()?,
            Action::Watch => terminal.watch()?,
        }
        let ended = match (&step.action, stays) {
            (Action::Type(_), true) | (Action::Watch, _) => Ended::No,
            _ => Ended::Yes,
        };
        let readable = |output: &str| mask(&restore_ports(&ports, output));
        terminal.expect(&mask(&step.output), ended, readable)?;
        match step.action {
            Action::Type(_) if stays => self.wait_for_change(&before, &command),
            _ => Ok(()),
        }
    }

    /// Returns the number of subscriptions of each broker that runs on this page.
    fn brokers(&self) -> BTreeMap<String, String> {
        let sockets = fs::read_dir(self.folder.path().join("run")).expect("it is ours");
        let sockets = sockets.flatten().map(|entry| entry.path());
        sockets
            .map(|socket| {
                let status = Program::new("rbroker")
                    .args("status --json --socket")
                    .arg(&socket)
                    .run();
                (socket.display().to_string(), subscriptions(&status.text()))
            })
            .filter(|(_, count)| !count.is_empty())
            .collect()
    }

    /// Waits until a program that keeps running has started: a broker answers `rbroker status`, or has one more client
    /// that has subscribed.
    fn wait_for_change(
        &self,
        before: &BTreeMap<String, String>,
        command: &str,
    ) -> Result<(), String> {
        let names = ["rbroker", "rsub", "rrr", "python"];
        if !names.iter().any(|name| command.contains(name)) {
            return Ok(());
        }
        let deadline = std::time::Instant::now() + tests::PATIENCE;
        while self.brokers() == *before {
            if std::time::Instant::now() > deadline {
                return Err(format!(
                    "{command:?} neither starts a broker nor subscribes"
                ));
            }
        }
        Ok(())
    }

    fn replace_ports(&self, text: &str) -> String {
        let replace = |text: String, (shown, free): &(u16, u16)| {
            number(*shown)
                .replace_all(&text, free.to_string())
                .into_owned()
        };
        self.ports.iter().fold(text.to_owned(), replace)
    }

    /// Provides a program that is not always installed. Returns `false` if it is missing.
    fn provide(&self, name: &str) -> bool {
        if name != "paho" {
            return find(name).is_some();
        }
        let Some(python) = paho_python("documents") else {
            return false;
        };
        let wrapper = format!("#!/bin/sh\nexec '{}' -u \"$@\"\n", python.display());
        write_program(&self.folder.path().join("bin/python3"), &wrapper);
        true
    }
}

fn restore_ports(ports: &[(u16, u16)], text: &str) -> String {
    let restore = |text: String, (shown, free): &(u16, u16)| {
        number(*free)
            .replace_all(&text, shown.to_string())
            .into_owned()
    };
    ports.iter().fold(text.to_owned(), restore)
}

fn number(port: u16) -> Regex {
    Regex::new(&format!(r"\b{port}\b")).expect("a number is a valid pattern")
}

/// Returns the number of subscriptions in the output of `rbroker status --json`. The result is empty if no broker
/// answered.
fn subscriptions(status: &str) -> String {
    let number = |name: &str| {
        let (_, rest) = status.split_once(name)?;
        let (_, rest) = rest.split_once("\"count\":")?;
        rest.split([',', '}']).next()
    };
    number("\"subscriptions\"").unwrap_or_default().to_owned()
}

/// Writes a script that runs our program, with a free port unless an argument names a port, URL, socket or
/// configuration.
fn write_wrapper(path: &Path, name: &str, port: u16) {
    let program = programs().join(name);
    let program = program.display();
    let arguments = match name {
        "rbroker" => format!("\"$@\" -p {port}"),
        _ => format!("-p {port} \"$@\""),
    };
    let script = format!(
        "#!/bin/bash\nfor word in \"$@\"; do\n  case \"$word\" in\n    \
         -p | *.conf | -L | --unix | --socket | --help* | --version | passwd | profiles) exec '{program}' \"$@\" ;;\n  \
         esac\ndone\nexec '{program}' {arguments}\n"
    );
    write_program(path, &script);
}

fn write_program(path: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, script).expect("it is ours");
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(path, executable).expect("it is ours");
}
