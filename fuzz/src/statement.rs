//! The analysis of any text, and its judgement.
//!
//! Checked: no text panics; a text that is not understood is never allowed; a text reads the same a second time and with
//! white space around it. That no text takes long is left to the engine's time limit.

use countersign_policy::Verdict;
use countersign_policy::analysis::{Analysis, AnalysisContext, NothingPrepared, analyze};
use countersign_policy::grant::Grants;
use countersign_policy::moment::Moment;
use countersign_policy::verdict::Case;

use super::shop;

/// See the module documentation.
///
/// # Panics
/// A promise is broken.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let shop = shop::surroundings();
    let search_path = shop::search_path();
    let context = AnalysisContext { catalog: &shop.catalog, search_path: &search_path, prepared: &NothingPrepared };
    let analysis = analyze(text, &context);
    assert_eq!(*shop.analyses.analyze(text, &context), analysis, "what is kept is what is read");
    assert_eq!(*shop.analyses.analyze(text, &context), analysis, "what is kept is what is read");
    let spaced = analyze(&format!("\n {text}\n"), &context);
    assert_eq!(spaced.effects(), analysis.effects(), "white space around it changes what it does");
    judged(text, &analysis);
}

fn judged(text: &str, analysis: &Analysis) {
    let (shop, subject) = (shop::surroundings(), shop::subject());
    let (masks, catalog) = (&*shop.masks, &*shop.catalog);
    let case = Case {
        serial: 1,
        subject: &subject,
        text,
        analysis,
        masks,
        catalog,
        moment: Moment::default(),
        rows: None,
        approval: None,
        grants: Grants::default(),
    };
    let is_allowed = matches!(shop.config.policy.judge(case).verdict, Verdict::Allow(_));
    assert!(!is_allowed || analysis.not_understood().is_none(), "not understood, and allowed");
    let drops = analysis.effects().contains(countersign_policy::Effect::Drop);
    assert!(!is_allowed || !drops, "denied, and allowed");
}
