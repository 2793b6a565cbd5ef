//! The session core against a scripted client and a scripted upstream.
//!
//! A script fails on any byte that goes to a side which does not expect it: that nothing reaches the upstream without a
//! permit is what every script here shows. Each runs with every split of what the client and the upstream send, and byte
//! by byte.

mod batch;
mod bench;
mod calls;
mod choices;
mod copy;
mod copy_failed;
mod defined;
mod deny;
mod edited;
mod end;
mod estimate;
mod found;
mod guarded;
mod guarded_blocks;
mod guarded_copy;
mod hold;
mod limits;
mod looking;
mod names;
mod notation;
mod pipeline;
mod random;
mod reason;
mod rows;
mod scenery;
mod settings;
mod simulation;
mod upstream;
mod waiting;
mod wire;

use bench::{Setting, check, check_in};
