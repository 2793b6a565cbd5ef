//! One client, one upstream connection: the session.
//!
//! [`machine`] is a pure state machine (bytes, decisions and ticks in; bytes and commands out), [`driver`] does its IO.
//! Invariant: transaction status is always the upstream's last word, never our guess.

mod batch;
mod buffers;
mod calls;
pub(crate) mod choices;
mod client_side;
mod copy_in;
mod copying;
mod correlation;
mod decide;
mod definitions;
mod doubt;
pub(crate) mod driver;
mod edited;
mod ending;
mod estimates;
mod expected;
mod groups;
mod guarded;
mod held;
pub(crate) mod hopeless;
pub(crate) mod justification;
mod keeping;
mod login_role;
mod looking;
pub mod machine;
pub(crate) mod messages;
mod names;
mod own;
mod parked;
mod passing;
pub(crate) mod preset;
mod reading;
mod refuse;
mod results;
mod ruling;
mod scrub;
mod settings;
mod sockets;
pub mod startup;
mod statements;
pub mod unmasked;
mod upstream_errors;
mod upstream_side;
pub mod words;
mod workroom;

pub use machine::Machine;
pub use words::{Command, Event, Surroundings};
pub(crate) use workroom::Workroom;
