//! [`closest_name`]: suggests the right name for a misspelt directive of the configuration or option of a program.

use strsim::damerau_levenshtein;

/// The number of letters of a word for which one mistake is tolerated. With a lower number, names that have nothing to
/// do with the word would be suggested.
const LETTERS_PER_MISTAKE: usize = 3;

/// Minimum length of a word that counts as the start of a longer name.
const SHORTEST_START: usize = 3;

/// Minimum length of a word that counts as the start of a longer name even with one mistake.
const LONG_START: usize = 5;

/// Returns the known name that the user may have meant by `word`: a name that differs in few letters, or that is a
/// longer or shorter form of the word. Case and the dashes of options are ignored. A word of one letter gets no
/// suggestion, because `-c` and `-C` are different options.
pub fn closest_name<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = letters(word);
    let length = word.chars().count();
    if length < 2 {
        return None;
    }
    let rated = known.into_iter().filter_map(|name| {
        let letters = letters(name);
        let distance = damerau_levenshtein(&word, &letters);
        let is_form = is_start(&word, &letters) || is_start(&letters, &word);
        let is_misspelt = distance <= length / LETTERS_PER_MISTAKE;
        // A name that differs in few letters is a better suggestion than a name that only starts with the word.
        let is_close = !letters.is_empty() && (is_misspelt || is_form);
        is_close.then_some(((!is_misspelt, distance), name))
    });
    let (_, name) = rated.min_by_key(|(rating, _)| *rating)?;
    Some(name)
}

/// Returns `true` if `name` starts with `start`. A long `start` may have one mistake.
fn is_start(start: &str, name: &str) -> bool {
    let length = start.chars().count();
    if length < SHORTEST_START {
        return false;
    }
    let is_close = |length| {
        let cut: String = name.chars().take(length).collect();
        damerau_levenshtein(start, &cut) <= 1
    };
    name.starts_with(start) || length >= LONG_START && (length..length + 2).any(is_close)
}

/// Returns a name without the dashes of an option, in lower case.
fn letters(name: &str) -> String {
    name.trim_start_matches('-').to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_closest_known_name() {
        let known = [
            "",
            "-q",
            "--config-file",
            "--qos",
            "-t",
            "--topic",
            "--username",
            "listener",
            "log_dest",
            "log_type",
        ];
        for (word, expected) in [
            ("listner", Some("listener")),
            ("LISTENER", Some("listener")),
            ("log_destination", Some("log_dest")),
            ("log_tpye", Some("log_type")),
            ("--topics", Some("--topic")),
            ("--tpoic", Some("--topic")),
            ("--user", Some("--username")),
            ("-Q", None),
            ("--Qos", Some("--qos")),
            ("--usrname", Some("--username")),
            ("--cofig", Some("--config-file")),
            ("-z", None),
            ("--to", None),
            ("--nonsense", None),
            ("", None),
            ("--", None),
        ] {
            assert_eq!(closest_name(word, known), expected, "{word}");
        }
    }
}
