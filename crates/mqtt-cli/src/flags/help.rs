//! The help of all programs, in one layout of 80 columns. `--help` prints the common options, `--help-all` prints every
//! option, the exit statuses and the notes.
//!
//! clap's own layout is not used: one long option would move the description of every option to a line of its own.

use std::fmt::Write;

use clap::Command;

use crate::flags::listing::{OptionEntry, entries};

/// The parts of a help text that are not options.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Help {
    /// The purpose of the program, as one phrase.
    pub(crate) about: &'static str,
    /// The forms of the command line. Each form shows the required options.
    pub(crate) usage: &'static [&'static str],
    /// The subcommands with their descriptions.
    pub(crate) subcommands: &'static [(&'static str, &'static str)],
    /// Tasks, each with the command that does it.
    pub(crate) examples: &'static [(&'static str, &'static str)],
    /// Sections that only the full help has.
    pub(crate) notes: &'static [Section],
}

/// A part of the help with a heading.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section {
    /// The heading, without colon.
    pub(crate) heading: &'static str,
    pub(crate) body: Body,
}

/// The body of a section.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Body {
    /// Names and their meanings in two columns, in parts that several programs may share.
    Rows(&'static [Rows]),
    /// A paragraph.
    Text(&'static str),
}

/// Names and their meanings.
type Rows = &'static [(&'static str, &'static str)];

/// The amount of help to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The options that most people need.
    Common,
    /// The description of every option.
    All,
}

/// The width of the help in columns.
const WIDTH: usize = 80;

/// The column at which the description of an option starts.
const OPTION_COLUMN: usize = 30;

/// The column at which the meaning of a short name starts, for example of an exit status.
const NAME_COLUMN: usize = 17;

impl Help {
    /// Returns the help text with the options of `command`.
    pub(crate) fn text(&self, command: &Command, extent: Extent) -> String {
        let mut text = String::new();
        write_wrapped(&mut text, self.about, 0);
        for (index, usage) in self.usage.iter().enumerate() {
            // Further forms are aligned with the first form.
            let start = if index == 0 { "\nUsage: " } else { "       " };
            let _ = writeln!(text, "{start}{usage}");
        }
        write_rows(&mut text, "Subcommands", self.subcommands, OPTION_COLUMN);
        write_options(&mut text, command, extent);
        if !self.examples.is_empty() {
            text.push_str("\nExamples:\n");
        }
        for (task, example) in self.examples {
            let _ = writeln!(text, "  {task}:\n    {example}");
        }
        // A new user first reads the short help, so its last line names the option for the full help.
        match extent {
            Extent::All => self.notes.iter().for_each(|note| note.write(&mut text)),
            Extent::Common => {
                let name = command.get_name();
                let more = format!(
                    "These are the most common options. Use '{name} --help-all' to see all options \
                     and the exit statuses."
                );
                text.push('\n');
                write_wrapped(&mut text, &more, 0);
            }
        }
        text
    }
}

impl Section {
    /// Appends the section to a help text.
    fn write(&self, text: &mut String) {
        match self.body {
            Body::Rows(parts) => {
                // Several programs share some of these parts, for example exit statuses.
                let rows: Vec<_> = parts.iter().copied().flatten().copied().collect();
                write_rows(text, self.heading, &rows, NAME_COLUMN);
            }
            Body::Text(paragraph) => {
                let _ = writeln!(text, "\n{}:", self.heading);
                text.push_str("  ");
                write_wrapped(text, paragraph, 2);
            }
        }
    }
}

/// Writes the options of each group below its heading, in the order of the table.
fn write_options(text: &mut String, command: &Command, extent: Extent) {
    let is_shown = |entry: &OptionEntry<'_>| extent == Extent::All || entry.is_common;
    let shown: Vec<_> = entries(command).filter(is_shown).collect();
    // Each group is printed once, even if a table lists it in several parts.
    let mut groups: Vec<&str> = Vec::new();
    for entry in &shown {
        if !groups.contains(&entry.group) {
            groups.push(entry.group);
        }
    }
    for group in groups {
        let _ = writeln!(text, "\n{group}:");
        for entry in shown.iter().filter(|entry| entry.group == group) {
            write_row(text, &entry.synopsis(), &entry.description, OPTION_COLUMN);
        }
    }
}

/// Writes names and their meanings in two columns below a heading, or nothing if there are no rows.
fn write_rows(text: &mut String, heading: &str, rows: &[(&str, &str)], column: usize) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{heading}:");
    for (name, meaning) in rows {
        write_row(text, name, meaning, column);
    }
}

/// Writes a name and its description. If the name is wider than its column, the description starts on the next line.
fn write_row(text: &mut String, name: &str, description: &str, column: usize) {
    let width = column.saturating_sub(4); // two blanks before the name and two after it
    // Making the column wider for a few long names would leave little room for all descriptions.
    if name.chars().count() > width {
        let _ = write!(text, "  {name}\n{:column$}", "");
    } else {
        let _ = write!(text, "  {name:width$}  ");
    }
    write_wrapped(text, description, column);
}

