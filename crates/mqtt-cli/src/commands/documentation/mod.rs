//! `PROGRAM man` and `PROGRAM completions SHELL`: print the manual page and the completions of a program, for users who
//! install with cargo. Packages contain the same texts as files. `PROGRAM profiles` prints the names of the profiles,
//! which the completions need.

mod completions;
mod configuration_page;
mod pages;

use std::ffi::OsString;

use clap_complete::Shell;

use crate::exit_status::Status;
use crate::failure::Failure;
use crate::flags::{manual, profiles};
use crate::output::standard_streams;

/// Prints the manual page, the completions or the profiles if the first word of the command line asks for them.
/// Otherwise returns `None`, and the program parses its options.
///
/// # Errors
/// If the page or the shell is unknown, the file of profiles cannot be read, or standard output cannot be written.
pub(crate) fn answer(program: &str, arguments: &[OsString]) -> Option<Result<Status, Failure>> {
    let mut words = arguments.iter().skip(1).map(|word| word.to_str());
    let request = words.next()??;
    let operands: Vec<_> = words.map(Option::unwrap_or_default).collect();
    let text = match request {
        "man" => page(program, &operands),
        "completions" => completions(program, &operands),
        "profiles" if program != "rbroker" => profiles(&operands),
        _ => return None,
    };
    Some(text.and_then(|text| {
        let printed = standard_streams::print(&text);
        printed.map_err(|error| {
            Failure::failed(format!("Cannot write to standard output: {error}."))
        })?;
        Ok(Status::Success)
    }))
}

/// Returns the names of the profiles as they are written on a command line, each on a line.
fn profiles(operands: &[&str]) -> Result<String, Failure> {
    if let [word, ..] = operands {
        return Err(Failure::usage(format!("Unexpected word '{word}'.")));
    }
    let names = profiles::names()?;
    Ok(names.iter().map(|name| format!("@{name}\n")).collect())
}

/// The operand of `rbroker man` that names the page of the configuration.
const CONFIGURATION: &str = "conf";

/// Returns the manual page of a program, or of the subcommand or the configuration that the operand names.
fn page(program: &str, operands: &[&str]) -> Result<String, Failure> {
    if (program, operands) == ("rbroker", &[CONFIGURATION]) {
        return Ok(configuration_page::page());
    }
    let name = match operands {
        [] => program.to_owned(),
        [subcommand] => format!("{program} {subcommand}"),
        [_, word, ..] => return Err(Failure::usage(format!("Unexpected word '{word}'."))),
    };
    let pages = pages::all();
    let found = pages.iter().find(|page| page.command.get_name() == name);
    let Some(found) = found else {
        let mut known = pages.iter().filter_map(|page| {
            let subcommand = page.command.get_name().strip_prefix(program)?;
            subcommand.strip_prefix(' ')
        });
        let hint = match (known.next(), known.next()) {
            (Some(first), Some(second)) => {
                format!("Write '{program} man', or add '{first}', '{second}' or '{CONFIGURATION}'.")
            }
            _ => format!("Write '{program} man'."),
        };
        return Err(Failure::usage(format!("There is no manual page '{name}'.")).with_hint(hint));
    };
    Ok(manual::page(&found.command, &found.help, &found.manual))
}

/// Returns the completions of a program for the shell that the operand names.
fn completions(program: &str, operands: &[&str]) -> Result<String, Failure> {
    let expected = "Write bash, zsh, fish or powershell after 'completions'.";
    let shell = match operands {
        ["bash"] => Shell::Bash,
        ["zsh"] => Shell::Zsh,
        ["fish"] => Shell::Fish,
        ["powershell"] => Shell::PowerShell,
        [] => return Err(Failure::usage("The name of the shell is missing.").with_hint(expected)),
        [word, ..] => {
            let text = format!("Unknown shell '{word}'.");
            return Err(Failure::usage(text).with_hint(expected));
        }
    };
    completions::script(program, shell)
}
