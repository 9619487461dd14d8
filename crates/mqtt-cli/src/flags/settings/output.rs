//! The settings of rsub and rrr about the output: the format, and the retained messages to receive.

use std::io::IsTerminal;

use mqtt_codec::{QoS, RetainHandling, SubscriptionOptions};

use crate::output::format::{Format, Style};
use crate::output::printer::Printing;

/// The settings of the output.
#[derive(Debug, Default)]
pub(crate) struct OutputSettings {
    pub(crate) format: Option<Format>,
    pub(crate) verbose: bool,
    pub(crate) no_newline: bool,
    /// Set by `-0`.
    pub(crate) nul: bool,
    pub(crate) jsonl: bool,
    pub(crate) pretty: bool,
    /// Set by `-R`: retained messages are not printed, even if the broker sends them.
    pub(crate) no_retained: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) retain_handling: Option<RetainHandling>,
}

impl OutputSettings {
    /// Returns the style for the present standard output.
    pub(crate) fn style(&self) -> Style {
        Style {
            pretty: self.pretty,
            // In a pipe or file every byte of the payload is preserved, so only a terminal gets escapes.
            terminal: std::io::stdout().is_terminal(),
        }
    }

    /// Returns the rules by which messages are printed. rsub adds the rules of its own options.
    pub(crate) fn printing(&self) -> Printing {
        Printing {
            format: self.format.clone(),
            style: self.style(),
            verbose: self.verbose,
            jsonl: self.jsonl,
            end: match (self.nul, self.no_newline) {
                (true, _) => Some(0),
                (false, true) => None,
                (false, false) => Some(b'\n'),
            },
            no_retained: self.no_retained,
            // Only rsub has options for the other rules.
            ..Printing::default()
        }
    }

    /// Returns the options of a subscription with this maximum QoS.
    pub(crate) fn subscription_options(&self, qos: QoS) -> SubscriptionOptions {
        let mut options = SubscriptionOptions::new(qos);
        options.retain_as_published = self.retain_as_published;
        // Before 5.0 the encoder leaves out all options except the QoS.
        if let Some(handling) = self.retain_handling {
            options.retain_handling = handling;
        }
        options
    }
}
