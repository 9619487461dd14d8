//! Manual pages and completions as the programs print them, tested with groff and with the installed shells.
#![cfg(unix)]

use tests::{Broker, Program, find, programs, skip};

/// The programs, and the arguments that print their manual pages.
const PAGES: [(&str, &str); 7] = [
    ("rpub", "man"),
    ("rsub", "man"),
    ("rrr", "man"),
    ("rbroker", "man"),
    ("rbroker", "man passwd"),
    ("rbroker", "man status"),
    ("rbroker", "man conf"),
];

#[test]
fn manual_pages_are_valid_roff_without_warnings() {
    if find("groff").is_none() {
        return skip("manual pages", "groff is not installed");
    }
    for (program, words) in PAGES {
        let page = Program::new(program).args(words).run().success();
        let groff = Program::new("groff").args("-man -Tutf8 -ww");
        let rendered = groff.input(page.output).run().success();
        assert_eq!(rendered.errors, "", "{program} {words}");
        // Headings are bold. On some systems escape sequences separate their letters.
        let section = match words {
            "man conf" => "File Formats",
            _ => "User Commands",
        };
        assert!(rendered.text().contains(section), "{program} {words}");
    }
}

#[test]
fn an_unknown_page_or_shell_is_an_error_that_names_the_known_ones() {
    let finished = Program::new("rbroker").args("man reload").run();
    assert_eq!(finished.status, 1);
    assert!(
        finished.errors.contains("add 'passwd', 'status' or 'conf'"),
        "{finished:?}"
    );
    let finished = Program::new("rsub").args("completions csh").run();
    assert_eq!(finished.status, 1);
    assert!(
        finished.errors.contains("bash, zsh, fish or powershell"),
        "{finished:?}"
    );
}

/// Runs a script in a shell that has loaded the completions of a program. Returns the completions, or `None` if the
/// shell is not installed.
fn complete(shell: &str, program: &str, script: &str) -> Option<Vec<String>> {
    complete_after(shell, program, "", script)
}

/// Does the same with definitions that the shell reads before the completions.
fn complete_after(
    shell: &str,
    program: &str,
    definitions: &str,
    script: &str,
) -> Option<Vec<String>> {
    if find(shell).is_none() {
        skip("completions", &format!("{shell} is not installed"));
        return None;
    }
    let completions = Program::new(program).args("completions").arg(shell);
    let completions = completions.run().success().text();
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", programs().display());
    let text = format!("{definitions}\n{completions}\n{script}\n");
    let finished = Program::new(shell).env("PATH", &path).input(text).run();
    let finished = finished.success();
    Some(finished.text().lines().map(String::from).collect())
}

/// Returns a script for bash that completes the last of these words.
fn bash(program: &str, words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
    let [.., before, last] = words else {
        panic!("two words at least");
    };
    format!(
        "COMP_WORDS=({}); COMP_CWORD={}; _{program}_topics {program} '{last}' '{before}'; \
         [ ${{#COMPREPLY[@]}} = 0 ] || printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        quoted.join(" "),
        words.len() - 1,
    )
}

#[test]
fn bash_completes_options() {
    let Some(found) = complete("bash", "rpub", &bash("rpub", &["rpub", "--repe"])) else {
        return;
    };
    assert_eq!(found, ["--repeat", "--repeat-delay"]);
}

#[test]
fn bash_completes_topics_from_the_retained_messages_of_the_broker() {
    let broker = Broker::start("");
    for topic in ["room/temperature", "room/wind speed", "door"] {
        let publisher = broker.program("rpub");
        publisher.args("-r -m 1 -t").arg(topic).run().success();
    }
    let port = broker.address().port().to_string();
    for program in ["rpub", "rsub"] {
        let words = [program, "-h", "127.0.0.1", "-p", &port, "-t", "room/"];
        let Some(mut found) = complete("bash", program, &bash(program, &words)) else {
            return;
        };
        found.sort();
        assert_eq!(
            found,
            ["room/temperature", "room/wind\\ speed"],
            "{program}"
        );
    }
}

#[test]
fn topics_are_not_completed_if_the_broker_is_unreachable() {
    let port = tests::free_port().to_string();
    let words = ["rsub", "-p", &port, "-t", ""];
    if let Some(found) = complete("bash", "rsub", &bash("rsub", &words)) {
        assert_eq!(found, [""; 0]);
    }
}

#[test]
fn fish_completes_options() {
    for program in ["rpub", "rsub", "rrr", "rbroker"] {
        let script = format!("complete -C '{program} --hel'");
        let Some(found) = complete("fish", program, &script) else {
            return;
        };
        let has_help = found.iter().any(|line| line.starts_with("--help"));
        assert!(has_help, "{program}: {found:?}");
    }
}

/// zsh completes only in its line editor, which needs a terminal. So the test only checks the syntax.
#[test]
fn zsh_reads_the_completions() {
    for program in ["rpub", "rsub", "rrr", "rbroker"] {
        let script = format!("functions _{program} > /dev/null && echo defined");
        let definition = "compdef() { :; }; ";
        let Some(found) = complete_after("zsh", program, definition, &script) else {
            return;
        };
        assert_eq!(found, ["defined"], "{program}");
    }
}
