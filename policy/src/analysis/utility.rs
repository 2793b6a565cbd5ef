//! Statements about the session: settings, transactions, prepared statements, cursors, notifications, locks, maintenance.
//!
//! Never executes anything against the session's state; it says what will change. Invariant: EXECUTE and FETCH do what the
//! statement behind the name does, and a name that is not known is [`NotUnderstood::Name`].

use pg_query::NodeEnum;
use pg_query::protobuf::{
    CallStmt, ClusterStmt, DeclareCursorStmt, DiscardMode, ExecuteStmt, FetchStmt, LockStmt, Node, RangeVar,
    RefreshMatViewStmt,
};
use pg_query::protobuf::{PrepareStmt, ReindexStmt, TransactionStmtKind, VacuumStmt, VariableSetKind, VariableSetStmt};

use super::lineage::Scope;
use super::relations::is_built_in;
use super::walker::Walker;
use super::{
    Lineage, NotUnderstood, Outputs, RelationUse, SessionChange, StatementAnalysis, TransactionBound, names, settings,
};
use crate::catalog::{Relation, RelationKind};
use crate::effect::{Effect, Effects};

impl<'a> Walker<'a> {
    pub(super) fn utility(&mut self, kind: &NodeEnum) -> Outputs {
        match kind {
            NodeEnum::VariableSetStmt(set) => self.variable_set(set),
            NodeEnum::VariableShowStmt(show) => {
                self.effect(Effect::Show);
                // SHOW ALL has name, setting and description.
                let columns = if show.name.eq_ignore_ascii_case("all") { 3 } else { 1 };
                return Outputs::Columns(vec![Lineage::CLEAR; columns]);
            }
            NodeEnum::TransactionStmt(statement) => self.transaction(statement.kind()),
            NodeEnum::ConstraintsSetStmt(_) => self.effect(Effect::Set),
            NodeEnum::PrepareStmt(prepare) => self.prepare(prepare),
            NodeEnum::ExecuteStmt(execute) => return self.execute(execute),
            NodeEnum::DeallocateStmt(statement) => self.deallocate(&statement.name),
            NodeEnum::DeclareCursorStmt(declare) => self.declare(declare),
            NodeEnum::FetchStmt(fetch) => return self.fetch(fetch),
            NodeEnum::ClosePortalStmt(close) => self.close(&close.portalname),
            NodeEnum::DiscardStmt(discard) => self.discard(discard.target()),
            NodeEnum::ListenStmt(_) | NodeEnum::UnlistenStmt(_) => self.effect(Effect::Listen),
            NodeEnum::NotifyStmt(_) => self.effect(Effect::Notify),
            NodeEnum::LockStmt(lock) => self.lock(lock),
            NodeEnum::VacuumStmt(vacuum) => self.vacuum(vacuum),
            NodeEnum::ReindexStmt(reindex) => {
                self.fires(kind);
                self.reindex(reindex);
            }
            NodeEnum::ClusterStmt(cluster) => self.cluster(cluster),
            NodeEnum::CheckPointStmt(_) => self.effect(Effect::Maintenance),
            NodeEnum::RefreshMatViewStmt(refresh) => {
                self.effect(Effect::Maintenance);
                self.fires(kind);
                if refresh.concurrent {
                    // It makes a temporary table, and with the session's first one its temporary schema.
                    self.changes(SessionChange::SearchPath);
                }
                self.refresh(refresh);
            }
            NodeEnum::CallStmt(call) => return self.call_procedure(call),
            NodeEnum::DoStmt(_) => {
                self.effect(Effect::Do);
                self.path_and_role_change();
                self.give_up(NotUnderstood::Other("the code of DO is not analysed"));
            }
            NodeEnum::LoadStmt(_) => {
                self.effect(Effect::SetDangerous);
                self.effect(Effect::FunctionCall);
            }
            other => {
                self.fires(other);
                self.definition_statement(other);
            }
        }
        Outputs::None
    }

