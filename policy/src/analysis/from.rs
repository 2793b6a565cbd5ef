//! FROM clauses: items, joins, and what LATERAL lets them see.
//!
//! Never lets an item see its neighbours unless it is LATERAL or a function. Invariant: a join condition decides which rows
//! come back; USING and NATURAL columns have the lineage of both sides.

use pg_query::NodeEnum;
use pg_query::protobuf::{JoinExpr, JsonTable, Node, RangeFunction, RangeTableFunc, RangeTableSample};

use super::lineage::{Columns, Level, Scope, Source};
use super::relations::alias;
use super::walker::Walker;
use super::{Lineage, NotUnderstood, names};
use crate::catalog::Oid;

impl Walker<'_> {
    /// All items of a FROM clause.
    pub fn read_from(&mut self, items: &[Node], outer: &Scope<'_>) -> Level {
        let mut level = Level::default();
        for item in items {
            let next = self.read_item(item, &level, outer);
            level.append(next);
        }
        level
    }

    /// One item; `before` is what LATERAL may see.
    pub fn read_item(&mut self, item: &Node, before: &Level, outer: &Scope<'_>) -> Level {
        if !self.spend() {
            return Level::default();
        }
        match item.node.as_ref() {
            Some(NodeEnum::RangeVar(name)) => Level::of(self.read(name, outer)),
            Some(NodeEnum::RangeSubselect(item)) => {
                let columns = match item.subquery.as_deref() {
                    Some(query) if item.lateral => self.query(query, &outer.with(before.clone())),
                    Some(query) => self.query(query, outer),
                    None => Columns::unknown("a subquery is missing"),
                };
                let mut source = Source::derived("", columns);
                alias(&mut source, item.alias.as_ref());
                Level::of(source)
            }
            Some(NodeEnum::RangeFunction(item)) => self.range_function(item, &outer.with(before.clone())),
            Some(NodeEnum::JoinExpr(join)) => self.join(join, before, outer),
            Some(NodeEnum::RangeTableSample(sample)) => self.sample(sample, before, outer),
            Some(NodeEnum::RangeTableFunc(item)) => self.xml_table(item, &outer.with(before.clone())),
            Some(NodeEnum::JsonTable(item)) => self.json_table(item, &outer.with(before.clone())),
            _ => {
                self.give_up(NotUnderstood::Node("a FROM item"));
                Level::of(Source::derived("", Columns::unknown("a FROM item is not understood")))
            }
        }
    }

    fn sample(&mut self, sample: &RangeTableSample, before: &Level, outer: &Scope<'_>) -> Level {
        let scope = outer.with(before.clone());
        let mut deciding = self.expressions(&sample.args, &scope);
        deciding.absorb(&self.optional(sample.repeatable.as_deref(), &scope));
        self.decides(&deciding);
        let (schema, name) = names::qualified(&sample.method);
        if !matches!(name.as_str(), "system" | "bernoulli") || !schema.is_empty() {
            self.invoke(&schema, &name, &[], &Lineage::CLEAR);
        }
        match sample.relation.as_deref() {
            Some(relation) => self.read_item(relation, before, outer),
            None => Level::default(),
        }
    }

    fn join(&mut self, join: &JoinExpr, before: &Level, outer: &Scope<'_>) -> Level {
        let (Some(left), Some(right)) = (join.larg.as_deref(), join.rarg.as_deref()) else {
            self.give_up(NotUnderstood::Node("JoinExpr"));
            return Level::default();
        };
        let left = self.read_item(left, before, outer);
        let mut seen = before.clone();
        seen.append(left.clone());
        let right = self.read_item(right, &seen, outer);
        let mut using = names::texts(&join.using_clause);
        if join.is_natural {
            using = left.columns.list.iter().map(|column| column.name.clone()).collect();
            using.retain(|name| right.columns.named(name).is_some());
        }
        let columns = self.join_columns(&left, &right, &using);
        let mut joined = Level { columns, sources: left.sources, setting: None };
        joined.sources.extend(right.sources);
        let mut condition = before.clone();
        condition.append(joined.clone());
        let deciding = self.optional(join.quals.as_deref(), &outer.with(condition));
        self.decides(&deciding);
        if let Some(alias) = &join.join_using_alias {
            let merged = Columns { list: joined.columns.list.iter().take(using.len()).cloned().collect(), rest: None };
            joined.sources.push(Source::derived(&alias.aliasname, merged));
        }
        if join.alias.is_some() {
            let mut source = Source::derived("", joined.columns);
            alias(&mut source, join.alias.as_ref());
            return Level::of(source);
        }
        joined
    }

    /// The columns of a join: merged ones first, then the others of the left, then of the right side.
    fn join_columns(&mut self, left: &Level, right: &Level, using: &[String]) -> Columns {
        let mut columns = Columns::default();
        for name in using {
            let side = |level: &Level| level.columns.named(name).or_else(|| level.columns.rest.clone());
            let lineage = side(left).unwrap_or_default().and(&side(right).unwrap_or_default());
            let lineage = self.operator("", "=", lineage);
            self.decides(&lineage);
            for side in [left, right] {
                self.reads(&side.columns.reads_named(name).unwrap_or_default());
            }
            columns.push(name, lineage);
        }
        for side in [left, right] {
            let others = side.columns.list.iter().filter(|column| !using.contains(&column.name));
            columns.list.extend(others.cloned());
            columns.absorb_rest(side.columns.rest.as_ref());
        }
        columns
    }

    fn range_function(&mut self, item: &RangeFunction, scope: &Scope<'_>) -> Level {
        let mut columns = Columns::default();
        let mut name = String::new();
        for function in &item.functions {
            let Some(NodeEnum::List(pair)) = function.node.as_ref() else {
                self.give_up(NotUnderstood::Node("RangeFunction"));
                continue;
            };
            let Some(call) = pair.items.first() else { continue };
            let lineage = self.expression(call, scope);
            self.number_of_rows(call, scope);
            let own = names::of_column(call);
            let definitions = match pair.items.get(1).and_then(|node| node.node.as_ref()) {
                Some(NodeEnum::List(list)) => &list.items,
                _ => &item.coldeflist,
            };
            let lineage = self.made_of(definitions, lineage);
            let definitions = column_names(definitions);
            columns.append(&self.function_columns(call, &own, lineage, &definitions));
            if name.is_empty() {
                name = own;
            }
        }
        if item.ordinality {
            columns.push("ordinality", Lineage::CLEAR);
        }
        let scalar = columns.rest.is_none() && columns.list.len() == 1;
        let mut source = Source { function: true, ..Source::derived(name, columns) };
        alias(&mut source, item.alias.as_ref());
        // A function with one column gives it the alias of the item.
        let renamed = item.alias.as_ref().is_some_and(|alias| alias.colnames.is_empty());
        if scalar
            && renamed
            && item.coldeflist.is_empty()
            && let Some(column) = source.columns.list.first_mut()
        {
            column.name.clone_from(&source.name);
        }
        Level::of(source)
    }

    /// The columns that a record is made into are values of their types.
    fn made_of(&mut self, definitions: &[Node], mut value: Lineage) -> Lineage {
        for definition in definitions {
            if let Some(NodeEnum::ColumnDef(column)) = definition.node.as_ref() {
                value = self.cast(column.type_name.as_ref(), value);
            }
        }
        value
    }

    /// What a function is given may decide how many rows it yields.
    fn number_of_rows(&mut self, call: &Node, scope: &Scope<'_>) {
        if let Some(NodeEnum::FuncCall(call)) = call.node.as_ref() {
            let given = self.expressions(&call.args, scope);
            self.decides(&given);
        }
    }

    fn function_columns(&mut self, call: &Node, name: &str, lineage: Lineage, definitions: &[String]) -> Columns {
        let mut columns = Columns::default();
        if !definitions.is_empty() {
            definitions.iter().for_each(|name| columns.push(name, lineage.clone()));
            return columns;
        }
        match self.result_shape(call) {
            Shape::Scalar => columns.push(name, lineage),
            Shape::Row(relation) => match self.catalog().relation(relation) {
                Some(relation) => {
                    relation.columns.iter().for_each(|column| columns.push(&column.name, lineage.clone()));
                }
                None => return Columns::opaque(lineage),
            },
            Shape::Open => return Columns::opaque(lineage),
        }
        columns
    }

    /// What all overloads of a called function return.
    fn result_shape(&mut self, call: &Node) -> Shape {
        let Some(NodeEnum::FuncCall(call)) = call.node.as_ref() else {
            return if matches!(call.node, Some(NodeEnum::SqlvalueFunction(_))) { Shape::Scalar } else { Shape::Open };
        };
        let (schema, name) = names::qualified(&call.funcname);
        let mut shape = None;
        for returns in self.result_types(&schema, &name) {
            let next = match self.catalog().type_of(returns) {
                Some(of) if of.relation != 0 => Shape::Row(of.relation),
                Some(of) if matches!(of.kind, 'b' | 'e' | 'r' | 'm') => Shape::Scalar,
                _ => Shape::Open,
            };
            if *shape.get_or_insert(next) != next {
                return Shape::Open;
            }
        }
        // Several arguments of unnest are several columns.
        if name == "unnest" && call.args.len() > 1 { Shape::Open } else { shape.unwrap_or(Shape::Open) }
    }

    fn xml_table(&mut self, item: &RangeTableFunc, scope: &Scope<'_>) -> Level {
        let mut value = self.optional(item.docexpr.as_deref(), scope);
        value.absorb(&self.optional(item.rowexpr.as_deref(), scope));
        value.absorb(&self.expressions(&item.namespaces, scope));
        let mut columns = Columns::default();
        for node in &item.columns {
            let Some(NodeEnum::RangeTableFuncCol(column)) = node.node.as_ref() else {
                self.give_up(NotUnderstood::Node("RangeTableFunc"));
                continue;
            };
            let path = self.optional(column.colexpr.as_deref(), scope);
            let default = self.optional(column.coldefexpr.as_deref(), scope);
            let made = self.cast(column.type_name.as_ref(), value.clone().and(&path).and(&default));
            columns.push(&column.colname, made);
        }
        let mut source = Source::derived("xmltable", columns);
        alias(&mut source, item.alias.as_ref());
        Level::of(source)
    }

    fn json_table(&mut self, item: &JsonTable, scope: &Scope<'_>) -> Level {
        let mut value = self.json_value(item.context_item.as_deref(), scope);
        value.absorb(&self.expressions(&item.passing, scope));
        value.absorb(&self.json_behavior(item.on_error.as_deref(), scope));
        let value = self.keyword_call("json_table", value);
        let mut columns = Columns::default();
        self.json_columns(&item.columns, &value, &mut columns, scope);
        let mut source = Source::derived("json_table", columns);
        alias(&mut source, item.alias.as_ref());
        Level::of(source)
    }

    fn json_columns(&mut self, nodes: &[Node], value: &Lineage, columns: &mut Columns, scope: &Scope<'_>) {
        for node in nodes {
            let Some(NodeEnum::JsonTableColumn(column)) = node.node.as_ref() else {
                self.give_up(NotUnderstood::Node("JsonTable"));
                continue;
            };
            let mut lineage = value.clone();
            lineage.absorb(&self.json_behavior(column.on_empty.as_deref(), scope));
            lineage.absorb(&self.json_behavior(column.on_error.as_deref(), scope));
            if column.columns.is_empty() {
                let made = self.cast(column.type_name.as_ref(), lineage);
                columns.push(&column.name, made);
            } else {
                self.json_columns(&column.columns, &lineage, columns, scope);
            }
        }
    }
}

/// How many columns a function yields as a FROM item.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Scalar,
    Row(Oid),
    Open,
}

fn column_names(definitions: &[Node]) -> Vec<String> {
    definitions
        .iter()
        .filter_map(|node| match node.node.as_ref() {
            Some(NodeEnum::ColumnDef(column)) => Some(column.colname.clone()),
            _ => None,
        })
        .collect()
}
