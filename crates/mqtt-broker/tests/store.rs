//! Tests of the store in a file: it returns the state that was written, it shares messages, it rejects corrupt and
//! foreign files, it keeps deadlines when clocks are set, and it shrinks.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mqtt_broker::{BootTime, Clock, Store, StoreError, SyncPolicy};
use mqtt_broker_core::{
    Broker, ClientState, ConnectionId, Expiry, Limits, Mutation, Retained, Snapshot,
    SubscriptionState,
};
use mqtt_codec::*;
use mqtt_session::OutboundMessage;
use redb::TableDefinition;

fn open(path: &Path) -> Result<Snapshot, StoreError> {
    Store::open(path, SyncPolicy::Always, Clock::now())?.load(Clock::now())
}

fn retained(number: u32) -> Mutation {
    let topic_name = TopicName::new(&format!("t/{number}")).unwrap();
    let mut message = Message::new(topic_name.clone(), format!("payload {number}").repeat(20));
    message.retain = true;
    let retained = Some(Retained {
        message: Arc::new(message),
        qos: QoS::AtLeastOnce,
        expires: None,
        source: None,
        version: number.into(),
    });
    Mutation::Retained {
        topic_name,
        retained,
    }
}

#[test]
fn changed_bit_in_the_file_alters_no_message() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rbroker.db");
    let mutations: Vec<_> = (0..500).map(retained).collect();
    let mut store = Store::open(&path, SyncPolicy::Always, Clock::now()).unwrap();
    store.commit(&mutations, Clock::now()).unwrap();
    drop(store);
    let whole = std::fs::read(&path).unwrap();
    let expected = open(&path).unwrap();
    assert_eq!(expected.retained.len(), 500);
    let (mut refused, mut unharmed, mut altered) = (0, 0, Vec::new());
    // Only the used part of the file is changed. The rest of the file is zero.
    let used = whole.len() - whole.iter().rev().take_while(|byte| **byte == 0).count();
    for position in (0..used).step_by(used / 97) {
        let mut damaged = whole.clone();
        damaged[position] ^= 1 << (position % 8);
        std::fs::write(&path, &damaged).unwrap();
        // redb may panic on a corrupt file. rbroker then exits with the same status and text as for an error.
        let Ok(opened) = std::panic::catch_unwind(|| open(&path)) else {
            refused += 1;
            continue;
        };
        match opened {
            Ok(saved) if saved == expected => unharmed += 1,
            Ok(_) => altered.push(position),
            Err(_) => refused += 1,
        }
    }
    println!(
        "{refused} refused, {unharmed} without harm, altered {}",
        altered.len()
    );
    assert_eq!(altered, [] as [usize; 0]);
    assert!(refused > 0);
}

#[test]
fn removing_a_client_keeps_records_of_identifiers_with_the_same_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rbroker.db");
    let mut store = Store::open(&path, SyncPolicy::Always, Clock::now()).unwrap();
    let topic_name = TopicName::new("t").unwrap();
    for name in ["a", "a ", "a\u{1}", "ab", "b"] {
        let client: Arc<str> = name.into();
        let state = ClientState {
            user_name: None,
            listener: 0,
            expiry: Expiry::Never,
            session_ends: None,
            is_connected: false,
            will: None,
            will_due: None,
        };
        let queued = |number: u64| Mutation::Queued {
            client: client.clone(),
            number,
            outgoing: OutboundMessage::new(
                Arc::new(Message::new(topic_name.clone(), number.to_string())),
                QoS::ExactlyOnce,
            ),
        };
        let subscription = SubscriptionState {
            options: SubscriptionOptions::new(QoS::AtLeastOnce),
            identifier: None,
        };
        let packet_identifier = PacketIdentifier::FIRST;
        let mutations = [
            Mutation::Client {
                client: client.clone(),
                state,
            },
            Mutation::Subscribed {
                client: client.clone(),
                topic_filter: TopicFilter::new("t").unwrap(),
                state: subscription,
            },
            // A number above 255 checks that the order is that of the numbers, and not of a single byte.
            queued(256),
            queued(2),
            queued(1),
            Mutation::Sent {
                client: client.clone(),
                number: 1,
                packet_identifier,
            },
            Mutation::Released {
                client: client.clone(),
                number: 1,
            },
            Mutation::Held {
                client: client.clone(),
                packet_identifier,
            },
        ];
        store.commit(&mutations, Clock::now()).unwrap();
    }
    let gone = Mutation::ClientRemoved { client: "a".into() };
    store.commit(&[gone], Clock::now()).unwrap();
    let clients = store.load(Clock::now()).unwrap().clients;
    let names: Vec<_> = clients.iter().map(|client| &*client.identifier).collect();
    assert_eq!(names, ["a\u{1}", "a ", "ab", "b"]);
    for client in &clients {
        assert_eq!(client.subscriptions.len(), 1, "{}", client.identifier);
        let parts = client.deliveries.iter().map(|delivery| {
            (
                delivery.number,
                delivery.outgoing.is_some(),
                delivery.sent.is_some(),
            )
        });
        let expected = [(1, false, true), (2, true, false), (256, true, false)];
        assert!(parts.eq(expected), "{:?}", client.deliveries);
        assert_eq!(client.held, [PacketIdentifier::FIRST]);
    }
}

