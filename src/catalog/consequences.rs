//! What statements set off: rows of [`super::queries::CONSEQUENCES`] → [`Consequence`], and event triggers.
//!
//! Never leaves a row out. Invariant: relations and their consequences are in the order of relation OIDs.

use countersign_policy::catalog::{Consequence, EventTrigger, Oid, Relation, SetOff};
use countersign_policy::{Effect, Effects};
use tokio_postgres::Row;

use super::CatalogError;
use super::load::{Stamped, code, field};

const WHAT: &str = "consequences";

/// The bits of the second column.
const CAUSES: [(i32, Effect); 8] = [
    (1, Effect::Insert),
    (2, Effect::Update),
    (4, Effect::Delete),
    (8, Effect::Truncate),
    (16, Effect::Maintenance),
    (32, Effect::Drop),
    (64, Effect::Alter),
    (128, Effect::Select),
];

/// Puts each row to its relation.
pub(super) fn add(relations: &mut Stamped<Relation>, rows: &[Row]) -> Result<(), CatalogError> {
    for row in rows {
        let oid: Oid = field(row, 0, WHAT)?;
        let at = relations.binary_search_by_key(&oid, |(relation, _)| relation.oid);
        let relation = at.ok().and_then(|at| relations.get_mut(at)).ok_or(CatalogError::Unexpected { what: WHAT })?;
        relation.0.consequences.push(read(row)?);
    }
    Ok(())
}

fn read(row: &Row) -> Result<Consequence, CatalogError> {
    let bits: i32 = field(row, 1, WHAT)?;
    let mut on = Effects::NONE;
    CAUSES.iter().filter(|(bit, _)| bits & bit != 0).for_each(|(_, effect)| on.insert(*effect));
    let oid: Oid = field(row, 4, WHAT)?;
    let what = match code(row, 3, WHAT)? {
        'c' => SetOff::Call(oid),
        'd' => SetOff::Write(Effect::Delete, oid),
        'u' => SetOff::Write(Effect::Update, oid),
        't' => SetOff::Write(Effect::Truncate, oid),
        'x' => SetOff::Write(Effect::Drop, oid),
        'a' => SetOff::Write(Effect::Alter, oid),
        'r' => SetOff::Write(Effect::Select, oid),
        _ => return Err(CatalogError::Unexpected { what: WHAT }),
    };
    Ok(Consequence { on, columns: field(row, 2, WHAT)?, what })
}

/// Rows of [`super::queries::EVENT_TRIGGERS`].
pub(super) fn event_triggers(rows: &[Row]) -> Result<Vec<EventTrigger>, CatalogError> {
    let what = "event triggers";
    let one = |row: &Row| {
        Ok(EventTrigger {
            name: field(row, 0, what)?,
            event: field(row, 1, what)?,
            tags: field(row, 2, what)?,
            function: field(row, 3, what)?,
        })
    };
    rows.iter().map(one).collect()
}
