//! The manual page rbroker.conf(5), which `rbroker man conf` prints. It is docs/rbroker.conf.md in the format roff, so
//! the document and the page cannot differ. A test of mqtt-broker compares the document with the directives that the
//! broker accepts.
//!
//! This module only handles the parts of Markdown that the document uses: headings, paragraphs, lists with `-`, tables,
//! blocks of code, and code and links within a line.

use roff::{Inline, Roff, bold, roman};

use crate::flags::manual::{self, PageTitle};

const DOCUMENT: &str = include_str!("../../../../../docs/rbroker.conf.md");

const TITLE: PageTitle<'_> = PageTitle {
    name: "rbroker.conf",
    section: "5",
    summary: "configuration of the MQTT broker rbroker",
    manual: "File Formats",
};

const SEE_ALSO: &str = "rbroker(1), rbroker-passwd(1), rbroker-status(1)";

/// Returns the manual page of the configuration.
pub(super) fn page() -> String {
    let mut page = manual::start(&TITLE);
    page.control("SH", ["DESCRIPTION"]);
    let mut block = Block::None;
    // The first line is the title of the document.
    for line in DOCUMENT.lines().skip(1) {
        block = block.write_line(&mut page, line);
    }
    block.finish(&mut page);
    page.control("SH", ["SEE ALSO"]);
    page.text([roman(SEE_ALSO)]);
    page.to_roff()
}

/// The Markdown block that is being read.
enum Block {
    None,
    /// A paragraph. Its lines are joined.
    Paragraph(String),
    /// An item of a list. Its lines are joined.
    Item(String),
    /// A table. Each row is written when it is read.
    Table,
    /// A block of code. Each line is written unchanged when it is read.
    Code,
}

impl Block {
    /// Handles the next line. Returns the block to which this line belongs.
    fn write_line(self, page: &mut Roff, line: &str) -> Self {
        if let Self::Code = self {
            if line.starts_with("```") {
                page.control("fi", []);
                page.control("RE", []);
                return Self::None;
            }
            page.text([roman(line)]);
            return self;
        }
        if let Some(item) = line.strip_prefix("- ") {
            self.finish(page);
            return Self::Item(item.to_owned());
        }
        if let Some(heading) = line.strip_prefix("## ") {
            self.finish(page);
            page.control("SH", [heading.to_uppercase().as_str()]);
            return Self::None;
        }
        if line.starts_with("```") {
            self.finish(page);
            // `nf` turns off the filling of lines, because a command must not be broken or hyphenated.
            page.control("PP", []);
            page.control("RS", ["4"]);
            page.control("nf", []);
            return Self::Code;
        }
        if line.starts_with('|') {
            self.finish(page);
            write_row(page, line);
            return Self::Table;
        }
        if line.trim().is_empty() {
            self.finish(page);
            return Self::None;
        }
        match self {
            Self::Paragraph(text) => Self::Paragraph(text + " " + line.trim()),
            Self::Item(text) => Self::Item(text + " " + line.trim()),
            _ => Self::Paragraph(line.to_owned()),
        }
    }

    /// Writes a paragraph or item whose lines were joined. Other blocks are already written.
    fn finish(self, page: &mut Roff) {
        match self {
            Self::Paragraph(text) => {
                page.control("PP", []);
                page.text(inlines(&text));
            }
            Self::Item(text) => {
                page.control("IP", ["\\(bu", "2"]);
                page.text(inlines(&text));
            }
            Self::None | Self::Table | Self::Code => {}
        }
    }
}

/// Writes a row of a table: the directive, its meaning and, if there is a third cell, its default. The head of a table
/// is left out.
fn write_row(page: &mut Roff, line: &str) {
    let cells = line.trim_matches(['|', ' ']).split(" | ");
    let cells: Vec<_> = cells.map(str::trim).collect();
    let [directive, meaning, rest @ ..] = cells.as_slice() else {
        return;
    };
    // The first cell of a row is a directive in code. The first cell of a head is not.
    if !directive.starts_with('`') {
        return;
    }
    let mut text = format!("{}.", meaning.trim_end_matches('.'));
    if let [default, ..] = rest {
        text.push_str(&format!(" Default: {default}."));
    }
    page.control("TP", []);
    page.text(inlines(directive));
    page.text(inlines(&text));
}

/// Returns a text with code in bold, and with each link replaced by its text.
fn inlines(text: &str) -> Vec<Inline> {
    let without_links = without_links(text);
    let parts = without_links.split('`').enumerate();
    // The parts with an odd index are between backquotes.
    let inline = |(index, part): (usize, &str)| match index % 2 {
        0 => roman(part),
        _ => bold(part),
    };
    parts.map(inline).collect()
}

/// Returns a text with `[words](target)` replaced by `words`.
fn without_links(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        let parts = link
            .split_once("](")
            .and_then(|(words, target)| Some((words, target.split_once(')')?.1)));
        let Some((words, after)) = parts else {
            break;
        };
        result.push_str(before);
        result.push_str(words);
        rest = after;
    }
    result + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_has_every_directive_and_heading_of_the_document() {
        let page = page();
        for line in DOCUMENT.lines() {
            if let Some(heading) = line.strip_prefix("## ") {
                let heading = format!(".SH \"{}\"", heading.to_uppercase());
                let is_there = page.contains(&heading) || page.contains(&heading.replace('"', ""));
                assert!(is_there, "{heading}");
            }
            if let Some((directive, _)) = line.strip_prefix("| `").and_then(|l| l.split_once('`')) {
                let name = directive.split(' ').next().unwrap();
                assert!(page.contains(&format!("\\fB{name}")), "{name}");
            }
        }
        for mark in ["`", "](", "| "] {
            assert!(!page.contains(mark), "Markdown is left: {mark}");
        }
    }

    #[test]
    fn links_are_replaced_by_their_text() {
        let text = "see [a](b.md#c) and [d](e), but not a[0]";
        assert_eq!(without_links(text), "see a and d, but not a[0]");
    }
}
