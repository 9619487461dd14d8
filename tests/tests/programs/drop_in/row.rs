//! [`Row`]: one command line that runs with the mosquitto tools and with the programs of this repository, and
//! everything that runs before and during it.

/// A command line whose results are compared between the mosquitto tools and the programs of this repository.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) tool: &'static str,
    /// The arguments, separated by blanks. An argument with blanks is in single quotes. `{port}` is the port of the
    /// broker. Without `{port}`, `-h 127.0.0.1 -p PORT` is put before the arguments.
    pub(crate) words: String,
    pub(crate) input: Vec<u8>,
    /// Command lines of rpub that run before the tool.
    pub(crate) before: Vec<&'static str>,
    /// Command lines of rpub that run after the subscription works.
    pub(crate) then: Vec<&'static str>,
    /// Command lines of rpub that run after the tool has published.
    pub(crate) answer: Vec<&'static str>,
    /// The text of the options file.
    pub(crate) file: &'static str,
    /// The configuration of the broker.
    pub(crate) broker: &'static str,
    /// The heading of docs/differences.md, if the results differ on purpose.
    pub(crate) difference: Option<&'static str>,
    /// Set if digits of the output are not compared, because it contains times.
    pub(crate) any_digits: bool,
}

fn row(tool: &'static str, words: &str) -> Row {
    Row {
        tool,
        words: words.into(),
        input: Vec::new(),
        before: Vec::new(),
        then: Vec::new(),
        answer: Vec::new(),
        file: "",
        broker: "",
        difference: None,
        any_digits: false,
    }
}

pub(crate) fn publish(words: &str) -> Row {
    row("mosquitto_pub", words)
}

pub(crate) fn subscribe(words: &str) -> Row {
    row("mosquitto_sub", words)
}

pub(crate) fn request(words: &str) -> Row {
    row("mosquitto_rr", words)
}

impl Row {
    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    pub(crate) fn before(mut self, words: &'static str) -> Self {
        self.before.push(words);
        self
    }

    pub(crate) fn then(mut self, words: &'static str) -> Self {
        self.then.push(words);
        self
    }

    pub(crate) fn answer(mut self, words: &'static str) -> Self {
        self.answer.push(words);
        self
    }

    pub(crate) fn file(mut self, text: &'static str) -> Self {
        self.file = text;
        self
    }

    pub(crate) fn broker(mut self, settings: &'static str) -> Self {
        self.broker = settings;
        self
    }

    pub(crate) fn differs(mut self, heading: &'static str) -> Self {
        self.difference = Some(heading);
        self
    }

    pub(crate) fn any_digits(mut self) -> Self {
        self.any_digits = true;
        self
    }
}

/// Splits a line into its arguments.
pub(crate) fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = None;
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_with(String::new);
            }
            ' ' if !quoted => words.extend(word.take()),
            other => word.get_or_insert_with(String::new).push(other),
        }
    }
    words.extend(word);
    words
}
