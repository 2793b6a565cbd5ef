//! Commands of the `countersign` binary.
//!
//! Never holds logic that a surface of the proxy needs too. Invariant: what people see goes through [`output`].

pub mod audit;
pub mod output;
pub mod requests;
