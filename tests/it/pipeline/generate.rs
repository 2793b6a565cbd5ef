//! What a client might send, from a seed.
//!
//! Never looks at an answer. Invariant: the same seed gives the same script, whatever the machine.

use std::collections::HashMap;
use std::fmt;

use super::message::Message;
use super::texts::{self, Kind};

/// Numbers from a seed (splitmix64).
#[derive(Clone)]
pub struct Chance(pub u64);

impl Chance {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below that bound.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).expect("a bound")).expect("below the bound")
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// One thing that a client does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Sends a message.
    Send(Message),
    /// Reads until nothing comes for a moment.
    Pause,
    /// Sends a CancelRequest, then pauses.
    Cancel,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(message) => message.fmt(f),
            Self::Pause => f.write_str("(pause)"),
            Self::Cancel => f.write_str("(cancel)"),
        }
    }
}

/// What to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Everything is allowed.
    Open,
    /// Some of it is denied, held or masked, and the client cancels now and then.
    Guarded,
}

const STATEMENTS: &[&str] = &["", "", "a", "b"];
const PORTALS: &[&str] = &["", "", "p", "q"];

/// A script of some ten to sixty messages.
pub fn script(seed: u64, setting: Setting) -> Vec<Step> {
    let mut author = Author { chance: Chance(seed), setting, steps: Vec::new(), parameters: HashMap::new() };
    let phrases = 3 + author.chance.below(14);
    // Some scripts are all simple, some all extended; most are both.
    let simple_of_ten = author.chance.pick(&[0, 2, 4, 4, 4, 7, 10]);
    for _ in 0..phrases {
        author.phrase(simple_of_ten);
    }
    without_dangling(author.steps)
}

/// Leaves out what may execute the unnamed portal of a Query that has failed: PostgreSQL reads freed memory there, and
/// crashes now and then, or says this or that. Of a Bind it is known only until Sync that it has succeeded, or that the
/// Execute behind it is skipped.
fn without_dangling(steps: Vec<Step>) -> Vec<Step> {
    let (mut after_query, mut bound) = (false, false);
    let mut stays = |step: &Step| {
        let Step::Send(message) = step else { return true };
        match message {
            Message::Query(_) => (after_query, bound) = (true, false),
            Message::Sync => bound = false,
            Message::Bind { portal, .. } if portal.is_empty() => bound = true,
            Message::Execute { portal, .. } if portal.is_empty() => return bound || !after_query,
            _ => {}
        }
        true
    };
    steps.into_iter().filter(|step| stays(step)).collect()
}

struct Author {
    chance: Chance,
    setting: Setting,
    steps: Vec<Step>,
    /// How many parameters the statement of a name takes, as far as that can be known.
    parameters: HashMap<&'static str, usize>,
}

impl Author {
    fn send(&mut self, message: Message) {
        self.steps.push(Step::Send(message));
    }

    fn text(&mut self) -> (String, Kind) {
        texts::pick(&mut self.chance, self.setting)
    }

    fn phrase(&mut self, simple_of_ten: usize) {
        match self.chance.below(40) {
            0 => self.loose(),
            1 => self.loose(),
            2 => self.malformed(),
            3 => self.send(Message::Sync),
            4 => self.send(Message::Flush),
            5..=7 => self.continued(),
            _ if self.chance.below(10) < simple_of_ten => self.simple(),
            _ => self.extended(),
        }
        if self.chance.once_in(6) {
            self.steps.push(Step::Pause);
        }
        if self.setting == Setting::Guarded && self.chance.once_in(30) {
            self.steps.push(Step::Cancel);
        }
    }

    fn simple(&mut self) {
        let (mut text, mut kind) = self.text();
        while self.chance.once_in(5) {
            let (more, its_kind) = self.text();
            text = format!("{text}; {more}");
            if kind != Kind::CopyIn {
                kind = its_kind;
            }
        }
        self.send(Message::Query(text));
        if kind == Kind::CopyIn {
            self.copy_data();
        }
    }

    fn extended(&mut self) {
        let (text, kind) = self.text();
        let statement = self.chance.pick(STATEMENTS);
        let portal = self.chance.pick(PORTALS);
        if !statement.is_empty() && self.chance.once_in(3) {
            self.send(Message::CloseStatement(statement.to_owned()));
        }
        if !self.chance.once_in(12) {
            self.parameters.insert(statement, texts::parameters(&text));
            self.send(Message::Parse { statement: statement.to_owned(), text });
        }
        if self.chance.once_in(5) {
            self.send(Message::DescribeStatement(statement.to_owned()));
        }
        if self.chance.once_in(12) {
            self.send(Message::Sync);
        }
        if !portal.is_empty() && self.chance.once_in(3) {
            self.send(Message::ClosePortal(portal.to_owned()));
        }
        self.bind(portal, statement);
        if self.chance.once_in(3) {
            self.send(Message::DescribePortal(portal.to_owned()));
        }
        self.execute(portal);
        if kind == Kind::CopyIn {
            self.copy_data();
        }
        if !self.chance.once_in(3) {
            self.send(Message::Sync);
        } else if self.chance.once_in(3) {
            self.send(Message::Flush);
        }
    }

