//! Who may come in, and as whom: the rules of a listener.

use mqtt_codec::{Connect, ReasonCode};

/// The rules of one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Whether clients without a user name may come in.
    pub allow_anonymous: bool,
    /// Where the user name comes from, if not from CONNECT.
    pub identity: Option<IdentitySource>,
}

/// The part of a client's certificate that is its user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentitySource {
    /// The common name.
    CommonName,
    /// The whole subject.
    Subject,
}

impl Access {
    /// Everyone may come in.
    pub fn everyone() -> Self {
        Self {
            allow_anonymous: true,
            identity: None,
        }
    }

    /// Whether anybody at all may come in.
    pub(crate) fn lets_somebody_in(&self) -> bool {
        self.allow_anonymous || self.identity.is_some()
    }

    /// Puts the user name into CONNECT that the client is known by; `identity` is what its certificate
    /// says.
    ///
    /// # Errors
    /// If it may not come in.
    pub(crate) fn admit(
        &self,
        connect: &mut Connect,
        identity: Option<&str>,
    ) -> Result<(), ReasonCode> {
        if self.identity.is_some() {
            let name = identity.ok_or(ReasonCode::BadUserNameOrPassword)?;
            connect.user_name = Some(name.to_owned());
            return Ok(());
        }
        match self.allow_anonymous {
            true => Ok(()),
            // Without a password file nobody has a name that could be checked.
            false => Err(ReasonCode::NotAuthorized),
        }
    }
}