#[test]
fn rejects_a_store_of_another_format() {
    let folder = tempfile::tempdir().unwrap();
    let older = folder.path().join("older.db");
    let table = TableDefinition::<&str, u64>::new("meta");
    write(&older, |transaction| {
        let mut meta = transaction.open_table(table).unwrap();
        meta.insert("format", 2).unwrap();
    });
    let newer = folder.path().join("newer.db");
    let table = TableDefinition::<&[u8], &[u8]>::new("meta");
    write(&newer, |transaction| {
        let mut meta = transaction.open_table(table).unwrap();
        meta.insert(b"format".as_slice(), 1000u64.to_be_bytes().as_slice())
            .unwrap();
    });
    for path in [older, newer] {
        let error = open(&path).unwrap_err();
        assert!(
            matches!(error, StoreError::Corrupt("unknown format")),
            "{error:?}"
        );
        assert!(error.is_about_the_file());
    }
}

fn write(path: &Path, write: impl FnOnce(&redb::WriteTransaction)) {
    let database = redb::Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    write(&transaction);
    transaction.commit().unwrap();
}

/// Returns the mutations for a message of QoS 1 that waits for these clients.
fn queued(message: &Arc<Message>, number: u64, clients: std::ops::Range<u32>) -> Vec<Mutation> {
    let queued = |client| Mutation::Queued {
        client: format!("client{client}").into(),
        number,
        outgoing: OutboundMessage {
            retain: client % 2 == 0,
            ..OutboundMessage::new(Arc::clone(message), QoS::AtLeastOnce)
        }
        .with_subscriptions(
            // Each delivery has a subscription identifier of its own.
            SubscriptionIdentifier::new(client + 1)
                .into_iter()
                .collect(),
            (client % 3 == 0).then(|| TopicFilter::new("$share/g/t").unwrap()),
        ),
    };
    clients.map(queued).collect()
}

fn finished(number: u64, clients: std::ops::Range<u32>) -> Vec<Mutation> {
    let finished = |client| Mutation::Finished {
        client: format!("client{client}").into(),
        number,
    };
    clients.map(finished).collect()
}

fn sessions(clients: std::ops::Range<u32>) -> Vec<Mutation> {
    let session = |client| Mutation::Client {
        client: format!("client{client}").into(),
        state: ClientState {
            user_name: None,
            listener: 0,
            expiry: Expiry::Never,
            session_ends: None,
            is_connected: false,
            will: None,
            will_due: None,
        },
    };
    clients.map(session).collect()
}

/// Returns the number of entries of a table.
fn entries(path: &Path, table: &str) -> u64 {
    let database = redb::Database::open(path).unwrap();
    let transaction = database.begin_read().unwrap();
    let table = TableDefinition::<&[u8], &[u8]>::new(table);
    let table = transaction.open_table(table).unwrap();
    redb::ReadableTableMetadata::len(&table).unwrap()
}

fn message(size: usize) -> Arc<Message> {
    let topic_name = TopicName::new("t").unwrap();
    Arc::new(Message::new(topic_name, vec![b'x'; size]))
}

