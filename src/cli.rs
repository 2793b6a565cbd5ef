//! The commands of `countersign`, one file each.
//!
//! Never decides anything about requests; the commands speak to the API or to files.

pub mod audit;
pub mod demo;
pub mod output;
pub mod requests;
