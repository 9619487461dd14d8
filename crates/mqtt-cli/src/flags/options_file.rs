//! Reads options files. Each line has one option. The format is that of the mosquitto tools: the option, one space, and
//! the rest of the line as the value. `parser.rs` applies the lines before the arguments.

use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use crate::exit_status::Class;
use crate::failure::Failure;
use crate::flags::hints;
use crate::output::messages::warn;
use crate::wording::system_text;

/// Maximum size of an options file, and of the file of profiles. The whole file is read into memory, and a larger file
/// is a mistake.
const MAXIMUM_SIZE: u64 = 1024 * 1024;

/// A line of an options file that has an option.
#[derive(Debug)]
pub(crate) struct Line {
    /// The option and its value. A property is split into its words.
    pub(crate) words: Vec<OsString>,
    /// The file and the number of the line, for error messages.
    pub(crate) place: String,
}

/// Returns the lines of the file that `-o` names. Without `-o`, returns the lines of the first file that exists. The
/// candidates have the names of the program and of its mosquitto tool (see [`names`]).
///
/// # Errors
/// If the file of `-o` cannot be read, or if another file exists but is too large or cannot be read: without its
/// options the program could send a password to the wrong broker. A candidate that this user has no permission to read
/// counts as absent.
pub(crate) fn read(
    called: &str,
    program: &str,
    named: Option<&OsStr>,
) -> Result<Vec<Line>, Failure> {
    if let Some(path) = named {
        hints::check_path("-o", "options file", path)?;
        let path = Path::new(path);
        let text = content(path).map_err(|error| {
            Failure::usage(format!(
                "Unable to read options file '{}': {} (option -o).",
                path.display(),
                system_text(&error)
            ))
            .with_class(Class::NoInput)
        })?;
        let lines = lines(&text, path);
        warn_if_exposed(path, &lines);
        return Ok(lines);
    }
    let Some(folder) = folder() else {
        return Ok(Vec::new());
    };
    // Only the first file that exists is read. The file of the mosquitto tool is for users who have no file for ours.
    for name in names(called, program) {
        let path = folder.join(name);
        match content(&path) {
            Ok(text) => {
                let lines = lines(&text, &path);
                warn_if_exposed(&path, &lines);
                return Ok(lines);
            }
            // The user did not name this file, so a missing file is not an error.
            Err(error) if is_absent(&error) => {}
            Err(error) => {
                let path = path.display();
                let text = system_text(&error);
                return Err(Failure::usage(format!(
                    "Unable to read options file '{path}': {text}."
                ))
                .with_class(Class::NoInput));
            }
        }
    }
    Ok(Vec::new())
}

/// Warns of a file that contains a password and that every user of this machine can read.
fn warn_if_exposed(path: &Path, lines: &[Line]) {
    // -P may have its value in the same word.
    let is_password = |line: &Line| {
        let option = line.words.first().and_then(|word| word.to_str());
        option.is_some_and(|option| option == "--pw" || option.starts_with("-P"))
    };
    // The permissions are read only if the file has a password. Most files have none.
    let is_exposed = || std::fs::metadata(path).is_ok_and(|data| others_can_read(&data));
    if lines.iter().any(is_password) && is_exposed() {
        let path = path.display();
        warn(&format!(
            "Options file '{path}' contains a password and can be read by every user of this machine (chmod o-r changes that)."
        ));
    }
}

/// Returns `true` for a regular file that every user of this machine can read.
pub(crate) fn others_can_read(data: &Metadata) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        data.is_file() && data.permissions().mode() & 0o004 != 0
    }
    #[cfg(not(unix))]
    {
        let _ = data; // only Unix has these permission bits
        false
    }
}

/// Returns `true` if the file or its folder does not exist, or this user has no permission to read it.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied
    )
}

/// Returns the folder of options files: `$XDG_CONFIG_HOME` or `~/.config`, and on Windows the user's folder.
pub(super) fn folder() -> Option<PathBuf> {
    if cfg!(windows) {
        return variable("USERPROFILE");
    }
    variable("XDG_CONFIG_HOME").or_else(|| variable("HOME").map(|home| home.join(".config")))
}

