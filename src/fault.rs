//! Whose fault an error is.
//!
//! Never says more than that; what went wrong is the error's own business.
//! Invariant: exactly one party is at fault, so that logs and metrics can be divided by it.

/// The party that has to change something for the error to go away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Who connected to the proxy.
    Client,
    /// The PostgreSQL behind it, or the network on the way there.
    Upstream,
    /// The proxy or its configuration.
    Proxy,
}
