//! Reads password files and ACL files, hashes passwords, and checks passwords in a thread. The core decides which
//! clients need a password, and which permissions they have.

mod acl_file;
mod hash;
mod password_file;
pub(crate) mod verifier;

pub(crate) use acl_file::read_acl_file;
pub use hash::{Hashing, PasswordHash};
pub use password_file::{AccessError, AccessFile, Passwords};
