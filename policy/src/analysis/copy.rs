//! COPY: what it reads or writes, and how it writes what it sends.
//!
//! Never guesses a format: an option that is not known leaves it unknown, and then nothing of a masked column is sent.
//! Invariant: a format that was read is the one PostgreSQL uses, or PostgreSQL rejects the statement.
//! Source: PostgreSQL manual, COPY; `ProcessCopyOptions` of the server.

use pg_query::NodeEnum;
use pg_query::protobuf::{CopyStmt, DefElem, Node};

use super::lineage::{Column, Columns, Level, Scope, Source};
use super::walker::Walker;
use super::{Lineage, NotUnderstood, Outputs, names};
use crate::effect::{Effect, Effects};

/// How COPY TO writes rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyFormat {
    /// `FORMAT text`.
    Text {
        /// DELIMITER.
        delimiter: u8,
        /// What stands for NULL.
        null: String,
        /// Whether the first line has the names of the columns.
        header: bool,
    },
    /// `FORMAT csv`.
    Csv {
        /// DELIMITER.
        delimiter: u8,
        /// What stands for NULL.
        null: String,
        /// Whether the first line has the names of the columns.
        header: bool,
        /// QUOTE.
        quote: u8,
        /// ESCAPE.
        escape: u8,
        /// FORCE_QUOTE.
        force_quote: ForceQuote,
    },
    /// `FORMAT binary`.
    Binary,
}

/// Which columns of a CSV file are quoted whatever they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForceQuote {
    /// All of them.
    All,
    /// These, by their positions in the output, from 0.
    Columns(Vec<usize>),
}

impl Walker<'_> {
    pub(super) fn copy(&mut self, copy: &CopyStmt) -> Outputs {
        let root = Scope::default();
        let direction = if copy.is_from { Effect::CopyIn } else { Effect::CopyOut };
        self.effect(direction);
        if copy.is_program {
            self.effect(Effect::CopyProgram);
        } else if !copy.filename.is_empty() {
            self.effect(Effect::CopyFile);
        }
        let columns = match (copy.query.as_deref(), copy.relation.as_ref()) {
            (Some(query), _) => self.query(query, &root),
            (None, Some(_)) if copy.is_from => {
                self.copy_from(copy);
                return Outputs::None;
            }
            (None, Some(name)) => {
                let source = self.read(name, &root);
                if let Some(relation) = source.relation.and_then(|oid| self.catalog().relation(oid)) {
                    self.touch_resolved(relation, Effects::of(&[Effect::CopyOut]));
                }
                let list = names::texts(&copy.attlist);
                self.reads_listed(&source, &list);
                self.copied(&source, &list)
            }
            (None, None) => {
                self.give_up(NotUnderstood::Node("CopyStmt"));
                Columns::unknown("a COPY is not understood")
            }
        };
        if copy.is_program || !copy.filename.is_empty() {
            self.stores(&columns.union());
            return Outputs::None;
        }
        self.out.copy = CopyFormat::read(&copy.options, &columns);
        self.outputs(columns)
    }

    /// The columns of `COPY relation (columns) TO`; without a list, those that are not generated.
    fn copied(&self, source: &Source, list: &[String]) -> Columns {
        let mut columns = Columns::default();
        if !list.is_empty() {
            for name in list {
                let lineage = source.column(name).unwrap_or(Lineage::Unknown("a column does not resolve"));
                let known = source.columns.list.iter().find(|column| column.name == *name);
                let form = known.and_then(|column| column.form.clone());
                columns.list.push(Column { form, ..Column::computed(name, lineage) });
            }
            return columns;
        }
        columns = source.columns.clone();
        if let Some(relation) = source.relation.and_then(|oid| self.catalog().relation(oid)) {
            let is_generated = |name: &str| relation.column_named(name).is_some_and(|own| own.generated.is_some());
            columns.list.retain(|column| !is_generated(&column.name));
        }
        columns
    }

    fn copy_from(&mut self, copy: &CopyStmt) {
        let Some(name) = copy.relation.as_ref() else { return };
        let target = self.target(name, Effect::CopyIn);
        self.sets_off(&target, Effect::Insert, None);
        self.writes_listed(&target, &copy.attlist);
        let scope = Scope { level: Level::of(target), ..Scope::default() };
        self.optional(copy.where_clause.as_deref(), &scope);
    }
}

