//! Hints after a mistake on the command line or in an options file, and the checks that find such a mistake. A hint
//! names the options to use. No hint repeats a value that may be a secret.

use std::ffi::OsStr;
use std::path::{MAIN_SEPARATOR, Path};

use mqtt_client::session::Printable;
use mqtt_transport::split_host_and_port;

use crate::failure::Failure;

/// The nouns of options whose values are free text, which may contain the name of an option.
const FREE_TEXT: &[&str] = &[
    "command",
    "format",
    "header",
    "message",
    "password",
    "will payload",
];

/// The nouns of options whose values are paths.
const PATHS: &[&str] = &["directory", "file", "options file", "socket path"];

/// Returns `true` if the value of an option with this noun is a path.
pub(crate) fn is_path(noun: &str) -> bool {
    PATHS.contains(&noun)
}

/// Returns the hint for a word that is neither an option nor the value of an option. The user may have forgotten the
/// option before a value.
pub(crate) fn stray_word(program: &str, word: &str) -> Option<&'static str> {
    if word.starts_with('-') {
        return None;
    }
    match program {
        "rpub" => {
            Some("Give the topic with -t and the message with -m, and quote a message with spaces.")
        }
        "rsub" => Some("Give each topic filter with -t, in quotes."),
        "rrr" => Some(
            "Give the topic with -t, the response topic with -e and the message with -m, and quote a message with spaces.",
        ),
        "rbroker" => Some("Give the configuration file with -c."),
        _ => None,
    }
}

/// Characters that text processors insert instead of a hyphen, with their names in Unicode.
const DASHES: &[(char, &str)] = &[
    ('\u{2010}', "hyphen"),
    ('\u{2011}', "non-breaking hyphen"),
    ('\u{2012}', "figure dash"),
    ('\u{2013}', "en dash"),
    ('\u{2014}', "em dash"),
    ('\u{2015}', "horizontal bar"),
    ('\u{2212}', "minus sign"),
    ('\u{FE58}', "small em dash"),
    ('\u{FE63}', "small hyphen-minus"),
    ('\u{FF0D}', "fullwidth hyphen-minus"),
];

/// The nouns of options whose values may be secrets. No error repeats such a value.
const SECRETS: &[&str] = &["header", "password", "proxy url"];

/// Checks that no word follows the value of an option that may be a secret. After an unquoted password with blanks, the
/// error about an unknown option would print a part of the password.
///
/// # Errors
/// If the next word is not an option.
pub(crate) fn check_secret(option: &str, noun: &str, next: &OsStr) -> Result<(), Failure> {
    let is_option = next.as_encoded_bytes().starts_with(b"-");
    if is_option || !SECRETS.contains(&noun) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "An unexpected word follows the value of {option}: quote a {noun} that contains spaces."
    )))
}

/// Returns the beginning of a word for an error message, without a value that may be a secret.
pub(crate) fn without_value(word: &str) -> String {
    if let Some((name, _)) = word.split_once('=') {
        return name.to_owned();
    }
    let mut letters = word.chars();
    let is_other_dash = |letter: &char| DASHES.iter().any(|(dash, _)| dash == letter);
    let dash = letters.next().filter(is_other_dash);
    match (dash, letters.next()) {
        (Some(dash), Some('P')) if letters.next().is_some() => format!("{dash}P…"),
        _ => word.to_owned(),
    }
}

