//! The PostgreSQL frontend/backend protocol for Countersign: bytes, frames, messages, startup, rows.
//!
//! No SQL, no policy, no clock, no randomness, no sockets.
//! Invariant: no byte a peer sends can make it panic or allocate without a bound.

pub mod response;
pub mod scram;
pub mod startup;
