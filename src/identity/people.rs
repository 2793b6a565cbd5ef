//! People of the identity provider: who they are here, and the groups that it has said last.
//!
//! Never lets anybody be a user of the configuration by a name alone. Invariant: what the provider said counts while the
//! configuration in force names that provider, and until the session for which it was said would have ended.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::oidc::Said;
use super::sessions::Credential;
use crate::config::{Config, OidcConfig};
use crate::store::{Callers, Person, StoreError};
use crate::visible::{self, Piece};

/// Longest name, in bytes: what PostgreSQL takes.
const NAME_LEN_MAX: usize = 63;
/// Names that the proxy itself acts under.
const RESERVED: [&str; 1] = ["proxy"];

/// Somebody of the provider who may sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Who they are here.
    pub name: String,
    /// What to open a session with.
    pub credential: Credential,
}

/// Why somebody of the provider may not sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// No entry of `[[users]]` and no group is for them.
    #[error("neither [[users]] nor [web.oidc] groups is for this person")]
    Stranger,
    /// The provider says of nobody which groups they are in.
    #[error("the provider tells no groups of this person, and [[users]] is not for them")]
    NoGroups,
    /// A user of the configuration has that name or address, and is not linked to this person.
    #[error("the name of this person is the name or address of a user of the configuration")]
    Taken,
    /// It cannot be a name here.
    #[error("what the provider calls this person cannot be a name here")]
    Name,
}

/// Who somebody is here of whom the provider says that.
///
/// # Errors
/// When they may not sign in.
pub fn admit(config: &Config, oidc: &OidcConfig, said: &Said) -> Result<Admitted, NotAdmitted> {
    let credential = Credential::provider(oidc, &said.who);
    if let Some(user) = config.users.iter().find(|user| user.oidc.as_ref() == Some(&said.who)) {
        return Ok(Admitted { name: user.name.clone(), credential });
    }
    if is_taken(config, &said.who) {
        return Err(NotAdmitted::Taken);
    }
    if !is_name(&said.who) {
        return Err(NotAdmitted::Name);
    }
    match oidc.groups_here(&said.groups).is_empty() {
        true if !said.tells_groups => Err(NotAdmitted::NoGroups),
        true => Err(NotAdmitted::Stranger),
        false => Ok(Admitted { name: said.who.clone(), credential }),
    }
}

/// The groups of somebody who signed in by the provider with that credential; `None` when they may not any more.
pub(super) fn groups_now(
    config: &Config,
    name: &str,
    credential: Credential,
    theirs: &[String],
) -> Option<Vec<String>> {
    let oidc = config.web.oidc.as_ref()?;
    let is_still = |who: &str| Credential::provider(oidc, who) == credential;
    let here = oidc.groups_here(theirs);
    match config.user(name) {
        Some(user) => {
            user.oidc.as_deref().filter(|who| is_still(who))?;
            let mut groups = user.groups.clone();
            crate::roles::add(&mut groups, here);
            Some(groups)
        }
        None => (is_still(name) && !is_taken(config, name) && !here.is_empty()).then_some(here),
    }
}

/// Whether a user of the configuration has that name, or that address, in whatever case it is written: nobody is to be two,
/// one of whom approves what the other asks for.
fn is_taken(config: &Config, name: &str) -> bool {
    let name = name.to_lowercase();
    let is_it = |text: &String| text.to_lowercase() == name;
    config.users.iter().any(|user| is_it(&user.name) || user.email.as_ref().is_some_and(is_it))
}

/// Whether people can read it, and it is nobody else's.
fn is_name(name: &str) -> bool {
    let plain = visible::pieces(name).all(|(_, piece)| matches!(piece, Piece::Plain(c) if c != '\n' && c != '\t'));
    plain
        && (1..=NAME_LEN_MAX).contains(&name.len())
        && name.trim() == name
        && !RESERVED.contains(&name.to_lowercase().as_str())
}

/// What the provider has said last of everybody, as the store had it lately.
#[derive(Debug, Default)]
pub struct People {
    store: OnceLock<Arc<dyn Callers>>,
    known: ArcSwap<HashMap<String, Person>>,
}

impl People {
    /// Goes by that store from now on.
    pub fn follow(&self, store: Arc<dyn Callers>) {
        drop(self.store.set(store));
    }