/// Returns the hint for a word that starts with a dash other than the hyphen of options. `names` are those of the
/// options.
pub(crate) fn other_dash<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let is_other = |letter: char| DASHES.iter().find(|(dash, _)| *dash == letter);
    let name = word.trim_start_matches(|letter| letter == '-' || is_other(letter).is_some());
    let (dashes, _) = word.split_at(word.len() - name.len());
    let (dash, description) = dashes.chars().find_map(is_other)?;
    let code = u32::from(*dash);
    // Text processors replace the two hyphens of a long option by one long dash.
    let is_long = dashes.chars().count() > 1 || name.chars().count() > 1;
    let option = format!("{}{name}", if is_long { "--" } else { "-" });
    // A value after `=` or after the letter of a short option may be a secret, so the hint names the option only.
    let short: String = "-".chars().chain(name.chars().take(1)).collect();
    let is_short = |known: &str| dashes.chars().count() == 1 && known == short;
    let is_long = |known: &str| known == option || option.starts_with(&format!("{known}="));
    let names: Vec<_> = names.filter(|name| !name.is_empty()).collect();
    let long = names.iter().find(|known| is_long(known));
    let known = long.or_else(|| names.iter().find(|known| is_short(known)));
    let character =
        format!("'{dash}' is U+{code:04X} ({description}), which does not start an option");
    Some(match known {
        Some(known) => format!("{character}: write '{known}'."),
        None => format!("{character}: write '-' (U+002D)."),
    })
}

/// Returns the hint for an option at the end of the line whose value is missing, if the value is a text. The usual
/// cause is a value that starts with `#`: the shell takes the rest of the line as a comment.
pub(crate) fn missing_value(option: &str, noun: &str) -> Option<String> {
    let comment = "A shell takes an unquoted # as the start of a comment";
    if noun.contains("topic") {
        return Some(format!("{comment}: write {option} '#'."));
    }
    // Numbers and paths rarely start with '#'.
    let is_text = FREE_TEXT.contains(&noun);
    is_text.then(|| format!("{comment}: quote a value that starts with #."))
}

/// Checks that the value of an option in an options file does not contain a further option.
///
/// # Errors
/// If the value contains another option. In an options file the rest of a line is one value. With the line
/// `-h localhost -p 1883`, the host would be `localhost -p 1883`.
pub(crate) fn check_line(
    option: &str,
    noun: &str,
    value: &OsStr,
    is_option: impl Fn(&str) -> bool,
) -> Result<(), Failure> {
    // Option names are ASCII, so invalid UTF-8 in the value does not matter here.
    let value = value.to_string_lossy();
    let words: Vec<_> = value.split_whitespace().collect();
    // A single word may look like an option and be the value. It may also be a second flag on the line, which the
    // mosquitto tools accept.
    if FREE_TEXT.contains(&noun) || words.len() < 2 {
        return Ok(());
    }
    match words.into_iter().find(|word| is_option(word)) {
        None => Ok(()),
        Some(second) => Err(Failure::usage(format!(
            "{option} and {second} are on the same line: write each option on a line of its own."
        ))),
    }
}

/// Checks that a path does not start with the `~` of a shell.
///
/// # Errors
/// If the path starts with `~` and no such file exists. A shell replaces `~` only at the start of a word, so not in
/// `--cafile=~/ca.crt`. No shell reads the lines of an options file.
pub(crate) fn check_path(option: &str, noun: &str, value: &OsStr) -> Result<(), Failure> {
    let Some(rest) = value.to_str().and_then(|value| value.strip_prefix('~')) else {
        return Ok(());
    };
    if !is_path(noun) || !rest.starts_with(MAIN_SEPARATOR) || Path::new(value).exists() {
        return Ok(());
    }
    let text = format!(
        "Cannot find '~{rest}' ({option}): only a shell replaces '~' with the home directory."
    );
    // The hint has the whole path, so that the user can copy it to the command line.
    let hint = match std::env::var("HOME") {
        Ok(home) if !home.is_empty() => format!("Write '{home}{rest}'."),
        _ => "Write the whole path.".to_owned(),
    };
    Err(Failure::usage(text).with_hint(hint))
}

