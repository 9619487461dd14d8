//! Compares topic filters and topic names with the definitions of MQTT 5.0, sections 4.7 and 4.8. The functions here
//! follow the text of the standard without regard to speed.

use mqtt_codec::{TopicFilter, TopicName};

/// Matches a topic filter with a topic name. A line feed separates the two in the input.
///
/// # Panics
/// If validity or matching differs from the definitions.
pub fn topics(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (filter, name) = text.split_once('\n').unwrap_or((text, ""));
    let valid_filter = TopicFilter::new(filter);
    let valid_name = TopicName::new(name);
    assert_eq!(valid_filter.is_ok(), is_filter(filter), "{filter:?}");
    let plain = !name.contains(['+', '#', '\0']);
    let fits = !name.is_empty() && name.len() <= 65535;
    assert_eq!(valid_name.is_ok(), plain && fits, "{name:?}");
    if let (Ok(valid), Ok(_)) = (&valid_filter, &valid_name) {
        assert_eq!(
            valid.matches(name),
            matches(filter, name),
            "{filter:?} {name:?}"
        );
        assert_eq!(valid.without_share(), unshared(filter).unwrap_or(filter));
    }
}

/// Returns the part after `$share/NAME/`, if the filter begins with it.
fn unshared(filter: &str) -> Option<&str> {
    let rest = filter.strip_prefix("$share/")?;
    rest.find('/').map(|slash| &rest[slash + 1..])
}

/// Returns `true` for a valid topic filter, with or without a share name [MQTT-4.8.2-1, MQTT-4.8.2-2].
fn is_filter(filter: &str) -> bool {
    if filter.len() > 65535 {
        return false;
    }
    if filter == "$share" {
        return false;
    }
    let Some(rest) = filter.strip_prefix("$share/") else {
        return is_plain_filter(filter);
    };
    let Some(slash) = rest.find('/') else {
        return false;
    };
    let share_name = &rest[..slash];
    !share_name.is_empty()
        && !share_name.contains(['+', '#', '\0'])
        && is_plain_filter(&rest[slash + 1..])
}

/// Returns `true` for a valid topic filter without a share name: wildcards are whole levels, and `#` is the last level.
fn is_plain_filter(filter: &str) -> bool {
    let levels: Vec<_> = filter.split('/').collect();
    let last = levels.len() - 1;
    let valid = |(index, level): (usize, &&str)| match *level {
        "+" => true,
        "#" => index == last,
        level => !level.contains(['+', '#', '\0']),
    };
    !filter.is_empty() && levels.iter().enumerate().all(valid)
}

/// Returns `true` if the filter matches the name.
pub(crate) fn matches(filter: &str, name: &str) -> bool {
    let filter = unshared(filter).unwrap_or(filter);
    // A filter that starts with a wildcard does not match a name that starts with `$` [MQTT-4.7.2-1].
    let hidden = name.starts_with('$') && filter.starts_with(['+', '#']);
    let filter: Vec<_> = filter.split('/').collect();
    let name: Vec<_> = name.split('/').collect();
    let mut same = 0;
    for level in &filter {
        if *level == "#" {
            return !hidden;
        }
        match name.get(same) {
            Some(other) if *level == "+" || level == other => same += 1,
            _ => return false,
        }
    }
    same == name.len() && !hidden
}
