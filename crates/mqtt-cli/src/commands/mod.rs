//! The programs. Each program has a file or folder with its options, the plan that the settings become, and the loop
//! that carries out the plan. rsub and rrr share the plan and the loop in `subscriber/`. rpub, rsub and rrr share
//! `setup.rs`, and the deadline of `-W` in `deadline.rs`. `user_command.rs` makes the commands that the user gives.

mod counts;
mod deadline;
pub(crate) mod documentation;
mod handlers;
pub mod rbroker;
pub mod rpub;
pub mod rrr;
pub mod rsub;
mod setup;
mod shared_help;
mod signals;
mod silence;
mod subscriber;
mod user_command;
mod verdict;

pub(crate) use deadline::finish;
