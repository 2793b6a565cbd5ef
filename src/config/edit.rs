//! Changes to the file in place: comments and order stay, and only a valid file replaces the old one.
//!
//! Never leaves a half-written file. Invariant: the file at the path is at any moment the old one or the new one, with
//! the mode and owner-readable secrets it had.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use countersign_policy::rule::Stage;
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value, value};

use super::{Config, ConfigProblems, TokenConfig};
use crate::identity::Scope;

/// A configuration file that is being changed.
#[derive(Debug)]
pub struct ConfigEdit {
    path: PathBuf,
    /// The text as it was read.
    before: String,
    document: DocumentMut,
}

/// What is enforced or only observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Staged {
    /// The rule of that name.
    Rule(String),
    /// The database of that name.
    Database(String),
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The file as it is, or as it would be, has problems.
    #[error("{0}")]
    Invalid(ConfigProblems),
    /// The file could not be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no such user.
    #[error("there is no user \"{0}\"")]
    NoUser(String),
    /// There is such a user already.
    #[error("there is a user \"{0}\" already")]
    UserExists(String),
    /// There is no such rule or database.
    #[error("there is no {0}")]
    NoSuch(String),
    /// The file is not the one that was loaded.
    #[error("the file has changed since it was loaded; reload the configuration first")]
    Changed,
}

impl ConfigEdit {
    /// Opens a valid file.
    ///
    /// # Errors
    /// When it has problems: those are to be solved first.
    pub fn open(path: &Path) -> Result<Self, EditError> {
        Config::load(path).map_err(EditError::Invalid)?;
        // A link is followed, so that the file it points to is replaced and not the link.
        let path = fs::canonicalize(path).map_err(|source| EditError::Write { path: path.to_owned(), source })?;
        let text = fs::read_to_string(&path).map_err(|source| EditError::Write { path: path.clone(), source })?;
        let document = text.parse().map_err(|_| EditError::Write {
            path: path.clone(),
            source: io::Error::other("the file changed while it was read"),
        })?;
        Ok(Self { path, before: text, document })
    }

    /// Opens a valid file if it is at that revision.
    ///
    /// # Errors
    /// As [`ConfigEdit::open`], and when the file is at another revision.
    pub fn open_at(path: &Path, revision: &str) -> Result<Self, EditError> {
        let edit = Self::open(path)?;
        if super::resolve::revision_of(&edit.before) == revision { Ok(edit) } else { Err(EditError::Changed) }
    }