impl CopyFormat {
    /// The format that these options of a COPY TO ask for, of columns with these names; `None` when that cannot be told.
    fn read(options: &[Node], columns: &Columns) -> Option<Self> {
        let mut given = Given::default();
        for option in options {
            let Some(NodeEnum::DefElem(option)) = option.node.as_ref() else { return None };
            given.read(option, columns)?;
        }
        let header = given.header;
        Some(match given.format.as_deref() {
            None | Some("text") => Self::Text {
                delimiter: given.delimiter.unwrap_or(b'\t'),
                null: given.null.unwrap_or_else(|| "\\N".to_owned()),
                header,
            },
            Some("csv") => {
                let quote = given.quote.unwrap_or(b'"');
                Self::Csv {
                    delimiter: given.delimiter.unwrap_or(b','),
                    null: given.null.unwrap_or_default(),
                    header,
                    quote,
                    escape: given.escape.unwrap_or(quote),
                    force_quote: given.force_quote.unwrap_or(ForceQuote::Columns(Vec::new())),
                }
            }
            Some("binary") => Self::Binary,
            Some(_) => return None,
        })
    }
}

/// The options of a COPY TO as they are given.
#[derive(Default)]
struct Given {
    format: Option<String>,
    delimiter: Option<u8>,
    null: Option<String>,
    header: bool,
    quote: Option<u8>,
    escape: Option<u8>,
    force_quote: Option<ForceQuote>,
}

impl Given {
    /// Reads one option; `None` when it is not known.
    fn read(&mut self, option: &DefElem, columns: &Columns) -> Option<()> {
        let value = option.arg.as_deref();
        match option.defname.as_str() {
            "format" => self.format = Some(text(value)?.to_owned()),
            "delimiter" => self.delimiter = Some(byte(value)?),
            "null" => self.null = Some(text(value)?.to_owned()),
            "header" => self.header = switch(value)?,
            "quote" => self.quote = Some(byte(value)?),
            "escape" => self.escape = Some(byte(value)?),
            "force_quote" => self.force_quote = Some(forced(value?, columns)?),
            "encoding" => {
                let name = text(value)?.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase());
                let name: Vec<u8> = name.collect();
                if !matches!(name.as_slice(), b"utf8" | b"unicode") {
                    return None;
                }
            }
            _ => return None,
        }
        Some(())
    }
}

fn text(value: Option<&Node>) -> Option<&str> {
    match value?.node.as_ref()? {
        NodeEnum::String(text) => Some(&text.sval),
        _ => None,
    }
}

fn byte(value: Option<&Node>) -> Option<u8> {
    match text(value)?.as_bytes() {
        [byte] => Some(*byte),
        _ => None,
    }
}

fn switch(value: Option<&Node>) -> Option<bool> {
    let Some(value) = value else { return Some(true) };
    match value.node.as_ref()? {
        NodeEnum::Boolean(value) => Some(value.boolval),
        NodeEnum::Integer(value) => Some(value.ival != 0),
        NodeEnum::String(value) => match value.sval.to_ascii_lowercase().as_str() {
            "true" | "on" => Some(true),
            "false" | "off" => Some(false),
            // `match` is for COPY FROM.
            _ => None,
        },
        _ => None,
    }
}

fn forced(value: &Node, columns: &Columns) -> Option<ForceQuote> {
    match value.node.as_ref()? {
        NodeEnum::AStar(_) => Some(ForceQuote::All),
        NodeEnum::List(list) => {
            let mut positions = Vec::new();
            for name in names::texts(&list.items) {
                positions.push(columns.list.iter().position(|column| column.name == name)?);
            }
            Some(ForceQuote::Columns(positions))
        }
        _ => None,
    }
}
