//! Commands that the user gives: handlers, and the command of `--on-silence`. No shell reads their words, and the
//! password of the client is not in their environment.

use std::ffi::{OsStr, OsString};
use std::process::Command;

/// The variable of the password, which the command does not get.
const PASSWORD: &str = "MQTT_PASSWORD";

/// The variable of the URL, which the command gets without a password.
const URL: &str = "MQTT_URL";

/// Creates a command. `words` are the program and its arguments.
pub(super) fn command(words: &[OsString]) -> Command {
    let mut words = words.iter();
    // No shell reads these words, so nothing in a topic or payload can become a command.
    let mut command = Command::new(words.next().map_or_else(OsString::new, OsString::clone));
    command.args(words).env_remove(PASSWORD);
    if let Some(url) = std::env::var_os(URL) {
        match without_password(&url) {
            Some(url) => command.env(URL, url),
            None => command.env_remove(URL),
        };
    }
    command
}

/// Returns the URL without the password in it. Returns `None` if the place of the password is not certain: an unencoded
/// password may contain a slash.
fn without_password(url: &OsStr) -> Option<String> {
    let url = url.to_str()?;
    let start = url.find("://").map_or(0, |scheme| scheme + 3);
    let (scheme, rest) = url.split_at(start);
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once('@') {
        _ if path.contains('@') => None,
        Some((credentials, address)) => {
            let user_name = credentials.split(':').next().unwrap_or_default();
            Some(format!("{scheme}{user_name}@{address}{path}"))
        }
        None => Some(url.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_keeps_everything_but_its_password() {
        for (url, expected) in [
            ("mqtt://me:s%2Fec:r@et@host:1/a", Some("mqtt://me@host:1/a")),
            ("mqtts://me@host", Some("mqtts://me@host")),
            ("ws://host:80/path", Some("ws://host:80/path")),
            ("me:secret@host", Some("me@host")),
            ("mqtt://:secret@[::1]:1883", Some("mqtt://@[::1]:1883")),
            ("mqtt://me:sec/ret@host", None),
            ("mqtt://me:s@ec/ret@host", None),
        ] {
            assert_eq!(without_password(OsStr::new(url)).as_deref(), expected);
        }
    }
}
