//! The integration tests, in one binary: a real PostgreSQL, the real proxy, real clients.
//!
//! Never mocks PostgreSQL, sleeps, or uses a fixed port. Invariant: each test has its own database.

mod api;
mod browser;
mod catalog;
mod clients;
mod differential;
mod documents;
mod fuzz;
mod masking;
mod notify;
mod packaging;
mod packs;
mod pipeline;
mod proxy;
mod quiet_functions;
mod scan;
mod support;
mod throwaway;
mod tidy;
mod workflow;
