//! Tests of deadlines while clocks are set and systems boot.

use std::time::Duration;

use mqtt_broker::{Store, SyncPolicy};
use mqtt_broker_core::{Expiry, Mutation};

use crate::mutations::{HOUR, System, YEAR, retained, sessions};

/// Returns the mutations for a retained message that expires in an hour, and for a disconnected client whose session
/// ends in an hour.
fn with_an_hour(system: &System) -> [Mutation; 2] {
    let ends = Some(system.now + HOUR);
    let mut mutations = [retained(1), sessions(0..1).remove(0)];
    let [
        Mutation::Retained {
            retained: Some(retained),
            ..
        },
        Mutation::Client { state, .. },
    ] = &mut mutations
    else {
        unreachable!()
    };
    retained.expires = ends;
    (state.expiry, state.session_ends) = (Expiry::After(HOUR), ends);
    mutations
}

/// Returns the time that is left of the hour, which must be the same for both.
fn left(store: &Store, system: &System) -> Duration {
    let saved = store.load(system.clock()).unwrap();
    let of_session = saved.clients[0].state.session_ends.unwrap();
    assert_eq!(saved.retained[0].expires, Some(of_session));
    of_session - system.now
}

#[test]
fn changed_wall_clock_neither_shortens_nor_extends_a_deadline() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let sets: [fn(&mut System); 3] = [
        |_| {},
        |system| system.wall += YEAR * 5,
        |system| system.wall -= YEAR * 70, // before the year of the program
    ];
    // The wall clock is set in one of three ways while the broker runs and while it is down, with or without a boot.
    for (case, before) in sets.iter().enumerate() {
        for (after, boots) in [(0, false), (1, false), (2, false), (0, true)] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("rbroker.db");
            let mut system = System::new();
            let open = |system: &System| Store::open(&path, SyncPolicy::Always, system.clock());
            let mut store = open(&system).unwrap();
            let mutations = with_an_hour(&system);
            store.commit(&mutations, system.clock()).unwrap();
            // The clock is set while the broker runs. The store notices this within a minute.
            system.passes(minutes(1));
            before(&mut system);
            assert!(store.poll_timeout().is_some_and(|due| due <= system.now));
            store.commit(&[], system.clock()).unwrap();
            system.passes(minutes(9));
            assert_eq!(left(&store, &system), minutes(50));
            // The broker is down for ten minutes.
            drop(store);
            system.passes(minutes(10));
            if boots {
                system.boots();
            }
            sets[after](&mut system);
            let mut store = open(&system).unwrap();
            let is_known = !boots || case < 2;
            let expected = if is_known {
                minutes(40)
            } else {
                minutes(59) // the time since the anchor is unknown
            };
            assert_eq!(left(&store, &system), expected, "{case} {after} {boots}");
            // The clock is set once more while the broker runs.
            before(&mut system);
            store.sync(&[], system.clock()).unwrap();
            system.passes(minutes(20));
            assert_eq!(left(&store, &system), expected - minutes(20));
            drop(store);
            let store = open(&system).unwrap();
            assert_eq!(left(&store, &system), expected - minutes(20));
        }
    }
}

#[test]
fn deadlines_pause_while_the_downtime_is_unknown() {
    // After a boot, the wall clock is behind the anchor, or before the year of the program.
    for back in [Duration::from_secs(1), YEAR * 70] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rbroker.db");
        let mut system = System::new();
        let open = |system: &System| Store::open(&path, SyncPolicy::Always, system.clock());
        let mut store = open(&system).unwrap();
        let mutations = with_an_hour(&system);
        store.commit(&mutations, system.clock()).unwrap();
        let stop = Duration::from_secs(600);
        system.passes(stop);
        store.sync(&[], system.clock()).unwrap();
        drop(store);
        system.boots();
        system.wall -= back;
        let mut store = open(&system).unwrap();
        assert_eq!(left(&store, &system), HOUR - stop);
        // When the clock is set right, the time for which the broker was down must not be subtracted later.
        system.wall += back + HOUR;
        system.passes(stop);
        store.commit(&[retained(2)], system.clock()).unwrap();
        drop(store);
        system.passes(stop);
        system.boots();
        assert_eq!(left(&open(&system).unwrap(), &system), HOUR - stop * 3);
    }
}

#[test]
fn idle_store_writes_nothing_while_its_clock_is_correct() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rbroker.db");
    let mut system = System::new();
    let mut store = Store::open(&path, SyncPolicy::Always, system.clock()).unwrap();
    let before = std::fs::read(&path).unwrap();
    for _ in 0..30 {
        system.passes(Duration::from_secs(60));
        assert_eq!(store.poll_timeout(), Some(system.now));
        store.commit(&[], system.clock()).unwrap();
    }
    assert!(std::fs::read(&path).unwrap() == before);
    system.passes(HOUR);
    store.commit(&[], system.clock()).unwrap();
    assert!(std::fs::read(&path).unwrap() != before, "once an hour");
}
