//! What the integration tests stand on.
//!
//! Never decides whether a test passes. Invariant: whatever is started here ends with the test process.

pub mod server;
