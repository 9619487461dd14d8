//! Applies the environment variables about the connection. Together they describe one broker, so they have an effect only
//! if one of them names the broker.

use std::ffi::{OsStr, OsString};

use clap::ArgMatches;

use crate::failure::Failure;
use crate::flags::profiles::{Source, SourceEffects};
use crate::flags::program::Program;

/// The variable that names a profile for all commands of a shell or service. The name is ours, because the variable
/// means nothing to other programs.
const PROFILE: &str = "RPUBSUB_PROFILE";

/// The variable of the URL, whose parts the other variables override.
const URL: &str = "MQTT_URL";

const HOST: &str = "MQTT_HOST";

/// The variables that set one option each. Other MQTT programs have the same names for some of them. `MQTT_PASSWORD` is
/// not in the list: the program uses it only if no source gives a password (see `settings/password.rs`).
const VARIABLES: [(&str, &str); 8] = [
    (HOST, "--host"),
    ("MQTT_PORT", "--port"),
    ("MQTT_USERNAME", "--username"),
    ("MQTT_PASSWORD_FILE", "--password-file"),
    ("MQTT_CAFILE", "--cafile"),
    ("MQTT_CAPATH", "--capath"),
    ("MQTT_CERT", "--cert"),
    ("MQTT_KEY", "--key"),
];

/// The options that name a broker.
const BROKER: [&str; 4] = ["--host", "--url", "--unix", "-S"];

impl<S> Program<S> {
    /// Applies the profile of `RPUBSUB_PROFILE`, or else the variables, unless the command line names a broker.
    ///
    /// # Errors
    /// If the value of a variable is wrong. The error names the variable.
    pub(in crate::flags) fn apply_environment(
        &self,
        effects: &SourceEffects<S>,
        settings: &mut S,
        command_line: &ArgMatches,
    ) -> Result<(), Failure> {
        if BROKER
            .iter()
            .any(|id| matches!(command_line.try_contains_id(id), Ok(true)))
        {
            return Ok(());
        }
        if let Some(name) = variable(PROFILE) {
            let name = name.to_string_lossy();
            let name = name.strip_prefix('@').unwrap_or(&name);
            return self.apply_profile(effects, settings, name);
        }
        let url = variable(URL);
        if url.is_none() && variable(HOST).is_none() {
            return Ok(());
        }
        (effects.begin)(settings, Source::Environment);
        let at = |name: &'static str| {
            move |failure: Failure| failure.at(format!("environment variable {name}"))
        };
        if let Some(url) = url {
            (effects.apply_broker_url)(settings, &url.to_string_lossy()).map_err(at(URL))?;
        }
        for (name, id) in VARIABLES {
            let option = self.all().find(|option| option.id() == id);
            let value =
                variable(name).filter(|value| !(name == "MQTT_PORT" && is_of_kubernetes(value)));
            if let (Some(value), Some(option)) = (value, option) {
                option.apply(settings, &[value]).map_err(at(name))?;
            }
        }
        Ok(())
    }
}

/// Returns `true` for a value such as `tcp://10.0.0.1:1883`. If a service is named `mqtt`, Kubernetes sets `MQTT_PORT`
/// to such a value in all containers, so the user has not set it.
fn is_of_kubernetes(value: &OsStr) -> bool {
    value.as_encoded_bytes().starts_with(b"tcp://")
}

/// Returns the value of a variable. An empty variable counts as unset: `MQTT_HOST= rpub …` turns it off.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
