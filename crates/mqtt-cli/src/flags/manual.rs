//! Writes manual pages in roff, from the same definitions as the help. `commands/documentation/pages.rs` has the
//! sections that only a manual page has.
//!
//! The pages use the `man` macros and not `mdoc`, because every viewer of manual pages renders them.

use clap::Command;
use roff::{Inline, Roff, bold, italic, roman};

use crate::flags::help::{Body, Help, Section};
use crate::flags::listing::{OptionEntry, entries};

/// The sections of a manual page that are not in the help.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manual {
    /// The paragraphs of the description.
    pub(crate) description: &'static [&'static str],
    /// Environment variables and their meanings.
    pub(crate) environment: &'static [(&'static str, &'static str)],
    /// Files that the program reads or writes, and their meanings.
    pub(crate) files: &'static [(&'static str, &'static str)],
    /// Names of related pages with their sections: `rsub(1)`.
    pub(crate) see_also: &'static [&'static str],
}

/// The parts of the first line of a manual page and of its section NAME.
pub(crate) struct PageTitle<'a> {
    pub(crate) name: &'a str,
    /// Number of the section of the manual to which the page belongs.
    pub(crate) section: &'a str,
    pub(crate) summary: &'a str,
    /// Name of the section, for the middle of the first line.
    pub(crate) manual: &'a str,
}

/// Starts a manual page with its first line and the section NAME. The page has no date, so that two builds of one
/// version are equal.
pub(crate) fn start(title: &PageTitle<'_>) -> Roff {
    let source = format!("rpubsub {}", env!("CARGO_PKG_VERSION"));
    let name = title.name.to_uppercase();
    let mut page = Roff::new();
    // The roff library drops an empty argument, so the date is a blank.
    let head = [name.as_str(), title.section, " ", &source, title.manual];
    page.control("TH", head);
    page.control("SH", ["NAME"]);
    page.text([roman(format!("{} - {}", title.name, title.summary))]);
    page
}

/// Returns the manual page of a program, in section 1.
pub(crate) fn page(command: &Command, help: &Help, manual: &Manual) -> String {
    let mut page = start(&PageTitle {
        name: &command.get_name().replace(' ', "-"),
        section: "1",
        summary: &first_lower(help.about),
        manual: "User Commands",
    });
    page.control("SH", ["SYNOPSIS"]);
    for usage in help.usage {
        page.text([roman(*usage)]);
        page.control("br", []);
    }
    page.control("SH", ["DESCRIPTION"]);
    for paragraph in manual.description {
        page.control("PP", []);
        page.text([roman(*paragraph)]);
    }
    write_rows(&mut page, "SUBCOMMANDS", help.subcommands);
    write_options(&mut page, command);
    // The page has all sections of the full help.
    help.notes
        .iter()
        .for_each(|note| write_note(&mut page, note));
    write_rows(&mut page, "ENVIRONMENT", manual.environment);
    write_rows(&mut page, "FILES", manual.files);
    write_examples(&mut page, help.examples);
    page.control("SH", ["SEE ALSO"]);
    page.text([roman(manual.see_also.join(", "))]);
    page.to_roff()
}

/// Writes all options below the headings of their groups.
fn write_options(page: &mut Roff, command: &Command) {
    page.control("SH", ["OPTIONS"]);
    let mut group = "";
    for entry in entries(command) {
        // All options of a group follow each other in the tables.
        if entry.group != group {
            group = entry.group;
            page.control("SS", [group]);
        }
        page.control("TP", []);
        page.text(names(&entry));
        page.text([roman(format!("{}.", entry.description))]);
    }
}

/// Returns the names of an option in bold and its values in italics: `-q, --qos QOS`.
fn names(entry: &OptionEntry<'_>) -> Vec<Inline> {
    let mut words = Vec::new();
    if let Some(short) = entry.short {
        words.push(bold(format!("-{short}")));
    }
    if let Some(long) = entry.long {
        if entry.short.is_some() {
            words.push(roman(", "));
        }
        words.push(bold(format!("--{long}")));
    }
    for name in &entry.value_names {
        let separator = match (words.is_empty(), entry.is_value_optional) {
            (true, _) => "",
            (false, true) => "[=",
            (false, false) => " ",
        };
        words.push(roman(separator));
        words.push(italic(*name));
        if entry.is_value_optional {
            words.push(roman("]"));
        }
    }
    words
}

fn write_note(page: &mut Roff, note: &Section) {
    let heading = note.heading.to_uppercase();
    match note.body {
        Body::Rows(parts) => {
            let rows: Vec<_> = parts.iter().copied().flatten().copied().collect();
            write_rows(page, &heading, &rows);
        }
        Body::Text(paragraph) => {
            page.control("SH", [heading.as_str()]);
            page.text([roman(paragraph)]);
        }
    }
}

/// Writes names and their meanings below a heading, or nothing if there are no rows.
fn write_rows(page: &mut Roff, heading: &str, rows: &[(&str, &str)]) {
    if rows.is_empty() {
        return;
    }
    page.control("SH", [heading]);
    for (name, meaning) in rows {
        page.control("TP", []);
        // Help texts are phrases without a full stop, and a manual page has sentences.
        page.text([bold(*name)]);
        page.text([roman(format!("{}.", meaning.trim_end_matches('.')))]);
    }
}

fn write_examples(page: &mut Roff, examples: &[(&str, &str)]) {
    page.control("SH", ["EXAMPLES"]);
    for (task, example) in examples {
        page.control("PP", []);
        page.text([roman(format!("{task}:"))]);
        // `nf` turns off filling, so that roff neither breaks nor hyphenates a command.
        page.control("RS", ["4"]);
        page.control("nf", []);
        page.text([roman(*example)]);
        page.control("fi", []);
        page.control("RE", []);
    }
}

/// Returns the phrase with a small first letter, for use after a dash. A name such as `MQTT` keeps its capitals.
fn first_lower(phrase: &str) -> String {
    let mut letters = phrase.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => phrase.to_owned(),
    }
}