    fn variable_set(&mut self, set: &VariableSetStmt) {
        let values: Vec<Option<String>> = set.args.iter().map(|value| self.literals.setting(value)).collect();
        let value = match values.as_slice() {
            [Some(value)] => Some(value.as_str()),
            _ => None,
        };
        match set.kind() {
            VariableSetKind::VarSetValue => {
                self.chooses(&set.name, value);
                self.set(settings::classify(&set.name, value));
            }
            VariableSetKind::VarSetDefault | VariableSetKind::VarSetCurrent => {
                self.set(default_of(settings::classify(&set.name, None)));
            }
            VariableSetKind::VarReset => {
                self.effect(Effect::Reset);
                match default_of(settings::classify(&set.name, None)) {
                    settings::Kind::Harmless => {}
                    settings::Kind::OfTheProxy => self.changes(SessionChange::OfTheProxy),
                    settings::Kind::Values => self.changes(SessionChange::Values),
                    settings::Kind::SearchPath => {
                        self.changes(SessionChange::SearchPath);
                        self.overlay.path_changed = true;
                    }
                    kind @ (settings::Kind::Role | settings::Kind::Dangerous | settings::Kind::Reading(_)) => {
                        self.set(kind)
                    }
                }
            }
            VariableSetKind::VarResetAll => {
                self.effect(Effect::Reset);
                self.path_and_role_change();
            }
            VariableSetKind::VarSetMulti => self.effect(Effect::Set),
            VariableSetKind::Undefined => self.give_up(NotUnderstood::Node("VariableSetStmt")),
        }
    }

    fn transaction(&mut self, kind: TransactionStmtKind) {
        use TransactionStmtKind as Kind;
        self.effect(Effect::Transaction);
        match kind {
            // Its locks stay until somebody ends it, when this session has gone.
            Kind::TransStmtPrepare => self.effect(Effect::Lock),
            // They end what some session has done at some time.
            Kind::TransStmtCommitPrepared | Kind::TransStmtRollbackPrepared => self.effect(Effect::Maintenance),
            _ => {}
        }
        self.out.transaction_bound = match kind {
            Kind::TransStmtBegin | Kind::TransStmtStart => Some(TransactionBound::Begin),
            Kind::TransStmtCommit | Kind::TransStmtPrepare => Some(TransactionBound::Commit),
            Kind::TransStmtRollback => Some(TransactionBound::Rollback),
            Kind::TransStmtSavepoint
            | Kind::TransStmtRelease
            | Kind::TransStmtRollbackTo
            | Kind::TransStmtCommitPrepared
            | Kind::TransStmtRollbackPrepared
            | Kind::Undefined => None,
        };
        self.changes(match kind {
            Kind::TransStmtBegin | Kind::TransStmtStart | Kind::TransStmtSavepoint | Kind::TransStmtRelease => {
                SessionChange::TransactionBegun
            }
            Kind::TransStmtCommit
            | Kind::TransStmtRollback
            | Kind::TransStmtRollbackTo
            | Kind::TransStmtPrepare
            | Kind::TransStmtCommitPrepared
            | Kind::TransStmtRollbackPrepared
            | Kind::Undefined => SessionChange::Transaction,
        });
        match kind {
            Kind::TransStmtRollback | Kind::TransStmtRollbackTo => self.path_and_role_change(),
            // A block that failed, or SET LOCAL, gives way to the settings from before it.
            Kind::TransStmtCommit | Kind::TransStmtPrepare => self.overlay.path_changed = true,
            Kind::TransStmtBegin
            | Kind::TransStmtStart
            | Kind::TransStmtSavepoint
            | Kind::TransStmtRelease
            | Kind::TransStmtCommitPrepared
            | Kind::TransStmtRollbackPrepared => {}
            Kind::Undefined => self.give_up(NotUnderstood::Node("TransactionStmt")),
        }
    }

    fn prepare(&mut self, prepare: &PrepareStmt) {
        self.effect(Effect::Prepare);
        let Some(query) = prepare.query.as_deref() else {
            return self.give_up(NotUnderstood::Node("PrepareStmt"));
        };
        let inner = self.apart(|walker| {
            // EXECUTE makes its arguments values of these types.
            for node in &prepare.argtypes {
                if let Some(NodeEnum::TypeName(name)) = node.node.as_ref() {
                    walker.cast(Some(name), Lineage::CLEAR);
                }
            }
            walker.statement(query)
        });
        if let Some(why) = &inner.not_understood {
            self.give_up(why.clone());
        }
        if inner.runs_when_parsed {
            self.out.runs_when_parsed = true;
            self.effect(Effect::FunctionCall);
        }
        self.overlay.prepared.insert(prepare.name.clone(), Some(inner.clone()));
        self.changes(SessionChange::Prepare(prepare.name.clone(), Box::new(inner)));
    }

