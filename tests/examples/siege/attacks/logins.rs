//! Attacks by logins, for which the broker computes a password hash.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mqtt_codec::*;
use tests::{Kind, Peer, Program, find};

use crate::ground::Ground;
use crate::scenario::{Limit, SETTLE, Scenario, Site};

/// The time that an honest login may take, from an address other than the attacker's.
const LOGIN: Duration = Duration::from_secs(5);

/// The pause between two CONNECT packets, for 100 of them per second.
const PAUSE: Duration = Duration::from_millis(10);

/// The duration of the attack before the honest logins begin.
const LEAD: Duration = Duration::from_secs(2);

pub(crate) fn scenarios() -> [Scenario; 1] {
    [Scenario {
        name: "A4",
        title: "100 CONNECTs a second with a wrong password that close immediately, and honest logins",
        settings: with_password_file,
        limit: Limit {
            bytes: 4 * 19 * 1024 * 1024,
            reason: "four argon2id computations of 19 MiB",
        },
        settle: SETTLE,
        is_quick: false,
        attack: lock_out,
    }]
}

fn with_password_file(site: &Site<'_>) -> Option<String> {
    let file = site.folder.join("users");
    let (program, options) = match site.kind {
        Kind::Rbroker => (Program::new("rbroker"), "passwd -c -b -H argon2id"),
        Kind::Mosquitto => (Program::at(find("mosquitto_passwd")?), "-c -b"),
    };
    let program = program.args(options).arg(&file).args("honest secret");
    program.run().success();
    Some(format!("password_file {}\n", file.display()))
}

fn login(password: &'static [u8], name: &str) -> Connect {
    let mut connect = Connect::new(ProtocolVersion::V3_1_1, name);
    connect.user_name = Some("honest".to_owned());
    connect.password = Some(password.to_vec().into());
    connect
}

fn lock_out(ground: &mut Ground) {
    let mut bytes = Vec::new();
    PacketRef::Connect(Box::new(login(b"wrong", "liar")))
        .encode(ProtocolVersion::V3_1_1, u32::MAX, &mut bytes)
        .expect("it fits");
    ground.begin();
    let stop = AtomicBool::new(false);
    let (address, meter) = (ground.address(), ground.meter());
    let times = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                if let Ok(mut stream) = TcpStream::connect(address) {
                    let _ = stream.write_all(&bytes);
                    meter.add(bytes.len() as u64);
                }
                thread::sleep(PAUSE);
            }
        });
        thread::sleep(LEAD);
        let from = [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)];
        let times = from.map(|from| {
            let start = Instant::now();
            let peer = Peer::try_open_from(IpAddr::V4(from), address, login(b"secret", "friend"));
            peer.ok().map(|_| start.elapsed())
        });
        stop.store(true, Ordering::Relaxed);
        times
    });
    let text = |time: Option<Duration>| {
        time.map_or_else(
            || "not served".to_owned(),
            |time| format!("after {} ms", time.as_millis()),
        )
    };
    let [same, other] = times;
    ground.fact(format!(
        "login from the same address {}, from another {}",
        text(same),
        text(other)
    ));
    ground.expect(
        other.is_some_and(|time| time < LOGIN),
        "an honest login from another address is served within 5 s".to_owned(),
    );
}
