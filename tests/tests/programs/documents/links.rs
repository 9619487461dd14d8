//! Finds the relative links of Markdown pages and the headings to which they lead.

use std::fs;
use std::path::Path;

/// Returns the targets of all inline links of a page that are not addresses on the Web.
pub(crate) fn links(page: &str) -> Vec<String> {
    let text = without_code(page);
    let targets = text.split("](").skip(1);
    targets
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.to_owned())
        .filter(|target| !target.contains("://"))
        .collect()
}

/// Returns an error if the link of a page leads to no file or to no heading of its file.
pub(crate) fn check(root: &Path, page: &Path, link: &str) -> Result<(), String> {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let folder = page.parent().unwrap_or_else(|| Path::new(""));
    let target = match path {
        "" => root.join(page),
        path => root.join(folder).join(path),
    };
    let error = |reason: &str| Err(format!("{}: ({link}) {reason}", page.display()));
    if !target.exists() {
        return error("leads to no file");
    }
    if anchor.is_empty() {
        return Ok(());
    }
    let Ok(text) = fs::read_to_string(&target) else {
        return error("leads to a heading in a file that is not text");
    };
    if anchors(&text).iter().any(|known| known == anchor) {
        Ok(())
    } else {
        error("leads to no heading")
    }
}

/// Returns the anchors of the headings of a page, as GitHub makes them.
fn anchors(page: &str) -> Vec<String> {
    let text = without_blocks(page);
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let mut found: Vec<String> = Vec::new();
    for heading in headings {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let repeated = found.iter().filter(|known| **known == anchor).count();
        found.push(match repeated {
            0 => anchor,
            count => format!("{anchor}-{count}"),
        });
    }
    found
}

fn without_blocks(page: &str) -> String {
    let mut is_code = false;
    let mut text = String::new();
    for line in page.lines() {
        let is_fence = line.trim_start().starts_with("```");
        if !is_code && !is_fence {
            text.push_str(line);
            text.push('\n');
        }
        is_code ^= is_fence;
    }
    text
}

/// Returns the words in code of a page that are paths below the workspace: they begin with one of its folders.
pub(crate) fn paths(page: &str) -> Vec<String> {
    let text = without_blocks(page);
    let code = text.split('`').skip(1).step_by(2);
    let folders = [
        "crates/",
        "docs/",
        "fuzz/",
        "tests/",
        "xtask/",
        ".ci/",
        ".githooks/",
    ];
    let is_path = |word: &&str| folders.iter().any(|folder| word.starts_with(folder));
    code.filter(is_path).map(str::to_owned).collect()
}

#[test]
fn finds_paths_in_code_outside_of_blocks() {
    let page = "`crates/a/b.rs` crates/c `x::y` `tests/`\n```\n`crates/d`\n```\n";
    assert_eq!(paths(page), ["crates/a/b.rs", "tests/"]);
}

/// Returns the text without fenced blocks and without code in lines.
fn without_code(page: &str) -> String {
    let text = without_blocks(page);
    text.split('`').step_by(2).collect()
}

#[test]
fn anchors_are_formed_as_on_github() {
    let page = "# What differs\n## --random-filter\n```\n# no heading\n```\n## What differs\n### Words of 2.1\n";
    let expected = [
        "what-differs",
        "--random-filter",
        "what-differs-1",
        "words-of-21",
    ];
    assert_eq!(anchors(page), expected);
}

#[test]
fn finds_links_outside_of_code() {
    let page = "[a](b.md#c) `[x](y)` [d](https://example.org)\n```\n[e](f)\n```\n";
    assert_eq!(links(page), ["b.md#c"]);
}
