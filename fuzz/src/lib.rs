//! What the fuzz targets do with their bytes: one module per target, each with `run`.
//!
//! Never depends on a fuzzing engine: `targets/` feeds these functions from libFuzzer, and the integration tests feed
//! them the committed corpus. Invariant: `run` panics exactly when a promise is broken.

pub mod backend;
pub mod bytes_in;
pub mod config;
pub mod frontend;
pub mod row;
pub mod session;
pub mod shop;
pub mod startup;
pub mod statement;
