//! The layout of a rung, which is one packet of a trace: names and fields are fitted to the width of the terminal, and
//! values are formatted as words.

use mqtt_client::session::Printable;
use serde_json::Value;

/// The minimum width of lines of fields, which also applies to narrower terminals.
const MINIMUM_WIDTH: usize = 20;

/// Returns both names, shortened so that their widths add up to at most `width`.
pub(super) fn shortened(client: String, server: String, width: usize) -> (String, String) {
    let count = |name: &str| name.chars().count();
    // Each name gets half of the width, and the part that the other name does not need.
    let half = width / 2;
    let for_client = half.max(width.saturating_sub(count(&server)));
    let for_server = width.saturating_sub(count(&client).min(for_client));
    let shorten = |name: String, width: usize| {
        if count(&name) > width {
            name.chars()
                .take(width.saturating_sub(1))
                .chain(['…'])
                .collect()
        } else {
            name
        }
    };
    (shorten(client, for_client), shorten(server, for_server))
}

/// Returns the fields in lines of `width` characters. A field that is wider than a line continues on the next line.
pub(super) fn wrapped(fields: &[String], width: usize) -> Vec<String> {
    let width = width.max(MINIMUM_WIDTH);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for (index, field) in fields.iter().enumerate() {
        let comma = if index + 1 < fields.len() { "," } else { "" };
        let length = field.chars().count() + comma.len();
        if used > 0 && used + 1 + length > width {
            lines.push(String::new());
            used = 0;
        }
        let space = if used > 0 { " " } else { "" };
        // The text is copied character by character, because a long payload must be broken within a word.
        for character in space.chars().chain(field.chars()).chain(comma.chars()) {
            if used == width {
                lines.push(String::new());
                used = 0;
            }
            lines
                .last_mut()
                .into_iter()
                .for_each(|line| line.push(character));
            used += 1;
        }
    }
    lines
}

/// Returns the width of the terminal at standard error, or `None` if it is not a terminal.
pub(super) fn terminal_columns() -> Option<usize> {
    #[cfg(unix)]
    {
        let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok()?;
        // A terminal without a known width reports 0.
        (size.ws_col > 0).then(|| size.ws_col.into())
    }
    #[cfg(not(unix))]
    None
}

/// Returns a value in words, or `None` if it is absent or false.
pub(super) fn in_words(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Bool(true) => Some(String::new()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(if text.is_empty() {
            "''".into()
        } else {
            Printable(text).to_string()
        }),
        Value::Array(values) => {
            let words = values.iter().filter_map(in_words);
            Some(format!("[{}]", words.collect::<Vec<_>>().join("; ")))
        }
        Value::Object(object) => {
            let words = object.iter().filter_map(|(name, value)| {
                in_words(value).map(|text| format!("{} {text}", name.replace('_', " ")))
            });
            Some(words.collect::<Vec<_>>().join(" "))
        }
    }
}
