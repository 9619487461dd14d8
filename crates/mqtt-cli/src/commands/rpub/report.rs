//! The lines that rpub prints about its messages: rejected messages, resent messages, and the state after a signal.

use mqtt_client::session::{Event, OutboundMessage, Printable};
use mqtt_codec::QoS;

use crate::commands::rpub::plan::PublishPlan;
use crate::commands::verdict::Published;
use crate::diagnostics::Diagnostics;
use crate::exit_status::Status;
use crate::failure::Failure;
use crate::wording::counted;

/// Prints an event that the user should know. Returns the failure that the event causes.
pub(super) fn event(event: &Event<'_>, diagnostics: &mut Diagnostics) -> Option<Failure> {
    match event {
        Event::Delivered {
            packet_identifier,
            reason_code,
            reason_string,
        } if reason_code.is_error() => {
            let mut text = format!("Publish {packet_identifier} failed: {reason_code}.");
            if let Some(reason) = reason_string {
                text += &format!(" {}", Printable(reason));
            }
            diagnostics.warn(&text);
            // The text is printed already, so the failure only sets the exit status.
            let status = Status::of_reason(*reason_code);
            let failure = Failure::unmarked(status, text).quiet_if(true);
            return Some(failure.with_reason(reason_code.value(), reason_string.as_deref()));
        }
        // With a resumed session `unfinished` is empty: the session resends its messages, and the broker detects
        // duplicates.
        Event::Connected { unfinished, .. } => {
            diagnostics.print_connected();
            warn_of_resending(unfinished, diagnostics);
        }
        _ => {}
    }
    None
}

/// Prints that messages of a lost connection are resent although the broker has no session for them.
fn warn_of_resending(unfinished: &[OutboundMessage], diagnostics: &Diagnostics) {
    if unfinished.is_empty() {
        return;
    }
    let count = counted(unfinished.len() as u64, "unacknowledged message");
    let mut text = format!("Resending {count}.");
    let is_exactly_once = |outgoing: &OutboundMessage| outgoing.qos == QoS::ExactlyOnce;
    if unfinished.iter().any(is_exactly_once) {
        text +=
            " The broker has no session to detect duplicates: messages of QoS 2 may arrive twice.";
    }
    diagnostics.warn(&text);
}

/// Prints the number of messages for each outcome, if the broker has rejected some messages.
pub(super) fn rejected(plan: &PublishPlan, published: Published) {
    // The rejection of a single message has its own line already.
    if published.rejected > 0 && published.total > 1 {
        plan.client.diagnostics.warn(&format!("{published}."));
    }
}

/// Prints the number of messages for each outcome after a signal has ended the program.
pub(super) fn interrupted(plan: &PublishPlan, published: Published, lost: usize) {
    let mut text = format!("Interrupted: {published}");
    if lost > 0 {
        text += &format!(
            "; the last {} did not reach the broker",
            counted(lost as u64, "byte")
        );
    }
    plan.client.diagnostics.warn(&(text + "."));
}
