//! Calls of functions: what they resolve to, what they may do, and where their results come from.
//!
//! Never looks at argument types, which are not known: every overload of the name counts. Invariant: a call that may reach
//! a user's function has unknown lineage, and one that may reach a volatile one carries `function_call`.

use pg_query::NodeEnum;
use pg_query::protobuf::{CoercionForm, FuncCall, Node, TypeName, WindowDef};

use super::expression::{all_of, is_row};
use super::hidden::Hidden;
use super::lineage::Scope;
use super::lookup::is_stored;
use super::walker::Walker;
use super::{Lineage, NotUnderstood, SessionChange, builtins, collected, dialect, names, settings};
use crate::catalog::{Function, Volatility};
use crate::effect::Effect;
use crate::name::QualifiedName;

const USER_CODE: Lineage = Lineage::Unknown("it comes from a user-defined function");

/// Whether a function of the server, or of hstore, makes values of a type that its arguments tell; that of a cast is seen there.
fn reads_any_type(name: &str, args: &[Node]) -> bool {
    let is_cast = |arg: &&Node| matches!(arg.node, Some(NodeEnum::TypeCast(_)));
    builtins::makes_values_of_types(name) && args.first().filter(is_cast).is_none()
}

impl<'a> Walker<'a> {
    /// A call as an expression or FROM item.
    pub fn call(&mut self, call: &FuncCall, scope: &Scope<'_>) -> Lineage {
        let given = self.each(&call.args, scope);
        let failing = self.call_fails_for(call, &given, scope);
        self.decides(&failing);
        let mut arguments = all_of(&given);
        let order = self.sort_keys(&call.agg_order, scope);
        if call.agg_within_group {
            arguments.absorb(&order);
        } else {
            self.decides(&order);
        }
        if call.agg_distinct {
            self.decides(&arguments);
        }
        let filter = self.optional(call.agg_filter.as_deref(), scope);
        self.decides(&filter);
        if let Some(window) = call.over.as_deref() {
            self.window(window, scope);
        }
        let (schema, name) = names::qualified(&call.funcname);
        if call.funcformat() == CoercionForm::CoerceSqlSyntax && schema == "pg_catalog" {
            if let Err(why) = dialect::check_keyword(&name, self.catalog()) {
                self.give_up(why);
                return Lineage::Unknown("a keyword is a column for the server");
            }
            self.function(&schema, &name);
            return arguments;
        }
        let result = self.invoke(&schema, &name, &settings::with_name(&name, &call.args, scope), &arguments);
        // A count tells how often its argument is NULL, which an expression may have made of a value.
        let is_plain = |arg: &Node| is_stored(arg, scope) || is_row(arg, scope);
        if name == "count" && !call.args.iter().all(is_plain) { result.and(&arguments) } else { result }
    }

    /// A window definition: partitioning and ordering decide, they do not flow.
    pub fn window(&mut self, window: &WindowDef, scope: &Scope<'_>) {
        let mut deciding = self.expressions(&window.partition_clause, scope);
        deciding.absorb(&self.sort_keys(&window.order_clause, scope));
        deciding.absorb(&self.optional(window.start_offset.as_deref(), scope));
        deciding.absorb(&self.optional(window.end_offset.as_deref(), scope));
        self.decides(&deciding);
    }

    /// Every function the name may mean, with its schema, in the order of the search path.
    fn candidates(&mut self, schema: &str, name: &str) -> Vec<(String, &'a Function)> {
        let catalog = self.catalog();
        if !schema.is_empty() {
            let schema = self.schema(schema);
            return catalog.functions_named(schema, name).iter().map(|found| (schema.to_owned(), found)).collect();
        }
        let path = self.search_path();
        let mut found = Vec::new();
        for schema in path.iter() {
            found.extend(catalog.functions_named(schema, name).iter().map(|function| (schema.clone(), function)));
        }
        found
    }

