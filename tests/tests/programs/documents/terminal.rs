//! A shell in which the commands of a page run. Standard output and standard error are one stream.

use std::io::Write;
use std::path::Path;
use std::process::ChildStdin;

use tests::{Program, Running, find};

use super::masks::matches;

/// The shell prints this line after each command.
const MARK: &str = "--- the command has ended ---";

/// Selects if a command must end before its output is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Yes,
    No,
}

/// A terminal of a page: a shell and its output.
pub(crate) struct Terminal {
    shell: Running,
    input: ChildStdin,
    /// Number of bytes of output that were compared already.
    compared: usize,
    /// Set while a command runs.
    is_busy: bool,
}

impl Terminal {
    pub(crate) fn new(folder: &Path) -> Self {
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}:/usr/sbin", folder.join("bin").display());
        let run = folder.join("run").display().to_string();
        let home = folder.join("home").display().to_string();
        let (shell, mut input) = Program::at(find("bash").expect("bash is installed"))
            .args("--norc --noprofile")
            .env("PATH", &path)
            .env("HOME", &home)
            .env("XDG_RUNTIME_DIR", &run)
            .env("TZ", "UTC")
            .env("LC_ALL", "C.UTF-8")
            .without("XDG_CONFIG_HOME")
            .folder(&folder.join("work"))
            .in_own_group()
            .start_with_input();
        // The shell must survive the Ctrl-C that ends its command.
        input
            .write_all(b"exec 2>&1; trap : INT; status=0\n")
            .expect("the shell reads");
        Self {
            shell,
            input,
            compared: 0,
            is_busy: false,
        }
    }

    /// Starts a command. In the command, `$?` is the status of the previous command.
    pub(crate) fn type_command(&mut self, command: &str) -> Result<(), String> {
        if self.is_busy {
            return Err("the command before it still runs".to_owned());
        }
        self.is_busy = true;
        let text = format!(
            "(exit $status); {{\n{command}}} </dev/null; status=$?; printf '\\n%s\\n' '{MARK}'\n"
        );
        self.input
            .write_all(text.as_bytes())
            .map_err(|error| error.to_string())
    }

    /// Presses Ctrl-C.
    pub(crate) fn interrupt(&self) -> Result<(), String> {
        self.watch()?;
        self.shell.signal_group("INT");
        Ok(())
    }

    /// Checks that a command is running, because more of its output is expected.
    pub(crate) fn watch(&self) -> Result<(), String> {
        if self.is_busy {
            Ok(())
        } else {
            Err("no command runs in this terminal".to_owned())
        }
    }

    /// Waits until the output since the last comparison equals the text of the document.
    pub(crate) fn expect(
        &mut self,
        shown: &str,
        ended: Ended,
        readable: impl Fn(&str) -> String,
    ) -> Result<(), String> {
        let mark = format!("\n{MARK}\n");
        let compared = self.compared;
        let new = |so_far: &str| so_far.get(compared..).unwrap_or_default().to_owned();
        let is_there = |so_far: &str| {
            let new = new(so_far);
            let has_ended = new.contains(&mark);
            let is_whole_line = has_ended || new.is_empty() || new.ends_with('\n');
            let is_as_far = is_whole_line && (has_ended || ended == Ended::No);
            is_as_far && matches(shown, &readable(&new.replacen(&mark, "", 1)))
        };
        let result = self.shell.wait_for_output_until(is_there);
        let so_far = match result {
            Ok(so_far) => so_far,
            Err(so_far) => {
                let output = readable(&new(&so_far));
                return Err(format!(
                    "the document shows\n{shown}\nbut the output is\n{output}"
                ));
            }
        };
        self.is_busy = !new(&so_far).contains(&mark);
        self.compared = so_far.len();
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Programs in the background belong to the process group of the shell.
        self.shell.signal_group("KILL");
    }
}
