//! How the OpenAPI document describes what comes from packages that know nothing of it.
//!
//! Never used for anything else. Invariant: each is what serde makes of its namesake.

use utoipa::ToSchema;

/// So many people of one group.
#[derive(ToSchema)]
#[schema(as = ReviewerDemand)]
#[expect(dead_code, reason = "only its description is used")]
pub(crate) struct Demand {
    /// The group.
    group: String,
    /// People of it, from 1.
    approvals: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_policy::verdict::ReviewerDemand;
    use utoipa::PartialSchema;

    #[test]
    fn a_demand_is_what_is_described() {
        let demand = ReviewerDemand { group: "dba".to_owned(), approvals: 1 };
        let (made, described) =
            (serde_json::to_value(demand).unwrap(), serde_json::to_value(Demand::schema()).unwrap());
        let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&made), keys(&described["properties"]));
    }
}
