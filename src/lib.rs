//! Countersign: a PostgreSQL proxy that makes risky SQL wait for a second signature.

pub mod cancel;
pub mod config;
pub mod fault;
pub mod listener;
pub mod review;
pub mod session;
pub mod stream;
pub mod tls;
pub mod upstream;
