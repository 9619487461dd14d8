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

/// Returns a folder with two profiles. The second one has a broker that does not exist.
fn profiles() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("rpubsub")).unwrap();
    let file = folder.path().join("rpubsub/config.toml");
    std::fs::write(file, "[home]\n[house]\n[work]\nport = 1\n").unwrap();
    folder
}

#[test]
fn shells_complete_the_names_of_profiles() {
    let folder = profiles();
    let variable = format!("export XDG_CONFIG_HOME={}", folder.path().display());
    for program in ["rpub", "rsub", "rrr"] {
        // bash takes '@' as a word of its own.
        for words in [[program, "@", "ho"], [program, "-v", "@ho"]] {
            let found = complete_after("bash", program, &variable, &bash(program, &words));
            let expected = if words[1] == "@" {
                ["home", "house"]
            } else {
                ["@home", "@house"]
            };
            assert!(found.is_none_or(|found| found == expected), "{program}");
        }
        let script = format!("complete -C '{program} -t a @ho'");
        let variable = format!("set -x XDG_CONFIG_HOME {}", folder.path().display());
        let found = complete_after("fish", program, &variable, &script);
        assert!(
            found.is_none_or(|found| found == ["@home", "@house"]),
            "{program}"
        );
        let list =
            "autoload -U compinit; compinit -D; compadd() { shift; print -l -- $@; }; PREFIX=@ho; ";
        let definition = format!("export XDG_CONFIG_HOME={}; {list}", folder.path().display());
        let script = format!("words=({program} @ho); CURRENT=2; _{program}");
        let found = complete_after("zsh", program, &definition, &script);
        assert!(
            found.is_none_or(|found| found == ["@home", "@house", "@work"]),
            "{program}"
        );
    }
}

#[test]
fn topics_are_completed_from_the_broker_of_the_profile() {
    let broker = Broker::start("");
    broker
        .program("rpub")
        .args("-r -m 1 -t door")
        .run()
        .success();
    let folder = profiles();
    let file = folder.path().join("rpubsub/config.toml");
    let port = broker.address().port();
    std::fs::write(file, format!("[home]\nhost = '127.0.0.1'\nport = {port}\n")).unwrap();
    let variable = format!("export XDG_CONFIG_HOME={}", folder.path().display());
    for words in [
        &["rsub", "@", "home", "-t", ""][..],
        &["rsub", "@home", "-t", ""],
    ] {
        let found = complete_after("bash", "rsub", &variable, &bash("rsub", words));
        assert!(found.is_none_or(|found| found == ["door"]), "{words:?}");
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
