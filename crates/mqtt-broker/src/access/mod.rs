//! The files that say who may connect: password files, and access control lists.

mod acl_file;
mod hash;
mod passwords;

pub(crate) use acl_file::read_acl_file;
pub use hash::{Hashing, PasswordHash};
pub use passwords::{AccessError, AccessFile, Passwords};