#[test]
fn a_message_for_many_clients_is_stored_once_and_shared_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rbroker.db");
    let mut store = Store::open(&path, SyncPolicy::Always, Clock::now()).unwrap();
    let (large, small) = (message(2_000_000), message(10));
    let mut mutations = sessions(0..200);
    mutations.extend(queued(&large, 1, 0..100));
    mutations.extend(queued(&small, 2, 0..2));
    store.commit(&mutations, Clock::now()).unwrap();
    // The message is queued for the other clients in a second commit.
    let mutations = queued(&large, 1, 100..200);
    store.commit(&mutations, Clock::now()).unwrap();
    drop(store);
    assert_eq!(entries(&path, "messages"), 1, "only a large one is shared");
    let length = std::fs::metadata(&path).unwrap().len();
    assert!(length < 20_000_000, "{length}");

    let store = Store::open(&path, SyncPolicy::Always, Clock::now()).unwrap();
    let clients = store.load(Clock::now()).unwrap().clients;
    let deliveries = clients.iter().map(|client| &client.deliveries[0]);
    let found: Vec<_> = deliveries.filter_map(|d| d.outgoing.as_ref()).collect();
    assert_eq!(found.len(), 200);
    for (outgoing, client) in found.iter().zip(&clients) {
        assert!(Arc::ptr_eq(&outgoing.message, &found[0].message));
        assert_eq!(outgoing.message, large);
        let number: u32 = client.identifier["client".len()..].parse().unwrap();
        assert_eq!(outgoing.subscription_identifiers()[0].get(), number + 1);
        assert_eq!(outgoing.retain, number % 2 == 0);
        assert_eq!(outgoing.share().is_some(), number % 3 == 0);
    }
}

#[test]
fn shared_message_is_deleted_with_its_last_delivery() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rbroker.db");
    let open = || Store::open(&path, SyncPolicy::Always, Clock::now()).unwrap();
    let commit = |mutations: &[Mutation]| open().commit(mutations, Clock::now()).unwrap();
    let (first, second) = (message(5000), message(6000));
    let mut mutations = sessions(0..20);
    mutations.extend(queued(&first, 1, 0..20));
    mutations.extend(queued(&second, 2, 0..20));
    commit(&mutations);
    // The same mutations are committed again, as after a full disk, when the file may have them or not.
    commit(&mutations);
    assert_eq!(entries(&path, "messages"), 2);
    commit(&finished(1, 0..19));
    commit(&[Mutation::Released {
        client: "client0".into(),
        number: 2,
    }]);
    assert_eq!(entries(&path, "messages"), 2);
    commit(&finished(1, 19..20));
    assert_eq!(entries(&path, "messages"), 1, "the first one is gone");
    // The end of a session removes its deliveries, which must count too.
    let gone = (0..20).map(|client| Mutation::ClientRemoved {
        client: format!("client{client}").into(),
    });
    commit(&gone.collect::<Vec<_>>());
    assert_eq!(entries(&path, "messages"), 0);
    assert_eq!(open().load(Clock::now()).unwrap(), Snapshot::default());
}

/// A system whose clocks the test sets.
#[derive(Clone, Copy)]
struct System {
    now: Instant,
    wall: SystemTime,
    boot: BootTime,
}

