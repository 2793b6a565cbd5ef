//! Countersign: a PostgreSQL proxy that makes risky SQL wait for a second signature.

pub mod catalog;
pub mod cli;
pub mod config;
pub mod demo;
pub mod review;
pub mod throwaway;
