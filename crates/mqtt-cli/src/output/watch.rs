//! The screen of `--watch`: a heading, and one row of the terminal for each topic. A message replaces the previous
//! message of its topic. If there are more topics than rows, a new topic takes the last row, the other rows move up,
//! and the topic of the first row leaves the screen until its next message.

use std::collections::{BTreeMap, VecDeque};

/// The number of rows that is assumed if a terminal does not report its size.
const DEFAULT_ROWS: u16 = 24;

/// The first row with a topic, below the heading.
const FIRST_ROW: usize = 2;

/// The topics on the screen.
#[derive(Debug)]
pub(crate) struct Watch {
    host: String,
    /// The number of topics for which the screen has room.
    capacity: usize,
    /// The topics with their text, from the first row on.
    rows: VecDeque<(String, Vec<u8>)>,
    /// The number of each topic on the screen. Topics are numbered in the order in which they appear. This map finds
    /// the row of a message without a search through all rows.
    numbers: BTreeMap<String, u64>,
    /// The number of the topic in the first row.
    first: u64,
}

impl Watch {
    /// Creates an empty screen for the messages of this broker.
    pub(crate) fn new(host: String) -> Self {
        Self {
            host,
            capacity: 0,
            rows: VecDeque::new(),
            numbers: BTreeMap::new(),
            first: 0,
        }
    }

    /// Clears the screen and draws all rows.
    pub(crate) fn draw(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("\x1b[2J\x1b[1;1HBroker: {}\n", self.host).as_bytes());
        (0..self.rows.len()).for_each(|index| self.draw_row(index, out));
    }

    /// Shows a message. `text` is its printed form, and `terminal_rows` is the height of the terminal.
    pub(crate) fn show(
        &mut self,
        topic_name: &str,
        text: &[u8],
        terminal_rows: usize,
        out: &mut Vec<u8>,
    ) {
        self.resize(terminal_rows, out);
        let text = on_one_row(text);
        let index = match self.numbers.get(topic_name) {
            // The rows have consecutive numbers, so the difference to the first number is the row.
            Some(number) => usize::try_from(number - self.first).unwrap_or(0),
            None => {
                // The terminal deletes the first row and moves the others up, so that they need not be drawn again.
                if self.rows.len() == self.capacity {
                    self.remove_first();
                    out.extend_from_slice(format!("\x1b[{FIRST_ROW};1H\x1b[M").as_bytes());
                }
                let index = self.rows.len();
                self.numbers
                    .insert(topic_name.to_owned(), self.first + index as u64);
                self.rows.push_back((topic_name.to_owned(), Vec::new()));
                index
            }
        };
        if let Some(row) = self.rows.get_mut(index) {
            row.1 = text;
        }
        self.draw_row(index, out);
        // The cursor is moved below the topics, so that a warning or the prompt of the shell does not overwrite them.
        let below = FIRST_ROW + self.rows.len();
        out.extend_from_slice(format!("\x1b[{below};1H").as_bytes());
    }

    /// Adapts the screen to the height of the terminal. The last row stays free for the cursor.
    fn resize(&mut self, terminal_rows: usize, out: &mut Vec<u8>) {
        let capacity = terminal_rows.saturating_sub(FIRST_ROW).max(1);
        // The height rarely changes, so for most messages nothing is drawn again.
        if std::mem::replace(&mut self.capacity, capacity) == capacity || self.rows.is_empty() {
            return;
        }
        while self.rows.len() > capacity {
            self.remove_first();
        }
        self.draw(out);
    }

    fn remove_first(&mut self) {
        if let Some((topic_name, _)) = self.rows.pop_front() {
            self.numbers.remove(&topic_name);
            self.first += 1;
        }
    }

    fn draw_row(&self, index: usize, out: &mut Vec<u8>) {
        let row = FIRST_ROW + index;
        // Line wrap is turned off, so that the terminal cuts a long text at the end of the row.
        out.extend_from_slice(format!("\x1b[{row};1H\x1b[K\x1b[?7l").as_bytes());
        if let Some((_, text)) = self.rows.get(index) {
            out.extend_from_slice(text);
        }
        out.extend_from_slice(b"\x1b[?7h");
    }
}

/// Returns the text without the line break at its end. Other line breaks are shown as `\n` and `\r`.
fn on_one_row(text: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(text.len());
    for byte in text.strip_suffix(b"\n").unwrap_or(text) {
        match byte {
            b'\n' => row.extend_from_slice(b"\\n"),
            b'\r' => row.extend_from_slice(b"\\r"),
            byte => row.push(*byte),
        }
    }
    row
}

