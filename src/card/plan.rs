//! A plan in PostgreSQL's JSON → the tree that people are shown.
//!
//! Never shows more than a person reads: nodes and texts beyond that are counted and cut. Invariant: exactly one node of
//! a plan is the costliest.

use serde::Deserialize;

use super::{Plan, PlanNode};

/// Nodes that are shown at most.
const NODES_MAX: u32 = 150;
/// Conditions of a node that are shown, and characters of one.
const DETAILS_MAX: usize = 8;
const DETAIL_CHARS_MAX: usize = 400;
/// Depth of the tree that is shown.
const DEPTH_MAX: u32 = 60;

#[derive(Deserialize)]
struct Explained {
    #[serde(rename = "Plan")]
    plan: Node,
}

#[derive(Deserialize)]
struct Node {
    #[serde(rename = "Node Type")]
    kind: String,
    #[serde(rename = "Operation")]
    operation: Option<String>,
    #[serde(rename = "Join Type")]
    join: Option<String>,
    #[serde(rename = "Strategy")]
    strategy: Option<String>,
    #[serde(rename = "Parent Relationship", default)]
    relationship: String,
    #[serde(rename = "Subplan Name")]
    part: Option<String>,
    #[serde(rename = "Plan Rows", default)]
    rows: f64,
    #[serde(rename = "Total Cost", default)]
    cost: f64,
    #[serde(rename = "Plans", default)]
    plans: Vec<Self>,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

/// What a node works on, and conditions and keys, in the order in which they are shown.
const ON: &[&str] =
    &["Relation Name", "Index Name", "Function Name", "CTE Name", "Tuplestore Name", "Table Function Name"];
const DETAILS: &[&str] = &[
    "Index Cond",
    "Recheck Cond",
    "TID Cond",
    "Hash Cond",
    "Merge Cond",
    "Join Filter",
    "Filter",
    "One-Time Filter",
    "Sort Key",
    "Group Key",
    "Conflict Filter",
];

/// The first plan of the JSON that `EXPLAIN (FORMAT JSON)` gives; `None` when there is none.
pub(crate) fn read(json: &str) -> Option<Plan> {
    let plans: Vec<Explained> = serde_json::from_str(json).ok()?;
    let top = plans.into_iter().next()?.plan;
    let dearest = dearest(&top);
    let mut cutter = Cutter { left: NODES_MAX, omitted: 0, dearest: Some(dearest) };
    let root = cutter.node(top, DEPTH_MAX)?;
    Some(Plan { root, omitted: cutter.omitted })
}

/// The most that a node of the tree costs by itself.
fn dearest(node: &Node) -> f64 {
    node.plans.iter().map(dearest).fold(own_cost(node), f64::max)
}

fn own_cost(node: &Node) -> f64 {
    node.cost - node.plans.iter().map(|plan| plan.cost).sum::<f64>()
}

struct Cutter {
    left: u32,
    omitted: u32,
    /// Until the node that costs it has been met.
    dearest: Option<f64>,
}

impl Cutter {
    fn node(&mut self, node: Node, depth: u32) -> Option<PlanNode> {
        if self.left == 0 || depth == 0 {
            self.omitted = self.omitted.saturating_add(size(&node));
            return None;
        }
        self.left = self.left.saturating_sub(1);
        let costliest = self.dearest == Some(own_cost(&node));
        if costliest {
            self.dearest = None;
        }
        let rows = written(&node).unwrap_or(node.rows);
        Some(PlanNode {
            node: name(&node),
            on: on(&node),
            part: node.part.clone(),
            details: details(&node),
            rows: whole(rows),
            cost: node.cost,
            costliest,
            inputs: node.plans.into_iter().filter_map(|plan| self.node(plan, depth - 1)).collect(),
        })
    }
}

fn size(node: &Node) -> u32 {
    node.plans.iter().map(size).fold(1, u32::saturating_add)
}

/// Rows that a ModifyTable writes: it yields none itself without RETURNING.
fn written(node: &Node) -> Option<f64> {
    let fed = node.plans.iter().filter(|plan| matches!(plan.relationship.as_str(), "Outer" | "Member"));
    (node.kind == "ModifyTable").then(|| fed.map(|plan| plan.rows).sum::<f64>().max(node.rows))
}

fn name(node: &Node) -> String {
    let joined = |join: &str| match join {
        "Inner" => node.kind.clone(),
        join if node.kind == "Nested Loop" => format!("Nested Loop {join} Join"),
        join => node.kind.replace(" Join", &format!(" {join} Join")),
    };
    match (&node.operation, &node.join, node.strategy.as_deref()) {
        (Some(operation), _, _) => operation.clone(),
        (None, Some(join), _) => joined(join),
        (None, None, Some("Hashed")) => format!("Hash{}", node.kind),
        (None, None, Some("Sorted")) => format!("Group{}", node.kind),
        (None, None, _) => node.kind.clone(),
    }
}

fn on(node: &Node) -> Option<String> {
    let text = |key: &&str| node.rest.get(*key).and_then(|value| value.as_str());
    let named: Vec<&str> = ON.iter().filter_map(text).collect();
    let alias = text(&"Alias").filter(|alias| !named.contains(alias));
    let named = named.into_iter().chain(alias).collect::<Vec<_>>().join(" ");
    (!named.is_empty()).then(|| cut(&named))
}

fn details(node: &Node) -> Vec<String> {
    let text = |key: &&str| {
        let value = match node.rest.get(*key)? {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Array(parts) => {
                parts.iter().filter_map(|part| part.as_str()).collect::<Vec<_>>().join(", ")
            }
            _ => return None,
        };
        Some(cut(&format!("{key}: {value}")))
    };
    DETAILS.iter().filter_map(text).take(DETAILS_MAX).collect()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(DETAIL_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as saturates, and NaN becomes 0")]
fn whole(rows: f64) -> u64 {
    rows.ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Node on (details) rows cost*`, one line each, indented.
    fn told(node: &PlanNode, depth: usize, out: &mut String) {
        let mark = if node.costliest { "*" } else { "" };
        let on = node.on.as_deref().map(|on| format!(" on {on}")).unwrap_or_default();
        let details = node.details.join("; ");
        out.push_str(&format!("{:depth$}{}{on} [{details}] {}{mark}\n", "", node.node, node.rows));
        node.inputs.iter().for_each(|input| told(input, depth + 1, out));
    }

    #[track_caller]
    fn check(json: &str, want: &str) {
        let plan = read(json).unwrap();
        let mut out = String::new();
        told(&plan.root, 0, &mut out);
        assert_eq!(out, want);
    }

    #[test]
    fn what_is_written_joined_and_filtered_is_told() {
        check(
            r#"[{"Plan": {"Node Type": "ModifyTable", "Operation": "Update", "Relation Name": "orders", "Alias": "o",
                "Plan Rows": 0, "Total Cost": 19.5, "Plans": [
                {"Node Type": "Hash Join", "Join Type": "Left", "Parent Relationship": "Outer", "Plan Rows": 7, "Total Cost": 19.5,
                 "Hash Cond": "(o.id = i.id)", "Plans": [
                    {"Node Type": "Seq Scan", "Relation Name": "items", "Alias": "items", "Plan Rows": 1.5, "Total Cost": 12,
                     "Filter": "(note = 'x'::text)"},
                    {"Node Type": "Aggregate", "Strategy": "Hashed", "Group Key": ["a", "b"], "Plan Rows": 1, "Total Cost": 2}]}]}}]"#,
            "Update on orders o [] 7\n Hash Left Join [Hash Cond: (o.id = i.id)] 7\n  \
             Seq Scan on items [Filter: (note = 'x'::text)] 2*\n  HashAggregate [Group Key: a, b] 1\n",
        );
    }

    #[test]
    fn a_large_plan_is_cut_and_the_rest_counted() {
        let scan = r#"{"Node Type": "Seq Scan", "Plan Rows": 1, "Total Cost": 1}"#;
        let scans = vec![scan; 1_000].join(",");
        let json = format!(
            r#"[{{"Plan": {{"Node Type": "Append", "Plan Rows": 1000, "Total Cost": 1000, "Plans": [{scans}]}}}}]"#
        );
        let plan = read(&json).unwrap();
        assert_eq!((plan.root.inputs.len(), plan.omitted), (149, 851));
        let long = format!(r#"[{{"Plan": {{"Node Type": "Result", "Filter": "{}"}}}}]"#, "é".repeat(9_000));
        assert_eq!(read(&long).unwrap().root.details[0].chars().count(), DETAIL_CHARS_MAX + 1);
    }

    #[test]
    fn what_is_no_plan_is_none() {
        for json in ["", "[]", "{}", r#"["Utility Statement"]"#, r#"[{"Plan": {"Plan Rows": 1}}]"#] {
            assert_eq!(read(json), None, "{json}");
        }
    }
}
