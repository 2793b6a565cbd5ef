//! `countersign demo`: a throwaway PostgreSQL with a sample shop, and a proxy in front of it.
//!
//! Never touches an existing database or configuration. Invariant: everything it makes is gone when it ends.

pub mod shop;
