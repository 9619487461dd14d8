//! Reads password files and ACL files, hashes passwords, and checks passwords in a thread. The core decides which
//! clients need a password, and which permissions they have.

pub(crate) mod acl_file;
pub(crate) mod error;
mod hash;
pub(crate) mod password_file;
pub(crate) mod verifier;

pub use error::{AccessError, AccessFile};
pub use hash::{Hashing, PasswordHash};
pub use password_file::Passwords;
