//! Rows of the console, and how they travel.

use std::sync::Arc;

use futures_util::stream;
use pgwire::api::Type;
use pgwire::api::portal::Format;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo, QueryResponse};
use pgwire::error::PgWireResult;

/// A column: `text`, or `bigint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    name: &'static str,
    is_number: bool,
}

/// A cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Int(i64),
    Null,
}

pub(super) type Row = Vec<Value>;

pub(super) fn text(name: &'static str) -> Column {
    Column { name, is_number: false }
}

pub(super) fn int(name: &'static str) -> Column {
    Column { name, is_number: true }
}

impl Value {
    pub(super) fn count(number: usize) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }

    pub(super) fn total(number: u64) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// The columns as RowDescription has them.
pub(super) fn fields(columns: &[Column], format: Option<&Format>) -> Vec<FieldInfo> {
    let field = |(index, column): (usize, &Column)| {
        let format = format.map_or(FieldFormat::Text, |format| format.format_for(index));
        let (kind, size) = if column.is_number { (Type::INT8, 8) } else { (Type::TEXT, -1) };
        FieldInfo::new(column.name.to_owned(), None, None, kind, format).with_type_size(size)
    };
    columns.iter().enumerate().map(field).collect()
}

/// The answer to a command that shows rows.
pub(super) fn response(columns: &[Column], format: Option<&Format>, rows: Vec<Row>) -> PgWireResult<QueryResponse> {
    let fields = Arc::new(fields(columns, format));
    let mut encoder = DataRowEncoder::new(Arc::clone(&fields));
    let mut encoded = Vec::with_capacity(rows.len());
    for row in rows {
        for value in row {
            match value {
                Value::Text(text) => encoder.encode_field(&Some(text))?,
                Value::Int(number) => encoder.encode_field(&Some(number))?,
                Value::Null => encoder.encode_field(&None::<i64>)?,
            }
        }
        encoded.push(Ok(encoder.take_row()));
    }
    let mut response = QueryResponse::new(fields, stream::iter(encoded));
    response.set_command_tag("SHOW");
    Ok(response)
}
