//! Results on standard output: as psql shows them, as JSON, as CSV.
//!
//! Never lets a terminal interpret a value. Invariant: a result that was cut short by an error is not shown as a whole one.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::cli::output::{Colour, visible_line};

/// Format of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ExecFormat {
    /// As psql shows them.
    #[default]
    Text,
    /// `{"columns": […], "rows": [[…]], "command": "…"}` for each result, on a line; values are texts or null.
    Json,
    /// RFC 4180: a line with the names, and one for each row. Only results with columns are printed.
    Csv,
}

/// See the module documentation.
pub(super) struct Printer<W> {
    format: ExecFormat,
    out: W,
    columns: Option<Vec<String>>,
    rows: Vec<Vec<Option<String>>>,
    copies_in: bool,
}

impl<W: Write> Printer<W> {
    pub(super) fn new(format: ExecFormat, out: W) -> Self {
        Self { format, out, columns: None, rows: Vec::new(), copies_in: false }
    }

    /// A result begins.
    pub(super) fn columns(&mut self, names: &[&[u8]]) -> io::Result<()> {
        let names: Vec<String> = names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        if self.format == ExecFormat::Csv {
            let line: Vec<Option<&str>> = names.iter().map(|name| Some(name.as_str())).collect();
            csv_line(&mut self.out, &line)?;
        }
        self.columns = Some(names);
        Ok(())
    }

    /// One row of it.
    pub(super) fn row(&mut self, cells: &[Option<&[u8]>]) -> io::Result<()> {
        let texts: Vec<Option<String>> =
            cells.iter().map(|cell| cell.map(|bytes| String::from_utf8_lossy(bytes).into_owned())).collect();
        if self.format == ExecFormat::Csv {
            let line: Vec<Option<&str>> = texts.iter().map(Option::as_deref).collect();
            return csv_line(&mut self.out, &line);
        }
        self.rows.push(texts);
        Ok(())
    }

    /// It is complete.
    pub(super) fn complete(&mut self, command_tag: &str) -> io::Result<()> {
        let (columns, rows) = (self.columns.take(), std::mem::take(&mut self.rows));
        match (self.format, columns) {
            (ExecFormat::Csv, _) => Ok(()),
            (ExecFormat::Json, columns) => json_line(&mut self.out, columns, rows, command_tag),
            (ExecFormat::Text, Some(columns)) => table(&mut self.out, &columns, &rows),
            (ExecFormat::Text, None) => writeln!(self.out, "{}", visible_line(command_tag, Colour::Off)),
        }
    }

    /// What came of it does not count.
    pub(super) fn drop_result(&mut self) {
        self.columns = None;
        self.rows.clear();
    }

    /// Bytes as they are: those of a COPY.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    pub(super) fn begin_copy_in(&mut self) {
        self.copies_in = true;
    }

    pub(super) fn take_copy_in(&mut self) -> bool {
        std::mem::take(&mut self.copies_in)
    }

    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn json_line(
    out: &mut impl Write,
    columns: Option<Vec<String>>,
    rows: Vec<Vec<Option<String>>>,
    command_tag: &str,
) -> io::Result<()> {
    let rows: Option<Value> = columns.is_some().then(|| json!(rows));
    serde_json::to_writer(&mut *out, &json!({ "columns": columns, "rows": rows, "command": command_tag }))?;
    writeln!(out)
}

fn csv_line(out: &mut impl Write, cells: &[Option<&str>]) -> io::Result<()> {
    for (position, cell) in cells.iter().enumerate() {
        if position > 0 {
            out.write_all(b",")?;
        }
        match cell {
            None => {}
            // An empty text is not NULL.
            Some(text) if text.is_empty() || text.contains(['"', ',', '\n', '\r']) => {
                write!(out, "\"{}\"", text.replace('"', "\"\""))?;
            }
            Some(text) => out.write_all(text.as_bytes())?,
        }
    }
    out.write_all(b"\r\n")
}

