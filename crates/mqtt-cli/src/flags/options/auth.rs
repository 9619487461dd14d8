//! The options for user name and password.

use bytes::Bytes;

use crate::flags::definition::{CommandOption, flag, value, words};
use crate::flags::settings::connection::ClientSettings;
use crate::flags::settings::password::PasswordSource;
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
                let password = Bytes::copy_from_slice(v.as_encoded_bytes());
                s.connection().password.set(password);
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
                let source = PasswordSource::File(v.into());
                s.connection().password.set_source(source);
                Ok(())
            },
        )
        .common(),
        words(
            "--password-command",
            "command",
            "Run this command, without a shell, and use the first line of its output as the password",
            |s: &mut S, words| {
                let source = PasswordSource::command(words)?;
                s.connection().password.set_source(source);
                Ok(())
            },
        ),
        value(
            "",
            "--password-credential",
            "name",
            "Use this credential of systemd as the password: the file of this name in $CREDENTIALS_DIRECTORY",
            |s: &mut S, v| {
                let source = PasswordSource::credential(v)?;
                s.connection().password.set_source(source);
                Ok(())
            },
        ),
        flag(
            "",
            "--password-prompt",
            "Ask for the password on the terminal",
            |s: &mut S| s.connection().password.set_source(PasswordSource::Prompt),
        ),
    ]
}
