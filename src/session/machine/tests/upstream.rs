//! A small PostgreSQL that knows a dozen statements, and remembers what it executed.
//!
//! Source: PostgreSQL manual, "Message Flow"; names, portals and transactions behave as in `postgres.c`.

use std::collections::HashMap;

use bytes::BytesMut;
use countersign_protocol::Frame;
use countersign_protocol::frontend::{Bind, Execute, Parse, Target};

use super::notation::backend;
use crate::relay::INTERRUPTION;
use crate::session::names;

/// What a statement did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    pub text: String,
    /// The schema that unqualified names meant when it was planned.
    pub schema: String,
}

#[derive(Clone)]
struct Portal {
    text: String,
    schema: String,
    begun: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    None,
    Open,
    Failed,
}

#[derive(Clone)]
enum Copying {
    No,
    InQuery,
    InExecute,
}

/// See the module documentation.
#[derive(Clone)]
pub struct Postgres {
    input: BytesMut,
    output: Vec<u8>,
    block: Block,
    schema: String,
    /// What `schema` goes back to when the transaction fails.
    schema_before: String,
    prepared: HashMap<Vec<u8>, String>,
    portals: HashMap<Vec<u8>, Portal>,
    skipping: bool,
    /// Whether a Query runs, of which the columns are told, too.
    in_query: bool,
    depth: u8,
    copying: Copying,
    /// What the session has chosen; it stays, as nobody takes it back.
    batches: bool,
    pub executed: Vec<Executed>,
    /// Of these, what the open transaction has done.
    uncommitted: Vec<Executed>,
    /// Of these, what is there to stay.
    pub committed: Vec<Executed>,
    pub closed: bool,
}

