//! Runs programs for tests. Each wait for a program has a deadline, and each program is killed when the test ends.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, OnceLock};
use std::thread;

use crate::collected::{Collected, collect};
use crate::{PATIENCE, find, programs};

/// A program and its arguments.
#[derive(Debug)]
pub struct Program {
    command: Command,
    name: String,
    input: Vec<u8>,
}

/// A program that has ended.
#[derive(Debug)]
pub struct Finished {
    /// The exit status; 128 plus the number of the signal if a signal ended the program.
    pub status: i32,
    /// The bytes of standard output.
    pub output: Vec<u8>,
    /// The text of standard error.
    pub errors: String,
}

/// A running program. Dropping this value kills the program.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    output: Arc<Collected>,
    errors: Arc<Collected>,
}

/// Returns the folder for control sockets, which is beside the programs. A broker that a test kills leaves its socket,
/// which must not stay in `/run`.
fn runtime_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let test = std::env::current_exe().expect("a test knows its file");
        let profile = test.ancestors().nth(2).expect("it is below target/PROFILE");
        let folder = profile.join("run");
        std::fs::create_dir_all(&folder).expect("the target folder can be written");
        folder
    })
}

impl Program {
    /// Selects one of our programs, or another program that is installed.
    pub fn new(name: &str) -> Self {
        let own = programs().join(name);
        let path = if own.is_file() {
            own
        } else {
            find(name).unwrap_or_else(|| PathBuf::from(name))
        };
        Self::at(path)
    }

    /// Selects the program in this file.
    pub fn at(path: PathBuf) -> Self {
        let name = path.display().to_string();
        let mut command = Command::new(path);
        // The variables of the developer would name a broker.
        for variable in ["MQTT_URL", "MQTT_HOST", "RPUBSUB_PROFILE"] {
            command.env_remove(variable);
        }
        command
            .env_remove("RUST_BACKTRACE")
            .env("NO_COLOR", "")
            .env("XDG_RUNTIME_DIR", runtime_folder());
        Self {
            command,
            name,
            input: Vec::new(),
        }
    }

    /// Adds arguments, separated by blanks.
    pub fn args(mut self, arguments: &str) -> Self {
        self.command.args(arguments.split_whitespace());
        self
    }

    /// Adds one argument, which may contain blanks.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Removes an environment variable.
    pub fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Sets the bytes for standard input.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Sets the working folder.
    pub fn folder(mut self, path: &Path) -> Self {
        self.command.current_dir(path);
        self
    }

    /// Makes the program the leader of a process group, so that `Running::signal_group` can send signals to the group.
    pub fn in_own_group(mut self) -> Self {
        #[cfg(unix)]
        {
            use std::os::unix::process::CommandExt;
            self.command.process_group(0);
        }
        self
    }

    /// Runs the program to its end.
    pub fn run(self) -> Finished {
        self.start().wait()
    }

    /// Starts the program. Its standard input ends after the bytes of `input`.
    pub fn start(mut self) -> Running {
        let input = std::mem::take(&mut self.input);
        let (running, mut stdin) = self.start_with_input();
        // The input is written in a thread, because a program that does not read would block the test.
        thread::spawn(move || {
            let _ = stdin.write_all(&input);
        });
        running
    }

    /// Starts the program. The test writes its standard input.
    pub fn start_with_input(mut self) -> (Running, std::process::ChildStdin) {
        let all = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = match all.spawn() {
            Ok(child) => child,
            Err(error) => panic!("{} does not start: {error}", self.name),
        };
        let output = collect(child.stdout.take().expect("piped"));
        let errors = collect(child.stderr.take().expect("piped"));
        let stdin = child.stdin.take().expect("piped");
        (
            Running {
                name: self.name,
                child,
                output,
                errors,
            },
            stdin,
        )
    }
}

impl Running {
    /// Waits until the program has ended and has closed its output.
    pub fn wait(mut self) -> Finished {
        let (sender, receiver) = channel();
        let collected = (Arc::clone(&self.output), Arc::clone(&self.errors));
        thread::spawn(move || {
            collected.0.wait_for_end();
            collected.1.wait_for_end();
            let _ = sender.send(());
        });
        self.wait_for(&receiver);
        let status = self.child.wait().expect("a child can be waited for");
        Finished {
            status: exit_status(status),
            output: self.output.bytes(),
            errors: String::from_utf8_lossy(&self.errors.bytes()).into_owned(),
        }
    }