    fn bind(&mut self, portal: &str, statement: &str) {
        let mut wanted = self.parameters.get(statement).copied().unwrap_or(0);
        if self.chance.once_in(25) {
            wanted = self.chance.below(3);
        }
        let values = (0..wanted).map(|_| self.value()).collect();
        let result_format = i16::from(self.chance.once_in(4));
        self.send(Message::Bind { portal: portal.to_owned(), statement: statement.to_owned(), values, result_format });
    }

    fn value(&mut self) -> Option<String> {
        const VALUES: &[Option<&str>] = &[Some("1"), Some("2"), Some("3"), Some("40"), Some("x"), None];
        self.chance.pick(VALUES).map(str::to_owned)
    }

    fn execute(&mut self, portal: &str) {
        let rows = self.chance.pick(&[0, 0, 0, 1, 2, 100]);
        self.send(Message::Execute { portal: portal.to_owned(), rows });
    }

    /// Something with names that are there already, or not.
    fn continued(&mut self) {
        let (statement, portal) = (self.chance.pick(STATEMENTS), self.chance.pick(PORTALS));
        match self.chance.below(4) {
            0 => {
                self.bind(portal, statement);
                self.execute(portal);
            }
            1 => self.bind(portal, statement),
            _ => self.execute(portal),
        }
        if self.chance.once_in(2) {
            self.send(Message::Sync);
        }
    }

    fn copy_data(&mut self) {
        const LINES: &[&str] =
            &["50\tfifty\n", "51\tone\n52\ttwo\n", "1\tthere already\n", "x\tnot a number\n", "5", "\\.\n", ""];
        for _ in 0..self.chance.below(4) {
            let line = self.chance.pick(LINES).to_owned();
            self.send(Message::CopyData(line));
            match self.chance.below(12) {
                0 => self.send(Message::Sync),
                1 => self.send(Message::Flush),
                2 => self.steps.push(Step::Pause),
                _ => {}
            }
        }
        match self.chance.below(8) {
            0 => self.send(Message::CopyFail),
            // Now what follows is in the wrong place.
            1 if self.chance.once_in(4) => {}
            _ => self.send(Message::CopyDone),
        }
    }

    /// A message by itself, wherever it falls.
    fn loose(&mut self) {
        let (statement, portal) = (self.chance.pick(STATEMENTS).to_owned(), self.chance.pick(PORTALS).to_owned());
        let message = match self.chance.below(8) {
            0 => Message::DescribeStatement(statement),
            1 => Message::DescribePortal(portal),
            2 => Message::CloseStatement(statement),
            3 => Message::ClosePortal(portal),
            4 => Message::CopyData("60\tsixty\n".to_owned()),
            5 => Message::CopyDone,
            6 => Message::CopyFail,
            _ => Message::Execute { portal, rows: 0 },
        };
        self.send(message);
    }

    fn malformed(&mut self) {
        if !self.chance.once_in(4) {
            return self.loose();
        }
        const FRAMES: &[(u8, &[u8])] = &[
            (b'P', b"a\0SELECT 1\0"),
            (b'P', b"a\0SELECT 1\0\0\x02\0\0\0\x17"),
            (b'P', b"\0SELECT 1"),
            (b'B', b"\0\0\0\0\0\x01\0\0\0\x09x"),
            (b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xf0\0\0"),
            (b'B', b"\0\0\0\0\0\0\0\0more"),
            (b'E', b"\0\0\0"),
            (b'E', b"p\0\0\0\0\0\0"),
            (b'D', b"X\0"),
            (b'D', b"S"),
            (b'C', b"P"),
            (b'C', b"Xa\0"),
            (b'Q', b"SELECT 1"),
            (b'Q', b"SELECT 1\0\0"),
            (b'Q', b"SELECT '\xff'\0"),
            (b'P', b"\0SELECT '\xc3'\0\0\0"),
            (b'y', b"no such message"),
        ];
        let (tag, body) = self.chance.pick(FRAMES);
        self.send(Message::Malformed(tag, body.to_vec()));
    }
}