    /// Whether the name may mean a function that did not come with the server.
    pub fn is_user_function(&mut self, name: &str) -> bool {
        self.overlay.functions.iter().any(|own| own == name)
            || self.candidates("", name).iter().any(|(_, function)| !function.built_in)
    }

    /// Whether whatever the name may mean for the server's own types came with the server, and nothing of that name writes.
    pub fn are_servers_own(&mut self, schema: &str, name: &str) -> bool {
        let candidates = self.candidates(schema, name);
        let (mut first, mut others) = (candidates.iter().take(1), candidates.iter().skip(1));
        first.any(|(_, function)| function.built_in)
            && others.all(|(_, function)| function.built_in || function.volatility != Volatility::Volatile)
    }

    /// Whether the operator of that name is the server's own for its own types, and computes for others.
    pub fn is_servers_operator(&mut self, name: &str) -> bool {
        let in_c = |function: &Function| matches!(function.language.as_str(), "c" | "internal");
        let computes = |function: &Function| in_c(function) && function.volatility != Volatility::Volatile;
        self.candidates("", name).iter().all(|(_, function)| function.built_in || computes(function))
    }

    /// Whether the name means any function.
    pub fn function_exists(&mut self, name: &str) -> bool {
        self.overlay.functions.iter().any(|own| own == name) || !self.candidates("", name).is_empty()
    }

    /// The result types of everything the name may mean.
    pub fn result_types(&mut self, schema: &str, name: &str) -> Vec<crate::catalog::Oid> {
        self.candidates(schema, name).iter().map(|(_, function)| function.returns).collect()
    }

    /// The call of a function by name; `arguments` is the lineage of all of them together.
    pub fn invoke(&mut self, schema: &str, name: &str, args: &[Node], arguments: &Lineage) -> Lineage {
        if self.overlay.functions.iter().any(|own| own == name) {
            self.function(schema, name);
            return self.may_write(arguments);
        }
        let candidates = self.candidates(schema, name);
        if candidates.is_empty() {
            return self.unresolved(schema, name, args, arguments);
        }
        for (schema, _) in &candidates {
            self.function(schema, name);
        }
        let shadowed = candidates.first().is_some_and(|(_, function)| !function.built_in);
        let executes = match candidates.iter().any(|(_, function)| function.is_in_c()) {
            true => self.hidden(name, args),
            false => Hidden::Nothing,
        };
        if builtins::runs_queries(name) && !matches!(executes, Hidden::Read(_)) {
            self.reads(&Lineage::Unknown("a function reads on its own"));
        }
        let mut result = if candidates.iter().any(|(_, function)| function.built_in) {
            self.invoke_built_in(name, args, arguments, &candidates)
        } else {
            arguments.clone()
        };
        let in_c = candidates.iter().any(|(_, function)| function.is_in_c());
        if in_c && self.catalog().has_checked_types() && reads_any_type(name, args) {
            self.effect(Effect::FunctionCall);
            self.stores(arguments);
        }
        if let Hidden::Read(read) = &executes {
            self.effect(Effect::FunctionCall);
            self.out.collects.hidden = true;
            result = read.clone().and(arguments);
        }
        for (_, function) in candidates.iter().filter(|(_, function)| !function.built_in) {
            self.behind(function);
            if !matches!(executes, Hidden::Read(_)) || !function.is_in_c() {
                result.absorb(&self.invoke_user(name, function, arguments, shadowed));
            }
        }
        result
    }

