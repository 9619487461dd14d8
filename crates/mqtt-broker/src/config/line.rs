//! [`Line`]: a line of a configuration file, with methods that parse its words as values of different types.

use std::time::Duration;

/// A line with a directive.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// The first word.
    pub(super) name: &'a str,
    /// The text after the name. A path or a text may have spaces.
    pub(super) rest: &'a str,
}

impl<'a> Line<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        let line = line.trim();
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        Self {
            name,
            rest: rest.trim(),
        }
    }

    /// Returns the first word after the name.
    pub(super) fn value(&self) -> &'a str {
        self.rest.split_whitespace().next().unwrap_or_default()
    }

    /// Returns the second word after the name.
    pub(super) fn second(&self) -> Option<&'a str> {
        self.rest.split_whitespace().nth(1)
    }

    /// Returns the error for an invalid value.
    pub(super) fn wrong(&self, expected: &str) -> String {
        let (name, value) = (self.name, self.value());
        format!("Invalid '{name}' value ({value}): expected {expected}.")
    }

    pub(super) fn boolean(&self) -> Result<bool, String> {
        match self.value() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            // mosquitto rejects capital letters too.
            value if ["true", "false"].contains(&&*value.to_lowercase()) => {
                Err(self.wrong("true or false in lower case"))
            }
            _ => Err(self.wrong("true, false, 1 or 0")),
        }
    }

    /// Returns the value as a number from `least` to `most`.
    pub(super) fn number(&self, least: u32, most: u32) -> Result<u32, String> {
        let number = self.value().parse().ok();
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| self.wrong(&format!("{least} to {most}")))
    }

    /// Returns the value as a number from `least` to 65535.
    pub(super) fn number_16(&self, least: u16) -> Result<u16, String> {
        let number = self.number(least.into(), u16::MAX.into())?;
        Ok(u16::try_from(number).unwrap_or(u16::MAX))
    }

    /// Returns the value as a limit. 0 and negative numbers mean no limit.
    pub(super) fn limit(&self) -> Result<usize, String> {
        if self.is_negative() {
            return Ok(usize::MAX);
        }
        Ok(match self.number(0, u32::MAX)? {
            0 => usize::MAX,
            limit => limit as usize,
        })
    }

    /// Returns `true` if the value is a negative number, with which many files turn a limit off.
    pub(super) fn is_negative(&self) -> bool {
        self.value().parse().is_ok_and(|number: i64| number < 0)
    }

    /// Returns the value as a limit, or `None` for -1, which means no limit.
    pub(super) fn limit_or_minus_one(&self) -> Result<Option<usize>, String> {
        match self.value() {
            "-1" => Ok(None),
            _ => self.number(0, u32::MAX).map(|limit| Some(limit as usize)),
        }
    }

    /// Returns the value as a time, such as `14d`. The units are seconds, hours, days, weeks, months of 30 days and
    /// years of 365 days.
    pub(super) fn long_time(&self) -> Result<Duration, String> {
        let wrong = || self.wrong("a number and one of s, h, d, w, m (months) and y");
        let value = self.value();
        let unit = value.chars().last().ok_or_else(wrong)?;
        let seconds: u64 = match unit {
            's' => 1,
            'h' => 3600,
            'd' => 86_400,
            'w' => 7 * 86_400,
            'm' => 30 * 86_400,
            'y' => 365 * 86_400,
            _ => return Err(wrong()),
        };
        let count = value.strip_suffix(unit).unwrap_or_default();
        // The count is limited to 32 bits, so that its product with the seconds of a year fits into 64 bits.
        let count: u32 = count.parse().map_err(|_| wrong())?;
        Ok(Duration::from_secs(seconds * u64::from(count)))
    }
}