    fn wait_for(&self, ended: &Receiver<()>) {
        if let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(PATIENCE) {
            panic!(
                "{} does not end; it printed {:?} and said {:?}",
                self.name,
                String::from_utf8_lossy(&self.output.bytes()),
                String::from_utf8_lossy(&self.errors.bytes()),
            );
        }
    }

    /// Waits until standard error contains this text. Returns standard error so far.
    pub fn wait_for_error(&self, text: &str) -> String {
        self.errors
            .wait_for(text)
            .unwrap_or_else(|so_far| panic!("{} does not say {text:?}, but {so_far:?}", self.name))
    }

    /// Waits until standard error contains this text `count` times.
    pub fn wait_for_errors(&self, text: &str, count: usize) {
        let enough = |so_far: &str| so_far.matches(text).count() >= count;
        if let Err(so_far) = self.errors.wait_until(enough) {
            panic!(
                "{} does not say {text:?} {count} times, but {so_far:?}",
                self.name
            );
        }
    }

    /// Waits until standard error contains this text or has ended. Returns `true` if it contains the text.
    pub fn says(&self, text: &str) -> bool {
        self.errors.wait_for(text).is_ok()
    }

    /// Waits until standard output contains this text. Returns standard output so far.
    pub fn wait_for_output(&self, text: &str) -> String {
        self.output.wait_for(text).unwrap_or_else(|so_far| {
            panic!("{} does not print {text:?}, but {so_far:?}", self.name)
        })
    }

    /// Waits until standard output satisfies this condition. Returns standard output so far: as an error if the program
    /// has ended or the deadline has passed before.
    pub fn wait_for_output_until(
        &self,
        condition: impl Fn(&str) -> bool,
    ) -> Result<String, String> {
        self.output.wait_until(condition)
    }

    /// Returns `true` if standard output contains this text now.
    pub fn has_printed(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.output.bytes()).contains(text)
    }

    /// Waits until standard output contains this text. Fails the test if standard output does not grow for
    /// [`PATIENCE`].
    pub fn wait_while_it_prints(&self, text: &str) {
        let mut printed = 0;
        while let Err(so_far) = self.output.wait_for(text) {
            let said = self.error_so_far();
            let is_alive = so_far.len() > printed;
            assert!(
                is_alive,
                "{} prints nothing more; it said {said:?}",
                self.name
            );
            printed = so_far.len();
        }
    }

    /// Returns standard error so far.
    pub fn error_so_far(&self) -> String {
        String::from_utf8_lossy(&self.errors.bytes()).into_owned()
    }

    /// Returns `true` if the program has ended.
    pub fn has_ended(&mut self) -> bool {
        let status = self.child.try_wait().expect("a child can be asked");
        status.is_some()
    }

    /// Returns the process identifier.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills the program, so that it cannot clean up.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends the signal of this name to the program.
    pub fn signal(&self, name: &str) {
        // wine ends a program at SIGTERM. SIGINT becomes Ctrl-C, which ends the programs in the same way.
        let is_wine = std::env::var_os("RPUBSUB_WINE").is_some();
        let name = if is_wine && name == "TERM" {
            "INT"
        } else {
            name
        };
        let id = self.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.is_ok_and(|status| status.success()));
    }

    /// Sends the signal of this name to the process group of the program, which must be the leader of the group.
    pub fn signal_group(&self, name: &str) {
        let group = format!("-{}", self.id());
        let _ = Command::new("kill")
            .args(["-s", name, "--", &group])
            .status();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Finished {
    /// Returns standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// Fails the test if the exit status is not 0.
    pub fn success(self) -> Self {
        assert_eq!(self.status, 0, "it said {:?}", self.errors);
        self
    }
}

fn exit_status(status: std::process::ExitStatus) -> i32 {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        status
            .code()
            .or_else(|| status.signal().map(|signal| 128 + signal))
            .expect("it has ended")
    }
    #[cfg(not(unix))]
    status.code().expect("it has ended")
}