    fn invoke_built_in(
        &mut self,
        name: &str,
        args: &[Node],
        arguments: &Lineage,
        candidates: &[(String, &Function)],
    ) -> Lineage {
        let volatile =
            candidates.iter().any(|(_, function)| function.built_in && function.volatility == Volatility::Volatile);
        if builtins::is_advisory_lock(name) {
            self.effect(Effect::Lock);
        }
        match name {
            "set_config" => self.set_config(args, arguments),
            // Pools send it with every session they take back.
            "pg_advisory_unlock_all" => {}
            "pg_notify" => {
                self.effect(Effect::Notify);
                self.stores(arguments);
            }
            // What random() yields afterwards follows from it.
            "setseed" => self.stores(arguments),
            _ if builtins::is_dangerous(name) || (volatile && !builtins::is_harmless(name)) => {
                self.effect(Effect::FunctionCall);
                self.stores(arguments);
            }
            _ => {}
        }
        self.values.array |= builtins::makes_arrays(name);
        if collected::keeps(name) {
            self.out.collects.aggregate(name);
        }
        if builtins::tells_by_behaviour(name) {
            self.decides(arguments);
        }
        if builtins::is_revealing(name) {
            return Lineage::Unknown("it comes from a function that reads on its own");
        }
        if builtins::is_blind(name) { Lineage::CLEAR } else { arguments.clone() }
    }

    /// A user's operator, cast or aggregate calls the functions that it is made of. What an extension has in C for its own
    /// types computes.
    fn behind(&mut self, function: &Function) {
        let computes = function.is_in_c() && function.volatility != Volatility::Volatile;
        for behind in &function.behind {
            let QualifiedName { schema, name } = &behind.name;
            if self.catalog().user_function(behind.oid).is_some() {
                if !computes {
                    self.is_called(behind.oid);
                }
                continue;
            }
            self.function(schema, name);
            if builtins::is_dangerous(name) || builtins::runs_queries(name) {
                self.may_write(&Lineage::Unknown("a function of the server reads on its own"));
                self.reads(&Lineage::Unknown("a function of the server reads on its own"));
            }
        }
    }

    pub(super) fn invoke_user(
        &mut self,
        name: &str,
        function: &Function,
        arguments: &Lineage,
        shadowed: bool,
    ) -> Lineage {
        if function.kind == 'a' {
            self.out.collects.aggregate(name);
        }
        let in_c = function.is_in_c();
        if in_c && builtins::is_harmless_extension(name) {
            return if name.starts_with("pg_stat") { USER_CODE } else { arguments.clone() };
        }
        let given = function.prelude.as_ref().map(|prelude| self.prelude(prelude).and(arguments));
        let arguments = given.as_ref().unwrap_or(arguments);
        if let Some(known) = function.body.as_ref().and_then(|body| self.call_body(name, body, arguments)) {
            return known;
        }
        if function.volatility == Volatility::Volatile
            || builtins::is_dangerous(name)
            || self.is_called_anew(name, function)
        {
            return self.may_write(arguments);
        }
        // C code that is declared immutable does not read tables; an overload behind a built-in one of the same name is
        // the built-in operation for a type of the extension.
        let computes = function.kind == 'f' || (function.kind == 'a' && !shadowed);
        if in_c && computes && function.volatility == Volatility::Immutable { arguments.clone() } else { USER_CODE }
    }

    /// A user's volatile function: it may write what it is given, and change the session.
    pub(super) fn may_write(&mut self, arguments: &Lineage) -> Lineage {
        self.effect(Effect::FunctionCall);
        self.stores(arguments);
        self.changes(SessionChange::SearchPath);
        self.changes(SessionChange::Role);
        USER_CODE
    }

    /// An operator by name: one that the server did not bring is a call of its function. The catalog keeps operators
    /// under their names, as functions.
    pub fn operator(&mut self, schema: &str, name: &str, operands: Lineage) -> Lineage {
        // Nearly every operator is the server's own.
        let known = |schema: &String| !self.catalog().functions_named(schema, name).is_empty();
        if self.overlay.functions.iter().any(|own| own == name) {
            self.function(schema, name);
            let result = self.may_write(&operands);
            return operands.and(&result);
        }
        if schema.is_empty() && !self.overlay.path_changed && !self.context.search_path.iter().any(known) {
            return operands;
        }
        let own: Vec<_> = self.candidates(schema, name).into_iter().filter(|(_, found)| !found.built_in).collect();
        let mut result = operands.clone();
        for (schema, function) in own {
            // hstore's way to make a row of texts.
            if name == "#=" && self.catalog().has_checked_types() {
                self.effect(Effect::FunctionCall);
            }
            self.behind(function);
            // Operators of extensions compute.
            if !function.is_in_c() || function.volatility == Volatility::Volatile {
                self.function(&schema, name);
                result.absorb(&self.invoke_user(name, function, &operands, false));
            }
        }
        result
    }

