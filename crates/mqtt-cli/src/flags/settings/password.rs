//! The password of the client, and the places from which it is read: a file, a credential of systemd, a command, the
//! terminal or the variable `MQTT_PASSWORD`.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mqtt_client::session::Printable;

use crate::exit_status::{Class, Status};
use crate::failure::Failure;
use crate::flags::options_file::others_can_read;
use crate::output::messages::warn;
use crate::password_prompt::ask_password;
use crate::wording::{shown, system_text};

/// Maximum length of a password, which is that of binary data in MQTT.
const MAXIMUM_PASSWORD: u64 = 65535;

/// The settings of the password.
#[derive(Debug, Default)]
pub(crate) struct PasswordSettings {
    given: Option<Bytes>,
    source: Option<PasswordSource>,
    /// Set if the next password replaces those of an earlier source of settings, such as the options file.
    is_replaced: bool,
}

/// A place from which a password is read.
#[derive(Debug)]
pub(crate) enum PasswordSource {
    File(PathBuf),
    /// The name of a credential of systemd.
    Credential(OsString),
    /// A command and its arguments.
    Command(OsString, Vec<OsString>),
    Prompt,
}

impl PasswordSettings {
    /// Sets the password.
    pub(crate) fn set(&mut self, password: Bytes) {
        self.replace_earlier();
        self.given = Some(password);
    }

    /// Sets the place from which the password is read.
    pub(crate) fn set_source(&mut self, source: PasswordSource) {
        self.replace_earlier();
        self.source = Some(source);
    }

    /// Ends a source of settings: a password of the next one overrides all passwords so far.
    pub(super) fn end_source(&mut self) {
        self.is_replaced = true;
    }

    fn replace_earlier(&mut self) {
        if std::mem::take(&mut self.is_replaced) {
            *self = Self::default();
        }
    }

    /// Returns the password that was given, or reads it from its place. Without either, returns the value of
    /// MQTT_PASSWORD if there is a user name. A command must end within `timeout`, and before the deadline of `-W`.
    ///
    /// # Errors
    /// If the password cannot be read.
    pub(super) fn read(
        &self,
        user_name: Option<&str>,
        host: &str,
        timeout: Duration,
        deadline: Option<Instant>,
    ) -> Result<Option<Bytes>, Failure> {
        if let Some(password) = &self.given {
            return Ok(Some(password.clone()));
        }
        match &self.source {
            Some(PasswordSource::File(path)) => read_file(path).map(Some),
            Some(PasswordSource::Credential(name)) => read_credential(name).map(Some),
            Some(PasswordSource::Command(program, arguments)) => {
                run(program, arguments, timeout, deadline).map(Some)
            }
            Some(PasswordSource::Prompt) => prompt(user_name, host).map(Some),
            // A client without a user name does not log in. A variable that is set for other programs must not change
            // that.
            None => Ok(user_name.and_then(|_| {
                let password = std::env::var_os("MQTT_PASSWORD")?;
                Some(password.into_encoded_bytes().into())
            })),
        }
    }
}

impl PasswordSource {
    /// Returns the source for the words of a command.
    ///
    /// # Errors
    /// If there are no words.
    pub(crate) fn command(words: &[OsString]) -> Result<Self, Failure> {
        match words {
            [program, arguments @ ..] if !program.is_empty() => {
                Ok(Self::Command(program.clone(), arguments.to_vec()))
            }
            _ => Err(
                Failure::usage("The command of --password-command is empty.")
                    .with_hint("Write a program and its arguments, as in 'pass show mqtt'."),
            ),
        }
    }

    /// Returns the source for the name of a credential.
    ///
    /// # Errors
    /// If the name contains a folder. systemd accepts no such name.
    pub(crate) fn credential(name: &OsStr) -> Result<Self, Failure> {
        let is_file_name = Path::new(name).file_name() == Some(name);
        if !is_file_name {
            return Err(Failure::usage(format!(
                "Invalid credential '{}' (--password-credential): expected a name without '/'.",
                shown(name)
            )));
        }
        Ok(Self::Credential(name.to_owned()))
    }
}

/// Returns the content of a password file without the line end after it.
///
/// # Errors
/// If the file cannot be read. The encoder of CONNECT rejects a password that is too long.
fn read_file(path: &Path) -> Result<Bytes, Failure> {
    let fail = |error: io::Error| {
        let (path, text) = (path.display(), system_text(&error));
        Failure::usage(format!(
            "Unable to read password file '{path}': {text} (option --password-file)."
        ))
        .with_class(Class::NoInput)
    };
    let file = File::open(path).map_err(fail)?;
    // This is a warning and not an error, because in a container every user may have access to all files.
    if file.metadata().is_ok_and(|data| others_can_read(&data)) {
        let path = path.display();
        warn(&format!(
            "Password file '{path}' can be read by every user of this machine (chmod o-r changes that)."
        ));
    }
    content(file).map_err(fail)
}

/// Returns the content of a credential of systemd, which only this service can read.
fn read_credential(name: &OsStr) -> Result<Bytes, Failure> {
    let fail = |text: &str| {
        let name = shown(name);
        Failure::usage(format!(
            "Unable to read the credential '{name}': {text} (option --password-credential)."
        ))
        .with_class(Class::NoInput)
    };
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
        let name = shown(name);
        fail("the variable CREDENTIALS_DIRECTORY is not set").with_hint(format!(
            "systemd sets it for a service with LoadCredential={name}:PATH."
        ))
    })?;
    let file = File::open(Path::new(&folder).join(name));
    file.and_then(content)
        .map_err(|error| fail(&system_text(&error)))
}

