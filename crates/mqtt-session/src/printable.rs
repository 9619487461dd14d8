//! Escaping of text from a peer, for terminals and for logs with one line per record. Without it a client could forge
//! log lines, or send commands to the terminal of the administrator who reads them.

use std::fmt;

/// Returns `true` for characters that change how a terminal shows the text around them. These are control characters
/// (including DEL and the C1 controls, which terminals execute as commands), bidirectional embeddings, overrides and
/// isolates, and the separators of lines and paragraphs.
pub fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Text from a peer. Unprintable characters are displayed as escapes.
#[derive(Debug, Clone, Copy)]
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(self.0, is_unprintable, f)
    }
}

/// Text of several lines. Unprintable characters except newlines and tabs are displayed as escapes.
#[derive(Debug, Clone, Copy)]
pub struct PrintableLines<'a>(pub &'a str);

impl fmt::Display for PrintableLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_escaped = |character| is_unprintable(character) && !matches!(character, '\n' | '\t');
        write_escaped(self.0, is_escaped, f)
    }
}

/// Beginning of a text from a peer, displayed like [`Printable`]. The peer chooses the length of the text, and an
/// escape is up to eight bytes long, so a log line needs a limit.
#[derive(Debug, Clone, Copy)]
pub struct Excerpt<'a>(pub &'a str);

impl Excerpt<'_> {
    /// Maximum number of characters that are shown.
    const LENGTH: usize = 200;
}

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The cut is between two characters, because a string must stay valid UTF-8.
        let cut = self.0.char_indices().nth(Self::LENGTH);
        let shown = cut.and_then(|(end, _)| self.0.get(..end));
        match shown {
            None => Printable(self.0).fmt(f),
            Some(shown) => write!(f, "{}…", Printable(shown)),
        }
    }
}

fn write_escaped(
    text: &str,
    is_escaped: impl Fn(char) -> bool,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let mut rest = text;
    while let Some(position) = rest.find(&is_escaped) {
        let (plain, from) = rest.split_at_checked(position).unwrap_or((rest, ""));
        f.write_str(plain)?;
        let mut characters = from.chars();
        if let Some(character) = characters.next() {
            write!(f, "{}", character.escape_default())?;
        }
        rest = characters.as_str();
    }
    f.write_str(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_ends_after_200_characters() {
        let name = "é".repeat(200);
        assert_eq!(Excerpt(&name).to_string(), name);
        let long = format!("{name}\u{1}");
        assert_eq!(Excerpt(&long).to_string(), format!("{name}…"));
        let longest = "\u{1}".repeat(65_535);
        assert_eq!(Excerpt(&longest).to_string().matches("\\u{1}").count(), 200);
    }

    #[test]
    fn escapes_unprintable_characters_only() {
        let table = [
            ("", ""),
            ("plain ünïcode עברית 😀", "plain ünïcode עברית 😀"),
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("\n\r\t", "\\n\\r\\t"),
            ("\u{7f}\u{80}\u{9b}", "\\u{7f}\\u{80}\\u{9b}"),
            (
                "\u{202a}\u{202e}\u{2066}x\u{2069}",
                "\\u{202a}\\u{202e}\\u{2066}x\\u{2069}",
            ),
            ("a\u{2028}b\u{2029}", "a\\u{2028}b\\u{2029}"),
        ];
        for (text, expected) in table {
            assert_eq!(Printable(text).to_string(), expected);
        }
        let lines = PrintableLines("a\n\tb\u{85}\u{202d}").to_string();
        assert_eq!(lines, "a\n\tb\\u{85}\\u{202d}");
    }
}
