//! The file of a mutant: its parser, and the application of its edits to the source text.

use std::path::Path;

use anyhow::{Context, Result, bail};

/// A change that breaks one behaviour of the product.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mutant {
    /// The name of its file, without the ending.
    pub(super) name: String,
    /// Its number in docs/simulation.md, such as `M7`.
    pub(super) number: String,
    /// The sentence that says what the mutant breaks.
    pub(super) breaks: String,
    /// Set if only runs with a store and crashes can find the mutant.
    pub(super) needs_store: bool,
    pub(super) edits: Vec<Edit>,
}

/// A replacement of text in a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Edit {
    /// The path in the workspace.
    pub(super) file: String,
    pub(super) find: String,
    pub(super) replace: String,
}

/// The block of an edit that the parser is reading.
#[derive(Clone, Copy)]
enum Block {
    Find,
    Replace,
}

impl Mutant {
    /// Parses the file of a mutant:
    ///
    /// ```text
    /// number: M8
    /// breaks: The sender resends the newest message first.
    ///
    /// file: crates/mqtt-session/src/delivery/sender.rs
    /// find:
    ///     self.exchanges.iter_mut().find(is_due)?
    /// replace:
    ///     self.exchanges.iter_mut().rev().find(is_due)?
    /// ```
    ///
    /// `store: yes` selects runs with a store. Each line `file: …` begins an edit. The edits are applied in this order.
    pub(super) fn parse(name: &str, text: &str) -> Result<Self> {
        let mut mutant = Self {
            name: name.to_owned(),
            ..Self::default()
        };
        let mut block = None;
        for (number, line) in (1..).zip(text.lines()) {
            mutant
                .parse_line(line, &mut block)
                .with_context(|| format!("line {number} of mutant '{name}': '{line}'"))?;
        }
        if mutant.number.is_empty() || mutant.breaks.is_empty() || mutant.edits.is_empty() {
            bail!("mutant '{name}' needs a line 'number: …', a line 'breaks: …' and an edit");
        }
        Ok(mutant)
    }

    fn parse_line(&mut self, line: &str, block: &mut Option<Block>) -> Result<()> {
        if let Some(code) = line.strip_prefix("    ") {
            return self.push_code(code, *block);
        }
        if line.trim().is_empty() {
            // An empty line inside of a block belongs to the block. White space at the end of a block does not matter.
            return match block {
                Some(_) => self.push_code("", *block),
                None => Ok(()),
            };
        }
        *block = None;
        match line.split_once(':') {
            Some(("number", value)) => self.number = value.trim().to_owned(),
            Some(("breaks", value)) => self.breaks = value.trim().to_owned(),
            Some(("store", " yes")) => self.needs_store = true,
            Some(("file", value)) => self.edits.push(Edit {
                file: value.trim().to_owned(),
                ..Edit::default()
            }),
            Some(("find", "")) => *block = Some(Block::Find),
            Some(("replace", "")) => *block = Some(Block::Replace),
            _ => bail!(
                "expected 'number: M…', 'breaks: …', 'store: yes', 'file: …', 'find:', 'replace:' or four spaces"
            ),
        }
        Ok(())
    }

    fn push_code(&mut self, code: &str, block: Option<Block>) -> Result<()> {
        let edit = self.edits.last_mut();
        let (Some(edit), Some(block)) = (edit, block) else {
            bail!("code must stand after 'file: …' and 'find:' or 'replace:'");
        };
        let text = match block {
            Block::Find => &mut edit.find,
            Block::Replace => &mut edit.replace,
        };
        text.push_str(code);
        text.push('\n');
        Ok(())
    }

    /// Returns each file that the mutant changes, with its mutated text. `root` is the folder of the workspace.
    pub(super) fn mutate(&self, root: &Path) -> Result<Vec<(String, String)>> {
        let mut mutated: Vec<(String, String)> = Vec::new();
        for edit in &self.edits {
            let index = mutated.iter().position(|(file, _)| *file == edit.file);
            let index = match index {
                Some(index) => index,
                None => {
                    let text = std::fs::read_to_string(root.join(&edit.file));
                    let text = text.with_context(|| format!("cannot read '{}'", edit.file))?;
                    mutated.push((edit.file.clone(), text));
                    mutated.len() - 1
                }
            };
            let (file, text) = &mut mutated[index];
            *text = edit.apply(text).with_context(|| format!("in '{file}'"))?;
        }
        Ok(mutated)
    }
}

impl Edit {
    /// Returns the text with the replacement. The text to find must occur exactly once.
    pub(super) fn apply(&self, text: &str) -> Result<String> {
        let find = self.find.trim_end();
        let (start, end) = match self.matches(text)[..] {
            [range] => range,
            [] => bail!("this text does not occur, adapt the mutant to the code:\n{find}"),
            _ => bail!("this text occurs more than once, add the lines around it:\n{find}"),
        };
        let mut replace = self.replace.trim_end();
        if find.ends_with(',') {
            replace = replace.trim_end_matches(','); // the text to find was matched without its comma
        }
        let (before, after) = (&text[..start], &text[end..]);
        Ok(format!("{before}{replace}{after}"))
    }

