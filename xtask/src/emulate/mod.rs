//! `cargo xtask emulate`: runs the program tests with programs of another platform, under qemu or wine. These programs
//! communicate with each other, with the programs of this machine, and with mosquitto. After the tests it measures the
//! programs (`cost.rs`).

mod cost;
mod mosquitto;
mod wine;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::dist::targets::Target;
use crate::dist::{self, build, contents};
use crate::test::Counts;
use crate::{cargo, run as run_command, setup, target};
use wine::Wine;

/// The test modules whose result may depend on the platform. Tests of memory, time and the operating system are left
/// out, because they would measure the emulator.
const MODULES: [&str; 30] = [
    // Messages of each version and QoS, and requests.
    "exchange::",
    "responses::",
    "wills::",
    "sloppy_json::",
    // Transports.
    "tls::",
    "revocation::",
    "transports::",
    "websockets::",
    "legacy_certificates::",
    "legacy_names::",
    "openssl_files::",
    "signatures::",
    "certificate_chains::",
    // Lines of standard input and output.
    "streams::",
    "trace_output::",
    "terminal::",
    "selected_messages::",
    "watching::",
    // The store, also after `kill -9`.
    "persistence::",
    "crash::",
    "lost_state::",
    // Exit statuses and messages.
    "exit_status::",
    "waiting::",
    "interrupted::",
    "signals::",
    "failures::",
    "reason_codes::",
    "malformed_input::",
    // 32 bits, and the resolver of musl.
    "platforms::",
    "local_names::",
];

/// The test modules that are also run with programs of both platforms: the broker of one, and the clients of the other.
const MIXED: [&str; 1] = ["exchange::"];

/// The tests that a program for Windows cannot pass under wine.
const NOT_ON_WINDOWS: [&str; 16] = [
    // Signals of Unix, and the exit status after SIGTERM.
    "signals::",
    "interrupted::",
    "responses::a_message_that_is_not_the_response_is_ignored_and_counted",
    "responses::without_a_response_topic_each_run_has_its_own",
    "tls::reload_reads_certificates_again_and_keeps_connections",
    // Unix sockets, modes of files, and links to programs.
    "transports::",
    "openssl_files::rbroker_logs_the_secrets_of_connections",
    "tls::logs_tls_secrets_and_obeys_cipher_and_version_options",
    "watching::debug_lines_go_to_standard_output_under_a_name_of_mosquitto",
    // The console of wine adds control sequences to the output.
    "terminal::",
    // A connection that ends with its process: the server of wine has the socket, too, and may keep it open.
    "crash::",
    "tls::tls_stream_that_ends_without_close_notify_is_an_error",
    // Times that the emulation exceeds.
    "exchange::a_hundred_thousand_lines_are_delivered_once_and_in_order",
    "waiting::waiting_for_a_broker_uses_no_cpu_time",
    "websockets::empty_frames_before_connect_delay_no_other_client_and_end_at_the_connect_timeout",
    "wills::delay_of_a_will_continues_after_restart_and_ends_if_the_client_resumes",
];

/// The tests of builds with musl only. They need no emulator: qemu 7.2 cannot choose the interface for multicast.
const ONLY_MUSL: [&str; 1] = ["local_names::"];

/// A run of tests with the programs of one folder.
struct Run {
    name: &'static str,
    /// The emulated programs. All other programs are those of this machine.
    emulated: &'static [&'static str],
    tests: Vec<String>,
}

pub(crate) fn run(options: &[&str]) -> Result<()> {
    let Options {
        platform,
        profile,
        tests,
        is_built,
        only_cost,
    } = parse(options)?;
    install(&platform);
    if !is_built {
        build::build(&platform, profile)?;
    }
    if !only_cost {
        run_tests(&platform, profile, tests)?;
    }
    cost::print(&platform, profile)
}

/// Runs tests with all programs of the platform, and then those of [`MIXED`] with some of them.
fn run_tests(platform: &Target, profile: &str, tests: Vec<String>) -> Result<()> {
    let wine = if platform.is_windows() {
        wine::add_missing_library(&platform.build_folder(profile))?;
        Some(Wine::start()?)
    } else {
        None
    };
    run_command(&mut cargo(
        "build --quiet --locked --package mqtt-cli --bins",
    ))?;
    let all = if tests.is_empty() {
        owned(&MODULES)
    } else {
        tests
    };
    let runs = [
        Run {
            name: "all programs of the platform",
            emulated: &contents::PROGRAMS,
            tests: all,
        },
        Run {
            name: "broker of the platform, clients of this machine",
            emulated: &["rbroker"],
            tests: owned(&MIXED),
        },
        Run {
            name: "clients of the platform, broker of this machine",
            emulated: &["rpub", "rsub", "rrr"],
            tests: owned(&MIXED),
        },
    ];
    let mut results = Vec::new();
    let mut has_passed = true;
    for (index, run) in runs.iter().enumerate() {
        let folder = target().join(format!("emulate/{}/{index}", platform.name));
        write_programs(&folder, run.emulated, platform, profile)?;
        let counts = test(&folder, &run.tests, platform, wine.as_ref())?;
        results.push(format!(
            "{}, {}: {} passed, {} failed",
            platform.name, run.name, counts.passed, counts.failed
        ));
        has_passed &= counts.failed == 0 && counts.passed > 0;
    }
    println!("{}", results.join("\n"));
    if !has_passed {
        bail!(
            "not all tests passed with the programs of {}",
            platform.name
        );
    }
    Ok(())
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The options of the task.
struct Options {
    platform: Target,
    profile: &'static str,
    /// The selected tests, or none for [`MODULES`].
    tests: Vec<String>,
    /// Set if `dist` has built the programs before.
    is_built: bool,
    only_cost: bool,
}

fn parse(words: &[&str]) -> Result<Options> {
    let mut platform = None;
    let mut profile = dist::RELEASE;
    let mut tests = Vec::new();
    let (mut is_built, mut only_cost) = (false, false);
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match (*word, rest.len()) {
            ("--target", 1..) => platform = rest.next(),
            ("--trial", _) => profile = dist::TRIAL,
            ("--built", _) => is_built = true,
            ("--cost", _) => only_cost = true,
            (test, _) if !test.starts_with('-') => tests.push(test.to_owned()),
            _ => bail!("emulate has --target NAME, --trial, --built, --cost and names of tests"),
        }
    }
    let name = platform.context("emulate needs --target NAME")?;
    Ok(Options {
        platform: Target::find(name)?,
        profile,
        tests,
        is_built,
        only_cost,
    })
}

