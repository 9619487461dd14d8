//! The programs: the options of each, the plan that its options become, and the loop that carries it out.

pub mod rbroker;
pub mod rpub;
pub mod rrr;
pub mod rsub;
mod setup;
mod shared_help;
mod signals;
mod subscriber;