    /// Returns the begin and the end of each occurrence of the text to find.
    pub(super) fn matches(&self, text: &str) -> Vec<(usize, usize)> {
        let (tokens, mut wanted) = (significant(text), significant(&self.find));
        // Depending on how a list is wrapped, its last element has a comma or not.
        if wanted.last().is_some_and(|(_, byte)| *byte == b',') {
            wanted.pop();
        }
        if wanted.is_empty() {
            return Vec::new();
        }
        let is_match = |window: &&[(usize, u8)]| {
            let mut pairs = window.iter().zip(&wanted);
            pairs.all(|((_, byte), (_, wanted))| byte == wanted)
        };
        let windows = tokens.windows(wanted.len()).filter(is_match);
        let range = |window: &[(usize, u8)]| Some((window.first()?.0, window.last()?.0 + 1));
        windows.filter_map(range).collect()
    }
}

/// Returns the bytes that are compared between mutant and code, with their positions. White space, line comments and
/// trailing commas are left out, so that a mutant still applies after its code was indented, wrapped or commented in
/// another way.
fn significant(text: &str) -> Vec<(usize, u8)> {
    let mut bytes: Vec<(usize, u8)> = Vec::new();
    let mut is_comment = false;
    for (position, byte) in text.bytes().enumerate() {
        is_comment = if is_comment {
            byte != b'\n'
        } else {
            text.as_bytes()[position..].starts_with(b"//")
        };
        if is_comment || byte.is_ascii_whitespace() {
            continue;
        }
        let ends_list = matches!(byte, b')' | b']' | b'}');
        if ends_list && bytes.last().is_some_and(|(_, last)| *last == b',') {
            bytes.pop();
        }
        bytes.push((position, byte));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const MUTANT: &str = "\
number: M8
breaks: The sender resends the newest message first.
store: yes

file: crates/a/src/lib.rs
find:
    let next = self.next(
        first,
        second,
    );

    self.send(next);
replace:
    self.send(first);

file: crates/a/src/lib.rs
find:
    unused();
replace:
";

    fn edit(find: &str, replace: &str) -> Edit {
        Edit {
            file: String::new(),
            find: find.to_owned(),
            replace: replace.to_owned(),
        }
    }

    #[test]
    fn reads_the_file_of_a_mutant() {
        let mutant = Mutant::parse("resends-in-reverse-order", MUTANT).unwrap();
        assert_eq!(mutant.number, "M8");
        assert_eq!(
            mutant.breaks,
            "The sender resends the newest message first."
        );
        assert!(mutant.needs_store);
        let [first, second] = &mutant.edits[..] else {
            panic!("{mutant:?}")
        };
        assert_eq!(first.file, "crates/a/src/lib.rs");
        assert!(first.find.ends_with(");\n\nself.send(next);\n"));
        assert_eq!(first.replace.trim_end(), "self.send(first);");
        assert_eq!(second.replace, "");
    }

    #[test]
    fn rejects_a_file_with_an_unknown_line_or_without_an_edit() {
        let unknown = Mutant::parse("a", "number: M1\nfinds: x\n").unwrap_err();
        assert!(format!("{unknown:#}").starts_with("line 2 of mutant 'a': 'finds: x': expected "));
        let code_first = Mutant::parse("a", "number: M1\n    x\n").unwrap_err();
        assert!(format!("{code_first:#}").contains("code must stand after"));
        let empty = Mutant::parse("a", "number: M1\nbreaks: Everything.\n").unwrap_err();
        assert!(empty.to_string().ends_with("and an edit"));
    }

    #[test]
    fn finds_text_with_other_indentation_and_line_breaks() {
        let text = "fn f() {\n    call(\n        a, // why\n        b,\n    );\n}\n";
        let call = edit("call(a, b);\n", "call(b, a);\n");
        assert_eq!(call.apply(text).unwrap(), "fn f() {\n    call(b, a);\n}\n");
        let last = edit("b,\n", "c,\n");
        assert_eq!(last.apply("call(a, b)").unwrap(), "call(a, c)");
        assert_eq!(
            last.apply("call(\n    a,\n    b,\n)").unwrap(),
            "call(\n    a,\n    c,\n)"
        );
    }

    #[test]
    fn rejects_text_that_does_not_occur_exactly_once() {
        let error = |find, text| edit(find, "").apply(text).unwrap_err().to_string();
        assert!(error("a();", "b();").contains("does not occur"));
        assert!(error("a();", "a(); a();").contains("occurs more than once"));
        assert!(error("", "a();").contains("does not occur"));
    }
}
