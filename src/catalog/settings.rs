//! Which custom settings the objects of a database read.
//!
//! Never takes a lock: expressions are read as they are stored. Invariant: what is written in another language than SQL is
//! looked through as a text.

use countersign_policy::settings_read::SettingsRead;
use tokio_postgres::GenericClient;

use super::load::{field, query};
use super::{CatalogError, queries};

/// Looks through functions, views, rules, row security policies, defaults, checks and conditions of triggers.
pub(super) async fn read(client: &impl GenericClient) -> Result<SettingsRead, CatalogError> {
    let what = "settings";
    let mut read = SettingsRead::default();
    for row in query(client, what, queries::SETTINGS).await? {
        let (text, is_tree): (&str, bool) = (field(&row, 0, what)?, field(&row, 1, what)?);
        if is_tree {
            read.read_tree(text);
        } else {
            read.read_text(text);
        }
    }
    Ok(read)
}