/// Returns the folder that an environment variable names.
pub(super) fn variable(name: &str) -> Option<PathBuf> {
    // The XDG specification requires that an empty variable counts as unset.
    let value = std::env::var_os(name);
    value.filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Returns the names of the files to try, for example `rsub` and then `mosquitto_sub`. If a link gives the program the
/// name of a mosquitto tool, only the file of that tool is read.
fn names(called: &str, program: &str) -> Vec<String> {
    let theirs = match program {
        "rpub" => "mosquitto_pub",
        "rsub" => "mosquitto_sub",
        _ => "mosquitto_rr",
    };
    let names = if called == theirs {
        vec![theirs]
    } else {
        vec![program, theirs]
    };
    // On Windows the files of the mosquitto tools have this ending.
    let suffix = if cfg!(windows) { ".conf" } else { "" };
    names
        .into_iter()
        .map(|name| format!("{name}{suffix}"))
        .collect()
}

/// Returns the bytes of a file.
///
/// # Errors
/// If the file cannot be read or is too large.
pub(super) fn content(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut text = Vec::new();
    let mut file = std::fs::File::open(path)?.take(MAXIMUM_SIZE + 1);
    // The file is read up to one byte beyond the limit, which shows whether it exceeds the limit.
    file.read_to_end(&mut text)?;
    if text.len() as u64 > MAXIMUM_SIZE {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(text)
}

/// Returns the lines that have an option, without comments and empty lines.
fn lines(text: &[u8], path: &Path) -> Vec<Line> {
    let numbered = text.split(|byte| *byte == b'\n').enumerate();
    numbered
        // Editors on Windows end lines with a carriage return, which must not become a part of the value.
        .map(|(index, line)| (index, line.strip_suffix(b"\r").unwrap_or(line)))
        .filter(|(_, line)| !line.starts_with(b"#"))
        .filter_map(|(index, line)| {
            let blanks = line.iter().take_while(|byte| **byte == b' ').count();
            let words = words(line.get(blanks..).unwrap_or_default());
            // `-o` has no effect in a file: two files could name each other.
            let is_option = words.first().is_some_and(|first| first != "-o");
            is_option.then(|| Line {
                words,
                place: format!("{}:{}", path.display(), index + 1),
            })
        })
        .collect()
}

/// Splits a line into the option and its value, which is the rest of the line. A property is split into all its words.
fn words(line: &[u8]) -> Vec<OsString> {
    let split = |count| {
        line.splitn(count, |byte| *byte == b' ')
            .map(os_string)
            .collect()
    };
    if line.is_empty() {
        return Vec::new();
    }
    // Only the first space separates. The value may contain spaces, and may start with a space.
    let in_two: Vec<OsString> = split(2);
    if !matches!(in_two.first(), Some(first) if first == "-D" || first == "--property") {
        return in_two;
    }
    // The parser expects the words of a property as on a command line. The last word may contain spaces.
    let in_four: Vec<OsString> = split(4);
    match in_four.get(2) {
        Some(name) if name.eq_ignore_ascii_case("user-property") => split(5),
        _ => in_four,
    }
}

/// Returns bytes as an argument of the command line: unchanged on Unix, where arguments may contain any bytes.
fn os_string(bytes: &[u8]) -> OsString {
    #[cfg(unix)]
    return std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec());
    #[cfg(not(unix))]
    return String::from_utf8_lossy(bytes).into_owned().into();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_of_an_options_file_is_an_option_and_its_value() {
        let text = b"# mine\n-t  x y \r\n\n  -d\n#-q 1\n-o other\n-D publish user-property k v w\n-m \xff\n";
        let lines = lines(text, Path::new("file"));
        let words: Vec<_> = lines.iter().map(|line| line.words.clone()).collect();
        let expected: [&[&str]; 3] = [
            &["-t", " x y "],
            &["-d"],
            &["-D", "publish", "user-property", "k", "v w"],
        ];
        assert_eq!(words[..3], expected);
        #[cfg(unix)]
        assert_eq!(words[3][1].as_encoded_bytes(), b"\xff");
        assert_eq!(lines[1].place, "file:4");
    }

    #[test]
    fn own_options_file_takes_precedence_over_that_of_mosquitto() {
        assert_eq!(names("rsub", "rsub"), ["rsub", "mosquitto_sub"]);
        assert_eq!(names("mosquitto_sub", "rsub"), ["mosquitto_sub"]);
        assert_eq!(names("other", "rrr"), ["rrr", "mosquitto_rr"]);
    }
}