/// Writes words from this column on, and breaks the line before a word that does not fit. `[default: …]` is not broken.
fn write_wrapped(text: &mut String, words: &str, column: usize) {
    // A help text contains no NUL, so NUL can mark the blank at which a line must not break.
    let words = words.replace("[default: ", "[default:\0");
    let mut end = column;
    for (index, word) in words.split_whitespace().enumerate() {
        let length = word.chars().count();
        if index > 0 && end + 1 + length > WIDTH {
            let _ = write!(text, "\n{:column$}", "");
            end = column;
        } else if index > 0 {
            text.push(' ');
            end += 1;
        }
        text.push_str(&word.replace('\0', " "));
        end += length;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;
    use crate::commands::rbroker::{self, passwd, status};
    use crate::commands::{rpub, rrr, rsub};

    /// The documents that explain each program. Each option must be in one of them.
    const DOCUMENTS: &[(&str, &[&str])] = &[
        ("rpub", &["rpub.md"]),
        (
            "rsub",
            &["rsub.md", "rpub.md", "handlers.md", "monitoring.md"],
        ),
        ("rrr", &["rrr.md", "rpub.md"]),
        ("rbroker", &["rbroker.md"]),
        ("rbroker passwd", &["rbroker.md"]),
        ("rbroker status", &["rbroker.md"]),
    ];

    /// Returns each command line with its help.
    fn all() -> [(Command, Help); 6] {
        let (publisher, subscriber) = (rpub::program(), rsub::program());
        let (requester, broker) = (rrr::program(), rbroker::program());
        [
            (publisher.command(), publisher.help),
            (subscriber.command(), subscriber.help),
            (requester.command(), requester.help),
            (broker.command(), broker.help),
            (passwd::command(), passwd::HELP),
            (status::command(), status::HELP),
        ]
    }

    /// Returns the names of each option: those of `-q, --qos` are `["-q", "--qos"]`.
    fn options(command: &Command) -> Vec<Vec<String>> {
        let names = |arg: &Arg| {
            let short = arg.get_short().map(|short| format!("-{short}"));
            let long = arg.get_long().map(|long| format!("--{long}"));
            short.into_iter().chain(long).collect()
        };
        command
            .get_arguments()
            .map(names)
            .filter(|names: &Vec<_>| !names.is_empty())
            .collect()
    }

    /// Returns `true` if the text contains this name as a whole word.
    fn has(text: &str, name: &str) -> bool {
        let is_part = |c: char| c.is_alphanumeric() || c == '-';
        text.match_indices(name).any(|(start, _)| {
            let (before, after) = (&text[..start], &text[start + name.len()..]);
            !before.ends_with(is_part) && !after.starts_with(is_part)
        })
    }

    #[test]
    fn full_help_has_every_option_with_a_description() {
        for (command, help) in all() {
            let text = help.text(&command, Extent::All);
            for name in options(&command).iter().flatten() {
                assert!(has(&text, name), "{}: {name}", command.get_name());
            }
            for arg in command.get_arguments() {
                let description = arg.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(!description.is_empty(), "{}: {arg}", command.get_name());
                assert!(!description.ends_with('.'), "{}: {arg}", command.get_name());
                assert!(
                    arg.get_help_heading().is_some(),
                    "{}: {arg}",
                    command.get_name()
                );
            }
        }
    }

    /// Splits an example into the words of each of our programs in it, without the quotes of the shell.
    fn example_words(example: &str) -> Vec<Vec<&str>> {
        let commands = example.split(" | ").flat_map(|part| part.split(" && "));
        let commands = commands.map(|command| command.split(" >> ").next().unwrap_or(command));
        commands
            .map(|command| {
                command
                    .split(' ')
                    .map(|word| word.trim_matches('\''))
                    .collect()
            })
            .collect()
    }

    #[test]
    fn examples_are_command_lines_that_the_programs_accept() {
        for (_, help) in all() {
            for (_, example) in help.examples {
                let mut count = 0;
                for words in example_words(example) {
                    let mut commands = all().map(|(command, _)| command).into_iter().rev();
                    let of_words = |command: &Command| {
                        let name: Vec<_> = command.get_name().split(' ').collect();
                        words.starts_with(&name).then_some(name.len())
                    };
                    // The search starts at the end of the list, so that `rbroker status` is found before `rbroker`.
                    let found = commands.find_map(|command| Some((of_words(&command)?, command)));
                    let Some((length, command)) = found else {
                        continue;
                    };
                    let command = command.no_binary_name(true);
                    let result = command.try_get_matches_from(&words[length..]);
                    assert!(result.is_ok(), "{example}: {result:?}");
                    count += 1;
                }
                assert!(count > 0, "{example}");
            }
        }
    }

    #[test]
    fn documents_explain_every_option() {
        let mut missing = Vec::new();
        for (command, _) in all() {
            let program = command.get_name().to_owned();
            let documents = DOCUMENTS.iter().find(|(name, _)| *name == program);
            let (_, documents) = documents.expect("each program has documents");
            let text: String = documents.iter().map(|name| document(name)).collect();
            for names in options(&command) {
                if !names.iter().any(|name| has(&text, name)) {
                    missing.push(format!("{program} {}", names.join(", ")));
                }
            }
        }
        assert!(
            missing.is_empty(),
            "options that DOCUMENTS do not explain: {missing:#?}"
        );
    }

    fn document(name: &str) -> String {
        let path = format!("{}/../../docs/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    #[test]
    fn help_wraps_before_column_80_and_never_inside_a_default() {
        let mut text = String::new();
        let words = "Aaaaaaaaa bbbbbbbbb ccccccccc ddddddddd eee [default: 1]";
        write_row(&mut text, "-x", words, OPTION_COLUMN);
        let expected = "  -x                          Aaaaaaaaa bbbbbbbbb ccccccccc ddddddddd eee\n\
                        \u{20}                             [default: 1]\n";
        assert_eq!(text, expected);
        text.clear();
        write_row(
            &mut text,
            "--a-name-that-is-longer-than-its-column",
            "words",
            OPTION_COLUMN,
        );
        let blanks = " ".repeat(OPTION_COLUMN);
        assert_eq!(
            text,
            format!("  --a-name-that-is-longer-than-its-column\n{blanks}words\n")
        );
    }
}
