//! `countersign requests watch`: without a terminal a line for each change; on a terminal what waits, as a table that stays, and a
//! key for each decision.
//!
//! Never decides about what is not on the screen: a key means the request that is marked, and the mark moves by keys only.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use console::{Key, Term};
use serde_json::json;
use tokio::sync::mpsc;

use super::{Client, Failure, Print, unprinted, view};
use crate::cli::output::{Colour, Exit, Format, visible};
use crate::review::State;
use crate::web::{Page, RequestView};

/// How often it asks.
const PERIOD: Duration = Duration::from_secs(1);
/// How many of the newest requests it looks at.
const PAGE: &str = "200";
/// How many lines of the marked statement are shown.
const STATEMENT_LINES: usize = 12;
/// Longest reason, in characters.
const REASON_CHARS_MAX: usize = 500;

/// Watches until Ctrl-C, or `q`.
pub(super) async fn run<W: Write>(client: &Client, database: Option<String>, print: Print<W>) -> Result<(), Failure> {
    let on_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    if on_terminal && print.format == Format::Text {
        at_desk(client, database, print).await
    } else {
        told(client, database, print).await
    }
}

async fn told<W: Write>(client: &Client, database: Option<String>, mut print: Print<W>) -> Result<(), Failure> {
    let mut seen = Seen::default();
    let mut lost = false;
    let mut period = tokio::time::interval(PERIOD);
    loop {
        // Both are cancel safe: a tick and a signal.
        tokio::select! {
            _tick = period.tick() => {}
            _signal = tokio::signal::ctrl_c() => return Ok(()),
        }
        match seen.poll(client, database.as_deref()).await {
            Ok(changed) => {
                lost = false;
                changed.iter().try_for_each(|changed| print.request(changed, view::line))?;
            }
            Err(failure) if failure.exit == Exit::Unavailable => {
                if !lost {
                    eprintln!("{failure}\ntrying again every second");
                }
                lost = true;
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Which version of which request was printed.
#[derive(Default)]
pub(super) struct Seen {
    versions: HashMap<String, u64>,
    begun: bool,
}

impl Seen {
    /// New and changed requests, oldest first; the first time only those that are open.
    pub(super) async fn poll(&mut self, client: &Client, database: Option<&str>) -> Result<Vec<RequestView>, Failure> {
        let mut query = vec![("limit", PAGE.to_owned())];
        query.extend(database.map(|database| ("database", database.to_owned())));
        let page: Page = client.get(&["requests"], &query).await?;
        let before = std::mem::take(&mut self.versions);
        let known = |view: &RequestView| before.get(&view.request.id.to_string()) == Some(&view.request.version);
        self.versions = page.requests.iter().map(|view| (view.request.id.to_string(), view.request.version)).collect();
        let begun = std::mem::replace(&mut self.begun, true);
        let wanted = |view: &RequestView| begun || view.request.state == State::Pending;
        Ok(page.requests.into_iter().rev().filter(|view| !known(view) && wanted(view)).collect())
    }
}

/// What a key asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wish {
    /// The whole request.
    Show(String),
    Approve(String),
    Reject(String, String),
    Leave,
}

/// The table, the mark, and what is being typed.
#[derive(Default)]
struct Desk {
    waiting: Vec<RequestView>,
    /// Id of the request that keys mean.
    marked: Option<String>,
    /// The reason for a rejection, while it is typed.
    reason: Option<String>,
    /// What came of the last key.
    said: String,
}

impl Desk {
    /// Takes in what waits now. The mark stays on its request and is gone with it.
    fn refresh(&mut self, waiting: Vec<RequestView>) {
        self.waiting = waiting;
        if self.place().is_none() && self.marked.take().is_some() {
            self.reason = None;
            self.said = "It does not wait any more; choose another with the arrow keys.".to_owned();
        }
    }

    fn place(&self) -> Option<usize> {
        let marked = self.marked.as_deref()?;
        self.waiting.iter().position(|view| view.request.id.to_string() == marked)
    }

    fn press(&mut self, key: Key) -> Option<Wish> {
        if let Some(reason) = &mut self.reason {
            match key {
                Key::Enter if !reason.trim().is_empty() => {
                    let reason = self.reason.take()?;
                    return Some(Wish::Reject(self.marked.clone()?, reason));
                }
                Key::Escape => self.reason = None,
                Key::Backspace => {
                    reason.pop();
                }
                Key::Char(c) if !c.is_control() && reason.chars().count() < REASON_CHARS_MAX => reason.push(c),
                _ => {}
            }
            return None;
        }
        self.said.clear();
        match key {
            Key::Char('q') | Key::Escape | Key::CtrlC => return Some(Wish::Leave),
            Key::ArrowDown | Key::Char('j') => self.mark(self.place().map_or(0, |place| place + 1)),
            Key::ArrowUp | Key::Char('k') => self.mark(self.place().map_or(0, |place| place.saturating_sub(1))),
            Key::Enter | Key::Char('s') => return self.marked.clone().map(Wish::Show),
            Key::Char('a') => return self.marked.clone().map(Wish::Approve),
            Key::Char('r') => self.reason = self.marked.is_some().then(String::new),
            _ => self.said = "↑ ↓ choose, Enter shows all, a approves, r rejects, q leaves".to_owned(),
        }
        None
    }

    fn mark(&mut self, place: usize) {
        let place = place.min(self.waiting.len().saturating_sub(1));
        self.marked = self.waiting.get(place).map(|view| view.request.id.to_string());
    }

    fn screen(&self, colour: Colour) -> String {
        let mut screen = colour.bold(&format!("{} waiting", self.waiting.len()));
        screen.push_str(&colour.dim("   ↑ ↓ choose   Enter shows all   a approves   r rejects   q leaves\n\n"));
        for (index, line) in view::list(&self.waiting, colour).lines().enumerate() {
            let is_marked = index.checked_sub(1).is_some_and(|row| self.place() == Some(row));
            screen.push_str(if is_marked { "> " } else { "  " });
            screen.push_str(line);
            screen.push('\n');
        }
        if let Some(view) = self.place().and_then(|place| self.waiting.get(place)) {
            let statement = visible(view.request.statement.trim_end(), colour);
            let lines: Vec<_> = statement.lines().collect();
            screen.push('\n');
            for line in lines.iter().take(STATEMENT_LINES) {
                screen.push_str(&format!("  {line}\n"));
            }
            if lines.len() > STATEMENT_LINES {
                let more = format!("  … {} more lines: Enter shows all\n", lines.len() - STATEMENT_LINES);
                screen.push_str(&colour.yellow(&more));
            }
        }
        screen.push('\n');
        match &self.reason {
            Some(reason) => screen.push_str(&format!("Reason, Enter sends it, Esc does not: {reason}")),
            None => screen.push_str(&self.said),
        }
        screen
    }
}

/// The table, drawn again whenever it changes.
async fn at_desk<W: Write>(client: &Client, database: Option<String>, mut print: Print<W>) -> Result<(), Failure> {
    let mut keys = keys();
    let (mut desk, mut drawn) = (Desk::default(), String::new());
    let mut period = tokio::time::interval(PERIOD);
    loop {
        // All are cancel safe: a tick, a signal and a channel.
        let key = tokio::select! {
            _tick = period.tick() => None,
            key = keys.recv() => Some(key.unwrap_or(Key::Char('q'))),
            _signal = tokio::signal::ctrl_c() => Some(Key::CtrlC),
        };
        match key.and_then(|key| desk.press(key)) {
            Some(Wish::Leave) => return print.text("\n"),
            Some(wish) => desk.said = carried_out(client, wish, &print).await?,
            None => {}
        }
        match waiting(client, database.as_deref()).await {
            Ok(waiting) => desk.refresh(waiting),
            Err(failure) if failure.exit == Exit::Unavailable => desk.said = failure.to_string(),
            Err(failure) => return Err(failure),
        }
        let screen = desk.screen(print.colour);
        if screen != drawn {
            Term::stdout().clear_screen().map_err(|error| unprinted(&error))?;
            print.text(&screen)?;
            drawn = screen;
        }
    }
}

/// What waits for votes, newest first.
async fn waiting(client: &Client, database: Option<&str>) -> Result<Vec<RequestView>, Failure> {
    let mut query = vec![("limit", PAGE.to_owned()), ("status", State::Pending.to_string())];
    query.extend(database.map(|database| ("database", database.to_owned())));
    Ok(client.get::<Page>(&["requests"], &query).await?.requests)
}

/// Does it, and says what came of it. What the API refuses is said, and nothing else happens.
async fn carried_out<W: Write>(client: &Client, wish: Wish, print: &Print<W>) -> Result<String, Failure> {
    let answer = match &wish {
        Wish::Show(id) => client.get::<RequestView>(&["requests", id], &[]).await,
        Wish::Approve(id) => client.post(&["requests", id, "approve"], json!({})).await,
        Wish::Reject(id, reason) => client.post(&["requests", id, "reject"], json!({ "reason": reason })).await,
        Wish::Leave => return Ok(String::new()),
    };
    match answer {
        Ok(view) if matches!(wish, Wish::Show(_)) => Ok(view::full(&view, print.colour, print.width)),
        Ok(view) => Ok(view::line(&view, print.colour).trim_end().to_owned()),
        Err(failure) => Ok(failure.to_string()),
    }
}

/// The keys that are pressed, read by a thread that ends with the program.
fn keys() -> mpsc::Receiver<Key> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        let term = Term::stdout();
        while let Ok(key) = term.read_key_raw() {
            if sender.blocking_send(key).is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: u128, statement: &str) -> RequestView {
        let mut request = crate::store::tests::request(id);
        request.id = crate::review::RequestId(ulid::Ulid(id));
        request.statement = statement.to_owned();
        RequestView { request, seconds_left: Some(60), url: String::new(), details: None }
    }

    fn id(number: u128) -> String {
        ulid::Ulid(number).to_string()
    }

    #[test]
    fn a_key_means_the_request_that_is_marked() {
        let mut desk = Desk::default();
        desk.refresh(vec![request(2, "DELETE FROM b"), request(1, "DELETE FROM a")]);
        assert_eq!(desk.press(Key::Char('a')), None, "nothing is marked");
        desk.press(Key::ArrowDown);
        desk.press(Key::ArrowDown);
        // Another comes and pushes the rows down; the mark stays.
        desk.refresh(vec![request(3, "DELETE FROM c"), request(2, "DELETE FROM b"), request(1, "DELETE FROM a")]);
        assert!(desk.screen(Colour::Off).contains("DELETE FROM a"));
        assert_eq!(desk.press(Key::Char('a')), Some(Wish::Approve(id(1))));
    }

    #[test]
    fn what_does_not_wait_any_more_is_not_decided_about() {
        let mut desk = Desk::default();
        desk.refresh(vec![request(2, "DELETE FROM b"), request(1, "DELETE FROM a")]);
        desk.press(Key::ArrowDown);
        desk.press(Key::Char('r'));
        desk.press(Key::Char('n'));
        desk.refresh(vec![request(1, "DELETE FROM a")]);
        assert!(desk.screen(Colour::Off).contains("does not wait any more"));
        for key in [Key::Enter, Key::Char('a'), Key::Char('r')] {
            assert_eq!(desk.press(key), None);
        }
    }

    #[test]
    fn a_rejection_takes_a_reason() {
        let mut desk = Desk::default();
        desk.refresh(vec![request(1, "DELETE FROM a")]);
        desk.press(Key::ArrowDown);
        desk.press(Key::Char('r'));
        assert_eq!(desk.press(Key::Enter), None, "not an empty one");
        for c in "noa".chars() {
            desk.press(Key::Char(c));
        }
        desk.press(Key::Backspace);
        assert_eq!(desk.press(Key::Enter), Some(Wish::Reject(id(1), "no".to_owned())));
        desk.press(Key::Char('r'));
        desk.press(Key::Escape);
        assert_eq!(desk.press(Key::Char('q')), Some(Wish::Leave), "q is a letter of a reason only while one is typed");
    }

    #[test]
    fn what_deceives_is_spelt_out() {
        let mut desk = Desk::default();
        desk.refresh(vec![request(1, "DELETE FROM a -- \u{202e}\u{1b}[2J")]);
        desk.press(Key::ArrowDown);
        let screen = desk.screen(Colour::Off);
        assert!(screen.contains("<U+202E>") && !screen.contains('\u{1b}'), "{screen}");
    }
}
