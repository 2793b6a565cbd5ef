//! Functions written in SQL: a call does what the statements of the body do.
//!
//! Never guesses: a body that is not understood counts as code that nobody has read. Invariant: what a body names is looked
//! up along the path that PostgreSQL uses when it runs the body, the function's own or the caller's.

use pg_query::NodeEnum;
use pg_query::protobuf::VariableSetStmt;

use super::constant::Literals;
use super::settings::{self, Kind};
use super::walker::{Walker, columns_of};
use super::{
    AnalysisContext, Lineage, NotUnderstood, NothingPrepared, SessionChange, StatementAnalysis, grammar, guard,
};
use crate::catalog::SqlBody;

/// Deepest nesting of calls that are followed.
const CALL_DEPTH_MAX: usize = 8;

impl Walker<'_> {
    /// The call of a function written in SQL: includes what it does, and yields where its result comes from. `None` when
    /// the body is not understood; then nothing is included.
    pub(super) fn call_body(&mut self, body: &SqlBody, arguments: &Lineage) -> Option<Lineage> {
        if self.view_depth >= CALL_DEPTH_MAX || self.overlay.path_changed || !self.spend() {
            return None;
        }
        let path = self.path_in(body)?;
        let context = AnalysisContext { search_path: &path, prepared: &NothingPrepared, ..*self.context };
        let mut walker = Walker::new(&context);
        walker.view_depth = self.view_depth + 1;
        walker.budget = self.budget;
        walker.parameters.clone_from(&body.parameters);
        let statements = walker.read_body(body);
        self.budget = walker.budget;
        self.session_dependent |= walker.session_dependent;
        let statements = statements.ok()?;
        let changes = |change: &SessionChange| matches!(change, SessionChange::SearchPath | SessionChange::Role);
        self.overlay.path_changed |= statements.iter().any(|statement| statement.session_changes.iter().any(changes));
        let mut result = arguments.clone();
        for statement in &statements {
            self.include(statement);
        }
        if let Some(last) = statements.last() {
            result.absorb(&columns_of(&last.outputs).union());
        }
        // Inside, an argument may be compared and stored.
        let writes = statements.iter().any(|statement| statement.relations.iter().any(super::RelationUse::is_written));
        if writes {
            self.stores(arguments);
        }
        if statements.iter().any(|statement| !statement.relations.is_empty()) {
            self.decides(arguments);
        }
        Some(result)
    }

    /// The statements of the body this walk is inside of.
    fn read_body(&mut self, body: &SqlBody) -> Result<Vec<StatementAnalysis>, NotUnderstood> {
        if !guard::measure(&body.text)?.is_complete {
            return Err(NotUnderstood::Syntax);
        }
        let tree = grammar::parse(&body.text)?;
        let mut statements = Vec::new();
        for statement in tree.statements() {
            self.out.outputs = self.statement(statement);
            let analysis = self.finish();
            if let Some(why) = analysis.not_understood {
                return Err(why);
            }
            statements.push(analysis);
        }
        Ok(statements)
    }

    /// The search path within the body; `None` when the function sets something else that matters.
    fn path_in(&mut self, body: &SqlBody) -> Option<Vec<String>> {
        let mut path = self.search_path().to_vec();
        for setting in &body.settings {
            let (name, value) = setting.split_once('=')?;
            match settings::classify(name, Some(value)) {
                Kind::Harmless => {}
                Kind::SearchPath => path = self.own_path(value)?,
                Kind::Role | Kind::Dangerous | Kind::Reading(_) => return None,
            }
        }
        Some(path)
    }

    /// A search path as `pg_proc.proconfig` has it, made complete as PostgreSQL does.
    fn own_path(&mut self, value: &str) -> Option<Vec<String>> {
        let listed = match value {
            "" | "\"\"" => Vec::new(),
            value => listed(value)?,
        };
        if listed.iter().any(|schema| schema == "$user") {
            return None;
        }
        let temporary = self.context.search_path.iter().find(|schema| schema.starts_with("pg_temp_"));
        let mut path = Vec::new();
        path.extend(temporary.filter(|_| !listed.iter().any(|schema| schema == "pg_temp")).cloned());
        if !listed.iter().any(|schema| schema == "pg_catalog") {
            path.push("pg_catalog".to_owned());
        }
        path.extend(listed.iter().map(|schema| self.schema(schema).to_owned()));
        Some(path)
    }
}

/// The schemas of a `SET search_path` with this list.
fn listed(value: &str) -> Option<Vec<String>> {
    let tree = grammar::parse(&format!("SET search_path TO {value}")).ok()?;
    let mut statements = tree.statements();
    match (statements.next()?.node.as_ref()?, statements.next()) {
        (NodeEnum::VariableSetStmt(set), None) => schemas(set),
        _ => None,
    }
}

fn schemas(set: &VariableSetStmt) -> Option<Vec<String>> {
    // The list is the catalog's, not the text's.
    let literals = Literals::default();
    set.args.iter().map(|schema| literals.setting(schema)).collect()
}