    /// Reads again what the provider has said, if there is one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn refresh(&self, config: &Config, now: Timestamp) -> Result<(), StoreError> {
        let Some(store) = self.store.get().filter(|_| config.web.oidc.is_some()) else { return Ok(()) };
        let people = store.people(now).await?;
        self.known.store(Arc::new(people.into_iter().map(|person| (person.name.clone(), person)).collect()));
        Ok(())
    }

    /// The groups of somebody by what the provider has said last; none where that does not count.
    #[must_use]
    pub fn groups_of(&self, config: &Config, name: &str, now: Timestamp) -> Vec<String> {
        let known = self.known.load();
        let person = known.get(name).filter(|person| person.ends_at > now);
        let groups = person.and_then(|it| groups_now(config, name, Credential::from_key(it.credential), &it.groups));
        groups.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UserClaim;

    fn config() -> Config {
        let mut config = crate::review::fixture::config("alice:engineering bob:dba");
        config.users[0].email = Some("alice@example.com".to_owned());
        config.users[1].oidc = Some("bob@example.com".to_owned());
        config.web.oidc = Some(OidcConfig {
            name: "Example".to_owned(),
            issuer: "https://login.example.com".to_owned(),
            client_id: "countersign".to_owned(),
            client_secret: None,
            scopes: Vec::new(),
            user_claim: UserClaim::PreferredUsername,
            groups_claim: "groups".to_owned(),
            groups: vec![("their-ops".to_owned(), "ops".to_owned()), ("admin".to_owned(), "security".to_owned())],
            ca: None,
        });
        config
    }

    fn said(who: &str, groups: &str) -> Said {
        let groups = groups.split_whitespace().map(str::to_owned).collect();
        Said { who: who.to_owned(), groups, tells_groups: true }
    }

    #[track_caller]
    fn check(who: &str, groups: &str, want: Result<&str, NotAdmitted>) {
        let config = config();
        let found = admit(&config, config.web.oidc.as_ref().unwrap(), &said(who, groups));
        assert_eq!(found.map(|it| it.name), want.map(str::to_owned), "{who} in {groups}");
    }

    #[test]
    fn who_may_sign_in_is_listed_and_takes_nobodys_name() {
        check("bob@example.com", "", Ok("bob"));
        check("bob@example.com", "their-ops", Ok("bob"));
        check("eve", "their-ops", Ok("eve"));
        check("eve@example.com", "their-ops other", Ok("eve@example.com"));
        check("eve", "", Err(NotAdmitted::Stranger));
        check("eve", "ops dba security", Err(NotAdmitted::Stranger));
        for name in ["alice", "Alice", "ALICE", "bob", "Bob", "alice@example.com", "Alice@Example.com"] {
            check(name, "their-ops", Err(NotAdmitted::Taken));
        }
        for name in ["", "proxy", "Proxy", " eve", "e\nve", "e\u{200b}ve", "e\u{202e}ve", "аlice", &"x".repeat(64)] {
            check(name, "their-ops", Err(NotAdmitted::Name));
        }
        let config = config();
        let silent = Said { tells_groups: false, ..said("eve", "") };
        assert_eq!(admit(&config, config.web.oidc.as_ref().unwrap(), &silent), Err(NotAdmitted::NoGroups));
    }

    #[track_caller]
    fn check_now(change: impl Fn(&mut Config), name: &str, who: &str, theirs: &str, want: Option<&str>) {
        let config = config();
        let credential = Credential::provider(config.web.oidc.as_ref().unwrap(), who);
        let mut changed = self::config();
        change(&mut changed);
        let groups = groups_now(&changed, name, credential, &said(who, theirs).groups);
        assert_eq!(groups.map(|groups| groups.join(" ")).as_deref(), want, "{name} as {who} in {theirs}");
    }

    #[test]
    fn what_was_said_counts_as_the_configuration_in_force_has_it() {
        let same = |_: &mut Config| {};
        check_now(same, "eve", "eve", "their-ops", Some("ops"));
        check_now(same, "eve", "eve", "their-ops admin", Some("ops security"));
        check_now(same, "bob", "bob@example.com", "their-ops", Some("dba ops"));
        check_now(same, "bob", "bob@example.com", "", Some("dba"));
        check_now(same, "eve", "eve", "ops", None);
        check_now(same, "eve", "mallory", "their-ops", None);
        check_now(same, "bob", "bob", "their-ops", None);
        check_now(same, "alice", "alice", "their-ops", None);
        check_now(|config| config.web.oidc = None, "eve", "eve", "their-ops", None);
        check_now(|config| config.web.oidc = None, "bob", "bob@example.com", "", None);
        let other = |change: fn(&mut OidcConfig)| move |config: &mut Config| change(config.web.oidc.as_mut().unwrap());
        check_now(other(|oidc| oidc.groups.clear()), "eve", "eve", "their-ops", None);
        check_now(other(|oidc| oidc.issuer.push('x')), "eve", "eve", "their-ops", None);
        check_now(other(|oidc| oidc.client_id.push('x')), "bob", "bob@example.com", "", None);
        check_now(other(|oidc| oidc.user_claim = UserClaim::Email), "eve", "eve", "their-ops", None);
        // Somebody is shut out at once by an entry of that name.
        check_now(|config| config.users[0].name = "Eve".to_owned(), "eve", "eve", "their-ops", None);
        check_now(|config| config.users[1].oidc = Some("carl".to_owned()), "bob", "bob@example.com", "", None);
    }
}
