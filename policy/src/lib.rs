//! Statement analysis, rules and masking for Countersign.
//!
//! Pure functions over values: statement → [`Analysis`] → [`Verdict`]; result columns → [`mask::MaskPlan`].
//! This package never opens a socket, reads a clock or draws a random number, and knows nothing of the wire.
//! Invariant: what is not understood is a result ([`analysis::NotUnderstood`]) that holds or refuses, never an
//! `Allow` reached by falling through.

// None of these may be reachable from bytes that a peer sent; clippy.toml exempts tests.
#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unreachable, clippy::unwrap_used)]

pub mod analysis;
pub mod catalog;
pub mod effect;
pub mod grant;
pub mod highlight;
pub mod mask;
pub mod moment;
pub mod name;
pub mod rule;
pub mod settings_read;
pub mod subject;
pub mod verdict;

pub use analysis::Analysis;
pub use catalog::Catalog;
pub use effect::{Effect, Effects};
pub use verdict::{Permit, Verdict};
