//! Passes the passwords of CONNECT packets to the caller of the core, which checks them. The caller then passes the
//! result to [`Broker::handle_checked`](crate::Broker::handle_checked).

use crate::auth::check_queue::PasswordCheck;
use crate::auth::state::Auth;
use crate::connection::Connections;
use crate::keys::ConnectionId;

/// Returns the next password to verify, and the connection whose CONNECT contains the password.
pub(crate) fn poll_check(
    auth: &mut Auth,
    connections: &Connections,
) -> Option<(ConnectionId, PasswordCheck)> {
    loop {
        let id = auth.checks.pop()?;
        let connection = connections.get(id);
        let check = connection.and_then(|connection| {
            let connect = connection.pending_connect.as_ref()?;
            Some(PasswordCheck {
                listener: connection.listener,
                user_name: connect.user_name.clone()?,
                password: connect.password.clone()?,
            })
        });
        // `handle_closed` removes the check of a connection that ends.
        debug_assert!(check.is_some(), "a check is taken out with its connection");
        if let Some(check) = check {
            return Some((id, check));
        }
    }
}