    /// Has a rule or a database enforced, or only observed.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn set_stage(&mut self, what: &Staged, stage: Stage) -> Result<(), EditError> {
        let mut one_line = false;
        let table: Option<&mut dyn TableLike> = match what {
            Staged::Rule(name) => {
                let rules = self.document.get_mut("rules").and_then(Item::as_array_of_tables_mut);
                let rule = rules.and_then(|rules| rules.iter_mut().find(|rule| is_named(rule, name)));
                rule.map(|rule| rule as &mut dyn TableLike)
            }
            Staged::Database(name) => {
                let databases = self.document.get_mut("databases").and_then(Item::as_table_like_mut);
                let database = databases.and_then(|databases| databases.get_mut(name));
                one_line = database.as_ref().is_some_and(|database| database.is_inline_table());
                database.and_then(Item::as_table_like_mut)
            }
        };
        let table = table.ok_or_else(|| match what {
            Staged::Rule(name) => EditError::NoSuch(format!("rule \"{name}\"")),
            Staged::Database(name) => EditError::NoSuch(format!("database \"{name}\"")),
        })?;
        let word = match stage {
            Stage::Observe => "observe",
            Stage::Enforce => "enforce",
        };
        match table.get_mut("stage").and_then(Item::as_value_mut) {
            // What stands around the value, such as a comment behind it, stays.
            Some(old) => {
                let decor = old.decor().clone();
                *old = Value::from(word);
                *old.decor_mut() = decor;
            }
            None => {
                table.insert("stage", value(word));
                // There are no comments in it that could be lost.
                if one_line {
                    table.fmt();
                }
            }
        }
        Ok(())
    }

    /// The lines that go, with `-`, and those that come, with `+`. Values of secrets never stand in the file in clear.
    #[must_use]
    pub fn diff(&self) -> String {
        super::diff::diff(&self.before, &self.document.to_string())
    }

    /// Adds a user.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn add_user(&mut self, name: &str, email: Option<&str>, groups: &[String]) -> Result<(), EditError> {
        if self.user(name).is_ok() {
            return Err(EditError::UserExists(name.to_owned()));
        }
        let mut table = Table::new();
        table["name"] = value(name);
        if let Some(email) = email {
            table["email"] = value(email);
        }
        table["groups"] = value(groups.iter().map(String::as_str).collect::<Array>());
        let users = self.document.entry("users").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
        if let Some(users) = users.as_array_of_tables_mut() {
            users.push(table);
        }
        Ok(())
    }

    /// Makes sure that there is a user of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn require_user(&mut self, name: &str) -> Result<(), EditError> {
        self.user(name).map(|_| ())
    }

    /// Sets a user's password, as a SCRAM verifier.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn set_verifier(&mut self, name: &str, verifier: &str) -> Result<(), EditError> {
        let mut password = InlineTable::new();
        password.insert("scram", Value::from(verifier));
        self.user(name)?["password"] = value(password);
        Ok(())
    }

    /// Sets a user's password on the page, as an Argon2id hash.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn set_web_password(&mut self, name: &str, hash: &str) -> Result<(), EditError> {
        let mut password = InlineTable::new();
        password.insert("argon2", Value::from(hash));
        self.user(name)?["web_password"] = value(password);
        Ok(())
    }

    /// Adds a bearer token to a user.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn add_token(&mut self, name: &str, token: &TokenConfig) -> Result<(), EditError> {
        let tokens = self.user(name)?.entry("tokens").or_insert_with(|| value(Array::new()));
        if let Some(tokens) = tokens.as_array_mut() {
            let mut table = InlineTable::new();
            table.insert("sha256", Value::from(token.digest.as_str()));
            if let Some(name) = &token.name {
                table.insert("name", Value::from(name.as_str()));
            }
            table.insert("scopes", Value::from(token.scopes.iter().map(Scope::as_str).collect::<Array>()));
            if let Some(end) = token.expires_at {
                table.insert("expires", Value::from(end.to_string()));
            }
            tokens.push(table);
        }
        Ok(())
    }

    /// Removes a user.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn remove_user(&mut self, name: &str) -> Result<(), EditError> {
        let users = self.document.get_mut("users").and_then(Item::as_array_of_tables_mut);
        let users = users.ok_or_else(|| EditError::NoUser(name.to_owned()))?;
        let index = users.iter().position(|user| is_named(user, name));
        users.remove(index.ok_or_else(|| EditError::NoUser(name.to_owned()))?);
        if users.is_empty() {
            self.document.remove("users");
        }
        Ok(())
    }

    /// Checks the changed file and puts it in the place of the old one.
    ///
    /// # Errors
    /// When it would not be valid, or cannot be written; the old file is then untouched.
    pub fn save(self) -> Result<Config, EditError> {
        let text = self.document.to_string();
        let config = Config::parse(&self.path, &text).map_err(EditError::Invalid)?;
        let now = fs::read_to_string(&self.path);
        if now.is_ok_and(|now| now != self.before) {
            return Err(EditError::Changed);
        }
        replace(&self.path, &text).map_err(|source| EditError::Write { path: self.path, source })?;
        Ok(config)
    }

    fn user(&mut self, name: &str) -> Result<&mut Table, EditError> {
        let users = self.document.get_mut("users").and_then(Item::as_array_of_tables_mut);
        let found = users.and_then(|users| users.iter_mut().find(|user| is_named(user, name)));
        found.ok_or_else(|| EditError::NoUser(name.to_owned()))
    }
}

fn is_named(user: &Table, name: &str) -> bool {
    user.get("name").and_then(Item::as_str) == Some(name)
}

