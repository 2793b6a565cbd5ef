//! One client, one upstream connection: the session.
//!
//! [`machine`] is a pure state machine (bytes, decisions and ticks in; bytes and commands out), [`driver`] does its IO.
//! Invariant: transaction status is always the upstream's last word, never our guess.

mod client_side;
mod decide;
pub(crate) mod driver;
mod expected;
pub mod machine;
pub(crate) mod messages;
mod names;
mod parked;
mod results;
pub mod startup;
mod statements;
mod upstream_side;

pub use machine::{Command, Event, Machine, Surroundings};
