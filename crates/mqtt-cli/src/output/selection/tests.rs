//! Tests of periods, waiting messages and limits.

use mqtt_codec::{Delivery, Message, TopicName};
use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    topics: 100,
    bytes: 100_000,
};

const PERIOD: Duration = Duration::from_secs(10);

fn selection(is_comparing: bool, period: Option<Duration>, limits: Limits) -> Selection {
    let comparison = is_comparing.then(Comparison::default);
    Selection::with_limits(Rules { comparison, period }, limits)
}

fn select(selection: &mut Selection, topic: &str, payload: &str, now: Instant) -> Selected {
    let message = Message::new(TopicName::new(topic).unwrap(), payload.to_owned());
    selection.select(&message.publish(Delivery::AtMostOnce), now)
}

fn text(waiting: Option<Waiting>) -> Option<(String, String)> {
    let waiting = waiting?;
    let publish = waiting.publish();
    let payload = String::from_utf8(publish.payload.to_vec()).unwrap();
    Some((publish.topic_name.to_owned(), payload))
}

fn some(topic: &str, payload: &str) -> Option<(String, String)> {
    Some((topic.to_owned(), payload.to_owned()))
}

#[test]
fn the_first_message_is_printed_and_the_newest_one_at_the_end_of_each_period() {
    let mut selection = selection(false, Some(PERIOD), LIMITS);
    let start = Instant::now();
    assert_eq!(select(&mut selection, "a", "1", start), Selected::Print);
    for payload in ["2", "3"] {
        let selected = select(&mut selection, "a", payload, start);
        assert_eq!(selected, Selected::Withhold);
    }
    assert_eq!(select(&mut selection, "b", "1", start), Selected::Print);
    assert_eq!(selection.deadline(), Some(start + PERIOD));
    assert_eq!(text(selection.take_due(start + PERIOD / 2)), None);
    assert_eq!(text(selection.take_due(start + PERIOD)), some("a", "3"));
    // The next period follows immediately.
    let selected = select(&mut selection, "a", "4", start + PERIOD);
    assert_eq!(selected, Selected::Withhold);
    assert_eq!(selection.deadline(), Some(start + PERIOD * 2));
    assert_eq!(text(selection.take_any()), some("a", "4"));
    assert!(!selection.has_waiting());
}

#[test]
fn a_topic_needs_no_memory_after_its_period() {
    let mut selection = selection(false, Some(PERIOD), LIMITS);
    let start = Instant::now();
    for number in 0..100 {
        let selected = select(&mut selection, &number.to_string(), "1", start);
        assert_eq!(selected, Selected::Print);
    }
    let selected = select(&mut selection, "a", "1", start + PERIOD);
    assert_eq!(selected, Selected::Print);
    assert_eq!((selection.topics.len(), selection.ends.len()), (1, 1));
}

#[test]
fn a_change_that_is_undone_within_the_period_is_not_printed() {
    let mut selection = selection(true, Some(PERIOD), LIMITS);
    let start = Instant::now();
    for (payload, expected) in [
        ("1", Selected::Print),
        ("2", Selected::Withhold),
        ("1", Selected::Withhold),
    ] {
        assert_eq!(select(&mut selection, "a", payload, start), expected);
    }
    assert!(!selection.has_waiting());
    let later = start + PERIOD;
    assert_eq!(select(&mut selection, "a", "1", later), Selected::Withhold);
    assert_eq!(select(&mut selection, "a", "2", later), Selected::Print);
}

#[test]
fn topics_beyond_the_limit_are_printed_with_one_warning() {
    let limits = Limits {
        topics: 2,
        ..LIMITS
    };
    let mut selection = selection(true, None, limits);
    let now = Instant::now();
    for (topic, expected) in [
        ("a", Selected::Print),
        ("b", Selected::Print),
        ("c", Selected::PrintWithWarning),
        ("c", Selected::Print),
        ("a", Selected::Withhold),
    ] {
        assert_eq!(select(&mut selection, topic, "1", now), expected);
    }
    assert_eq!(selection.topics.len(), 2);
}

#[test]
fn waiting_messages_are_printed_early_if_they_use_too_much_memory() {
    let limits = Limits {
        bytes: 2 * MESSAGE_BYTES + 3,
        ..LIMITS
    };
    let mut selection = selection(false, Some(PERIOD), limits);
    let start = Instant::now();
    for (index, topic) in ["a", "b", "c"].into_iter().enumerate() {
        let now = start + Duration::from_secs(index as u64);
        select(&mut selection, topic, "", now);
        select(&mut selection, topic, "", now);
    }
    let now = start + PERIOD / 2;
    assert!(selection.deadline().unwrap() <= Instant::now());
    assert_eq!(text(selection.take_due(now)), some("a", ""));
    assert_eq!(text(selection.take_due(now)), None);
    // The message that was printed early begins a new period.
    select(&mut selection, "a", "x", now);
    assert_eq!(text(selection.take_due(now + PERIOD)), some("b", ""));
    assert_eq!(text(selection.take_due(now + PERIOD)), some("c", ""));
    assert_eq!(text(selection.take_due(now + PERIOD)), some("a", "x"));
    assert_eq!(selection.waiting_bytes, 0);
}

proptest! {
    /// No topic is printed twice within a period, the last value of each topic is printed, and with `--on-change` no
    /// value is printed twice in a row.
    #[test]
    fn the_last_value_is_printed_and_no_period_has_two_messages(
        is_comparing in any::<bool>(),
        steps in prop::collection::vec((0..3_usize, 0..3_u8, 0..7_u64), 0..60),
    ) {
        let mut selection = selection(is_comparing, Some(PERIOD), LIMITS);
        let mut now = Instant::now();
        let mut printed: Vec<Vec<(String, Instant)>> = vec![Vec::new(); 3];
        let mut last = [const { None }; 3];
        for (topic, value, seconds) in steps {
            // rsub calls `take_due` at the deadline.
            let next = now + Duration::from_secs(seconds);
            while let Some(end) = selection.deadline().filter(|end| *end <= next) {
                let (topic, value) = text(selection.take_due(end)).unwrap();
                printed[topic.parse::<usize>().unwrap()].push((value, end));
            }
            now = next;
            let value = value.to_string();
            match select(&mut selection, &topic.to_string(), &value, now) {
                Selected::Withhold => {}
                _ => printed[topic].push((value.clone(), now)),
            }
            last[topic] = Some(value);
        }
        for list in &printed {
            for pair in list.windows(2) {
                prop_assert!(pair[1].1 - pair[0].1 >= PERIOD);
            }
        }
        while let Some((topic, value)) = text(selection.take_any()) {
            printed[topic.parse::<usize>().unwrap()].push((value, now));
        }
        for (list, last) in printed.iter().zip(last) {
            prop_assert_eq!(list.last().map(|(value, _)| value), last.as_ref());
            let mut pairs = list.windows(2);
            prop_assert!(!is_comparing || pairs.all(|pair| pair[0].0 != pair[1].0));
        }
        prop_assert_eq!(selection.waiting_bytes, 0);
    }
}