    fn execute(&mut self, execute: &ExecuteStmt) -> Outputs {
        self.effect(Effect::Execute);
        let parameters = self.expressions(&execute.params, &Scope::default());
        let Some(inner) = self.prepared(&execute.name) else {
            self.give_up(NotUnderstood::Name(execute.name.clone()));
            return Outputs::Opaque(Lineage::Unknown("a prepared statement is not known"));
        };
        // PostgreSQL looks its names up again.
        let is_changed =
            |used: &RelationUse| used.oid.is_some() && self.overlay.relations.contains_key(&used.name.name);
        if self.overlay.path_changed || inner.relations.iter().any(is_changed) {
            self.give_up(NotUnderstood::Other("names of a prepared statement change within the text"));
        }
        self.include(&inner);
        if !inner.stores.is_clear() || inner.effects.intersects(Effects::WRITES) {
            self.stores(&parameters);
        }
        if parameters.is_clear() {
            self.out.forms = inner.forms;
        }
        match inner.outputs {
            Outputs::None => Outputs::None,
            Outputs::Columns(list) => Outputs::Columns(list.into_iter().map(|own| own.and(&parameters)).collect()),
            Outputs::Opaque(own) => Outputs::Opaque(own.and(&parameters)),
        }
    }

    fn deallocate(&mut self, name: &str) {
        self.effect(Effect::Deallocate);
        if name.is_empty() {
            self.overlay.prepared.clear();
            self.overlay.all_deallocated = true;
            self.changes(SessionChange::DeallocateAll);
        } else {
            self.overlay.prepared.insert(name.to_owned(), None);
            self.changes(SessionChange::Deallocate(name.to_owned()));
        }
    }

    fn declare(&mut self, declare: &DeclareCursorStmt) {
        let Some(query) = declare.query.as_deref() else {
            return self.give_up(NotUnderstood::Node("DeclareCursorStmt"));
        };
        let inner = self.apart(|walker| walker.statement(query));
        self.include(&inner);
        self.effect(Effect::Cursor);
        self.overlay.cursors.insert(declare.portalname.clone(), Some(inner.clone()));
        self.changes(SessionChange::DeclareCursor(declare.portalname.clone(), Box::new(inner)));
    }

    fn fetch(&mut self, fetch: &FetchStmt) -> Outputs {
        self.effect(Effect::Cursor);
        let Some(inner) = self.cursor(&fetch.portalname) else {
            self.give_up(NotUnderstood::Name(fetch.portalname.clone()));
            return Outputs::Opaque(Lineage::Unknown("a cursor is not known"));
        };
        let inner = StatementAnalysis { session_changes: Vec::new(), ..inner };
        self.include(&inner);
        if fetch.ismove {
            return Outputs::None;
        }
        self.out.forms = inner.forms;
        inner.outputs
    }

    fn close(&mut self, name: &str) {
        self.effect(Effect::Cursor);
        if !name.is_empty() {
            self.overlay.cursors.insert(name.to_owned(), None);
            self.changes(SessionChange::CloseCursor(name.to_owned()));
        }
    }

    fn discard(&mut self, mode: DiscardMode) {
        self.effect(Effect::Discard);
        match mode {
            DiscardMode::DiscardAll => {
                self.path_and_role_change();
                self.overlay.prepared.clear();
                self.overlay.all_deallocated = true;
                self.changes(SessionChange::DiscardAll);
                self.changes(SessionChange::Catalog);
            }
            DiscardMode::DiscardTemp => {
                self.changes(SessionChange::Catalog);
                self.changes(SessionChange::SearchPath);
                self.overlay.path_changed = true;
            }
            DiscardMode::DiscardPlans | DiscardMode::DiscardSequences => {}
            DiscardMode::Undefined => self.give_up(NotUnderstood::Node("DiscardStmt")),
        }
    }

