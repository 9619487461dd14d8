//! `-D`: the option that sets properties of MQTT 5.0.

use crate::failure::Failure;
use crate::flags::definition::{CommandOption, property};
use crate::flags::settings::connection::ClientSettings;
use crate::flags::settings::properties::Given;

/// Returns the definition of `-D`.
pub(crate) fn property_option<S: ClientSettings>() -> Vec<CommandOption<S>> {
    let help = "Set a property of a packet. COMMAND is connect, publish, subscribe, unsubscribe, disconnect or will; \
                NAME is the standard's, such as content-type. For user-property, VALUE is two words. Selects MQTT 5.0";
    vec![property(help, |s: &mut S, words| {
        let connection = s.connection();
        // Only MQTT 5.0 has properties.
        connection.use_version_5();
        connection.properties.is_used = true;
        let [command, name, value] = words else {
            let text = "--property argument given but not enough arguments specified.";
            return Err(Failure::usage(text));
        };
        Given::new(command, name, value)?.set(&mut connection.properties)
    })]
}
