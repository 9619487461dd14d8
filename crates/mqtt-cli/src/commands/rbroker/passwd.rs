//! `rbroker passwd`: writes password files, with the options of mosquitto_passwd. The hashing is in `mqtt_broker`.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};
use mqtt_broker::{Hashing, PasswordHash};

use super::subcommand;
use crate::exit_status::Status;
use crate::failure::Failure;
use crate::flags::help::{Body, Help, Section};
use crate::output::standard_streams::StandardInput;
use crate::password_prompt::ask_password;

/// The help text before and after the list of options.
pub(crate) const HELP: Help = Help {
    about: "Write a password file for rbroker",
    usage: &[
        "rbroker passwd [-c] [-H HASH] FILE USER",
        "rbroker passwd -b [-c] [-H HASH] FILE USER PASSWORD",
        "rbroker passwd -D FILE USER",
        "rbroker passwd -U [-H HASH] FILE",
    ],
    subcommands: &[],
    examples: &[
        (
            "Create a password file with one user, and enter the password",
            "rbroker passwd -c users.txt alice",
        ),
        (
            "Add a user, or change the password",
            "rbroker passwd users.txt bob",
        ),
        (
            "Take the password from another program",
            "pwgen 20 1 | rbroker passwd users.txt carol",
        ),
        ("Remove a user", "rbroker passwd -D users.txt bob"),
    ],
    notes: &[
        Section {
            heading: "Use of the file",
            body: Body::Text(
                "rbroker reads the file if its configuration has the line 'password_file FILE', \
                 and again after SIGHUP. Each line of the file is USER:HASH.",
            ),
        },
        Section {
            heading: "Exit status",
            body: Body::Rows(&[&[
                ("0", "The file was written"),
                ("1", "The file is unchanged, because of the printed error"),
            ]]),
        },
    ],
};

/// Returns the command line.
pub(crate) fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .short(name.chars().next())
            .action(ArgAction::SetTrue)
            .help_heading(subcommand::OPTIONS)
            .help(help)
    };
    let replace = "Create the file. An existing file is replaced";
    let on_command_line =
        "Take PASSWORD from the command line, where other users of this machine can see it";
    Command::new("rbroker passwd")
        .disable_help_flag(true)
        .arg(flag("c", replace))
        .arg(flag("b", on_command_line))
        .arg(flag("D", "Remove the user").conflicts_with_all(["b", "c", "U"]))
        .arg(flag("U", "Hash all plain passwords in the file").conflicts_with_all(["b", "c"]))
        .arg(
            Arg::new("H")
                .short('H')
                .value_name("HASH")
                .value_parser(["argon2id", "sha512-pbkdf2"])
                .default_value("sha512-pbkdf2")
                .help_heading(subcommand::OPTIONS)
                .help("Hash function: sha512-pbkdf2 or argon2id [default: sha512-pbkdf2]"),
        )
        .arg(subcommand::help_option())
        .args(operands())
}

/// Returns the words that are not options.
fn operands() -> [Arg; 3] {
    let operand = |name: &'static str, help: &'static str| {
        let upper = name.to_uppercase();
        let arg = Arg::new(name).value_name(upper);
        arg.help_heading("Arguments").help(help)
    };
    let password = "Password, with -b only. Otherwise rbroker asks for it, or reads it from \
                    standard input if that is not a terminal";
    [
        operand("file", "Password file")
            .required(true)
            .value_parser(clap::value_parser!(PathBuf)),
        operand("user", "User name").required_unless_present("U"),
        operand("password", password),
    ]
}

/// Runs the subcommand. `arguments` are the words after `passwd`.
pub(super) fn run(arguments: &[OsString]) -> Result<Status, Failure> {
    let Some(matches) = subcommand::matches(command(), HELP, arguments)? else {
        return Ok(Status::Success);
    };
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    // clap has rejected all other names.
    let hashing = match text("H") {
        Some("argon2id") => Hashing::Argon2id,
        _ => Hashing::Pbkdf2,
    };
    let Some(path) = matches.get_one::<PathBuf>("file") else {
        return Err(Failure::usage("The name of the password file is missing."));
    };
    // Like mosquitto_passwd, -c does not read an existing file, so a file that cannot be parsed can be replaced.
    let file = if matches.get_flag("c") {
        PasswordFile::default()
    } else {
        PasswordFile::read(path)?
    };
    let user = text("user").unwrap_or_default();
    // A ':' ends the name in the file, a line break ends the line, and '#' starts a comment.
    if user.contains([':', '\n', '\r']) || user.starts_with('#') {
        return Err(Failure::usage(
            "Invalid user name: must not contain ':' or a line break, and must not start with '#'.",
        ));
    }
    let file = if matches.get_flag("U") {
        file.with_hashes(path, hashing)?
    } else if matches.get_flag("D") {
        file.without(user).ok_or_else(|| {
            Failure::failed(format!(
                "There is no user '{user}' in '{}'.",
                path.display()
            ))
        })?
    } else {
        let password = match (matches.get_flag("b"), text("password")) {
            (true, Some("")) => return Err(empty_password()),
            (true, Some(password)) => password.to_owned(),
            (true, None) => return Err(Failure::usage("-b needs a password after the user name.")),
            (false, Some(_)) => {
                return Err(Failure::usage("A password on the command line needs -b."));
            }
            (false, None) => ask()?,
        };
        file.with(user, &hash(&password, hashing)?)
    };
    file.write(path)?;
    Ok(Status::Success)
}