/// ` id | status` over a rule, numbers to the right.
fn table(out: &mut impl Write, columns: &[String], rows: &[Vec<Option<String>>]) -> io::Result<()> {
    let shown = |text: &str| visible_line(text, Colour::Off);
    let names: Vec<String> = columns.iter().map(|name| shown(name)).collect();
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| shown(cell.as_deref().unwrap_or_default())).collect()).collect();
    let length = |text: &String| text.chars().count();
    let cells = |position: usize| rows.iter().filter_map(move |row| row.get(position));
    let width = |position: usize, name: &String| cells(position).map(length).max().unwrap_or(0).max(length(name));
    let widths: Vec<usize> = names.iter().enumerate().map(|(position, name)| width(position, name)).collect();
    let is_number = |position: usize| {
        let mut filled = cells(position).filter(|cell| !cell.is_empty()).peekable();
        filled.peek().is_some() && filled.all(|cell| cell.parse::<f64>().is_ok())
    };
    let head: Vec<String> = names.iter().zip(&widths).map(|(name, width)| format!(" {name:^width$} ")).collect();
    writeln!(out, "{}", head.join("|").trim_end())?;
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
    writeln!(out, "{}", rule.join("+"))?;
    let to_the_right: Vec<bool> = (0..widths.len()).map(is_number).collect();
    for row in &rows {
        let line: Vec<String> = row
            .iter()
            .zip(widths.iter().zip(&to_the_right))
            .map(
                |(cell, (width, right))| if *right { format!(" {cell:>width$} ") } else { format!(" {cell:<width$} ") },
            )
            .collect();
        writeln!(out, "{}", line.join("|").trim_end())?;
    }
    let (count, noun) = (rows.len(), if rows.len() == 1 { "row" } else { "rows" });
    writeln!(out, "({count} {noun})\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(format: ExecFormat) -> String {
        let mut out = Vec::new();
        let mut printer = Printer::new(format, &mut out);
        printer.columns(&[b"id", b"note"]).unwrap();
        printer.row(&[Some(b"1"), Some(b"a \"b\", c")]).unwrap();
        printer.row(&[Some(b"20"), None]).unwrap();
        printer.row(&[None, Some(b"")]).unwrap();
        printer.complete("SELECT 3").unwrap();
        printer.complete("UPDATE 2").unwrap();
        printer.columns(&[b"gone"]).unwrap();
        printer.row(&[Some(b"1")]).unwrap();
        printer.drop_result();
        printer.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_as_psql_has_it() {
        let wanted = " id |   note\n----+----------\n  1 | a \"b\", c\n 20 |\n    |\n(3 rows)\n\nUPDATE 2\n";
        assert_eq!(printed(ExecFormat::Text), wanted);
    }

    #[test]
    fn machines_read_documents_or_lines() {
        let wanted = "{\"columns\":[\"id\",\"note\"],\"command\":\"SELECT 3\",\"rows\":[[\"1\",\"a \\\"b\\\", c\"],[\"20\",null],\
                      [null,\"\"]]}\n{\"columns\":null,\"command\":\"UPDATE 2\",\"rows\":null}\n";
        assert_eq!(printed(ExecFormat::Json), wanted);
        let wanted = "id,note\r\n1,\"a \"\"b\"\", c\"\r\n20,\r\n,\"\"\r\ngone\r\n1\r\n";
        assert_eq!(printed(ExecFormat::Csv), wanted);
    }

    #[test]
    fn a_value_cannot_steer_the_terminal() {
        let mut out = Vec::new();
        let mut printer = Printer::new(ExecFormat::Text, &mut out);
        printer.columns(&[b"a"]).unwrap();
        printer.row(&[Some(b"\x1b[2J")]).unwrap();
        printer.complete("SELECT 1").unwrap();
        assert!(!out.contains(&0x1b));
    }
}
