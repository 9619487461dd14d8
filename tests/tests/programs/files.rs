//! The log file and the pid_file: the user who opens them, their modes, and the links that are followed.
#![cfg(target_os = "linux")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use tests::{Broker, Program, RawClient, skip};

/// Creates a folder in which every user may write.
fn open_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    folder
}

fn is_root(folder: &Path) -> bool {
    fs::metadata(folder).unwrap().uid() == 0
}

/// Returns the lines of configuration for both files in this folder.
fn files_in(folder: &Path, more: &str) -> String {
    let folder = folder.display();
    format!("log_dest stderr\nlog_dest file {folder}/log\npid_file {folder}/pid\n{more}")
}

#[test]
fn log_and_pid_file_of_a_broker_started_by_root_belong_to_its_user() {
    let folder = open_folder();
    if !is_root(folder.path()) {
        return skip("files", "it is not root who runs the tests");
    }
    let broker = Broker::start(&files_in(folder.path(), "user nobody"));
    let of = |name: &str| fs::metadata(folder.path().join(name)).unwrap();
    let nobody = fs::metadata(format!("/proc/{}", broker.running.id())).unwrap();
    assert_ne!(nobody.uid(), 0);
    assert_eq!(
        (of("log").uid(), of("pid").uid()),
        (nobody.uid(), nobody.uid())
    );
    assert_eq!(of("log").mode() & 0o777, 0o600);
    // The log file also has the lines from before it was opened.
    let number = fs::read_to_string(folder.path().join("pid")).unwrap();
    assert_eq!(number, format!("{}\n", broker.running.id()));
    broker.running.signal("TERM");
    let text = || fs::read_to_string(folder.path().join("log")).unwrap();
    broker.wait_for_log("terminating.");
    let start = std::time::Instant::now();
    while !text().contains("terminating.") {
        assert!(start.elapsed() < tests::PATIENCE, "{}", text());
    }
    assert!(text().contains("starting."), "{}", text());
}

#[test]
fn does_not_follow_links_that_another_user_could_create() {
    for name in ["log", "pid"] {
        for user in ["user nobody", "user root"] {
            let folder = open_folder();
            let valuable = folder.path().join("valuable");
            fs::write(&valuable, "valuable").unwrap();
            fs::set_permissions(&valuable, Permissions::from_mode(0o666)).unwrap();
            symlink(&valuable, folder.path().join(name)).unwrap();
            let config = folder.path().join("broker.conf");
            let lines = files_in(folder.path(), user);
            fs::write(
                &config,
                format!("listener 0 127.0.0.1\ncontrol_socket none\n{lines}\n"),
            )
            .unwrap();
            let running = Program::new("rbroker").arg("-c").arg(&config).start();
            running.wait_for_error("it is a symbolic link");
            match name {
                // The broker also runs without its log file.
                "log" => drop(running.wait_for_error(" running.")),
                _ => assert_ne!(running.wait().status, 0, "{user}"),
            }
            assert_eq!(fs::read_to_string(&valuable).unwrap(), "valuable");
        }
    }
}

#[test]
fn log_may_be_a_device() {
    let broker = Broker::start("log_dest stderr\nlog_dest file /dev/stdout\nuser nobody");
    RawClient::connect(broker.address(), 4, "shown").ping();
    broker.running.wait_for_output("as shown (p4, c1, k60).");
    let broker = Broker::start("log_dest stderr\nlog_dest file /dev/null");
    RawClient::connect(broker.address(), 4, "unseen").ping();
}