/// Returns the failure for an empty password. The broker rejects an empty password at every login, so the account would
/// be useless.
fn empty_password() -> Failure {
    Failure::failed("The password is empty.")
}

fn hash(password: &str, hashing: Hashing) -> Result<String, Failure> {
    let hash = PasswordHash::new(password.as_bytes(), hashing);
    let hash = hash.map_err(|error| Failure::failed(format!("{error}.")))?;
    Ok(hash.to_string())
}

/// Reads a password from a terminal or from standard input. A terminal does not show the password, so the user types it
/// twice.
fn ask() -> Result<String, Failure> {
    let fail =
        |error: std::io::Error| Failure::failed(format!("Cannot read the password: {error}."));
    if !std::io::stdin().is_terminal() {
        let mut line = String::new();
        BufReader::new(StandardInput)
            .read_line(&mut line)
            .map_err(fail)?;
        // The line end of a piped password is not a part of it.
        return match line.trim_end_matches(['\n', '\r']) {
            "" => Err(empty_password()),
            password => Ok(password.to_owned()),
        };
    }
    let first = ask_password("Password: ").map_err(fail)?;
    let second = ask_password("Reenter password: ").map_err(fail)?;
    if first != second {
        return Err(Failure::failed("Passwords do not match."));
    }
    if first.is_empty() {
        return Err(empty_password());
    }
    Ok(first)
}

/// The lines of a password file. Lines that are not users, such as comments, are preserved.
#[derive(Debug, Default)]
struct PasswordFile(Vec<String>);

impl PasswordFile {
    fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let shown = path.display();
            let text = format!("Unable to open file {shown} for reading: {error}.");
            match error.kind() {
                std::io::ErrorKind::NotFound => {
                    Failure::failed(text).with_hint("Use -c to create a new file.")
                }
                _ => Failure::failed(text),
            }
        })?;
        Ok(Self(text.lines().map(Into::into).collect()))
    }

    fn with(mut self, user: &str, hash: &str) -> Self {
        let line = format!("{user}:{hash}");
        match self.0.iter_mut().find(|line| is_of(line, user)) {
            Some(old) => *old = line,
            None => self.0.push(line),
        }
        self
    }

    fn without(mut self, user: &str) -> Option<Self> {
        let before = self.0.len();
        self.0.retain(|line| !is_of(line, user));
        (self.0.len() < before).then_some(self)
    }

    fn with_hashes(mut self, path: &Path, hashing: Hashing) -> Result<Self, Failure> {
        for (index, line) in self.0.iter_mut().enumerate() {
            match line.split_once(':') {
                Some((user, "")) if !line.starts_with('#') => {
                    let (number, path) = (index + 1, path.display());
                    return Err(Failure::failed(format!(
                        "The password is empty in line {number} of '{path}' (user '{user}')."
                    )));
                }
                // A hash starts with '$'. Passwords that are hashed already stay, so that -U can run twice on the same
                // file.
                Some((user, password)) if !line.starts_with('#') && !password.starts_with('$') => {
                    *line = format!("{user}:{}", hash(password, hashing)?);
                }
                _ => {}
            }
        }
        Ok(self)
    }

    /// Replaces the file as a whole. The new file is written beside the old file and then renamed, so that a broker
    /// that reloads never reads an incomplete file, and a crash never leaves one.
    fn write(&self, path: &Path) -> Result<(), Failure> {
        let fail = |error: std::io::Error| {
            Failure::failed(format!("Cannot write '{}': {error}.", path.display()))
        };
        let mut text = self.0.join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let new = PathBuf::from(name);
        // A file of this name is left from a crash, or another user has created it in order to read the hashes.
        let _ = std::fs::remove_file(&new);
        let mut options = std::fs::OpenOptions::new();
        // `create_new` fails if another process creates the file in between.
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&new).map_err(fail)?;
        if let Ok(data) = std::fs::metadata(path) {
            file.set_permissions(data.permissions()).map_err(fail)?;
            // The broker may run as another user than the user of this command, so the new file keeps the owner of the
            // old one.
            #[cfg(unix)]
            {
                use std::os::unix::fs::MetadataExt;
                std::os::unix::fs::fchown(&file, Some(data.uid()), Some(data.gid()))
                    .map_err(fail)?;
            }
        }
        file.write_all(text.as_bytes()).map_err(fail)?;
        // The content is on disk before the rename. Otherwise a crash could leave an empty file in the place of the old
        // file.
        file.sync_all().map_err(fail)?;
        std::fs::rename(&new, path).map_err(fail)
    }
}

fn is_of(line: &str, user: &str) -> bool {
    let name = line.split_once(':').map(|(name, _)| name.trim());
    !line.starts_with('#') && name == Some(user)
}
