//! Makes outputs comparable. Parts that differ from run to run are replaced by one spelling, in the document and in the
//! output.

use std::sync::OnceLock;

use regex_lite::Regex;

/// The parts that vary, and the spelling that replaces them. `docs/README.md` lists them for authors.
const MASKS: &[(&str, &str)] = &[
    // The broker prints this line only if root has started it.
    (r"(?m)^\S+ The broker runs as root\..*\n", ""),
    (
        r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?([+-]\d{4}|Z)?",
        "TIME",
    ),
    (r"\b\d\d:\d\d:\d\d\b", "TIME"),
    // Seconds since the start, as --trace prints them.
    (r" *\b\d+\.\d{6}\b", "SECONDS"),
    (r"\b\d{10}(\.\d+)?\b", "TIME"),
    (r"auto-[0-9A-Fa-f-]{36}", "auto-IDENTIFIER"),
    // A shell without a terminal prints the line and the process of a killed command.
    (r"(?m)^.*bash: line \d+: +\d+ Killed .*$", "Killed"),
    // The port of a client's end of a connection.
    (r"(127\.0\.0\.1|\[::1\]):\d{5}\b", "$1:PORT"),
    (r"\(process \d+\)", "(process NUMBER)"),
    (r"running for \d+s", "running for TIME"),
    (r"rbroker version \d+\.\d+\.\d+", "rbroker version VERSION"),
];

/// Returns the text with each variable part in its common spelling, and without blanks at line ends.
pub(crate) fn mask(text: &str) -> String {
    static COMPILED: OnceLock<Vec<(Regex, &str)>> = OnceLock::new();
    let masks = COMPILED.get_or_init(|| {
        let compile = |(pattern, spelling): &(&str, &'static str)| {
            (Regex::new(pattern).expect("a valid mask"), *spelling)
        };
        MASKS.iter().map(compile).collect()
    });
    let mut masked = text.to_owned();
    for (pattern, spelling) in masks {
        masked = pattern.replace_all(&masked, *spelling).into_owned();
    }
    masked
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

/// Returns `true` if the output is what the document shows. A line `…` stands for any number of lines.
pub(crate) fn matches(shown: &str, output: &str) -> bool {
    let shown: Vec<&str> = shown.lines().collect();
    let output: Vec<&str> = output.lines().collect();
    lines_match(&shown, &output)
}

fn lines_match(shown: &[&str], output: &[&str]) -> bool {
    let Some((first, rest)) = shown.split_first() else {
        return output.is_empty();
    };
    match *first {
        "…" => (0..=output.len()).any(|skipped| lines_match(rest, &output[skipped..])),
        line => output.first() == Some(&line) && lines_match(rest, &output[1..]),
    }
}

#[test]
fn masks_times_identifiers_and_ports_of_clients() {
    let line = "2026-11-29T02:39:49: New client connected from 127.0.0.1:52810 as \
                auto-8b335b9a-8c43-47e5-a5eb-019ff67d805b (p4, c1, k60).";
    let masked =
        "TIME: New client connected from 127.0.0.1:PORT as auto-IDENTIFIER (p4, c1, k60).\n";
    assert_eq!(mask(line), masked);
    assert_eq!(
        mask(" 0.000406  rpub ── DISCONNECT"),
        "SECONDS  rpub ── DISCONNECT\n"
    );
}

#[test]
fn ellipsis_matches_any_number_of_lines() {
    assert!(matches("a\n…\nd\n", "a\nb\nc\nd\n"));
    assert!(matches("a\n…\n", "a\n"));
    assert!(!matches("a\n…\nd\n", "a\nb\n"));
    assert!(!matches("a\n", "a\nb\n"));
}
