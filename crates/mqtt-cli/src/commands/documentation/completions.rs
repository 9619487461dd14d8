//! The completions of the programs for shells. clap_complete writes the completions of options. The parts in `topics.*`
//! complete the names of profiles, and topics with the retained messages of the broker that the command line names, if
//! the broker answers within 0.3 s.

use clap::{Command, ValueHint};
use clap_complete::Shell;

use crate::commands::rbroker::{self, passwd, status};
use crate::commands::{rpub, rrr, rsub};
use crate::failure::Failure;

/// An option whose value has one of these names in the help takes the path of a file.
const FILES: [&str; 2] = ["FILE", "PATH"];

/// The parts that complete profiles and topics. They are combined with the script of clap_complete. PowerShell
/// completes neither.
const BASH: &str = include_str!("topics.bash");
const ZSH: &str = include_str!("topics.zsh");
const FISH: &str = include_str!("topics.fish");

/// The start of a line in the script for zsh. This line runs the completion, so functions must be replaced before it.
const ZSH_LAST: &str = "if [ \"$funcstack[1]\"";

/// Returns the completions of a program as a script of the shell.
pub(super) fn script(program: &str, shell: Shell) -> Result<String, Failure> {
    let mut command = command(program).mut_args(|arg| {
        let names = arg.get_value_names().unwrap_or_default();
        let is_file = names.iter().any(|name| FILES.contains(&name.as_str()));
        if is_file {
            arg.value_hint(ValueHint::FilePath)
        } else {
            arg
        }
    });
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, program, &mut script);
    let script = String::from_utf8(script).map_err(anyhow::Error::from)?;
    if program == "rbroker" {
        return Ok(script);
    }
    Ok(match shell {
        Shell::Bash => script + &BASH.replace("PROGRAM", program),
        Shell::Fish => script + &FISH.replace("PROGRAM", program),
        Shell::Zsh => {
            let topics = ZSH.replace("PROGRAM", program);
            let (functions, last) = script.split_at(script.find(ZSH_LAST).unwrap_or(script.len()));
            format!("{functions}{topics}\n{last}")
        }
        _ => script,
    })
}

fn command(program: &str) -> Command {
    match program {
        "rsub" => rsub::program().command(),
        "rrr" => rrr::program().command(),
        "rbroker" => {
            let subcommands = [
                passwd::command().name("passwd"),
                status::command().name("status"),
            ];
            rbroker::program().command().subcommands(subcommands)
        }
        _ => rpub::program().command(),
    }
}
