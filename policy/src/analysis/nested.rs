//! Texts inside of a text: definitions of views, bodies of functions, SQL in an argument.
//!
//! Never decides what such a text means for the statement around it. Invariant: however deep texts nest, all of them together
//! spend from one budget, and each has the stack that [`guard`] says it needs.

use super::grammar::Tree;
use super::walker::Walker;
use super::{AnalysisContext, NotUnderstood, PreparedLookup, dialect, grammar, guard};

/// So many bytes of text cost about as much to parse as a step of the walk.
const BYTES_PER_STEP: usize = 4;

/// Under what an inner text is read.
#[derive(Clone, Copy)]
pub struct Surroundings<'p> {
    /// The path along which its names resolve.
    pub path: &'p [String],
    /// The path that is in force while it runs, where that is another one.
    pub run_path: Option<&'p [String]>,
    /// The prepared statements and cursors it can name.
    pub prepared: &'p dyn PreparedLookup,
}

impl Walker<'_> {
    /// Parses a text and walks it with a walker of its own.
    ///
    /// # Errors
    /// [`NotUnderstood`] when the text does not parse, or when texts nest deeper than `depth_max`; then nothing is walked.
    pub fn nested<R>(
        &mut self,
        text: &str,
        within: Surroundings<'_>,
        depth_max: usize,
        walk: impl FnOnce(&mut Walker<'_>, &Tree) -> R,
    ) -> Result<R, NotUnderstood> {
        if self.view_depth >= depth_max || !self.spend_many(1 + text.len() / BYTES_PER_STEP) {
            return Err(NotUnderstood::Guard("definitions nest too deeply"));
        }
        let measure = guard::measure(text)?;
        if !measure.is_complete {
            return Err(NotUnderstood::Syntax);
        }
        dialect::check_numbers(&measure, self.context.catalog)?;
        stacker::maybe_grow(measure.stack_bytes, measure.stack_bytes, || {
            let tree = grammar::parse(text)?;
            let context =
                AnalysisContext { catalog: self.context.catalog, search_path: within.path, prepared: within.prepared };
            let mut walker = Walker::new(&context, self.budget);
            walker.run_path = within.run_path;
            walker.view_depth = self.view_depth + 1;
            walker.readings = std::mem::take(&mut self.readings);
            let result = walk(&mut walker, &tree);
            self.budget = walker.budget;
            self.readings = walker.readings;
            self.session_dependent |= walker.session_dependent;
            self.path_dependent |= walker.path_dependent;
            Ok(result)
        })
    }
}
