//! SQL in the arguments of a function: `query_to_xml('SELECT …')` does what its query does.
//!
//! Never completes a text that is put together while it runs. Invariant: for a function that executes what it is given,
//! either all of that is a literal and was read, or the statement is not understood.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, TypeName};

use super::constant::is_integer;
use super::grammar::Tree;
use super::nested::Surroundings;
use super::walker::{Walker, columns_of};
use super::{Lineage, NotUnderstood, Outputs, StatementAnalysis, names};

/// Deepest nesting of texts in arguments, views and bodies.
const DEPTH_MAX: usize = 8;

const NOT_LITERAL: NotUnderstood = NotUnderstood::Other("a function executes an argument that is not a literal");

/// Whether a function executes some of its arguments.
#[derive(Debug)]
pub enum Hidden {
    /// It does not.
    Nothing,
    /// It does, all of that has been read, and its result is made of this.
    Read(Lineage),
    /// It does, and that is not understood.
    NotRead,
}

/// What a function executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Executes {
    /// The query in the argument at this position, which may have this name.
    Query(usize, &'static str),
    /// A query in each argument that is not an integer.
    Queries,
    /// The query behind the cursor that the first argument names.
    Cursor,
    /// A query of all rows of the relation that the first argument names.
    Table,
    /// A query that is made of the arguments: key and other columns, relation, and more.
    Pieces(Pieces),
    /// Queries of everything in a schema or database.
    Everything,
}

/// How a query is made of arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pieces {
    /// `connectby(relation, key, parent, [order,] start, depth, [delimiter])`.
    ConnectBy,
    /// `xpath_table(key, document, relation, paths, condition)`.
    XpathTable,
}

fn executes(name: &str, count: usize) -> Option<Executes> {
    Some(match name {
        "query_to_xml" | "query_to_xmlschema" | "query_to_xml_and_xmlschema" => Executes::Query(0, "query"),
        "ts_stat" => Executes::Query(0, "query"),
        "ts_rewrite" if count == 3 => return None,
        "ts_rewrite" => Executes::Query(1, ""),
        "cursor_to_xml" | "cursor_to_xmlschema" => Executes::Cursor,
        "table_to_xml" | "table_to_xmlschema" | "table_to_xml_and_xmlschema" => Executes::Table,
        "connectby" => Executes::Pieces(Pieces::ConnectBy),
        "xpath_table" => Executes::Pieces(Pieces::XpathTable),
        _ if name.starts_with("crosstab") => Executes::Queries,
        _ if name.starts_with("schema_to_xml") || name.starts_with("database_to_xml") => Executes::Everything,
        _ => return None,
    })
}

