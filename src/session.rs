//! One client, one upstream connection: the session.
//!
//! [`machine`] is a pure state machine (bytes, decisions and ticks in; bytes and commands out), [`driver`] does its IO.
//! Invariant: transaction status is always the upstream's last word, never our guess.

mod client_side;
mod decide;
mod expected;
pub mod machine;
mod messages;
mod names;
mod parked;
mod results;
mod statements;
mod upstream_side;

pub use machine::{Command, Event, Machine, Surroundings};
