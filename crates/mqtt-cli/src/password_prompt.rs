//! The question for a password on the terminal.

use std::io;

/// Asks for a password on the terminal, which does not show it.
///
/// # Errors
/// If the process has no terminal.
pub(crate) fn ask_password(prompt: &str) -> io::Result<String> {
    // rpassword hides the input only after it has printed the prompt. Without this, the terminal would show the password of
    // a program that types as soon as it reads the prompt.
    #[cfg(unix)]
    let _hidden = HiddenInput::begin()?;
    rpassword::prompt_password(prompt)
}

/// A terminal that does not show its input until this value is dropped.
#[cfg(unix)]
struct HiddenInput {
    terminal: std::fs::File,
    before: rustix::termios::Termios,
}

#[cfg(unix)]
impl HiddenInput {
    fn begin() -> io::Result<Self> {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        // rpassword reads from the same terminal, which need not be the standard input.
        let terminal = std::fs::File::open("/dev/tty")?;
        let before = tcgetattr(&terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Now, &hidden)?;
        Ok(Self { terminal, before })
    }
}

#[cfg(unix)]
impl Drop for HiddenInput {
    fn drop(&mut self) {
        use rustix::termios::{OptionalActions, tcsetattr};
        // If the terminal is gone, nobody needs its modes.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}
