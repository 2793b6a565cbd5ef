//! Forms of SQL that servers of different major versions read differently.
//!
//! Never reads an older dialect. Invariant: where the grammar at hand, that of PostgreSQL 18, reads a text otherwise than the
//! connected server does, the text is [`NotUnderstood`]. Forms that an older server rejects are no concern: they fail there.

use super::NotUnderstood;
use super::guard::Measure;
use crate::catalog::Catalog;

/// The first version that reads `0x1F` and `1_000` as the grammar does. Version 15 rejects both; 13 and 14 take what is
/// behind the digits for an alias, also in `1a`. A parameter may have an alias behind it (`$1a`) before version 16.
const NUMBERS_SINCE: u32 = 16;
/// The first version for which `SYSTEM_USER` is a keyword; before it is a column.
const SYSTEM_USER_SINCE: u32 = 16;

/// Whether the server reads the numbers of a text as the grammar does.
///
/// # Errors
/// [`NotUnderstood`] when it may not.
pub fn check_numbers(measure: &Measure, catalog: &Catalog) -> Result<(), NotUnderstood> {
    if measure.has_marked_number && catalog.server_major() < NUMBERS_SINCE {
        return Err(NotUnderstood::Other(
            "servers of this version read the digits and letters of a number differently",
        ));
    }
    Ok(())
}

/// Whether the server takes the call that the grammar makes of a keyword for that.
///
/// # Errors
/// [`NotUnderstood`] when it does not.
pub fn check_keyword(name: &str, catalog: &Catalog) -> Result<(), NotUnderstood> {
    if name == "system_user" && catalog.server_major() < SYSTEM_USER_SINCE {
        return Err(NotUnderstood::Other("SYSTEM_USER is the name of a column for servers of this version"));
    }
    Ok(())
}
