//! A machine whose wall clock is wrong at first and is set later. Expiry intervals of an hour must not be affected.
//! libfaketime, if it is installed, sets the wall clock. The monotonic clock is that of the system.
#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};

use tests::{Program, Running, skip};

fn libfaketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?;
    let of_folder = |folder: std::fs::DirEntry| folder.path().join("faketime/libfaketimeMT.so.1");
    folders.flatten().map(of_folder).find(|file| file.is_file())
}

/// Starts rbroker with the wall clock of the file. Returns the port, too.
fn start(library: &Path, folder: &Path) -> (Running, String) {
    let config = folder.join("rbroker.conf");
    let location = folder.display();
    let text = format!(
        "listener 0 127.0.0.1\nallow_anonymous true\ncontrol_socket none\npersistence true\n\
         persistence_location {location}/\n"
    );
    std::fs::write(&config, text).unwrap();
    let program = Program::new("rbroker").arg("-v").arg("-c").arg(&config);
    let running = program
        .env("LD_PRELOAD", &library.display().to_string())
        .env(
            "FAKETIME_TIMESTAMP_FILE",
            &clock(folder).display().to_string(),
        )
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .start();
    let log = running.wait_for_error("running.");
    let (_, rest) = log.split_once("Listening on 127.0.0.1:").unwrap();
    let options = format!("-h 127.0.0.1 -p {}", rest.split_once('.').unwrap().0);
    (running, options)
}

/// Returns the path of the file with the deviation of the wall clock.
fn clock(folder: &Path) -> PathBuf {
    folder.join("clock")
}

#[test]
fn changed_wall_clock_ends_neither_sessions_nor_retained_messages() {
    let Some(library) = libfaketime() else {
        return skip("clock", "libfaketime is not installed");
    };
    for wrong in ["-3000h", "+3000h"] {
        for is_killed in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path();
            std::fs::write(clock(folder), wrong).unwrap();
            let (mut broker, options) = start(&library, folder);
            let rsub = || Program::new("rsub").args("-V 5 -i away -c -x 3600 -q 1 -t q/#");
            let rpub = |options: &str| Program::new("rpub").args("-V 5 -q 1").args(options);
            rsub().args(&options).arg("-E").run().success();
            let retained = "-t kept -m retained -r -D publish message-expiry-interval 3600";
            rpub(&options).args(retained).run().success();
            // The wall clock is set to the right time.
            std::fs::write(clock(folder), "+0").unwrap();
            rpub(&options).args("-t q/1 -m waiting").run().success();
            if is_killed {
                broker.kill()
            } else {
                broker.signal("TERM")
            }
            broker.wait();
            let (_broker, options) = start(&library, folder);
            let waiting = rsub().args(&options).args("-C 1 -W 20").run();
            assert_eq!(waiting.text(), "waiting\n", "{wrong} {is_killed}");
            let kept = Program::new("rsub").args(&options);
            let kept = kept.args("-t kept -C 1 -W 20").run();
            assert_eq!(kept.text(), "retained\n", "{wrong} {is_killed}");
        }
    }
}
