//! The files that control access: password files, and access control lists.

mod acl_file;
mod hash;
mod password_file;
pub(crate) mod verifier;

pub(crate) use acl_file::read_acl_file;
pub use hash::{Hashing, PasswordHash};
pub use password_file::{AccessError, AccessFile, Passwords};
