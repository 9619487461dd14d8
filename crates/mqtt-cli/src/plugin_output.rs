//! The line that `rsub --check` prints, in the form of the Monitoring Plugins Development Guidelines: the status, a text
//! for people, and after a vertical bar the performance data.

use mqtt_client::session::Printable;

use crate::exit_status::Class;

/// Returns the line without its end. `performance` may be empty.
pub(crate) fn line(class: Class, text: &str, performance: &str) -> String {
    // A monitoring system reads performance data after the first vertical bar.
    let text = Printable(text).to_string().replace('|', "_");
    let word = class.plugin_word();
    if performance.is_empty() {
        format!("MQTT {word} - {text}")
    } else {
        format!("MQTT {word} - {text} | {performance}")
    }
}
