//! Compares the levels of a node with a topic name, and splits them at the first level in which a topic filter differs.

/// Compares the levels of a node with the rest of a topic name. Returns the rest of the name after these levels if they
/// match, and `None` if they do not. The inner option is `None` if the name has no further level.
pub(super) fn follow<'a>(
    levels: Option<&str>,
    name: Option<&'a str>,
    work: &mut usize,
) -> Option<Option<&'a str>> {
    let Some(levels) = levels else {
        return Some(name);
    };
    let mut name = name;
    for level in mqtt_codec::levels(levels) {
        *work += 1;
        if level == "#" {
            return Some(None); // `#` matches any number of further levels, including none
        }
        let (own, behind) = mqtt_codec::split_level(name?);
        if level != "+" && level != own {
            return None;
        }
        name = behind;
    }
    Some(name)
}

/// Returns the rest of `topic` after `levels`, or `None` if `topic` does not begin with `levels`. The inner option is
/// `None` if nothing is left.
pub(super) fn strip_levels<'a>(levels: &str, topic: &'a str) -> Option<Option<&'a str>> {
    match topic.strip_prefix(levels)? {
        "" => Some(None),
        behind => behind.strip_prefix('/').map(Some),
    }
}

/// Splits `levels` into the levels with which `topic` begins, and the others. Returns `None` if `topic` begins with all
/// of them. `levels` and `topic` must have the same first level.
pub(super) fn leave<'a>(levels: &'a str, topic: &str) -> Option<(&'a str, &'a str)> {
    let (mut own, mut topic) = (Some(levels), Some(topic));
    loop {
        let (level, behind) = mqtt_codec::split_level(own?);
        match topic.map(mqtt_codec::split_level) {
            // Whole levels are compared: `a/bc` and `a/bd` only share `a`.
            Some((other, rest)) if other == level => (own, topic) = (behind, rest),
            _ => {
                let tail = own?;
                let head = levels.get(..levels.len().checked_sub(tail.len() + 1)?)?;
                return Some((head, tail));
            }
        }
    }
}
