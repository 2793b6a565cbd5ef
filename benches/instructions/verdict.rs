//! How many instructions does it take to judge one statement, without rules, and under 20 of which none or ten match?

use std::hint::black_box;
use std::time::Duration;

use countersign_instructions::{catalog, subject};
use countersign_policy::analysis::{Analysis, RelationUse, StatementAnalysis};
use countersign_policy::grant::Grants;
use countersign_policy::mask::MaskSet;
use countersign_policy::moment::Moment;
use countersign_policy::name::QualifiedName;
use countersign_policy::rule::{
    Action, DatabasePolicy, Glob, Justification, Matcher, Mode, NameGlob, Policy, ReviewDefaults, Rule, Stage,
};
use countersign_policy::subject::Subject;
use countersign_policy::verdict::{Case, Judgement};
use countersign_policy::{Catalog, Effect, Effects};
use gungraun::prelude::*;

/// What a verdict needs.
struct World {
    policy: Policy,
    subject: Subject,
    catalog: Catalog,
    masks: MaskSet,
    analysis: Analysis,
}

fn rule(number: usize) -> Rule {
    let glob = |text: &str| vec![Glob::new(text).expect("a glob")];
    let effect = if number.is_multiple_of(2) { Effect::Delete } else { Effect::Drop };
    let matcher = Matcher {
        databases: Some(glob("shop*")),
        groups: Some(glob("engineering")),
        effects: Some(Effects::of(&[effect])),
        relations: Some(vec![NameGlob::qualified("public.*").expect("a glob")]),
        ..Matcher::default()
    };
    Rule {
        name: format!("rule-{number}"),
        matcher,
        action: Action::Hold,
        message: None,
        reviewers: vec!["dba".to_owned()],
        approvals: 1,
        timeout: None,
        mode: None,
        justification: Justification::Optional,
        stage: Stage::Enforce,
    }
}

fn world(rules: usize, effect: Effect) -> World {
    let used = RelationUse {
        oid: Some(20_001),
        name: QualifiedName::new("public", "pgbench_accounts"),
        effects: Effects::of(&[effect]),
        is_consulted: false,
    };
    let statement =
        StatementAnalysis { effects: Effects::of(&[effect]), relations: vec![used], ..StatementAnalysis::default() };
    let review =
        ReviewDefaults { groups: Vec::new(), timeout: Duration::from_secs(60), mode: Mode::Auto, grant_max: None };
    let database = DatabasePolicy {
        name: "shop".to_owned(),
        default: Action::Allow,
        unparsed: Action::Hold,
        review,
        stage: Stage::Enforce,
    };
    World {
        policy: Policy { rules: (0..rules).map(rule).collect(), databases: vec![database], ..Policy::default() },
        subject: subject(),
        catalog: catalog(),
        masks: MaskSet::default(),
        analysis: Analysis { statements: vec![statement] },
    }
}

#[library_benchmark]
#[bench::without_rules(world(0, Effect::Select))]
#[bench::none_of_20_matches(world(20, Effect::Select))]
#[bench::ten_of_20_hold(world(20, Effect::Drop))]
fn judge(world: World) -> (World, Judgement) {
    let case = Case {
        serial: 1,
        subject: &world.subject,
        text: "",
        analysis: black_box(&world.analysis),
        masks: &world.masks,
        catalog: &world.catalog,
        moment: Moment::default(),
        rows: None,
        approval: None,
        grants: Grants::default(),
    };
    let judgement = world.policy.judge(case);
    (world, judgement)
}

library_benchmark_group!(name = verdicts, benchmarks = [judge]);
main!(library_benchmark_groups = verdicts);
