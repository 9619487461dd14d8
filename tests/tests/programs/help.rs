//! Compares the help of all programs with the texts in `help/`, so that a change of an option shows the text that users
//! will read.

use std::path::{Path, PathBuf};

use tests::Program;

/// The command lines that print help, and the files with the expected texts.
const TEXTS: &[(&str, &str)] = &[
    ("rpub --help", "rpub.txt"),
    ("rpub --help-all", "rpub-all.txt"),
    ("rsub --help", "rsub.txt"),
    ("rsub --help-all", "rsub-all.txt"),
    ("rrr --help", "rrr.txt"),
    ("rrr --help-all", "rrr-all.txt"),
    ("rbroker --help", "rbroker.txt"),
    ("rbroker --help-all", "rbroker-all.txt"),
    ("rbroker passwd --help", "rbroker-passwd.txt"),
    ("rbroker status --help", "rbroker-status.txt"),
];

/// The variable that lets this test write the files instead of comparing them.
const UPDATE: &str = "UPDATE_HELP";

/// The maximum number of lines of the short help: two screens.
const SHORT: usize = 80;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("help")
        .join(name)
}

/// Runs the command line, which must print to standard output only and succeed.
fn printed(command_line: &str) -> String {
    let (program, arguments) = command_line.split_once(' ').unwrap();
    let finished = Program::new(program).args(arguments).run().success();
    assert_eq!(finished.errors, "", "{command_line}");
    finished.text()
}

#[test]
fn help_is_the_text_in_the_repository() {
    for (command_line, name) in TEXTS {
        let text = printed(command_line);
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(file(name), &text).unwrap();
        }
        let expected = std::fs::read_to_string(file(name)).unwrap_or_default();
        assert!(
            text == expected,
            "'{command_line}' does not print tests/help/{name}. If the change is intended, run \
             '{UPDATE}=1 cargo test -p tests --test programs help::' and review the difference of the files. It prints:\n{text}"
        );
    }
}

#[test]
fn help_fits_in_80_columns_and_has_no_character_wider_than_one() {
    for (command_line, _) in TEXTS {
        for line in printed(command_line).lines() {
            assert!(line.is_ascii(), "{command_line}: {line}");
            assert!(
                line.len() <= 80,
                "{command_line}: {} columns: {line}",
                line.len()
            );
            assert_eq!(line, line.trim_end(), "{command_line}: blanks at the end");
        }
    }
}

#[test]
fn short_help_fits_on_two_screens_and_names_the_full_help() {
    for program in ["rpub", "rsub", "rrr", "rbroker"] {
        let text = printed(&format!("{program} --help"));
        let count = text.lines().count();
        assert!(count <= SHORT, "{program}: {count} lines");
        assert!(text.contains(&format!("'{program} --help-all'")), "{text}");
        let (_, examples) = text.split_once("\nExamples:\n").unwrap();
        let commands = examples.lines().filter(|line| line.starts_with("    "));
        assert!((3..=5).contains(&commands.count()), "{text}");
        for unsupported in ["--psk", "--tls-engine", "--keyform"] {
            assert!(!text.contains(unsupported), "{program}: {unsupported}");
        }
    }
}

/// An exit status that mentions an option must only mention options of this program.
#[test]
fn full_help_names_only_options_that_the_program_has() {
    for program in ["rpub", "rsub", "rrr", "rbroker"] {
        let text = printed(&format!("{program} --help-all"));
        let (options, rest) = text.split_once("\nExamples:\n").unwrap();
        let is_option = |word: &&str| {
            let letters = word.trim_start_matches('-');
            letters.len() < word.len()
                && letters.starts_with(|letter: char| letter.is_ascii_alphabetic())
        };
        let known: Vec<_> = words(options).filter(is_option).collect();
        let notes = rest.split_once("\nExit status:\n").unwrap().1;
        for option in words(notes).filter(is_option) {
            assert!(known.contains(&option), "{program} has no {option}");
        }
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split_whitespace();
    words.map(|word| word.trim_matches(['.', ',', ';', ':', '(', ')', '\'']))
}

/// Runs an invalid command line and returns its errors.
fn errors(command_line: &str, status: i32) -> String {
    let (program, arguments) = command_line.split_once(' ').unwrap();
    let finished = Program::new(program).args(arguments).run();
    assert_eq!(finished.status, status, "{command_line}: {finished:?}");
    finished.errors
}

#[test]
fn unknown_options_are_reported_with_a_similar_option() {
    for (command_line, status, expected) in [
        ("rpub -t a -m x --qoss 1", 1, Some("--qos")),
        ("rpub -t a -m x --tpoic", 1, Some("--topic")),
        ("rpub -t a -m x --user me", 1, Some("--username")),
        ("rsub help", 1, Some("--help")),
        ("rrr --retian-handling new", 1, Some("--retain-handling")),
        ("rbroker --verbos", 3, Some("--verbose")),
        ("rbroker password f u", 3, Some("passwd")),
        ("rbroker passwd --hlep", 1, Some("--help")),
        ("rbroker status --jsn", 1, Some("--json")),
        ("rpub -t a -m x --nonsense", 1, None),
        ("rpub -t a -m x -C 1", 1, None),
        ("rpub topic message", 1, None),
        ("rbroker serve", 3, None),
    ] {
        let errors = errors(command_line, status);
        match expected {
            Some(option) => {
                let words = format!("Did you mean '{option}'?");
                assert!(errors.contains(&words), "{command_line}: {errors}");
            }
            None => assert!(!errors.contains("Did you mean"), "{command_line}: {errors}"),
        }
    }
}

#[test]
fn unknown_directives_are_reported_with_a_similar_directive() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rbroker.conf");
    for (line, expected) in [
        ("listner 1883", Some("listener")),
        ("Allow_Anonymous true", Some("allow_anonymous")),
        ("log_destination stderr", Some("log_dest")),
        ("presistence true", Some("persistence")),
        ("nonsense true", None),
    ] {
        std::fs::write(&path, format!("# first\n{line}\n")).unwrap();
        let finished = Program::new("rbroker").arg("-c").arg(&path).run();
        let name = line.split(' ').next().unwrap();
        let place = format!("Error found at {}:2.", path.display());
        let suggestion = expected.map(|name| format!(" Did you mean '{name}'?"));
        let suggestion = suggestion.unwrap_or_default();
        let expected =
            format!("Error: Unknown configuration variable '{name}'.{suggestion} {place}\n");
        assert_eq!((finished.status, finished.errors), (3, expected), "{line}");
    }
}