/// Returns the content of a file without the line end after it.
fn content(file: File) -> io::Result<Bytes> {
    let mut password = Vec::new();
    // Two more bytes are read for the line end after the longest password.
    file.take(MAXIMUM_PASSWORD + 2).read_to_end(&mut password)?;
    Ok(without_line_end(password))
}

/// Removes the line end, which editors add and which is not a part of the password.
fn without_line_end(mut password: Vec<u8>) -> Bytes {
    if password.last() == Some(&b'\n') {
        password.pop();
        if password.last() == Some(&b'\r') {
            password.pop();
        }
    }
    password.into()
}

/// Runs a command and returns the first line of its output. Password managers print further data on the lines after it.
fn run(
    program: &OsStr,
    arguments: &[OsString],
    timeout: Duration,
    deadline: Option<Instant>,
) -> Result<Bytes, Failure> {
    // The arguments may be secrets, so errors name only the program.
    let fail = |text: &str| {
        let program = shown(program);
        Failure::failed(format!(
            "The command '{program}' gave no password: {text} (--password-command)."
        ))
        .with_class(Class::Configuration)
    };
    let mut command = Command::new(program);
    // Standard input may have the messages of rpub -l. Standard error is shared, so that the user sees the errors.
    command.args(arguments).stdin(Stdio::null());
    let child = command.stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| fail(&system_text(&error)))?;
    let end = Instant::now() + timeout;
    let is_last = deadline.is_some_and(|deadline| deadline < end);
    let end = deadline.map_or(end, |deadline| deadline.min(end));
    let result = first_line(&mut child, end).and_then(|password| {
        let status = wait(child, end)?;
        Ok((password, status))
    });
    match result {
        Ok((_, status)) if !status.success() => Err(fail(&status.to_string())),
        Ok((password, _)) if password.is_empty() => Err(fail("its first line is empty")),
        Ok((password, _)) => Ok(password),
        // The deadline of -W has passed. The words are mosquitto's.
        Err(error) if error.kind() == io::ErrorKind::TimedOut && is_last => {
            Err(Failure::unmarked(Status::TimedOut, "Timed out"))
        }
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            let seconds = timeout.as_secs_f64();
            let failure = fail(&format!("it did not end within {seconds} s"));
            Err(failure.with_class(Class::Temporary))
        }
        Err(error) => Err(fail(&system_text(&error))),
    }
}

/// Returns the first line of the output of a process whose standard output is a pipe. The output is read up to its end.
///
/// # Errors
/// If the pipe cannot be read. If the pipe is still open at the deadline, this function kills the process, and the kind
/// of the error is `TimedOut`.
fn first_line(child: &mut Child, deadline: Instant) -> io::Result<Bytes> {
    let Some(output) = child.stdout.take() else {
        return Ok(Bytes::new());
    };
    let (sender, receiver) = channel();
    // A pipe has no timeout for reading, so a thread reads it. After the deadline the program ends, and the thread with
    // it.
    let read = move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        let mut start = output.by_ref().take(MAXIMUM_PASSWORD + 2);
        let result = start.read_until(b'\n', &mut line);
        // The command could fail if nobody read the rest of its output.
        let result = result.and_then(|_| io::copy(&mut output, &mut io::sink()));
        let _ = sender.send(result.map(|_| without_line_end(line)));
    };
    thread::Builder::new().name("password".into()).spawn(read)?;
    let result = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    result.unwrap_or_else(|_| {
        let _ = child.kill(); // the error is that of a process that has ended
        Err(io::ErrorKind::TimedOut.into())
    })
}

/// Waits for the end of a process that has closed its standard output.
///
/// # Errors
/// If the process still runs at the deadline. It is killed, and the kind of the error is `TimedOut`.
fn wait(mut child: Child, deadline: Instant) -> io::Result<ExitStatus> {
    // Most processes end immediately after they have closed their output, and need no thread.
    if let Some(status) = child.try_wait()? {
        return Ok(status);
    }
    #[cfg(unix)]
    let process = rustix::process::Pid::from_child(&child);
    let (sender, receiver) = channel();
    let wait = move || drop(sender.send(child.wait()));
    thread::Builder::new().name("password".into()).spawn(wait)?;
    let result = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    result.unwrap_or_else(|_| {
        // The thread still waits for the process, so no other process has its number.
        #[cfg(unix)]
        let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
        Err(io::ErrorKind::TimedOut.into())
    })
}

/// Asks for the password on the terminal, which does not show it.
///
/// # Errors
/// If standard input is not a terminal. A script or a service would wait forever.
fn prompt(user_name: Option<&str>, host: &str) -> Result<Bytes, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(
            "Cannot ask for the password: standard input is not a terminal (--password-prompt).",
        )
        .with_hint(
            "Use --password-file, --password-command or --password-credential in a script.",
        ));
    }
    let host = Printable(host);
    let text = match user_name {
        Some(user_name) => format!("Password of {} at {host}: ", Printable(user_name)),
        None => format!("Password at {host}: "),
    };
    let password = ask_password(&text).map_err(|error| {
        Failure::failed(format!(
            "Cannot ask for the password: {}.",
            system_text(&error)
        ))
    })?;
    Ok(password.into())
}
