//! The size of the store: its limit, and how it shrinks.
#![cfg(unix)]

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use tests::{Broker, Finished, PATIENCE};

fn start(folder: &Path, settings: &str) -> Broker {
    let location = folder.display();
    Broker::start_silent(
        tests::Kind::Rbroker,
        &format!(
            "persistence true\npersistence_location {location}\nmax_queued_messages 0\n{settings}"
        ),
    )
}

/// Returns the size of the store on the disk. The file is longer, but has no blocks where nothing was written.
fn size(folder: &Path) -> u64 {
    let data = std::fs::metadata(folder.join("rbroker.db")).unwrap();
    data.blocks() * 512
}

fn run(program: &str, broker: &Broker, arguments: &str) -> Finished {
    broker.program(program).args(arguments).run()
}

const SESSION: &str = "-V 5 -i away -c -x 1000 -q 1 -t t/#";

#[test]
fn store_above_its_limit_rejects_writes_until_it_has_shrunk() {
    const LIMIT: u64 = 16 * 1024 * 1024;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let broker = start(folder, &format!("max_store_bytes {LIMIT}"));
    run("rsub", &broker, &format!("{SESSION} -E")).success();
    let large = "x".repeat(100_000);
    let mut accepted = 0;
    let refused = loop {
        let finished = run("rpub", &broker, &format!("-V 5 -q 1 -t t/a -m {large}"));
        if finished.status != 0 {
            break finished;
        }
        accepted += 1;
        assert!(accepted < 300, "{} bytes", size(folder));
    };
    assert_eq!(refused.status, 0x97, "{refused:?}");
    broker.wait_for_log("The store exceeds max_store_bytes");
    assert!(size(folder) < LIMIT + 4 * 1024 * 1024, "{}", size(folder));
    // A client of 3.1.1 is disconnected, and the broker creates no session that it would have to store.
    let untold = run("rpub", &broker, "-V 311 -q 1 -t t/a -m x --wait 1");
    assert_ne!(untold.status, 0);
    let session = run(
        "rsub",
        &broker,
        "-V 5 -i new -c -x 1000 -q 1 -t t/# -E --wait 1",
    );
    assert_eq!(session.status, 0x97, "{session:?}");
    // Other clients are served.
    run("rpub", &broker, "-q 0 -t t/b -m x").success();
    // The session gets its messages, which makes room in the store.
    let messages = run("rsub", &broker, &format!("{SESSION} -C {accepted} -F %l"));
    assert_eq!(messages.success().text(), "100000\n".repeat(accepted));
    broker.wait_for_log("The store is below max_store_bytes again");
    run("rpub", &broker, "-V 5 -q 1 -t t/a -m again").success();
    let again = run("rsub", &broker, &format!("{SESSION} -C 1"));
    assert_eq!(again.success().text(), "again\n");
}

#[test]
fn the_store_shrinks_while_the_broker_runs() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let broker = start(folder, "sync interval 1");
    run("rsub", &broker, &format!("{SESSION} -E")).success();
    let lines = format!("{}\n", "x".repeat(50_000)).repeat(400);
    let rpub = broker.program("rpub").args("-q 1 -t t/a -l");
    rpub.input(lines).run().success();
    let start = Instant::now();
    while size(folder) < 20_000_000 {
        assert!(start.elapsed() < PATIENCE, "{}", size(folder));
        std::thread::yield_now();
    }
    run("rsub", &broker, &format!("{SESSION} -C 400 -F %l")).success();
    let start = Instant::now();
    while size(folder) > 6_000_000 {
        assert!(start.elapsed() < PATIENCE, "{}", size(folder));
        std::thread::yield_now();
    }
}