/// Checks that a value of `-h` is a host name or an address.
///
/// # Errors
/// If the value is a URL, or has a user name or a port.
pub(crate) fn check_host(host: &str) -> Result<(), Failure> {
    let shown = without_credentials(host);
    let failure = || {
        Failure::usage(format!(
            "Invalid host '{shown}': expected a host name or an IP address."
        ))
    };
    // Without this check the name lookup would fail later, and its error would not name the mistake.
    if host.contains("://") {
        return Err(failure().with_hint("Give a URL with -L, as in '-L mqtt://HOST:PORT/TOPIC'."));
    }
    if host.contains('@') {
        let hint = "Give the user name with -u and the password with -P.";
        return Err(failure().with_hint(hint));
    }
    // An IPv6 address without brackets passes this check, because `split_host_and_port` finds no port in it.
    match split_host_and_port(host) {
        Some((name, Some(port))) if is_port(port) => {
            let name = Printable(name);
            Err(failure().with_hint(format!("Give the port with -p: '-h {name} -p {port}'.")))
        }
        _ => Ok(()),
    }
}

/// Returns `true` if `text` consists of digits. A number that is too large for a port counts, too.
fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns a host or a URL for an error message, without the user name and the password before an `@`.
fn without_credentials(text: &str) -> String {
    let scheme = text.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = text.split_at(scheme);
    let rest = match rest.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => rest.to_owned(),
    };
    Printable(&(scheme.to_owned() + &rest)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_character_that_is_used_instead_of_a_hyphen() {
        let names = ["-v", "", "--verbose", "--pw"];
        let hint = |word| other_dash(word, names.into_iter());
        for (word, expected) in [
            (
                "\u{2013}v",
                "'\u{2013}' is U+2013 (en dash), which does not start an option: write '-v'.",
            ),
            (
                "\u{2014}verbose",
                "'\u{2014}' is U+2014 (em dash), which does not start an option: write '--verbose'.",
            ),
            (
                "-\u{2212}verbose",
                "'\u{2212}' is U+2212 (minus sign), which does not start an option: write '--verbose'.",
            ),
            (
                "\u{2013}\u{2013}pw=secret",
                "'\u{2013}' is U+2013 (en dash), which does not start an option: write '--pw'.",
            ),
            (
                "\u{2013}vsecret",
                "'\u{2013}' is U+2013 (en dash), which does not start an option: write '-v'.",
            ),
            (
                "-\u{2013}",
                "'\u{2013}' is U+2013 (en dash), which does not start an option: write '-' (U+002D).",
            ),
        ] {
            assert_eq!(hint(word).as_deref(), Some(expected), "{word}");
        }
        for word in ["-v", "--nonsense", "word", "a\u{2013}b", ""] {
            assert_eq!(hint(word), None, "{word}");
        }
    }

    #[test]
    fn a_host_has_no_port_and_no_scheme() {
        for host in [
            "localhost",
            "10.0.0.1",
            "::1",
            "[::1]",
            "fe80::1%eth0",
            "fe80::1:1883",
            "a:b",
            "",
        ] {
            assert!(check_host(host).is_ok(), "{host}");
        }
        for (host, shown) in [
            ("localhost:1883", "localhost:1883"),
            ("[::1]:1883", "[::1]:1883"),
            ("mqtt://host", "mqtt://host"),
            ("mqtt://me:secret@host:1883", "mqtt://…@host:1883"),
            ("me:secret@host:1883", "…@host:1883"),
        ] {
            let text = check_host(host).unwrap_err().error.to_string();
            assert!(text.contains(&format!("'{shown}'")), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn a_line_of_an_options_file_has_one_option() {
        let is_option = |word: &str| matches!(word, "-h" | "-p" | "--port" | "-d");
        let check = |noun, value: &str| check_line("-h", noun, OsStr::new(value), is_option);
        for value in ["localhost", "-p", "a b", "a -x b", "a-p 1"] {
            assert!(check("host", value).is_ok(), "{value}");
        }
        assert!(check("message", "turn -p on").is_ok());
        for value in [
            "localhost -p 1883",
            "localhost\t--port 1",
            "-p 1883",
            "a -d",
        ] {
            assert!(check("host", value).is_err(), "{value}");
        }
    }
}
