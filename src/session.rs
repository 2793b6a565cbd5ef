//! One client connection, from its first byte to its last.
//!
//! Never decides what a statement may do; that is the policy's.
//! Invariant: a session exists only for an authenticated user of a database open to one of their groups.

pub mod startup;
