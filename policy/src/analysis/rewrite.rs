//! Rules (CREATE RULE) on the relation of an INSERT, UPDATE or DELETE: the statement does what their actions do.
//!
//! Never asks whether a rule's condition holds. Invariant: a relation whose rules are not all known, or not all understood,
//! makes the statement not understood.

use pg_query::NodeEnum;
use pg_query::protobuf::{CmdType, Node, RuleStmt};

use super::lineage::{Columns, Level, Origin, Scope, Source};
use super::walker::Walker;
use super::{AnalysisContext, NotUnderstood, NothingPrepared, grammar, guard};
use crate::catalog::{Relation, RelationKind};
use crate::effect::Effect;

/// Deepest nesting of rules that set each other off; PostgreSQL refuses rules that never end.
const RULE_DEPTH_MAX: usize = 8;

impl Walker<'_> {
    /// Whether a rule takes the place of such a statement, whatever it says.
    pub(super) fn is_replaced(&mut self, relation: &Relation, effect: Effect) -> bool {
        self.rules(relation, effect).iter().any(|rule| rule.instead && rule.where_clause.is_none())
    }

    /// Adds what the rules of the target make of the statement. Values are already written into the target; what the rules
    /// return is added to it.
    pub(super) fn rewrites(&mut self, target: &mut Source, effect: Effect) {
        let Some(relation) = target.relation.and_then(|oid| self.context.catalog.relation(oid)) else { return };
        self.rewrites_by(relation, target, effect);
        if relation.kind == RelationKind::View && !self.is_replaced(relation, effect) {
            self.rewrites_behind(relation, target, effect);
        }
    }

    /// A write through a view is a write to what it reads, which can have rules of its own.
    fn rewrites_behind(&mut self, view: &Relation, target: &mut Source, effect: Effect) {
        for oid in self.written_through(view, effect) {
            let behind = self.context.catalog.relation(oid).filter(|found| found.has_rules && found.oid != view.oid);
            let Some(behind) = behind else { continue };
            let mut source = self.source_of(behind);
            let given = target.whole.clone().and(&target.columns.union());
            returns(&mut source, &Columns::opaque(given));
            self.rewrites_by(behind, &mut source, effect);
            returns(target, &Columns::opaque(source.whole));
        }
    }

    fn rewrites_by(&mut self, relation: &Relation, target: &mut Source, effect: Effect) {
        for rule in self.rules(relation, effect) {
            if self.view_depth >= RULE_DEPTH_MAX || !self.spend() {
                return self.give_up(NotUnderstood::Guard("rules nest too deeply"));
            }
            self.row_writes += 1;
            self.apply(&rule, target);
        }
    }

    /// The rules for that event.
    fn rules(&mut self, relation: &Relation, effect: Effect) -> Vec<RuleStmt> {
        if !relation.has_rules {
            return Vec::new();
        }
        let Some(definitions) = self.context.catalog.rules(relation.oid) else {
            self.give_up(NotUnderstood::Other("the rules of a relation are not known"));
            return Vec::new();
        };
        let mut found = Vec::new();
        for definition in definitions {
            match one_rule(definition) {
                Ok(rule) if event(&rule) == Some(effect) => found.push(rule),
                Ok(rule) if event(&rule).is_none() || effect == Effect::Merge => {
                    self.give_up(NotUnderstood::Other("a rule rewrites statements on the relation"));
                }
                Ok(_) => {}
                Err(why) => self.give_up(why),
            }
        }
        found
    }

    fn apply(&mut self, rule: &RuleStmt, target: &mut Source) {
        // Definitions come from pg_get_ruledef under an empty search path: what is not in pg_catalog is qualified.
        let path = ["pg_catalog".to_owned()];
        let context = AnalysisContext { search_path: &path, prepared: &NothingPrepared, ..*self.context };
        let mut walker = Walker::new(&context, self.budget);
        walker.view_depth = self.view_depth + 1;
        walker.run_path = Some(self.path_in_force());
        let version = |name: &str| Source { name: name.to_owned(), schema: String::new(), ..target.clone() };
        let mut level = Level::of(version("old"));
        level.append(Level::of(version("new")));
        let scope = Scope { level, ..Scope::default() };
        let condition = walker.optional(rule.where_clause.as_deref(), &scope);
        walker.decides(&condition);
        let mut returned = Vec::new();
        for action in &rule.actions {
            returned.extend(walker.action(action, &scope));
        }
        let done = walker.finish();
        self.budget = walker.budget;
        self.session_dependent |= walker.session_dependent;
        self.path_dependent |= walker.path_dependent;
        self.include(&done);
        for columns in &returned {
            returns(target, columns);
        }
    }

    /// One action; the columns of its RETURNING, if it has one.
    fn action(&mut self, action: &Node, scope: &Scope<'_>) -> Option<Columns> {
        let (columns, returning) = match action.node.as_ref() {
            Some(NodeEnum::InsertStmt(insert)) => (self.insert(insert, scope), insert.returning_clause.is_some()),
            Some(NodeEnum::UpdateStmt(update)) => (self.update(update, scope), update.returning_clause.is_some()),
            Some(NodeEnum::DeleteStmt(delete)) => (self.delete(delete, scope), delete.returning_clause.is_some()),
            Some(NodeEnum::NotifyStmt(_)) => {
                self.effect(Effect::Notify);
                return None;
            }
            // Its rows go to the client in front of those of the statement.
            _ => {
                self.give_up(NotUnderstood::Other("a rule answers with rows of its own"));
                return None;
            }
        };
        returning.then_some(columns)
    }
}

/// What an INSTEAD rule returns stands in the place of the relation's columns.
fn returns(target: &mut Source, columns: &Columns) {
    for (position, own) in target.columns.list.iter_mut().enumerate() {
        own.lineage.absorb(&columns.at(position));
        own.origin = Origin::Computed;
    }
    target.columns.absorb_rest(columns.rest.as_ref());
    target.whole.absorb(&columns.union());
}

/// The writes that the rule is for.
fn event(rule: &RuleStmt) -> Option<Effect> {
    match rule.event() {
        CmdType::CmdInsert => Some(Effect::Insert),
        CmdType::CmdUpdate => Some(Effect::Update),
        CmdType::CmdDelete => Some(Effect::Delete),
        CmdType::CmdSelect
        | CmdType::CmdMerge
        | CmdType::CmdUtility
        | CmdType::CmdNothing
        | CmdType::CmdUnknown
        | CmdType::Undefined => None,
    }
}

fn one_rule(definition: &str) -> Result<RuleStmt, NotUnderstood> {
    if !guard::measure(definition)?.is_complete {
        return Err(NotUnderstood::Syntax);
    }
    let tree = grammar::parse(definition)?;
    let mut statements = tree.statements();
    match (statements.next().and_then(|node| node.node.as_ref()), statements.next()) {
        (Some(NodeEnum::RuleStmt(rule)), None) => Ok((**rule).clone()),
        _ => Err(NotUnderstood::Other("a definition is not one rule")),
    }
}
