//! What judging one statement costs under 20 rules: when no rule matches, and when one holds.

use std::hint::black_box;
use std::time::Duration;

use countersign_policy::analysis::{Analysis, RelationUse, StatementAnalysis};
use countersign_policy::grant::Grants;
use countersign_policy::mask::MaskSet;
use countersign_policy::moment::Moment;
use countersign_policy::name::QualifiedName;
use countersign_policy::rule::{
    Action, DatabasePolicy, Glob, Justification, Matcher, Mode, NameGlob, Policy, ReviewDefaults, Rule, Stage,
};
use countersign_policy::subject::Subject;
use countersign_policy::verdict::Case;
use countersign_policy::{Catalog, Effect, Effects};
use criterion::{Criterion, criterion_group, criterion_main};

fn rule(number: usize) -> Rule {
    let glob = |text: &str| vec![Glob::new(text).expect("a glob")];
    let effect = if number.is_multiple_of(2) { Effect::Delete } else { Effect::Drop };
    let matcher = Matcher {
        databases: Some(glob("prod-*")),
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

fn analysis(effect: Effect) -> Analysis {
    let used = RelationUse {
        oid: Some(1),
        name: QualifiedName::new("public", "orders"),
        effects: Effects::of(&[effect]),
        is_consulted: false,
    };
    let statement =
        StatementAnalysis { effects: Effects::of(&[effect]), relations: vec![used], ..StatementAnalysis::default() };
    Analysis { statements: vec![statement] }
}

fn judge(c: &mut Criterion) {
    let review =
        ReviewDefaults { groups: Vec::new(), timeout: Duration::from_secs(60), mode: Mode::Auto, grant_max: None };
    let database = DatabasePolicy {
        name: "prod-db".to_owned(),
        default: Action::Allow,
        unparsed: Action::Hold,
        review,
        stage: Stage::Enforce,
    };
    let policy = Policy { rules: (0..20).map(rule).collect(), databases: vec![database], ..Policy::default() };
    let subject = Subject {
        user: "alice".to_owned(),
        groups: vec!["engineering".to_owned()],
        database: "prod-db".to_owned(),
        application: String::new(),
    };
    let (masks, catalog) = (MaskSet::default(), Catalog::default());
    for (name, effect) in [("allow", Effect::Select), ("hold", Effect::Drop)] {
        let analysis = analysis(effect);
        c.bench_function(&format!("judge, 20 rules, {name}"), |b| {
            b.iter(|| {
                let case = Case {
                    serial: 1,
                    subject: &subject,
                    text: "",
                    analysis: black_box(&analysis),
                    masks: &masks,
                    catalog: &catalog,
                    moment: Moment::default(),
                    rows: None,
                    approval: None,
                    grants: Grants::default(),
                };
                policy.judge(case)
            });
        });
    }
}

criterion_group!(benches, judge);
criterion_main!(benches);
