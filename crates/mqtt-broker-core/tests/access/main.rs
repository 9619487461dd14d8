//! Tests of listener policies in the core: passwords, mount points, ACLs, session expiry and the owners of sessions,
//! also after a reload or a restart of the broker.

mod mount_points;
mod passwords;
mod permissions;
mod sessions;
mod world;
