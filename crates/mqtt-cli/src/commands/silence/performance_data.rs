//! The performance data of `--check`, from which monitoring systems draw graphs.

use std::time::Duration;

use super::clocks::Clock;

/// Returns the performance data: for each filter the time to its first message, the warning time and the critical time.
pub(super) fn of_clocks<'a>(
    clocks: impl Iterator<Item = &'a Clock>,
    warning: Option<Duration>,
    limit: Duration,
) -> String {
    let warning = warning.map(seconds).unwrap_or_default();
    let limit = seconds(limit);
    let entry = |clock: &Clock| {
        // `U` is a value that could not be determined.
        let value = clock
            .first
            .map_or_else(|| "U".to_owned(), |first| seconds(first) + "s");
        let label = label(&clock.filter);
        format!("'{label}'={value};{warning};{limit};0")
    };
    clocks.map(entry).collect::<Vec<_>>().join(" ")
}

/// Returns a filter as a label. A label must not contain `=`, its single quotes are doubled, and a vertical bar or a
/// line break would end the data.
fn label(filter: &str) -> String {
    let replaced = |c: char| {
        if c == '=' || c == '|' || c.is_control() {
            '_'
        } else {
            c
        }
    };
    let label: String = filter.chars().map(replaced).collect();
    label.replace('\'', "''")
}

/// Returns a time in seconds, with up to three decimals.
pub(super) fn seconds(time: Duration) -> String {
    let text = format!("{:.3}", time.as_secs_f64());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_no_character_with_a_meaning() {
        assert_eq!(label("a/+/it's=|x\n"), "a/+/it''s__x_");
    }
}
