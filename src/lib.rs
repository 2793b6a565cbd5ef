//! Countersign: a PostgreSQL proxy that makes risky SQL wait for a second signature.
//!
//! The path of a request, readable from the modules: [`listener`] → [`connection`] → [`session`] → [`relay`], with
//! [`review`] deciding what is held. `countersign-protocol` reads and builds messages, `countersign-policy` analyses,
//! judges and plans masks; neither knows the other or this package.

pub mod audit;
mod bell;
mod called;
pub mod cancel;
pub mod card;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connection;
mod console;
mod crash_point;
pub mod database;
pub mod demo;
mod drain;
pub mod duration;
pub mod estimate;
mod failures;
pub mod fault;
pub mod identity;
pub mod inherited;
pub mod limits;
pub mod listener;
pub mod live;
mod lock;
mod newer;
mod notify;
pub mod packs;
pub mod relay;
pub mod report;
pub mod review;
pub mod roles;
pub mod scan;
pub mod server;
pub mod session;
mod sessions;
mod side_pool;
pub mod store;
pub mod stream;
pub mod systemd;
pub mod telemetry;
pub mod throwaway;
pub mod tls;
pub mod units;
pub mod upstream;
pub mod visible;
pub mod web;
