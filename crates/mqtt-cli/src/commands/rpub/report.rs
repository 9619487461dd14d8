//! The lines that rpub prints about its messages: rejected messages, resent messages, and the state after a signal.

use mqtt_client::session::{Event, OutboundMessage, Printable};
use mqtt_codec::QoS;

use crate::commands::rpub::plan::PublishPlan;
use crate::commands::rpub::progress::Progress;
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
            return Some(Failure::unmarked(status, text).quiet_if(true));
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

/// Prints the number of messages that the broker has rejected, if there were several messages.
pub(super) fn rejected(plan: &PublishPlan, progress: &Progress) {
    let Progress {
        published,
        rejected,
        ..
    } = *progress;
    // The rejection of a single message has its own line already.
    if rejected > 0 && published > 1 {
        let published = counted(published, "message");
        let text = format!("The broker rejected {rejected} of {published}.");
        plan.client.diagnostics.warn(&text);
    }
}

/// Prints the state of the messages when a signal ended the program.
pub(super) fn interrupted(plan: &PublishPlan, progress: &Progress, unfinished: usize, lost: usize) {
    let Progress {
        published,
        acknowledged,
        rejected,
        ..
    } = *progress;
    let mut text = format!("Interrupted: sent {}", counted(published, "message"));
    if plan.qos > QoS::AtMostOnce {
        text += &format!(", {acknowledged} acknowledged, {unfinished} not acknowledged");
    }
    if rejected > 0 {
        text += &format!(", {rejected} rejected");
    }
    if lost > 0 {
        text += &format!(
            "; the last {} did not reach the broker",
            counted(lost as u64, "byte")
        );
    }
    plan.client.diagnostics.warn(&(text + "."));
}
