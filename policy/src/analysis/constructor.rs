//! XML and JSON constructors and queries inside expressions.
//!
//! Never trusts that the server knows them: where the server is older than the grammar, `json_value(…)` is a call of a
//! user's function of that name. Invariant: the same as for all expressions, an unknown node is [`NotUnderstood::Node`].

use pg_query::NodeEnum;
use pg_query::protobuf::{JsonAggConstructor, JsonBehavior, JsonFuncExpr, JsonOutput, JsonValueExpr, Node};

use super::lineage::Scope;
use super::walker::Walker;
use super::{Lineage, NotUnderstood, collected, names};

impl Walker<'_> {
    pub(super) fn constructor(&mut self, kind: &NodeEnum, scope: &Scope<'_>) -> Lineage {
        match kind {
            NodeEnum::XmlExpr(expr) => {
                let named = self.expressions(&expr.named_args, scope);
                named.and(&self.expressions(&expr.args, scope))
            }
            NodeEnum::XmlSerialize(expr) => {
                let value = self.optional(expr.expr.as_deref(), scope);
                self.cast(expr.type_name.as_ref(), value)
            }
            NodeEnum::MergeSupportFunc(_) => self.keyword_call("merge_action", Lineage::CLEAR),
            NodeEnum::JsonIsPredicate(expr) => self.optional(expr.expr.as_deref(), scope),
            NodeEnum::JsonParseExpr(expr) => {
                let value = self.json_value(expr.expr.as_deref(), scope);
                let made = self.keyword_call("json", value);
                self.made_as(expr.output.as_ref(), made)
            }
            NodeEnum::JsonScalarExpr(expr) => {
                let value = self.optional(expr.expr.as_deref(), scope);
                let made = self.keyword_call("json_scalar", value);
                self.made_as(expr.output.as_ref(), made)
            }
            NodeEnum::JsonSerializeExpr(expr) => {
                let value = self.json_value(expr.expr.as_deref(), scope);
                let made = self.keyword_call("json_serialize", value);
                self.made_as(expr.output.as_ref(), made)
            }
            NodeEnum::JsonObjectConstructor(expr) => {
                let value = self.expressions(&expr.exprs, scope);
                let made = self.keyword_call("json_object", value);
                self.made_as(expr.output.as_ref(), made)
            }
            NodeEnum::JsonArrayConstructor(expr) => {
                let value = self.expressions(&expr.exprs, scope);
                let made = self.keyword_call("json_array", value);
                self.made_as(expr.output.as_ref(), made)
            }
            NodeEnum::JsonArrayQueryConstructor(expr) => {
                let value = expr.query.as_deref().map_or(Lineage::CLEAR, |query| self.query(query, scope).union());
                self.out.collects.arrays = true;
                let made = self.keyword_call("json_array", value);
                self.made_as(expr.output.as_ref(), made)
            }
            NodeEnum::JsonObjectAgg(expr) => {
                let value = expr.arg.as_deref().map_or(Lineage::CLEAR, |arg| {
                    let key = self.optional(arg.key.as_deref(), scope);
                    key.and(&self.json_value(arg.value.as_deref(), scope))
                });
                self.json_aggregate(expr.constructor.as_deref(), scope);
                self.keyword_call("json_objectagg", value)
            }
            NodeEnum::JsonArrayAgg(expr) => {
                let value = self.json_value(expr.arg.as_deref(), scope);
                self.json_aggregate(expr.constructor.as_deref(), scope);
                self.keyword_call("json_arrayagg", value)
            }
            NodeEnum::JsonKeyValue(pair) => {
                let key = self.optional(pair.key.as_deref(), scope);
                key.and(&self.json_value(pair.value.as_deref(), scope))
            }
            NodeEnum::JsonValueExpr(value) => self.json_value(Some(value), scope),
            NodeEnum::JsonArgument(argument) => self.json_value(argument.val.as_deref(), scope),
            NodeEnum::JsonFuncExpr(expr) => self.json_function(expr, scope),
            _ => {
                self.give_up(NotUnderstood::Node("an expression node"));
                Lineage::Unknown("an expression is not understood")
            }
        }
    }

    pub(super) fn json_value(&mut self, value: Option<&JsonValueExpr>, scope: &Scope<'_>) -> Lineage {
        value.map_or(Lineage::CLEAR, |value| {
            let raw = self.optional(value.raw_expr.as_deref(), scope);
            raw.and(&self.optional(value.formatted_expr.as_deref(), scope))
        })
    }

    fn json_function(&mut self, expr: &JsonFuncExpr, scope: &Scope<'_>) -> Lineage {
        let mut value = self.json_value(expr.context_item.as_deref(), scope);
        value.absorb(&self.optional(expr.pathspec.as_deref(), scope));
        value.absorb(&self.expressions(&expr.passing, scope));
        value.absorb(&self.json_behavior(expr.on_empty.as_deref(), scope));
        value.absorb(&self.json_behavior(expr.on_error.as_deref(), scope));
        let made = self.keyword_call(names::json_function(expr.op()), value);
        self.made_as(expr.output.as_ref(), made)
    }

    pub(super) fn json_behavior(&mut self, behavior: Option<&JsonBehavior>, scope: &Scope<'_>) -> Lineage {
        behavior.map_or(Lineage::CLEAR, |behavior| self.optional(behavior.expr.as_deref(), scope))
    }

    fn json_aggregate(&mut self, constructor: Option<&JsonAggConstructor>, scope: &Scope<'_>) {
        let Some(constructor) = constructor else { return };
        self.made_as(constructor.output.as_ref(), Lineage::CLEAR);
        let order = self.sort_keys(&constructor.agg_order, scope);
        let filter = self.optional(constructor.agg_filter.as_deref(), scope);
        self.decides(&order);
        self.decides(&filter);
        if let Some(window) = constructor.over.as_deref() {
            self.window(window, scope);
        }
    }

    /// RETURNING of a JSON function: the result becomes a value of that type.
    fn made_as(&mut self, output: Option<&JsonOutput>, made: Lineage) -> Lineage {
        self.cast(output.and_then(|output| output.type_name.as_ref()), made)
    }

    /// A keyword of the grammar that may be a user's function on an older server.
    pub(super) fn keyword_call(&mut self, name: &str, arguments: Lineage) -> Lineage {
        if self.is_user_function(name) {
            return self.invoke("", name, &[] as &[Node], &arguments);
        }
        self.function("pg_catalog", name);
        if collected::keeps(name) {
            self.out.collects.aggregate(name);
        }
        arguments
    }
}
