//! The message that rpub and rrr publish, and the source of its payload.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use mqtt_codec::{QoS, TopicName};

use crate::exit_status::Class;
use crate::failure::Failure;
use crate::output::standard_streams::StandardInput;
use crate::wording::system_text;

/// Maximum length of a payload, and so of a line of `rpub -l`: 256 MiB less a byte.
pub(crate) const MAXIMUM_PAYLOAD: usize = mqtt_codec::MAXIMUM_REMAINING_LENGTH as usize;

/// The settings of the message.
#[derive(Debug)]
pub(crate) struct MessageSettings {
    pub(crate) topic_name: Option<TopicName>,
    pub(crate) qos: QoS,
    pub(crate) sources: Vec<Source>,
    /// Set by `--jsonl`.
    pub(crate) jsonl: bool,
    /// Set by `--with-topic`.
    pub(crate) with_topic: bool,
    /// Set by `-0`.
    pub(crate) nul: bool,
    pub(crate) on_error: OnError,
}

/// A source of a payload.
#[derive(Debug)]
pub(crate) enum Source {
    /// `-m`.
    Argument(Bytes),
    /// `-f`.
    File(PathBuf),
    /// `-l`.
    Lines,
    /// `-n`.
    Nothing,
    /// `-s`.
    StandardInput,
}

/// The payloads to publish.
#[derive(Debug)]
pub(crate) enum Content {
    /// A single payload, which may be repeated.
    Payload(Bytes),
    /// An input in which each line is a message.
    Lines(Lines),
}

/// The input of `-l` and `--jsonl`.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) form: LineForm,
    /// The byte that ends a line.
    pub(crate) separator: u8,
    /// The file to read instead of standard input.
    pub(crate) file: Option<File>,
    pub(crate) on_error: OnError,
}

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineForm {
    Payload,
    /// A topic, a blank and a payload, as `rsub -v` prints them.
    TopicAndPayload,
    /// An object of `rsub --jsonl`.
    Json,
}

/// The behaviour after a line from which no message can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnError {
    Skip,
    Stop,
}

impl Default for MessageSettings {
    fn default() -> Self {
        Self {
            topic_name: None,
            qos: QoS::AtMostOnce,
            sources: Vec::new(),
            jsonl: false,
            with_topic: false,
            nul: false,
            on_error: OnError::Stop,
        }
    }
}

impl MessageSettings {
    /// Reads the payload. Returns `None` if no option names a source.
    ///
    /// # Errors
    /// If several options name a payload, a file cannot be read, or the payload is too large for a packet.
    pub(crate) fn content(&self) -> Result<Option<Content>, Failure> {
        if let Some(lines) = self.lines()? {
            return Ok(Some(Content::Lines(lines)));
        }
        let payload = match self.sources.as_slice() {
            [] => return Ok(None),
            [Source::Nothing] => Bytes::new(),
            // The size is checked here and not only by the encoder, so that the program does not connect for a message
            // that cannot be sent.
            [Source::Argument(payload)] if payload.len() > MAXIMUM_PAYLOAD => {
                return Err(Failure::usage(
                    "Message length must be less than 268435455 bytes.",
                ));
            }
            [Source::Argument(payload)] => payload.clone(),
            [Source::File(path)] => read_file(path)?,
            [Source::StandardInput] => read_standard_input()?,
            // The same option twice is an error, too: mosquitto_pub does not use the last one here.
            _ => {
                return Err(
                    Failure::usage("Only one type of message can be sent at once.")
                        .with_hint("Give one of -m, -f, -s, -n and, in rpub, -l."),
                );
            }
        };
        Ok(Some(Content::Payload(payload)))
    }

    /// Returns the input of `-l` and `--jsonl`, or `None` without these options.
    fn lines(&self) -> Result<Option<Lines>, Failure> {
        let (form, file) = match (self.jsonl, self.sources.as_slice()) {
            (true, [] | [Source::Lines]) => (LineForm::Json, None),
            (true, [Source::File(path)]) => {
                let file = File::open(path).map_err(|error| {
                    let (path, text) = (path.display(), system_text(&error));
                    Failure::usage(format!("Unable to read file \"{path}\": {text}."))
                        .with_class(Class::NoInput)
                })?;
                (LineForm::Json, Some(file))
            }
            (true, _) => {
                return Err(
                    Failure::usage("Only one type of message can be sent at once.")
                        .with_hint("--jsonl reads standard input, or the file of -f."),
                );
            }
            (false, [Source::Lines]) if self.with_topic => (LineForm::TopicAndPayload, None),
            (false, [Source::Lines]) => (LineForm::Payload, None),
            (false, _) if self.with_topic || self.nul => {
                return Err(Failure::usage("--with-topic and -0 need the option -l."));
            }
            (false, _) => return Ok(None),
        };
        Ok(Some(Lines {
            form,
            separator: if self.nul { 0 } else { b'\n' },
            file,
            on_error: self.on_error,
        }))
    }

    /// Applies `-l`, which rrr does not have.
    pub(crate) fn add_lines(&mut self) {
        self.sources.push(Source::Lines);
    }
}

/// Reads the payload of `-f`. The hint is the line that mosquitto_pub prints after the error.
fn read_file(path: &Path) -> Result<Bytes, Failure> {
    let name = path.display();
    let hint = format!("Error loading input file \"{name}\".");
    let fail = |error: std::io::Error| {
        let text = system_text(&error);
        Failure::usage(format!("Unable to read file \"{name}\": {text}."))
            .with_hint(hint.clone())
            .with_class(Class::NoInput)
    };
    let payload = read_payload(File::open(path).map_err(fail)?).map_err(fail)?;
    payload.ok_or_else(|| {
        Failure::usage("File must be less than 268435455 bytes.")
            .with_hint(hint.clone())
            .with_class(Class::Data)
    })
}

/// Reads the payload of `-s`. Like in mosquitto_pub, an empty payload is an error: its usual cause is a failed command
/// before the pipe, and publishing it could delete a retained message.
fn read_standard_input() -> Result<Bytes, Failure> {
    let hint = "Error loading input from stdin.";
    let payload = read_payload(StandardInput).map_err(|error| {
        let text = system_text(&error);
        Failure::usage(format!("Unable to read standard input: {text}."))
            .with_hint(hint)
            .with_class(Class::NoInput)
    })?;
    match payload {
        None => Err(
            Failure::usage("Message length must be less than 268435455 bytes.")
                .with_hint(hint)
                .with_class(Class::Data),
        ),
        Some(payload) if payload.is_empty() => Err(Failure::usage("Zero length input.")
            .with_hint("Error loading input from stdin. Use -n to send an empty message.")
            .with_class(Class::Data)),
        Some(payload) => Ok(payload),
    }
}

/// Reads all of an input. Returns `None` if it is too large for a message.
fn read_payload(input: impl Read) -> std::io::Result<Option<Bytes>> {
    let mut payload = Vec::new();
    // The input is read up to one byte beyond the limit, which shows whether it exceeds the limit.
    input
        .take(MAXIMUM_PAYLOAD as u64 + 1)
        .read_to_end(&mut payload)?;
    Ok((payload.len() <= MAXIMUM_PAYLOAD).then(|| payload.into()))
}
