//! Functions written in SQL: a call does what the statements of the body do.
//!
//! Never guesses: a body that is not understood counts as code that nobody has read. Invariant: what a body names is looked
//! up along the path that PostgreSQL uses when it runs the body, the function's own or the caller's.

use pg_query::NodeEnum;
use pg_query::protobuf::VariableSetStmt;

use super::constant::Literals;
use super::grammar::{self, Tree};
use super::nested::Surroundings;
use super::settings::{self, Kind};
use super::walker::{Walker, columns_of};
use super::{Lineage, NotUnderstood, NothingPrepared, SessionChange, StatementAnalysis};
use crate::catalog::{Prelude, SqlBody};

const PG_CATALOG: &str = "pg_catalog";
/// Deepest nesting of calls that are followed.
const CALL_DEPTH_MAX: usize = 8;

impl Walker<'_> {
    /// The call of a function written in SQL: includes what it does, and yields where its result comes from. `None` when
    /// the body is not understood; then nothing is included.
    pub(super) fn call_body(&mut self, name: &str, body: &SqlBody, arguments: &Lineage) -> Option<Lineage> {
        if self.overlay.path_changed {
            return None;
        }
        let run_path = self.path_in(body)?;
        let resolved = [PG_CATALOG.to_owned()];
        let (path, run_path) =
            if body.is_resolved { (&resolved[..], Some(&run_path[..])) } else { (&run_path[..], None) };
        let within = Surroundings { path, run_path, prepared: &NothingPrepared };
        let statements = self.nested(&body.text, within, CALL_DEPTH_MAX, |walker, tree| {
            let qualified = body.parameters.iter().map(|parameter| format!("{name}.{parameter}"));
            walker.parameters = body.parameters.iter().cloned().chain(qualified).collect();
            walker.read_body(tree)
        });
        let statements = statements.ok()?.ok()?;
        let changes = |change: &SessionChange| matches!(change, SessionChange::SearchPath | SessionChange::Role);
        self.overlay.path_changed |= statements.iter().any(|statement| statement.session_changes.iter().any(changes));
        let mut result = arguments.clone();
        for statement in &statements {
            self.include(statement);
            self.out.collects.hidden |= !statement.collects.is_none();
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
    fn read_body(&mut self, tree: &Tree) -> Result<Vec<StatementAnalysis>, NotUnderstood> {
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

    /// What a call runs before the function itself: defaults of arguments that it may leave out, and the checks of the
    /// domains in the signature. Yields where the values of the defaults come from.
    pub(super) fn prelude(&mut self, prelude: &Prelude) -> Lineage {
        let mut given = Lineage::CLEAR;
        if let Some(defaults) = &prelude.defaults {
            let path = [PG_CATALOG.to_owned()];
            let within = Surroundings { path: &path, run_path: Some(self.path_in_force()), prepared: &NothingPrepared };
            let text = format!("SELECT {defaults}");
            let read = self.nested(&text, within, CALL_DEPTH_MAX, |walker, tree| {
                walker.values.is_stored = true;
                walker.read_body(tree)
            });
            match read.and_then(|read| read) {
                Ok(statements) => statements.iter().for_each(|statement| {
                    self.include(statement);
                    given.absorb(&columns_of(&statement.outputs).union());
                }),
                Err(_) => given = self.may_write(&Lineage::CLEAR),
            }
        }
        if !prelude.checks.is_empty() && self.view_depth >= CALL_DEPTH_MAX {
            return self.may_write(&Lineage::CLEAR);
        }
        // A check may call a function with the same domain in its signature.
        self.view_depth += 1;
        prelude.checks.iter().for_each(|check| self.is_called(*check));
        self.calls_with_checks |= prelude.checks.iter().any(|check| self.may_write_when_called(*check));
        self.view_depth -= 1;
        given
    }

    /// The search path within the body; `None` when the function sets something else that matters.
    fn path_in(&mut self, body: &SqlBody) -> Option<Vec<String>> {
        let mut path = complete(self.path_in_force());
        let mut own = false;
        for setting in &body.settings {
            let (name, value) = setting.split_once('=')?;
            match settings::classify(name, Some(value)) {
                Kind::Harmless | Kind::OfTheProxy | Kind::Values => {}
                Kind::SearchPath => {
                    path = self.own_path(value)?;
                    own = true;
                }
                Kind::Role | Kind::Dangerous | Kind::Reading(_) => return None,
            }
        }
        self.path_dependent |= !own && self.run_path.is_some();
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
        let temporary = self.path_in_force().iter().find(|schema| schema.starts_with("pg_temp_"));
        self.path_dependent |= temporary.is_some() && self.run_path.is_some();
        let mut path = Vec::new();
        path.extend(temporary.filter(|_| !listed.iter().any(|schema| schema == "pg_temp")).cloned());
        if !listed.iter().any(|schema| schema == PG_CATALOG) {
            path.push(PG_CATALOG.to_owned());
        }
        path.extend(listed.iter().map(|schema| self.schema(schema).to_owned()));
        Some(path)
    }
}

/// The path with `pg_catalog`, which PostgreSQL searches first when it is not named.
fn complete(path: &[String]) -> Vec<String> {
    let implied = (!path.iter().any(|schema| schema == PG_CATALOG)).then(|| PG_CATALOG.to_owned());
    implied.into_iter().chain(path.iter().cloned()).collect()
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
