//! stub

// None of these may be reachable from bytes that a peer sent; clippy.toml exempts tests.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unreachable, clippy::unwrap_used)]
