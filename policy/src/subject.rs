//! Who asks: every fact about the requester that a rule can look at.
//!
//! Never authenticates; the session fills it after authentication.

/// The authenticated requester on one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Name of the authenticated user.
    pub user: String,
    /// Groups of that user.
    pub groups: Vec<String>,
    /// Database as the client named it (the key in `[databases]`).
    pub database: String,
    /// `application_name` of the client, empty when not given.
    pub application: String,
}

impl Subject {
    /// Whether the user is in the group.
    #[must_use]
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }
}
