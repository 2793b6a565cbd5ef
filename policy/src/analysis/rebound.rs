//! Code that runs without being named, and that is made or changed earlier in the same text: the bodies of functions behind
//! views and triggers, casts, operators, checks of domains, event triggers.
//!
//! Never works out what it does. Invariant: a statement that may run such code is not understood, or carries `function_call`;
//! a statement that only defines something runs none of it.

use pg_query::NodeEnum;
use pg_query::protobuf::{AlterDomainStmt, AlterTableCmd, AlterTableType};

use super::walker::Walker;
use super::{NotUnderstood, SessionChange};
use crate::catalog::{Function, Volatility};
use crate::effect::{Effect, Effects};
use crate::name::QualifiedName;

/// Effects of statements that evaluate no expression, or only those of a definition.
const PLAIN: Effects = Effects::of(&[
    Effect::Create,
    Effect::Alter,
    Effect::Drop,
    Effect::Grant,
    Effect::Revoke,
    Effect::Comment,
    Effect::SecurityLabel,
    Effect::Set,
    Effect::SetRole,
    Effect::SetDangerous,
    Effect::Reset,
    Effect::Show,
    Effect::Lock,
    Effect::Listen,
    Effect::Notify,
    Effect::Transaction,
    Effect::Deallocate,
    Effect::Discard,
]);
/// Operators that are used without being written: in IN, BETWEEN, CASE, USING, DISTINCT.
const IMPLIED: &[&str] = &["=", "<>", "<", "<=", ">", ">="];

/// What casts and operators are used by. COPY … FROM uses neither.
fn casting() -> Effects {
    checking().without(Effects::of(&[Effect::CopyIn]))
}

/// What reads values of a domain.
fn checking() -> Effects {
    Effects::of(Effect::ALL).without(PLAIN)
}

impl Walker<'_> {
    /// What the expressions of the statement at hand run must be what the catalog says.
    pub(super) fn check_expressions(&mut self, only_defines: bool) {
        let reaches = std::mem::take(&mut self.overlay.reaches_function);
        let evaluates = !only_defines && self.out.effects.intersects(self.overlay.rebound);
        if (reaches && !only_defines) || evaluates {
            self.give_up(NotUnderstood::Other("what an expression runs is defined earlier in the text"));
        }
        let rebinding = std::mem::take(&mut self.overlay.rebinding);
        self.overlay.rebound.extend(rebinding);
    }

    /// Whether a function that is called by a definition may do something else than the catalog says: it is defined
    /// earlier in the text, or its body, which is looked up when it runs, may call one that is.
    pub(super) fn may_do_anew(&self, function: &QualifiedName) -> bool {
        let defined = &self.overlay.functions;
        let found = || self.context.catalog.functions_named(&function.schema, &function.name);
        !defined.is_empty() && (defined.contains(&function.name) || found().iter().any(calls_by_name))
    }

    /// The same of a function that is called now.
    pub(super) fn is_called_anew(&self, name: &str, function: &Function) -> bool {
        let defined = &self.overlay.functions;
        !defined.is_empty() && (defined.iter().any(|own| own == name) || calls_by_name(function))
    }

    /// A definition of what expressions or definitions run without naming it.
    pub(super) fn rebinds(&mut self, kind: &NodeEnum) {
        let alters = matches!(
            kind,
            NodeEnum::AlterOpFamilyStmt(_) | NodeEnum::AlterEventTrigStmt(_) | NodeEnum::AlterDomainStmt(_)
        );
        self.effect(if alters { Effect::Alter } else { Effect::Create });
        match kind {
            // One by the functions that read and write texts runs nobody's code.
            NodeEnum::CreateCastStmt(cast) if cast.func.is_none() => {}
            NodeEnum::AlterDomainStmt(alter) => self.alter_domain(alter),
            NodeEnum::CreateEventTrigStmt(_) | NodeEnum::AlterEventTrigStmt(_) => {
                self.changes(SessionChange::EventTrigger);
                self.overlay.event_trigger = true;
            }
            _ => self.rebinds_operators(),
        }
    }

    /// An operator is made or changed.
    pub(super) fn rebinds_operator(&mut self, name: &str) {
        self.changes(SessionChange::Expressions(casting()));
        if IMPLIED.contains(&name) {
            self.overlay.rebinding.extend(casting());
        }
    }

    /// What belongs to the operators of a type is made or changed.
    fn rebinds_operators(&mut self) {
        self.changes(SessionChange::Expressions(casting()));
        self.overlay.rebinding.extend(casting());
    }

    /// Whether the statement at hand calls a user's function besides the first so many that it calls.
    pub(super) fn calls_users_function(&self, first: usize) -> bool {
        self.out.functions.iter().skip(first).any(|function| function.schema != "pg_catalog")
    }

    /// The checks and the default of a domain run with every value that becomes one of it; what they call is listed behind
    /// the first so many functions.
    pub(super) fn rebinds_domain(&mut self, first: usize) {
        if self.calls_users_function(first) {
            self.changes(SessionChange::Expressions(checking()));
            self.overlay.rebinding.extend(checking());
        }
    }

    /// ALTER DOMAIN: a new check is made with every value that there is.
    fn alter_domain(&mut self, alter: &AlterDomainStmt) {
        if let Some(definition) = alter.def.as_deref() {
            let functions = self.out.functions.len();
            self.element(definition, Effect::Alter);
            self.rebinds_domain(functions);
        }
    }

    /// A command of ALTER TABLE that makes values of a type: for each row there is.
    pub(super) fn converts_rows(&mut self, command: &AlterTableCmd) {
        let makes = matches!(command.subtype(), AlterTableType::AtAddColumn | AlterTableType::AtAlterColumnType);
        if let Some(NodeEnum::ColumnDef(column)) = command.def.as_deref().and_then(|node| node.node.as_ref())
            && makes
        {
            self.cast(column.type_name.as_ref(), super::Lineage::CLEAR);
            if !self.overlay.rebound.is_empty() {
                self.overlay.reaches_function = true;
            }
        }
    }
}

/// Whether it is code whose names are looked up when it runs, and that the analysis believes.
fn calls_by_name(function: &Function) -> bool {
    !function.built_in && !function.is_in_c() && function.volatility != Volatility::Volatile
}
