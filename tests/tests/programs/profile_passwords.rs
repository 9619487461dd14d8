//! The passwords of profiles: from commands and credentials, from a terminal, and in files that others can read.
#![cfg(unix)]

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;

use tests::{Program, find, skip};

use super::profiles::{Place, some};

#[test]
fn passwords_come_from_commands_and_credentials() {
    let place = Place::new();
    let folder = place.folder.path();
    std::fs::write(folder.join("broker.password"), "from systemd\n").unwrap();
    place.write_profiles(
        "[command]\nhost = '127.0.0.1'\nport = PORT\nusername = 'u'\n\
         password-command = ['printf', '%s\\n', '$(id) a  b', 'login: u']\n\
         [credential]\nhost = '127.0.0.1'\nport = PORT\nusername = 'u'\npassword-credential = 'broker.password'\n",
    );
    let publisher = |arguments: &str| {
        let publisher = place.program("rpub").args(arguments);
        publisher.env("CREDENTIALS_DIRECTORY", &folder.to_string_lossy())
    };
    // No shell reads the words, and only the first line of the output counts.
    assert_eq!(place.login(publisher("@command")), some("u", "$(id) a  b"));
    assert_eq!(
        place.login(publisher("@credential")),
        some("u", "from systemd")
    );
    let typed = publisher("@command").arg("--password-command");
    assert_eq!(
        place.login(typed.arg(" echo  from the  command")),
        some("u", "from the command")
    );
    // The command of a password that is overridden is not run.
    let typed = publisher("@command -P typed");
    assert_eq!(place.login(typed), some("u", "typed"));
    for (arguments, error) in [
        (
            "--password-command false",
            "Error: The command 'false' gave no password: exit status: 1 (--password-command).\n",
        ),
        (
            "--password-command true",
            "Error: The command 'true' gave no password: its first line is empty (--password-command).\n",
        ),
        (
            "--password-command /no/such/program",
            "Error: The command '/no/such/program' gave no password: No such file or directory (--password-command).\n",
        ),
        (
            "--connect-timeout 0.2 @sleep",
            "Error: The command 'sleep' gave no password: it did not end within 0.2 s (--password-command).\n",
        ),
        (
            "--password-credential ../x",
            "Error: Invalid credential '../x' (--password-credential): expected a name without '/'.\n",
        ),
        (
            "--password-credential x",
            "Error: Unable to read the credential 'x': the variable CREDENTIALS_DIRECTORY is not set (option --password-credential).\n",
        ),
    ] {
        let publisher = place.program("rpub").without("CREDENTIALS_DIRECTORY");
        let publisher = if arguments.ends_with("@sleep") {
            let publisher = publisher.args("-u u --connect-timeout 0.2 --password-command");
            publisher.arg("sleep 100")
        } else {
            publisher.args(arguments)
        };
        let finished = publisher.args("-t a -n").run();
        assert_eq!(finished.status, 1, "{finished:?}");
        assert!(finished.errors.starts_with(error), "{finished:?}");
    }
}

#[test]
fn a_password_command_that_goes_on_is_killed() {
    let place = Place::new();
    let script = place.folder.path().join("script");
    std::fs::write(&script, "echo secret; exec >&-; exec sleep 1000").unwrap();
    let publisher = place
        .program("rpub")
        .args("-u u --connect-timeout 0.2 -t a -n");
    let publisher = publisher.arg("--password-command");
    // The command inherits standard error, so this returns only when the command has ended, too.
    let finished = publisher.arg(format!("sh {}", script.display())).run();
    assert!(
        finished.errors.contains("it did not end within 0.2 s"),
        "{finished:?}"
    );
    // The deadline of -W kills the command, too.
    for command in ["sleep 1000", &format!("sh {}", script.display())] {
        for (quiet, text) in [("", "Timed out\n"), ("--quiet", "")] {
            let publisher = place.program("rpub").args("-u u -t a -n -W 200ms");
            let publisher = publisher.args(quiet).arg("--password-command");
            let finished = publisher.arg(command).run();
            assert_eq!(finished.status, 27, "{finished:?}");
            assert_eq!(finished.errors, text, "{finished:?}");
        }
    }
}

#[test]
fn prompt_asks_on_a_terminal_only_and_does_not_show_the_password() {
    let place = Place::new();
    let error = place.error("-u me --password-prompt");
    let expected = "Error: Cannot ask for the password: standard input is not a terminal (--password-prompt).\n";
    assert!(error.starts_with(expected), "{error}");
    let Some(script) = find("script") else {
        return skip("the prompt", "script is not installed");
    };
    let rpub = tests::programs().join("rpub");
    let port = place.port();
    let command = format!(
        "{} -h 127.0.0.1 -p {port} -u me --password-prompt -t a -n",
        rpub.display()
    );
    let terminal = Program::at(script).args("--quiet --return --command");
    let terminal = terminal.arg(command).arg("/dev/null");
    let (running, mut keyboard) = terminal.start_with_input();
    running.wait_for_output("Password of me at 127.0.0.1: ");
    std::io::Write::write_all(&mut keyboard, b"typed\n").unwrap();
    let finished = running.wait();
    assert_eq!(finished.status, 0, "{finished:?}");
    assert!(!finished.text().contains("typed"), "{finished:?}");
    let sent = place.proxy.sent();
    assert!(sent[0].windows(5).any(|part| part == b"typed"));
}

#[test]
fn warns_of_readable_profiles_with_a_password() {
    let place = Place::new();
    let path = place.folder.path().join("rpubsub/config.toml");
    for (secret, warnings) in [
        ("password = 'x'\nusername = 'u'", 1),
        ("[other]\nurl = 'mqtt://u:p@h'", 1),
        ("[other]\nurl = 'mqtt://u@h'", 0),
    ] {
        for (mode, warnings) in [(0o644, warnings), (0o600, 0)] {
            place.write_profiles(&format!(
                "[home]\nhost = '127.0.0.1'\nport = PORT\n{secret}\n"
            ));
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let finished = place.program("rpub").args("@home -t a -n").run().success();
            let found = finished.errors.matches("can be read by every user").count();
            assert_eq!(found, warnings, "{secret}: {finished:?}");
        }
    }
}
