//! Analyses that are taken back: what was understood when it was read is not understood as it will run.
//!
//! Never understands more. Invariant: what is conceded follows `unparsed`.

use std::sync::Arc;

use countersign_policy::analysis::NotUnderstood;
use countersign_policy::catalog::Volatility;
use countersign_policy::{Analysis, Effect};

use super::words::Surroundings;

/// Why a statement with a parameter of some types is not understood.
const BOUND_CODE: &str = "reading a parameter of that type runs code";

/// The same analysis, admitting that it is not understood.
pub(super) fn conceded(analysis: &Analysis, why: &'static str) -> Analysis {
    let mut conceded = analysis.clone();
    if let Some(last) = conceded.statements.last_mut() {
        last.effects.insert(Effect::Unknown);
        last.not_understood.get_or_insert(NotUnderstood::Other(why));
    }
    conceded
}

/// The analysis of a statement whose Parse gives these parameters a type: reading a value of a domain runs its checks.
pub(super) fn with_parameter_types(analysis: Arc<Analysis>, types: &[u32], around: &Surroundings) -> Arc<Analysis> {
    const FIRST_USER_OID: u32 = 16_384;
    let catalog = &around.catalog;
    let runs_code =
        |oid: &&u32| match catalog.type_of(**oid).map(|known| catalog.type_of(known.element).unwrap_or(known)) {
            Some(known) => catalog
                .functions_named(&known.schema, &format!("cast:{}", known.name))
                .iter()
                .any(|function| function.volatility == Volatility::Volatile),
            None => true,
        };
    let by_users = types.iter().filter(|oid| **oid >= FIRST_USER_OID);
    if by_users.clone().any(|oid| runs_code(&oid)) { Arc::new(conceded(&analysis, BOUND_CODE)) } else { analysis }
}
