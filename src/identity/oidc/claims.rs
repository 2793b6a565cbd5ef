//! What a provider says of a person.
//!
//! Never takes an address that the provider has not verified for one of that person's. Invariant: of groups, only those
//! that the configuration names are kept.

use std::collections::HashMap;
use std::fmt;

use openidconnect::core::CoreGenderClaim;
use openidconnect::{AdditionalClaims, IdTokenClaims, UserInfoClaims};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::OidcError;
use crate::config::{OidcConfig, UserClaim};

/// What the provider has said of somebody who has just signed in there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The claim that tells people apart.
    pub who: String,
    /// Their groups there, of those that the configuration names.
    pub groups: Vec<String>,
    /// Whether it told of groups at all.
    pub tells_groups: bool,
}

/// All claims, by name.
#[derive(Clone, Default, Deserialize, Serialize)]
pub(super) struct Claims {
    #[serde(flatten)]
    all: HashMap<String, Value>,
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Claims({})", self.all.len())
    }
}

impl AdditionalClaims for Claims {}

impl Claims {
    pub(super) fn of_token(token: &IdTokenClaims<Self, CoreGenderClaim>) -> Self {
        let mut claims = token.additional_claims().clone();
        claims.set(UserClaim::Sub, Some(token.subject().as_str()));
        claims.set(UserClaim::Email, token.email().map(|email| email.as_str()));
        claims.set(UserClaim::PreferredUsername, token.preferred_username().map(|name| name.as_str()));
        claims.set_verified(token.email_verified());
        claims
    }

    /// Adds what the token has not said.
    pub(super) fn add(&mut self, more: &UserInfoClaims<Self, CoreGenderClaim>) {
        let mut claims = more.additional_claims().clone();
        claims.set(UserClaim::PreferredUsername, more.preferred_username().map(|name| name.as_str()));
        // An address and whether it is verified come from one place.
        if !self.all.contains_key(UserClaim::Email.as_str()) {
            claims.set(UserClaim::Email, more.email().map(|email| email.as_str()));
            claims.set_verified(more.email_verified());
            self.all.remove(VERIFIED);
        }
        for (name, value) in claims.all {
            self.all.entry(name).or_insert(value);
        }
    }

    fn set(&mut self, claim: UserClaim, value: Option<&str>) {
        self.put(claim.as_str(), value.map(|value| Value::String(value.to_owned())));
    }

    fn set_verified(&mut self, is_verified: Option<bool>) {
        self.put(VERIFIED, is_verified.map(Value::Bool));
    }

    fn put(&mut self, name: &str, value: Option<Value>) {
        match value {
            Some(value) => drop(self.all.insert(name.to_owned(), value)),
            None => drop(self.all.remove(name)),
        }
    }

    /// Whether nothing is missing that is asked for.
    pub(super) fn is_complete(&self, config: &OidcConfig) -> bool {
        let has = |name: &str| self.all.contains_key(name);
        has(config.user_claim.as_str()) && (config.groups.is_empty() || has(&config.groups_claim))
    }

    pub(super) fn said(&self, config: &OidcConfig) -> Result<Said, OidcError> {
        let claim = config.user_claim;
        let who = self.all.get(claim.as_str()).and_then(Value::as_str).filter(|who| !who.is_empty());
        let who = who.ok_or(OidcError::NoClaim(claim.as_str()))?;
        if claim == UserClaim::Email && self.all.get(VERIFIED) != Some(&Value::Bool(true)) {
            return Err(OidcError::UnverifiedEmail);
        }
        let told = self.all.get(&config.groups_claim);
        let theirs: Vec<&str> = match told {
            Some(Value::String(group)) => vec![group],
            Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let named = config.groups.iter().map(|(their, _)| their).filter(|their| theirs.contains(&their.as_str()));
        Ok(Said { who: who.to_owned(), groups: named.cloned().collect(), tells_groups: told.is_some() })
    }
}

const VERIFIED: &str = "email_verified";