/// Writes beside the file, then renames over it; the mode and owner stay.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let directory = path.parent().ok_or_else(|| io::Error::other("the path has no directory"))?;
    let metadata = fs::metadata(path)?;
    let mut file = tempfile::Builder::new().prefix(".countersign.").tempfile_in(directory)?;
    file.write_all(text.as_bytes())?;
    let own = file.as_file().metadata()?;
    if (own.uid(), own.gid()) != (metadata.uid(), metadata.gid()) {
        fchown(file.as_file(), Some(metadata.uid()), Some(metadata.gid()))?;
    }
    file.as_file().set_permissions(metadata.permissions())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::derive_verifier;
    use super::*;

    const FILE: &str = "# Ours.\n[[users]]\nname = \"bob\" # the first\n\n# Shop.\n[databases.shop]\n\
        upstream = \"postgres://rw@localhost/shop\"\ngroups = [\"dba\"]\n";

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("countersign.toml");
        fs::write(&path, text).unwrap();
        (directory, path)
    }

    fn token() -> TokenConfig {
        let expires_at = Some("2027-01-31T00:00:00Z".parse().unwrap());
        let scopes = crate::identity::Scopes::usual();
        TokenConfig { digest: "ab".repeat(32), name: Some("ci".to_owned()), scopes, expires_at }
    }

    #[test]
    fn users_come_and_go_and_comments_stay() {
        let (_directory, path) = file(FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let mut edit = ConfigEdit::open(&path).unwrap();
        edit.add_user("alice", Some("alice@example.com"), &["dba".to_owned()]).unwrap();
        edit.set_verifier("alice", &derive_verifier("x")).unwrap();
        edit.add_token("bob", &token()).unwrap();
        let config = edit.save().unwrap();
        assert_eq!(config.user("alice").unwrap().groups, ["dba"]);
        assert!(config.user("alice").unwrap().verifier.is_some());
        assert_eq!(config.user("bob").unwrap().tokens, [token()]);
        let text = fs::read_to_string(&path).unwrap();
        for kept in ["# Ours.", "# the first", "# Shop."] {
            assert!(text.contains(kept), "{text}");
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);

        let mut edit = ConfigEdit::open(&path).unwrap();
        edit.remove_user("alice").unwrap();
        edit.remove_user("bob").unwrap();
        assert!(edit.save().unwrap().users.is_empty());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_first_user_can_be_added() {
        let (_directory, path) = file("");
        let mut edit = ConfigEdit::open(&path).unwrap();
        edit.add_user("alice", None, &[]).unwrap();
        assert_eq!(edit.save().unwrap().users.len(), 1);
    }

    const STAGED: &str = "# Ours.\n[[rules]]\nname = \"writes\"\neffects = [\"update\"]\naction = \"hold\"\nreviewers = [\"dba\"]\n\
        stage = \"enforce\" # since May\n\n[[users]]\nname = \"bob\"\ngroups = [\"dba\"]\n\n[databases]\n\
        shop = { upstream = \"postgres://rw@localhost/shop\", groups = [\"dba\"], default = \"allow\" }\n";

    #[track_caller]
    fn check_stage(what: &Staged, stage: Stage, diff: &str) {
        let (_directory, path) = file(STAGED);
        let revision = Config::load(&path).unwrap().policy.revision;
        let mut edit = ConfigEdit::open_at(&path, &revision).unwrap();
        edit.set_stage(what, stage).unwrap();
        assert_eq!(edit.diff(), diff);
        let changed = edit.save().unwrap();
        let of_database = changed.policy.databases[0].stage;
        assert_eq!(if matches!(what, Staged::Rule(_)) { changed.policy.rules[0].stage } else { of_database }, stage);
        assert!(fs::read_to_string(&path).unwrap().contains("# since May"));
    }

    #[test]
    fn what_is_enforced_can_be_observed_and_back() {
        let (rule, shop) = (Staged::Rule("writes".to_owned()), Staged::Database("shop".to_owned()));
        let line = |sign: char, stage: &str| format!("{sign}stage = \"{stage}\" # since May\n");
        check_stage(&rule, Stage::Observe, &(line('-', "enforce") + &line('+', "observe")));
        check_stage(&rule, Stage::Enforce, "");
        let shop_is = |more: &str| {
            format!(
                "shop = {{ upstream = \"postgres://rw@localhost/shop\", groups = [\"dba\"], default = \"allow\"{more} }}\n"
            )
        };
        let (before, after) = (shop_is(""), shop_is(", stage = \"observe\""));
        check_stage(&shop, Stage::Observe, &format!("-{before}+{after}"));
    }

    #[test]
    fn a_file_that_somebody_else_has_changed_is_left_alone() {
        let (_directory, path) = file(STAGED);
        let revision = Config::load(&path).unwrap().policy.revision;
        let mut edit = ConfigEdit::open_at(&path, &revision).unwrap();
        let none = Staged::Rule("none".to_owned());
        assert!(matches!(edit.set_stage(&none, Stage::Observe), Err(EditError::NoSuch(_))));
        edit.set_stage(&Staged::Rule("writes".to_owned()), Stage::Observe).unwrap();
        let changed = STAGED.replace("# Ours.", "# Theirs.");
        fs::write(&path, &changed).unwrap();
        assert!(matches!(ConfigEdit::open_at(&path, &revision), Err(EditError::Changed)));
        assert!(matches!(edit.save(), Err(EditError::Changed)));
        assert_eq!(fs::read_to_string(&path).unwrap(), changed);
    }

    #[test]
    fn wrong_changes_leave_the_file_alone() {
        let (_directory, path) = file(FILE);
        let mut edit = ConfigEdit::open(&path).unwrap();
        assert!(matches!(edit.add_user("bob", None, &[]), Err(EditError::UserExists(_))));
        assert!(matches!(edit.remove_user("carol"), Err(EditError::NoUser(_))));
        assert!(matches!(edit.add_token("carol", &token()), Err(EditError::NoUser(_))));
        edit.set_verifier("bob", "hunter2").unwrap();
        assert!(matches!(edit.save(), Err(EditError::Invalid(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), FILE);
        fs::write(&path, "lisen = 1\n").unwrap();
        assert!(matches!(ConfigEdit::open(&path), Err(EditError::Invalid(_))));
    }
}
