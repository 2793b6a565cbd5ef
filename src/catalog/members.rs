//! Who was granted which role: one query over the side connection.
//!
//! Never asks `pg_has_role`, for which a superuser is a member of every role. Invariant: all grants are read, or none.

use tokio_postgres::GenericClient;

use super::CatalogError;
use super::load::{field, query};
use crate::roles::Memberships;

const WHAT: &str = "memberships of roles";

/// Grants that are read at most.
const GRANTS_MAX: usize = 100_000;

/// Every grant of a role to another.
const GRANTS: &str = "SELECT m.rolname::pg_catalog.text, r.rolname::pg_catalog.text FROM pg_catalog.pg_auth_members g \
     JOIN pg_catalog.pg_roles m ON m.oid = g.member JOIN pg_catalog.pg_roles r ON r.oid = g.roleid LIMIT 100001";

/// Reads them.
pub(super) async fn read(client: &impl GenericClient) -> Result<Memberships, CatalogError> {
    let rows = query(client, WHAT, GRANTS).await?;
    if rows.len() > GRANTS_MAX {
        return Err(CatalogError::TooMany { what: WHAT, limit: GRANTS_MAX });
    }
    let grants: Result<Vec<_>, _> = rows.iter().map(|row| Ok((field(row, 0, WHAT)?, field(row, 1, WHAT)?))).collect();
    Ok(Memberships::of_grants(grants?))
}
