//! The path of `--json`: the place of one value in a JSON payload.
//!
//! A path that starts with `/` is a JSON Pointer (RFC 6901): `/sensors/0/temperature`. Any other path has the same
//! names and indexes with dots between them: `sensors.0.temperature`. A name that contains a dot needs the first form.

use serde_json::Value;

/// A path to a value in a JSON document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JsonPath(Vec<String>);

impl JsonPath {
    /// Parses a path. Returns `None` if the path is invalid.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(pointer) = text.strip_prefix('/') {
            let names: Option<_> = pointer.split('/').map(unescaped).collect();
            return names.map(Self);
        }
        // jq writes paths with a dot at the start.
        let text = text.strip_prefix('.').unwrap_or(text);
        let names: Vec<_> = text.split('.').map(str::to_owned).collect();
        // A word with a dash at its start is probably the next option and not a name, so the path is missing.
        let is_valid = names.iter().all(|name| !name.is_empty()) && !text.starts_with('-');
        is_valid.then_some(Self(names))
    }

    /// Returns the value at this path.
    pub(crate) fn find<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        let mut value = document;
        for name in &self.0 {
            value = match value {
                Value::Object(object) => object.get(name)?,
                Value::Array(list) => list.get(index(name)?)?,
                _ => return None,
            };
        }
        Some(value)
    }
}

/// Returns the name in a part of a JSON Pointer, in which `~1` stands for `/` and `~0` for `~`. Returns `None` if
/// another character follows `~`.
fn unescaped(part: &str) -> Option<String> {
    let mut pieces = part.split('~');
    let mut name = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (sign, rest) = match piece.strip_prefix('0') {
            Some(rest) => ('~', rest),
            None => ('/', piece.strip_prefix('1')?),
        };
        name.push(sign);
        name.push_str(rest);
    }
    Some(name)
}

/// Returns the index of an element. As RFC 6901 requires, an index has no leading zero.
fn index(name: &str) -> Option<usize> {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    let has_zeros = name.len() > 1 && name.starts_with('0');
    if is_number && !has_zeros {
        name.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_of_a_path_find_the_value() {
        let document = json!({"a": {"b": [1, {"c.d": 2}]}, "": 3, "m/n": 4, "~": 5, "10": 6});
        for (path, expected) in [
            ("a.b.0", Some(json!(1))),
            (".a.b.0", Some(json!(1))),
            ("/a/b/0", Some(json!(1))),
            ("/a/b/1/c.d", Some(json!(2))),
            ("/", Some(json!(3))),
            ("/m~1n", Some(json!(4))),
            ("/~0", Some(json!(5))),
            ("10", Some(json!(6))),
            ("a.b.00", None),
            ("a.b.2", None),
            ("a.b.x", None),
            ("a.b.0.x", None),
            ("x", None),
        ] {
            let found = JsonPath::parse(path).unwrap().find(&document).cloned();
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn invalid_paths_are_rejected() {
        for path in ["", ".", "a..b", "a.", "..a", "-t", "/~", "/~2", "/a~"] {
            assert_eq!(JsonPath::parse(path), None, "{path}");
        }
    }
}
