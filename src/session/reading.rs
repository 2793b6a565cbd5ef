//! Reading a text: its analysis under the names of the session, and what it has defined in its transaction.
//!
//! Never decides anything. Invariant: what the session has defined since the catalog was loaded makes a text that names it
//! not understood, however it is read.

use std::sync::Arc;

use countersign_policy::Analysis;
use countersign_policy::analysis::{AnalysisContext, analyze, analyze_briefly};

use super::doubt::conceded;
use super::machine::{Machine, QUICK_LEN_MAX};
use super::words::Surroundings;

/// Why a statement is not understood after a definition in its transaction.
const DEFINED_ANEW: &str = "the open transaction has changed what it names";
/// Why several statements are not understood together.
const MIDWAY: &str = "a statement in the middle of the string changes what later names mean";

impl Machine {
    /// Analyses a text under the session's names and the catalog as it is.
    pub(super) fn analyze_now(&self, text: &str, around: &Surroundings) -> Arc<Analysis> {
        self.with_names(around, |context| match self.definitions.is_empty() {
            true => self.checked(around.analyses.analyze(text, context)),
            // What others know about the text is not true here.
            false => self.checked_anew(analyze(text, context)),
        })
    }

    /// The same, where it takes no longer than other sessions can wait, or there is room for it; `None` where it takes
    /// longer and the frame is to be looked at again where there is.
    pub(super) fn read(&mut self, text: &str, around: &Surroundings) -> Option<Arc<Analysis>> {
        if self.laborious || text.len() > QUICK_LEN_MAX {
            return Some(self.analyze_now(text, around));
        }
        let known = self.glance(text, around);
        self.laborious = known.is_none();
        known
    }

    /// A brief look; `None` where it does not suffice.
    fn glance(&self, text: &str, around: &Surroundings) -> Option<Arc<Analysis>> {
        self.with_names(around, |context| match self.definitions.is_empty() {
            true => Some(self.checked(around.analyses.analyze_briefly(text, context)?)),
            false => Some(self.checked_anew(analyze_briefly(text, context)?)),
        })
    }

    fn with_names<R>(&self, around: &Surroundings, read: impl FnOnce(&AnalysisContext<'_>) -> R) -> R {
        let names = self.statements.seen_under(self.names.generation(&around.catalog), &self.definitions);
        read(&AnalysisContext { catalog: &around.catalog, search_path: &self.names.search_path, prepared: &names })
    }

    fn checked(&self, analysis: Arc<Analysis>) -> Arc<Analysis> {
        let midway = analysis.statements.len() > 1 && self.names.change_midway(&analysis);
        if midway { Arc::new(conceded(&analysis, MIDWAY)) } else { analysis }
    }

    fn checked_anew(&self, analysis: Analysis) -> Arc<Analysis> {
        let stale = self.definitions.contradict(&analysis) || self.names.change_midway(&analysis);
        Arc::new(if stale { conceded(&analysis, DEFINED_ANEW) } else { analysis })
    }
}