impl Walker<'_> {
    /// Reads what a function of this name that is written in C executes of its arguments.
    pub fn hidden(&mut self, name: &str, args: &[Node]) -> Hidden {
        let Some(executes) = executes(name, args.len()) else { return Hidden::Nothing };
        match self.read_hidden(executes, args) {
            Ok(inner) => {
                self.include(&inner);
                Hidden::Read(columns_of(&inner.outputs).union())
            }
            Err(why) => {
                self.give_up(why);
                Hidden::NotRead
            }
        }
    }

    fn read_hidden(&mut self, executes: Executes, args: &[Node]) -> Result<StatementAnalysis, NotUnderstood> {
        match executes {
            Executes::Query(position, name) => {
                let text = argument(args, position, name).and_then(|arg| self.plain_text(arg)).ok_or(NOT_LITERAL)?;
                self.execute_text(text)
            }
            Executes::Queries => {
                let mut all = StatementAnalysis::default();
                let mut columns = Lineage::CLEAR;
                for arg in args.iter().filter(|arg| !is_integer(arg)) {
                    let text = self.plain_text(arg).ok_or(NOT_LITERAL)?;
                    let next = self.execute_text(text)?;
                    columns.absorb(&columns_of(&next.outputs).union());
                    all = self.together(&all, &next);
                }
                if args.is_empty() {
                    return Err(NOT_LITERAL);
                }
                Ok(StatementAnalysis { outputs: Outputs::Opaque(columns), ..all })
            }
            Executes::Cursor => {
                let name = argument(args, 0, "cursor").and_then(|arg| self.plain_text(arg)).ok_or(NOT_LITERAL)?;
                let inner = self.cursor(name).ok_or_else(|| NotUnderstood::Name(name.to_owned()))?;
                Ok(StatementAnalysis { session_changes: Vec::new(), ..inner })
            }
            Executes::Table => {
                let name = argument(args, 0, "tbl").and_then(|arg| self.plain_text(arg)).ok_or(NOT_LITERAL)?;
                self.execute_text(&format!("TABLE {name}"))
            }
            Executes::Pieces(pieces) => {
                let given: Vec<_> = args.iter().map(|arg| self.piece(arg)).collect();
                let text = pieces.query(&given).ok_or(NOT_LITERAL)?;
                self.execute_text(&text)
            }
            Executes::Everything => Err(NotUnderstood::Other("a function reads whole schemas")),
        }
    }

    /// What executing both does.
    fn together(&mut self, one: &StatementAnalysis, other: &StatementAnalysis) -> StatementAnalysis {
        self.apart(|walker| {
            walker.include(one);
            walker.include(other);
            Outputs::None
        })
    }

    /// Reads a text that the statement executes: as a text of this session's, at this point of the statement.
    fn execute_text(&mut self, text: &str) -> Result<StatementAnalysis, NotUnderstood> {
        // In the definition of a view, names resolve in `pg_catalog` only, but what it executes sees the session's path.
        self.path_dependent |= self.run_path.is_some();
        let within = Surroundings { path: self.path_in_force(), run_path: None, prepared: self.context.prepared };
        // What earlier statements of the text changed is changed for it too.
        let mut overlay = std::mem::take(&mut self.overlay);
        let read = self.nested(text, within, DEPTH_MAX, |walker, tree| {
            std::mem::swap(&mut walker.overlay, &mut overlay);
            let read = walker.texts(tree);
            std::mem::swap(&mut walker.overlay, &mut overlay);
            read
        });
        self.overlay = overlay;
        let read = read?;
        match read.not_understood {
            Some(why) => Err(why),
            None => Ok(read),
        }
    }

    /// All statements of a text together; its result is that of the last.
    fn texts(&mut self, tree: &Tree) -> StatementAnalysis {
        let mut outputs = Outputs::None;
        if tree.statements().next().is_none() {
            self.give_up(NotUnderstood::Other("a function executes an empty text"));
        }
        for statement in tree.statements() {
            outputs = self.statement(statement);
        }
        self.out.outputs = outputs;
        self.finish()
    }

    /// The text of a string constant, if the function gets exactly this text. A cast to another type may change it.
    pub fn plain_text<'n>(&self, node: &'n Node) -> Option<&'n str> {
        match node.node.as_ref()? {
            NodeEnum::AConst(constant) => self.literals.text(constant),
            NodeEnum::TypeCast(cast) if cast.type_name.as_ref().is_some_and(|name| self.keeps_text(name)) => {
                cast.arg.as_deref().and_then(|node| self.plain_text(node))
            }
            _ => None,
        }
    }

    /// Whether a cast to the type leaves a text as it is, or fails.
    fn keeps_text(&self, name: &TypeName) -> bool {
        let (schema, word) = names::qualified(&name.names);
        let hides = |schema: &String| schema != "pg_catalog" && self.catalog().has_type(schema, &word);
        matches!(word.as_str(), "text" | "varchar" | "regclass" | "refcursor")
            && name.typmods.is_empty()
            && name.array_bounds.is_empty()
            && match schema.as_str() {
                "" => !self.context.search_path.iter().any(hides),
                schema => schema == "pg_catalog",
            }
    }

    fn piece<'n>(&self, node: &'n Node) -> Piece<'n> {
        match self.plain_text(node) {
            Some(text) => Piece::Text(text),
            None if is_integer(node) => Piece::Integer,
            None => Piece::Unknown,
        }
    }
}

/// An argument that may become part of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'n> {
    Text(&'n str),
    Integer,
    Unknown,
}

impl Piece<'_> {
    /// A name, or a dotted one, that stands for nothing else wherever it is put.
    fn plain_name(&self) -> Option<&str> {
        match self {
            Self::Text(text) if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte)) => {
                Some(text)
            }
            Self::Text(_) | Self::Integer | Self::Unknown => None,
        }
    }
}

impl Pieces {
    /// The query that the function makes of what it is given.
    fn query(self, given: &[Piece<'_>]) -> Option<String> {
        match (self, given) {
            (Self::ConnectBy, [relation, key, parent, fourth, fifth, rest @ ..]) => {
                let has_order = !rest.is_empty() && *fifth != Piece::Integer;
                let order = if has_order { fourth.plain_name()? } else { "1" };
                let (relation, key, parent) = (relation.plain_name()?, key.plain_name()?, parent.plain_name()?);
                Some(format!("SELECT {key}, {parent} FROM {relation} WHERE {parent} <> {key} ORDER BY {order}"))
            }
            (
                Self::XpathTable,
                [Piece::Text(key), Piece::Text(document), Piece::Text(relation), _, Piece::Text(restriction)],
            ) => Some(format!("SELECT {key}, {document} FROM {relation} WHERE {restriction}")),
            (Self::ConnectBy | Self::XpathTable, _) => None,
        }
    }
}

/// The argument at that position, or the one of that name.
fn argument<'n>(args: &'n [Node], position: usize, name: &str) -> Option<&'n Node> {
    let named = args.iter().find_map(|arg| match arg.node.as_ref()? {
        NodeEnum::NamedArgExpr(arg) if arg.name == name => arg.arg.as_deref(),
        _ => None,
    });
    let positional = || args.get(position).filter(|arg| !matches!(arg.node, Some(NodeEnum::NamedArgExpr(_))));
    named.or_else(positional)
}