/// Installs the emulator, which also measures programs that this machine runs directly. If the programs are linked
/// dynamically, installs the C library of their platform, too.
fn install(platform: &Target) {
    let emulator = platform.emulator.first().unwrap_or(&"qemu-x86_64-static");
    let mut packages = if platform.is_windows() {
        vec!["wine", "wine64"]
    } else {
        vec!["qemu-user-static"]
    };
    if platform.emulator.contains(&"-L") {
        let libraries: [&str; 2] = if platform.name.starts_with("aarch64") {
            ["libc6-arm64-cross", "libgcc-s1-arm64-cross"]
        } else {
            ["libc6-armhf-cross", "libgcc-s1-armhf-cross"]
        };
        packages.extend(libraries);
    }
    let root = platform.emulator.iter().skip_while(|word| **word != "-L");
    let has_root = root.skip(1).all(|folder| Path::new(folder).is_dir());
    if !setup::has(emulator) || !has_root {
        println!("Installing {} …", packages.join(", "));
        setup::install(&packages);
    }
}

/// Fills a folder with the programs, and with scripts that run the programs in `emulated` under emulation.
fn write_programs(
    folder: &Path,
    emulated: &[&str],
    platform: &Target,
    profile: &str,
) -> Result<()> {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder)?;
    for name in contents::PROGRAMS {
        let is_of_platform = emulated.contains(&name);
        let program = if is_of_platform {
            platform.build_folder(profile).join(platform.program(name))
        } else {
            target().join("debug").join(name)
        };
        if !is_of_platform || platform.emulator.is_empty() {
            std::fs::hard_link(&program, folder.join(name))
                .with_context(|| format!("cannot link {}", program.display()))?;
            continue;
        }
        let mut words = platform.emulator.join(" ");
        if !platform.is_windows() {
            // A program that is started by a link with a name of mosquitto must see this name.
            words.push_str(" -0 \"$0\"");
        }
        let program = absolute(&program)?;
        write_script(
            &folder.join(name),
            &format!("{words} '{}'", program.display()),
        )?;
    }
    Ok(())
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} has no absolute path", path.display()))
}

/// Writes a script that executes a command. `exec` replaces the shell, so that the program has the process id of the
/// script and receives its signals.
fn write_script(file: &Path, command: &str) -> Result<()> {
    std::fs::write(file, format!("#!/bin/sh\nexec {command} \"$@\"\n"))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// Runs tests with the programs in the folder, and counts the results.
fn test(folder: &Path, tests: &[String], platform: &Target, wine: Option<&Wine>) -> Result<Counts> {
    let mut command = cargo("test --locked --no-fail-fast --package tests --test programs --");
    // Emulated programs are slow. With more threads, the programs would exceed the time limits of the tests.
    command
        .args(["--include-ignored", "--test-threads", "2"])
        .args(tests)
        .env("RPUBSUB_PROGRAMS", absolute(folder)?)
        .stdout(Stdio::piped());
    if !platform.is_musl() || !platform.emulator.is_empty() {
        command.args(ONLY_MUSL.iter().flat_map(|name| ["--skip", name]));
    }
    if let Some(wine) = wine {
        command.env("RPUBSUB_WINE", "1");
        wine.set_environment(&mut command);
        command.args(NOT_ON_WINDOWS.iter().flat_map(|name| ["--skip", name]));
    }
    let mut child = command.spawn().context("cannot run the tests")?;
    let output = child.stdout.take().context("piped")?;
    let mut counts = Counts::default();
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        println!("{line}");
        counts.add(&line);
    }
    child.wait()?;
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_name_only_tests_that_exist() {
        let folder = crate::root().join("tests/tests/programs");
        for name in MODULES.iter().chain(&NOT_ON_WINDOWS).chain(&ONLY_MUSL) {
            let (module, test) = name.split_once("::").unwrap();
            let source = std::fs::read_to_string(folder.join(format!("{module}.rs")));
            let source = source.unwrap_or_else(|error| panic!("{name}: {error}"));
            let has_test = source.contains(&format!("fn {test}"));
            assert!(has_test, "{name} does not exist");
        }
    }
}
