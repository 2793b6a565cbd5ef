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

/// An error with all its causes, on one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
