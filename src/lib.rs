//! Countersign: a PostgreSQL proxy that makes risky SQL wait for a second signature.

pub mod audit;
pub mod cli;
pub mod config;
pub mod identity;
pub mod review;
pub mod store;
pub mod telemetry;
pub mod web;
