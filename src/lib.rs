//! Countersign: a PostgreSQL proxy that makes risky SQL wait for a second signature.

pub mod cli;
pub mod config;
pub mod review;