    /// A cast to a type that did not come with the server may run the functions of its casts, also of those away from
    /// it. The catalog keeps them as functions, under the type's name behind `cast:`.
    pub fn cast(&mut self, name: Option<&TypeName>, value: Lineage) -> Lineage {
        let Some((schema, name)) = name.map(|name| names::qualified(&name.names)) else { return value };
        self.operator(&schema, &format!("cast:{name}"), value)
    }

    fn unresolved(&mut self, schema: &str, name: &str, args: &[Node], arguments: &Lineage) -> Lineage {
        let is_type = if schema.is_empty() {
            let path = self.search_path();
            path.iter().any(|schema| self.catalog().has_type(schema, name))
        } else {
            self.catalog().has_type(schema, name)
        };
        if is_type && args.len() == 1 {
            return self.operator(schema, &format!("cast:{name}"), arguments.clone());
        }
        self.give_up(NotUnderstood::Function(QualifiedName::new(schema, name)));
        self.function(schema, name);
        Lineage::Unknown("a function is not known")
    }

    /// `set_config(name, value, is_local)` is a SET.
    fn set_config(&mut self, args: &[Node], arguments: &Lineage) {
        let constants: Vec<Option<&str>> = args.iter().map(|arg| self.plain_text(arg)).collect();
        match constants.as_slice() {
            [Some(name), value, _] => {
                let kind = settings::classify(name, *value);
                let is_harmless =
                    matches!(kind, settings::Kind::Harmless | settings::Kind::OfTheProxy | settings::Kind::Values);
                if value.is_none() && is_harmless && !arguments.is_clear() {
                    self.effect(Effect::SetDangerous);
                    self.effect(Effect::FunctionCall);
                }
                let (name, value) = ((*name).to_owned(), value.map(str::to_owned));
                self.chooses(&name, value.as_deref());
                self.set(kind);
            }
            _ => {
                self.effect(Effect::SetDangerous);
                self.effect(Effect::FunctionCall);
                self.path_and_role_change();
            }
        }
        self.stores(arguments);
    }

    /// Records what a setting that only the proxy reads is set to, if that is known.
    pub fn chooses(&mut self, name: &str, value: Option<&str>) {
        let name = name.to_ascii_lowercase();
        if let Some(value) = value.filter(|_| name.starts_with("countersign.")) {
            self.changes(SessionChange::Choice(name, value.to_owned()));
        }
    }

    /// Records that a setting of that kind is set.
    pub fn set(&mut self, kind: settings::Kind) {
        match kind {
            settings::Kind::Harmless => self.effect(Effect::Set),
            settings::Kind::OfTheProxy => {
                self.effect(Effect::Set);
                self.changes(SessionChange::OfTheProxy);
            }
            settings::Kind::Values => {
                self.effect(Effect::Set);
                self.changes(SessionChange::Values);
            }
            settings::Kind::SearchPath => {
                self.effect(Effect::Set);
                self.changes(SessionChange::SearchPath);
                self.overlay.path_changed = true;
            }
            settings::Kind::Role => {
                self.effect(Effect::SetRole);
                self.path_and_role_change();
            }
            settings::Kind::Dangerous => self.effect(Effect::SetDangerous),
            settings::Kind::Reading(name) => {
                self.effect(Effect::SetDangerous);
                self.changes(SessionChange::Reading(name));
            }
        }
    }
}