impl Postgres {
    pub fn new() -> Self {
        Self {
            input: BytesMut::new(),
            output: Vec::new(),
            block: Block::None,
            schema: "public".to_owned(),
            schema_before: "public".to_owned(),
            prepared: HashMap::new(),
            portals: HashMap::new(),
            skipping: false,
            in_query: false,
            depth: 0,
            copying: Copying::No,
            batches: false,
            executed: Vec::new(),
            uncommitted: Vec::new(),
            committed: Vec::new(),
            closed: false,
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Takes the next message; yields what it answers. `None` when there is no whole message.
    pub fn step(&mut self) -> Option<Vec<u8>> {
        if self.closed {
            return None;
        }
        let frame = Frame::take(&mut self.input, |_| u32::MAX).unwrap()?;
        self.message(&frame);
        Some(std::mem::take(&mut self.output))
    }

    pub fn is_copying(&self) -> bool {
        !matches!(self.copying, Copying::No)
    }

    pub fn is_in_block(&self) -> bool {
        self.block == Block::Open
    }

    pub fn has_failed(&self) -> bool {
        self.block == Block::Failed
    }

    /// What is answered when this message fails with that SQLSTATE.
    pub fn refuse(&mut self, frame: &Frame, sqlstate: &[u8]) -> Vec<u8> {
        let sqlstate = String::from_utf8_lossy(sqlstate);
        if frame.tag == b'Q' {
            self.prepared.remove(&b""[..]);
            self.portals.remove(&b""[..]);
            self.fail(&sqlstate);
            self.ready();
        } else {
            self.fail(&sqlstate);
            self.skipping = true;
        }
        std::mem::take(&mut self.output)
    }

    fn say(&mut self, text: &str) {
        self.output.extend_from_slice(&backend(text));
    }

    fn message(&mut self, frame: &Frame) {
        if !matches!(self.copying, Copying::No) {
            return self.copy_message(frame);
        }
        if self.skipping && !matches!(frame.tag, b'S' | b'X') {
            return;
        }
        let done = match frame.tag {
            b'Q' => return self.query(frame),
            b'P' => self.parse(frame),
            b'B' => self.bind(frame),
            b'D' => self.describe(frame),
            b'E' => self.execute(frame),
            b'C' => {
                match Target::read("Close", frame.body()).unwrap() {
                    Target::Statement(name) => drop(self.prepared.remove(name)),
                    Target::Portal(name) => drop(self.portals.remove(name)),
                }
                self.say("3");
                Ok(())
            }
            b'S' => {
                self.skipping = false;
                return self.ready();
            }
            b'X' => {
                self.closed = true;
                return;
            }
            b'H' | b'd' | b'c' | b'f' => Ok(()),
            other => panic!("the upstream was sent a message of type {}", char::from(other)),
        };
        if let Err(sqlstate) = done {
            self.fail(sqlstate);
            self.skipping = true;
        }
    }

    fn fail(&mut self, sqlstate: &str) {
        self.say(&format!("E {sqlstate}"));
        self.schema = self.schema_before.clone();
        self.portals.clear();
        self.uncommitted.clear();
        if self.block == Block::Open {
            self.block = Block::Failed;
        }
    }

    fn ready(&mut self) {
        if self.block == Block::None {
            self.end();
        }
        self.say(match self.block {
            Block::None => "Z I",
            Block::Open => "Z T",
            Block::Failed => "Z E",
        });
    }

    fn end(&mut self) {
        self.committed.append(&mut self.uncommitted);
        self.schema_before = self.schema.clone();
        self.portals.clear();
    }

    fn query(&mut self, frame: &Frame) {
        self.prepared.remove(&b""[..]);
        self.portals.remove(&b""[..]);
        let text = String::from_utf8(frame.body()[..frame.body().len() - 1].to_vec()).unwrap();
        self.in_query = true;
        let ran = self.run_all(&text);
        self.in_query = false;
        match ran {
            Ok(copies) if copies => self.copying = Copying::InQuery,
            Ok(_) => self.ready(),
            Err(sqlstate) => {
                self.fail(sqlstate);
                self.ready();
            }
        }
    }

    /// Runs the statements of a text, up to one that fails or waits for CopyData.
    fn run_all(&mut self, text: &str) -> Result<bool, &'static str> {
        for statement in statements(text) {
            if self.run(statement, &self.schema.clone())? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn copy_message(&mut self, frame: &Frame) {
        let tag = frame.tag;
        match tag {
            b'd' if frame.body() == b"bad" => self.fail("22P02"),
            b'd' | b'H' | b'S' => return,
            b'X' => {
                self.closed = true;
                return;
            }
            b'c' => self.say("C COPY 1"),
            b'f' if frame.body().starts_with(INTERRUPTION.as_bytes()) => self.fail("OUT"),
            b'f' => self.fail("57014"),
            other => panic!("a message of type {} during COPY", char::from(other)),
        }
        match std::mem::replace(&mut self.copying, Copying::No) {
            Copying::InQuery => self.ready(),
            Copying::InExecute | Copying::No => self.skipping = tag != b'c',
        }
    }

    fn parse(&mut self, frame: &Frame) -> Result<(), &'static str> {
        let parse = Parse::read(frame.body()).unwrap();
        let text = String::from_utf8(parse.query.to_vec()).unwrap();
        if self.block == Block::Failed && text != "ROLLBACK" && text != "COMMIT" {
            return Err("25P02");
        }
        if !parse.statement.is_empty() && self.prepared.contains_key(parse.statement) {
            return Err("42P05");
        }
        self.prepared.insert(parse.statement.to_vec(), text);
        self.say("1");
        Ok(())
    }

    fn bind(&mut self, frame: &Frame) -> Result<(), &'static str> {
        let bind = Bind::read(frame.body()).unwrap();
        let text = self.prepared.get(bind.statement).ok_or("26000")?.clone();
        if self.block == Block::Failed && text != "ROLLBACK" && text != "COMMIT" {
            return Err("25P02");
        }
        if !bind.portal.is_empty() && self.portals.contains_key(bind.portal) {
            return Err("42P03");
        }
        let portal = Portal { text, schema: self.schema.clone(), begun: false };
        self.portals.insert(bind.portal.to_vec(), portal);
        self.say("2");
        Ok(())
    }

    fn describe(&mut self, frame: &Frame) -> Result<(), &'static str> {
        let (text, is_statement) = match Target::read("Describe", frame.body()).unwrap() {
            Target::Statement(name) => (self.prepared.get(name).ok_or("26000")?.clone(), true),
            Target::Portal(name) => (self.portals.get(name).ok_or("34000")?.text.clone(), false),
        };
        if is_statement {
            self.say("t");
        }
        self.say(columns(&text));
        Ok(())
    }

