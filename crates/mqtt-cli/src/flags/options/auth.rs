//! The options for user name and password.

use bytes::Bytes;

use crate::flags::definition::{CommandOption, value};
use crate::flags::settings::connection::ClientSettings;
use crate::flags::values::plain_text;

/// Returns the options for user name and password. A password may contain any bytes and is not checked.
pub(crate) fn auth_options<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![
        value(
            "-u",
            "--username",
            "username",
            "User name",
            |s: &mut S, v| {
                s.connection().user_name = Some(plain_text(v, "-u")?.to_owned());
                Ok(())
            },
        )
        .common(),
        value(
            "-P",
            "--pw",
            "password",
            "Password. Other users can see it in the process list; --password-file avoids that",
            |s: &mut S, v| {
                s.connection().password = Some(Bytes::copy_from_slice(v.as_encoded_bytes()));
                Ok(())
            },
        )
        .common(),
        value(
            "",
            "--password-file",
            "file",
            "Read the password from this file. Without it and -P, the variable MQTT_PASSWORD is used",
            |s: &mut S, v| {
                s.connection().password_file = Some(v.into());
                Ok(())
            },
        )
        .common(),
    ]
}