    fn lock(&mut self, lock: &LockStmt) {
        // What every SELECT takes, and pg_dump takes beforehand.
        const ACCESS_SHARE: i32 = 1;
        let effect = if lock.mode == ACCESS_SHARE { Effect::Select } else { Effect::Lock };
        self.effect(effect);
        for relation in &lock.relations {
            match relation.node.as_ref() {
                Some(NodeEnum::RangeVar(name)) => {
                    if let Some(view) = self.touch(name, Effects::of(&[effect]))
                        && view.kind == RelationKind::View
                        && !is_built_in(view)
                    {
                        self.locks_through(view, effect);
                    }
                }
                _ => self.give_up(NotUnderstood::Node("LockStmt")),
            }
        }
    }

    /// What the definition of a view names is locked with the view.
    fn locks_through(&mut self, view: &'a Relation, effect: Effect) {
        let reading = self.reading(view);
        for known in &reading.relations {
            self.relation(known.oid, known.name.clone(), Effects::of(&[effect]));
        }
        if let Some(why) = &reading.not_understood {
            self.give_up(why.clone());
        }
    }

    /// Touches every relation of a list.
    pub(super) fn touch_all(&mut self, relations: &[Node], effect: Effect) {
        for relation in relations {
            match relation.node.as_ref() {
                Some(NodeEnum::RangeVar(name)) => {
                    self.touch(name, Effects::of(&[effect]));
                }
                _ => self.give_up(NotUnderstood::Node("a list of relations")),
            }
        }
    }

    fn vacuum(&mut self, vacuum: &VacuumStmt) {
        self.effect(Effect::Maintenance);
        if vacuum.rels.is_empty() {
            self.computes_all_indexes();
        }
        for relation in &vacuum.rels {
            match relation.node.as_ref() {
                Some(NodeEnum::VacuumRelation(relation)) => {
                    self.maintains(relation.relation.as_ref());
                }
                _ => self.give_up(NotUnderstood::Node("VacuumStmt")),
            }
        }
    }

    fn reindex(&mut self, reindex: &ReindexStmt) {
        self.effect(Effect::Maintenance);
        self.maintains(reindex.relation.as_ref());
    }

    fn cluster(&mut self, cluster: &ClusterStmt) {
        self.effect(Effect::Maintenance);
        self.maintains(cluster.relation.as_ref());
    }

    fn maintains(&mut self, name: Option<&RangeVar>) {
        let Some(name) = name else { return self.computes_all_indexes() };
        if let Some(relation) = self.touch(name, Effects::of(&[Effect::Maintenance])) {
            self.computes_indexes(relation);
        }
    }

    /// Runs the query behind a materialized view.
    fn refresh(&mut self, refresh: &RefreshMatViewStmt) {
        let Some(name) = &refresh.relation else { return };
        let Some(view) = self.touch(name, Effects::of(&[Effect::Maintenance])) else { return };
        if !refresh.skip_data {
            let reading = self.reading(view);
            self.out.effects.extend(reading.effects.without(Effects::of(&[Effect::Select])));
            self.include_reads(&reading, Effects::NONE);
        }
        self.computes_indexes(view);
    }

    fn call_procedure(&mut self, call: &CallStmt) -> Outputs {
        self.effect(Effect::Call);
        let Some(call) = call.funccall.as_deref() else {
            self.give_up(NotUnderstood::Node("CallStmt"));
            return Outputs::None;
        };
        let arguments = self.expressions(&call.args, &Scope::default());
        // The procedure itself is the effect `call`; functions among its arguments were counted above.
        let effects = self.out.effects;
        let (schema, name) = names::qualified(&call.funcname);
        self.invoke(&schema, &name, &call.args, &arguments);
        self.out.effects = effects;
        self.stores(&arguments);
        self.changes(SessionChange::Catalog);
        self.changes(SessionChange::Transaction);
        self.path_and_role_change();
        Outputs::Opaque(Lineage::Unknown("it comes from a procedure"))
    }
}

/// What setting it to its default amounts to: the default of a session is the value it began with, which is the pinned one,
/// so that it cannot be refused; it is noticeable all the same.
fn default_of(kind: settings::Kind) -> settings::Kind {
    match kind {
        settings::Kind::Reading(_) => settings::Kind::Dangerous,
        kind => kind,
    }
}
