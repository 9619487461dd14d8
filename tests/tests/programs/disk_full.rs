//! A full disk. The broker acknowledges no message that it has not stored, serves all other requests, and stores again
//! when the disk has room. The test mounts a small file system, which only root can do.
#![cfg(target_os = "linux")]

use std::path::Path;
use std::process::Command;

use tests::{Broker, Finished, Program, skip};

/// A file system of 8 MiB. Dropping this value unmounts it.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=8M", "tmpfs"]);
        let mounted = mount.arg(folder.path()).output();
        let is_mounted = mounted.is_ok_and(|output| output.status.success());
        is_mounted.then_some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The unmount is lazy, because the broker may still be ending.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

fn publish(broker: &Broker, options: &str) -> Finished {
    broker.program("rpub").args(options).run()
}

#[test]
fn rejects_persistent_messages_while_the_disk_is_full_and_accepts_them_afterwards() {
    let Some(disk) = SmallDisk::mount() else {
        return skip("disk_full", "a file system cannot be mounted");
    };
    for policy in ["always", "interval 1"] {
        let store = disk.path().join("rbroker.db");
        let _ = std::fs::remove_file(&store);
        let broker = Broker::start(&format!(
            "persistence true\npersistence_location {}\nmax_queued_messages 0\nsync {policy}",
            disk.path().display()
        ));
        let session = "-i away -c -x 1000 -V 5 -q 1 -t t/#";
        let options = format!("{} {session} -E", broker.options());
        Program::new("rsub").args(&options).run().success();
        let ballast = disk.path().join("ballast");
        let used = std::fs::metadata(&store).unwrap().len();
        std::fs::write(&ballast, vec![0; 6 * 1024 * 1024 - used as usize]).unwrap();
        // Messages are published until the disk is full. The rejection then has a reason code.
        let payload = "x".repeat(60_000);
        let mut acknowledged = Vec::new();
        let refused = (0..200).find_map(|number| {
            let message = format!("-V 5 -q 1 -t t/{number} -m {payload}");
            let finished = publish(&broker, &message);
            match finished.status {
                0 => acknowledged.push(number),
                0x97 => return Some(finished),
                _ => {}
            }
            None
        });
        let refused = refused.expect("the disk is full in the end");
        assert!(refused.errors.contains("Quota exceeded"), "{refused:?}");
        broker.wait_for_log("The disk has no room for ");
        assert!(!acknowledged.is_empty());
        // A client of 3.1.1 gets no reason code. The broker disconnects it and sends no acknowledgement.
        let untold = publish(&broker, "-V 311 -q 2 -t t/untold -m x");
        assert_eq!(untold.status, 7, "{untold:?}");
        let options = broker.options();
        let watcher = Program::new("rsub")
            .args(&options)
            .args("-i watch -t now -C 1");
        let watcher = watcher.start();
        broker.wait_for_log("Sending SUBACK to watch");
        publish(&broker, "-t now -m goes-on").success();
        assert_eq!(watcher.wait().success().text(), "goes-on\n");
        // After the disk has room again, the broker notices that without a signal.
        std::fs::remove_file(&ballast).unwrap();
        broker.wait_for_log("The disk has room for the store again");
        let end = || publish(&broker, "-V 311 -q 2 -t t/end -m x").status;
        let start = std::time::Instant::now();
        while end() != 0 {
            assert!(start.elapsed() < tests::PATIENCE); // the broker tries the disk once a second
        }
        let broker = broker.restart();
        let options = format!("{} {session}", broker.options());
        let subscriber = Program::new("rsub").args(&options).args("-F %t -W 2").run();
        let text = subscriber.text();
        for number in &acknowledged {
            let line = format!("t/{number}");
            assert!(
                text.lines().any(|told| told == line),
                "{policy} {line}: {text}"
            );
        }
        // With `sync interval` the last messages may be lost.
        assert!(policy != "always" || text.ends_with("t/end\n"), "{text}");
    }
}