const HOUR: Duration = Duration::from_secs(3600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

impl System {
    fn new() -> Self {
        Self {
            now: Instant::now(),
            // The wall clock is far after the year of the program, so that it can be set back.
            wall: SystemTime::UNIX_EPOCH + YEAR * 80,
            boot: BootTime {
                id: 1,
                elapsed: HOUR,
            },
        }
    }

    fn clock(&self) -> Clock {
        Clock {
            now: self.now,
            wall: self.wall,
            boot: Some(self.boot),
        }
    }

    fn passes(&mut self, time: Duration) {
        self.now += time;
        self.wall += time;
        self.boot.elapsed += time;
    }

    fn boots(&mut self) {
        self.boot.id += 1;
        self.boot.elapsed = Duration::ZERO;
    }
}

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

#[test]
fn file_shrinks_after_deletions_while_open_and_at_start() {
    // With `sync interval`, commits may not be synced yet when the file is shrunk.
    let interval = SyncPolicy::Interval(HOUR);
    for (is_reopened, policy) in [
        (false, SyncPolicy::Always),
        (true, SyncPolicy::Always),
        (false, interval),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rbroker.db");
        let mut system = System::new();
        let open = |system: &System| Store::open(&path, policy, system.clock());
        let mut store = open(&system).unwrap();
        let length = || std::fs::metadata(&path).unwrap().len();
        let small = length();
        let mut mutations = sessions(0..10);
        for number in 0..500 {
            mutations.extend(queued(&message(50_000), number, 0..10));
        }
        store.commit(&mutations, system.clock()).unwrap();
        assert!(length() > 25_000_000 && store.size() > 25_000_000);
        assert!(store.stored_bytes() < 26_000_000);
        let gone: Vec<_> = (1..500)
            .flat_map(|number| finished(number, 0..10))
            .collect();
        store.commit(&gone, system.clock()).unwrap();
        let expected = store.load(system.clock()).unwrap();
        if is_reopened {
            drop(store);
            store = open(&system).unwrap();
        } else {
            // The file is shrunk after a delay, in a commit without mutations.
            let due = store.poll_timeout().unwrap();
            assert!(due - system.now <= Duration::from_secs(10), "it is due");
            system.passes(due - system.now);
            store.commit(&[], system.clock()).unwrap();
        }
        assert!(length() < 6_000_000, "{} {small}", length());
        assert!(store.size() <= length());
        assert_eq!(store.load(system.clock()).unwrap(), expected);
        // Shrinking is not tried again before something changes.
        assert_eq!(
            store.poll_timeout(),
            Some(system.now + Duration::from_secs(60))
        );
        drop(store);
        assert_eq!(
            open(&system).unwrap().load(system.clock()).unwrap(),
            expected
        );
    }
}

/// A broker core with one connection of a client of 5.0.
struct Client {
    broker: Broker,
    id: ConnectionId,
    now: Instant,
}

impl Client {
    fn send(&mut self, packet: &PacketRef<'_>) {
        let mut bytes = Vec::new();
        packet
            .encode(ProtocolVersion::V5_0, u32::MAX, &mut bytes)
            .unwrap();
        self.broker.handle_input(self.now, self.id, &mut &bytes[..]);
    }

    /// Reads the output of the broker as if all mutations were durable, and acknowledges the messages of QoS 1. Returns
    /// the number of messages.
    fn acknowledge_messages(&mut self, decoder: &mut Decoder) -> usize {
        self.broker.begin_commit();
        self.broker.end_commit();
        let output = self.broker.output(self.id).to_vec();
        self.broker.consume_output(self.now, self.id, output.len());
        let (mut input, mut answers) = (&output[..], Vec::new());
        while let Some(packet) = decoder.decode(&mut input).unwrap() {
            if let PacketRef::Publish(publish) = packet {
                let packet_identifier = publish.delivery.packet_identifier().unwrap();
                answers.push(Ack::new(packet_identifier, ReasonCode::Success));
            }
        }
        assert!(input.is_empty(), "the broker writes whole packets");
        for answer in &answers {
            self.send(&PacketRef::Puback(answer.clone()));
        }
        answers.len()
    }
}

#[test]
fn store_keeps_the_state_of_each_replay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rbroker.db");
    let now = Instant::now();
    let mut broker = Broker::new(Limits::default(), Box::new(|| 7));
    broker.record_mutations();
    let id = broker.open(now, "peer".into(), 0);
    let mut client = Client { broker, id, now };
    let mut connect = Connect::new(ProtocolVersion::V5_0, "sub");
    connect.properties.session_expiry_interval = Some(u32::MAX);
    client.send(&PacketRef::Connect(Box::new(connect)));
    for number in 0..100 {
        let topic_name = TopicName::new(&format!("home/{number}")).unwrap();
        let mut message = Message::new(topic_name, "old");
        message.retain = true;
        let delivery = Delivery::first(QoS::AtLeastOnce, PacketIdentifier::FIRST);
        client.send(&PacketRef::Publish(message.publish(delivery)));
    }
    let subscription = |filter: &&str| Subscription {
        topic_filter: TopicFilter::new(filter).unwrap(),
        options: SubscriptionOptions::new(QoS::AtLeastOnce),
    };
    client.send(&PacketRef::Subscribe(Subscribe {
        packet_identifier: PacketIdentifier::FIRST,
        subscriptions: ["home/#", "+/7", "home/+", "#"]
            .iter()
            .map(subscription)
            .collect(),
        properties: SubscribeProperties::default(),
    }));
    let clock = Clock::now();
    let mut store = Store::open(&path, SyncPolicy::Always, clock).unwrap();
    store
        .commit(&client.broker.take_mutations(), clock)
        .unwrap();
    let saved = client.broker.save(now);
    assert_eq!(saved.clients[0].retained_replays.len(), 4);
    assert_eq!(store.load(clock).unwrap(), saved);
    let mut decoder = Decoder::client(ProtocolVersion::V5_0, MAXIMUM_PACKET_SIZE);
    let acknowledged = std::iter::from_fn(|| {
        let count = client.acknowledge_messages(&mut decoder);
        (count > 0).then_some(count)
    });
    assert_eq!(acknowledged.sum::<usize>(), 301);
    store
        .commit(&client.broker.take_mutations(), clock)
        .unwrap();
    let saved = client.broker.save(now);
    assert_eq!(saved.clients[0].retained_replays.len(), 0);
    assert_eq!(store.load(clock).unwrap(), saved);
}