/// Returns the number of rows of the terminal at standard output. This function is called for each message, so that a
/// change of the size needs no signal handler.
pub(crate) fn terminal_rows() -> usize {
    #[cfg(unix)]
    let rows = rustix::termios::tcgetwinsize(std::io::stdout()).map_or(0, |size| size.ws_row);
    #[cfg(not(unix))]
    let rows = 0_u16;
    match rows {
        0 => DEFAULT_ROWS.into(),
        rows => rows.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A terminal that interprets the escape sequences of this module.
    struct Terminal {
        rows: Vec<String>,
        row: usize,
    }

    impl Terminal {
        fn new(rows: usize) -> Self {
            Self {
                rows: vec![String::new(); rows],
                row: 0,
            }
        }

        fn write(&mut self, bytes: &[u8]) {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            for piece in text.split('\x1b') {
                let end = piece.find(|c: char| c.is_ascii_alphabetic());
                let Some(sequence) = piece.strip_prefix('[') else {
                    assert_eq!(piece, "");
                    continue;
                };
                let (sequence, text) = sequence.split_at(end.unwrap());
                match sequence {
                    "2J" => self.rows.fill(String::new()),
                    "K" => self.rows[self.row].clear(),
                    "M" => {
                        self.rows.remove(self.row);
                        self.rows.push(String::new());
                    }
                    "?7l" | "?7h" => {}
                    position => {
                        let (row, column) = position.split_once(';').unwrap();
                        assert_eq!(column, "1H");
                        self.row = row.parse::<usize>().unwrap() - 1;
                    }
                }
                for (index, line) in text.split('\n').enumerate() {
                    self.row += usize::from(index > 0);
                    assert!(self.row < self.rows.len(), "it scrolls");
                    self.rows[self.row] += line;
                }
            }
        }

        fn shows(&self, expected: &[&str]) {
            let shown: Vec<_> = self.rows.iter().map(String::as_str).collect();
            let empty = vec![""; shown.len() - expected.len()];
            assert_eq!(shown, [expected, &empty].concat());
        }
    }

    /// Returns the screen and a terminal of five rows after these messages. Five rows have room for three topics.
    fn watched(messages: &[&str]) -> (Watch, Terminal) {
        let (mut watch, mut terminal) = (Watch::new("h".into()), Terminal::new(5));
        let mut out = Vec::new();
        watch.draw(&mut out);
        for message in messages {
            let (topic_name, _) = message.split_once(' ').unwrap();
            watch.show(topic_name, message.as_bytes(), 5, &mut out);
        }
        terminal.write(&out);
        (watch, terminal)
    }

    #[test]
    fn each_topic_has_a_row_that_its_next_message_replaces() {
        let (_, terminal) = watched(&["a 1\n", "b 1\n", "a 2\n"]);
        terminal.shows(&["Broker: h", "a 2", "b 1"]);
        assert_eq!(terminal.row, 3);
    }

    #[test]
    fn topics_scroll_when_there_are_more_than_rows() {
        let (watch, terminal) = watched(&["a 1", "b 1", "c 1", "d 1", "e 1", "d 2", "c 2"]);
        terminal.shows(&["Broker: h", "c 2", "d 2", "e 1"]);
        assert_eq!(terminal.row, 4);
        assert_eq!(watch.numbers.len(), 3);
        let (_, terminal) = watched(&["a 1", "b 1", "c 1", "d 1", "a 2"]);
        terminal.shows(&["Broker: h", "c 1", "d 1", "a 2"]);
    }

    #[test]
    fn line_break_in_a_message_does_not_use_the_row_of_another_topic() {
        let (_, terminal) = watched(&["a 1\r\n2\n", "b 1\n"]);
        terminal.shows(&["Broker: h", "a 1\\r\\n2", "b 1"]);
    }

    #[test]
    fn screen_is_redrawn_when_the_terminal_is_resized() {
        let (mut watch, _) = watched(&["a 1", "b 1", "c 1"]);
        for (rows, expected) in [
            (4, &["Broker: h", "b 1", "c 2"][..]),
            (6, &["Broker: h", "b 1", "c 2"]),
            (1, &["Broker: h", "c 2"]),
        ] {
            let mut out = Vec::new();
            watch.show("c", b"c 2", rows, &mut out);
            let mut terminal = Terminal::new(rows.max(3));
            terminal.write(&out);
            terminal.shows(expected);
        }
    }
}
