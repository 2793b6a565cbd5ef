//! Why an approval of the same statement does not serve it as it was sent now.
//!
//! Never decides: it is told to the requester, who otherwise wonders. Invariant: names what differs, never a value.

use super::{AccessRequest, RequestId, Review, ReviewError, State};
use crate::card::Card;
use crate::store::Filter;

/// Approvals of a user on a database that are looked through.
const LOOKED_AT: u32 = 20;

/// An approval that was not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Of this request.
    pub id: RequestId,
    /// What it was approved with: phrases as `another search_path`; empty when it is something that no card shows.
    pub with: Vec<String>,
}

impl Review {
    /// The newest unused approval of the same statement and parameters, and what differs from `card`, which is that of
    /// `request`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn misfit(&self, request: &AccessRequest, card: &Card) -> Result<Option<Misfit>, ReviewError> {
        let approved = self.list(Filter {
            state: Some(State::Approved),
            database: Some(request.database.clone()),
            user: Some(request.user.clone()),
            limit: LOOKED_AT,
            ..Filter::default()
        });
        let is_same = |other: &AccessRequest| {
            other.id != request.id
                && (other.approved_text().as_str(), &other.parameters)
                    == (request.statement.as_str(), &request.parameters)
        };
        let Some(other) = approved.await?.into_iter().find(is_same) else { return Ok(None) };
        let with = self.card(other.id).await?.map(|other| differences(&other, card)).unwrap_or_default();
        Ok(Some(Misfit { id: other.id, with }))
    }
}

fn differences(approved: &Card, now: &Card) -> Vec<String> {
    let mut with = Vec::new();
    if approved.role != now.role {
        with.push("another role".to_owned());
    }
    if approved.search_path != now.search_path {
        with.push("another search_path".to_owned());
    }
    let value = |card: &Card, name: &str| card.settings.iter().find(|(known, _)| known == name).cloned();
    let mut names: Vec<&String> = approved.settings.iter().chain(&now.settings).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    let differing = names.into_iter().filter(|name| value(approved, name) != value(now, name));
    with.extend(differing.map(|name| format!("another value of {name}")));
    with
}