    fn execute(&mut self, frame: &Frame) -> Result<(), &'static str> {
        let execute = Execute::read(frame.body()).unwrap();
        let portal = self.portals.get_mut(execute.portal).ok_or("34000")?;
        let continues = std::mem::replace(&mut portal.begun, true);
        let portal = portal.clone();
        if continues {
            if !portal.text.starts_with("SELECT") {
                return Err("55000");
            }
            self.say("C SELECT 0");
            return Ok(());
        }
        if execute.max_rows == 1 && portal.text.starts_with("SELECT id") {
            self.say("D 1 | s");
            return Ok(());
        }
        if self.run(&portal.text, &portal.schema)? {
            self.copying = Copying::InExecute;
        }
        Ok(())
    }

    /// Runs one statement; yields whether it waits for CopyData.
    fn run(&mut self, text: &str, schema: &str) -> Result<bool, &'static str> {
        if self.block == Block::Failed && text != "ROLLBACK" && text != "COMMIT" {
            return Err("25P02");
        }
        if text == names::QUERY {
            let choices = if self.batches { " - - on" } else { "" };
            let row = format!(r#"D shop ["pg_catalog","{}"]{choices}"#, self.schema);
            self.say(&row);
            self.say("C SELECT 1");
            return Ok(false);
        }
        let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
        match first {
            "BEGIN" => {
                self.block = Block::Open;
                self.say("C BEGIN");
            }
            "COMMIT" | "ROLLBACK" => {
                if self.block == Block::Failed || first == "ROLLBACK" {
                    self.schema = self.schema_before.clone();
                    self.uncommitted.clear();
                }
                self.block = Block::None;
                self.end();
                self.say(&format!("C {first}"));
            }
            "SELECT" if rest == "1/0" => return Err("22012"),
            "SELECT" => {
                if self.in_query {
                    self.say(columns(text));
                }
                self.say("D 1 | C SELECT 1");
            }
            "SET" if rest.starts_with("countersign.batch") => {
                self.batches = rest.ends_with("on");
                self.say("C SET");
            }
            "SET" => {
                rest.rsplit(' ').next().unwrap().clone_into(&mut self.schema);
                self.say("C SET");
            }
            "PREPARE" => self.sql_prepare(rest)?,
            "EXECUTE" => {
                let text = self.prepared.get(rest.as_bytes()).ok_or("26000")?.clone();
                return self.run_named(&text, &self.schema.clone());
            }
            "DECLARE" => self.declare(rest)?,
            "FETCH" => {
                let portal = self.portals.get(rest.as_bytes()).ok_or("34000")?.clone();
                // Of what yields no rows nothing can be fetched.
                if !["SELECT", "DELETE", "COPY", "EXECUTE", "FETCH"].iter().any(|word| portal.text.starts_with(word)) {
                    return Err("55000");
                }
                return self.run_named(&portal.text, &portal.schema);
            }
            "COPY" => {
                // Not planned: its names are looked up when it is executed.
                self.did(text, &self.schema.clone());
                self.say("G");
                return Ok(true);
            }
            "DELETE" | "DROP" => {
                self.did(text, schema);
                self.say("C DELETE 1");
            }
            _ => return Err("42601"),
        }
        Ok(false)
    }

    fn did(&mut self, text: &str, schema: &str) {
        let done = Executed { text: text.to_owned(), schema: schema.to_owned() };
        self.executed.push(done.clone());
        self.uncommitted.push(done);
    }

    /// Runs what a name stands for. Names that stand for each other run into a limit.
    fn run_named(&mut self, text: &str, schema: &str) -> Result<bool, &'static str> {
        if self.depth > 8 {
            return Err("54001");
        }
        self.depth += 1;
        let ran = self.run(text, schema);
        self.depth -= 1;
        ran
    }

    fn sql_prepare(&mut self, rest: &str) -> Result<(), &'static str> {
        let (name, text) = rest.split_once(" AS ").unwrap();
        if self.prepared.contains_key(name.as_bytes()) {
            return Err("42P05");
        }
        self.prepared.insert(name.as_bytes().to_vec(), text.to_owned());
        self.say("C PREPARE");
        Ok(())
    }

    fn declare(&mut self, rest: &str) -> Result<(), &'static str> {
        let (name, text) = rest.split_once(" CURSOR FOR ").unwrap();
        if self.block != Block::Open {
            return Err("25P01");
        }
        if self.portals.contains_key(name.as_bytes()) {
            return Err("42P03");
        }
        let portal = Portal { text: text.to_owned(), schema: self.schema.clone(), begun: false };
        self.portals.insert(name.as_bytes().to_vec(), portal);
        self.say("C DECLARE CURSOR");
        Ok(())
    }
}

/// The statements of a text whose statements stand on lines of their own.
pub fn statements(text: &str) -> impl Iterator<Item = &str> {
    text.split(";\n").map(str::trim).filter(|statement| !statement.is_empty())
}

/// RowDescription or NoData.
fn columns(text: &str) -> &'static str {
    match text {
        text if text.contains("email") => "T email:20001:2",
        text if text.starts_with("SELECT") || text == names::QUERY => "T id:20002:1",
        _ => "n",
    }
}
