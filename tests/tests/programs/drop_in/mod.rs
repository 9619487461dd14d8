//! Runs command lines of the mosquitto tools with our programs and with Debian's tools against the same broker.
//! Standard output, exit status, the first line of the errors, and each packet on the wire must be equal, except for
//! the differences in `docs/differences.md`.
//!
//! Our programs are called through links with the names of the mosquitto tools.
#![cfg(unix)]

mod compare;
mod formats;
mod options;
mod packets;
mod row;
mod usage_errors;

use compare::check;

#[test]
fn publishing_matches_mosquitto() {
    check("publishing_matches_mosquitto", &options::publishing());
}

#[test]
fn subscribing_matches_mosquitto() {
    check("subscribing_matches_mosquitto", &options::subscribing());
}

#[test]
fn requests_match_mosquitto() {
    check("requests_match_mosquitto", &options::requests());
}

#[test]
fn connecting_matches_mosquitto() {
    check("connecting_matches_mosquitto", &options::connecting());
}

#[test]
fn properties_match_mosquitto() {
    check("properties_match_mosquitto", &options::properties());
}

#[test]
fn usage_errors_match_mosquitto() {
    check(
        "usage_errors_match_mosquitto",
        &usage_errors::usage_errors(),
    );
}

#[test]
fn options_files_match_mosquitto() {
    check("options_files_match_mosquitto", &options::files());
}

#[test]
fn formats_match_mosquitto() {
    check("formats_match_mosquitto", &formats::formats());
}

#[test]
fn compares_at_least_150_command_lines_and_explains_each_difference() {
    let all: Vec<_> = [
        options::publishing(),
        options::subscribing(),
        options::requests(),
        options::connecting(),
        options::properties(),
        usage_errors::usage_errors(),
        options::files(),
        formats::formats(),
    ]
    .into_iter()
    .flatten()
    .collect();
    assert!(all.len() >= 150, "{}", all.len());
    let text = include_str!("../../../../docs/differences.md");
    for row in &all {
        if let Some(difference) = row.difference {
            assert!(
                text.contains(&format!("### {difference}\n")),
                "{difference}"
            );
        }
    }
    println!("{} command lines", all.len());
}
