//! Comparing what came directly with what came through the proxy.
//!
//! Never forgives silently: each difference that is let pass has its reason here. Invariant: two transcripts are equal,
//! or the first difference is told.

use super::play::{End, Heard};
use crate::support::wire::Frame;

/// OIDs from here on were given to what a script created, and differ.
pub type FirstNewOid = u32;

/// One frame as it is compared, and as it is read.
fn normal(frame: &Frame, first_new: FirstNewOid) -> String {
    let tag = char::from(frame.tag);
    match frame.tag {
        // Where in PostgreSQL's source an error was raised is not part of what is promised.
        b'E' | b'N' => {
            let fields = frame
                .body
                .split(|byte| *byte == 0)
                .filter(|field| !matches!(field.first(), Some(b'F' | b'L' | b'R') | None));
            let fields: Vec<_> = fields.map(String::from_utf8_lossy).collect();
            format!("{tag} {}", fields.join(" "))
        }
        // The process that notifies.
        b'A' => format!("A {}", text(&frame.body[4..])),
        b'T' => format!("T {}", fields(&frame.body, first_new)),
        _ => format!("{tag} {}", text(&frame.body)),
    }
}

fn text(body: &[u8]) -> String {
    body.escape_ascii().to_string()
}

fn fields(body: &[u8], first_new: FirstNewOid) -> String {
    let mut rest = body.get(2..).unwrap_or_default();
    let mut out = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        let (name, field) = rest.split_at(end);
        let Some((field, behind)) = field.split_at_checked(19) else { break };
        let oid = u32::from_be_bytes(field[1..5].try_into().expect("four bytes"));
        let oid = if oid >= first_new { "new".to_owned() } else { oid.to_string() };
        out.push(format!("{}:{oid}:{}", text(name), text(&field[5..])));
        rest = behind;
    }
    out.join(", ")
}

/// Lines for people, and to be compared.
pub fn lines(heard: &Heard, first_new: FirstNewOid) -> Vec<String> {
    heard.frames.iter().map(|frame| normal(frame, first_new)).collect()
}

const FAILED_BLOCK: &str = "E SERROR VERROR C25P02";
const NO_PORTAL: &str = "E SERROR VERROR C34000";

fn is_fatal(line: &str) -> bool {
    line.starts_with("E SFATAL")
}

/// Whether two lines say the same. Of a malformed message, where it is malformed is said in other words; and of one with
/// two mistakes, either may be the first. In a failed transaction block nothing can be done with a portal but to learn that
/// it is of no use: PostgreSQL keeps it until the block ends, the proxy forgets it with the error.
fn is_same(one: Option<&String>, other: Option<&String>) -> bool {
    let is_error = |line: &String| line.starts_with("E SERROR");
    let is_malformed = |line: &String| line.starts_with("E SERROR VERROR C08P01");
    match (one, other) {
        (Some(one), Some(other)) if is_error(one) && is_error(other) && is_malformed(other) => true,
        (Some(one), Some(other)) if one.starts_with(FAILED_BLOCK) && other.starts_with(NO_PORTAL) => true,
        _ => one == other,
    }
}

/// The first difference, if there is one.
pub fn difference(direct: &Heard, proxied: &Heard, first_new: FirstNewOid) -> Option<String> {
    let (mut one, mut other) = (lines(direct, first_new), lines(proxied, first_new));
    if direct.end == End::Closed {
        // The client broke the protocol. PostgreSQL raises an error, then says that it is FATAL; the proxy says so at
        // once, perhaps before what was under way has been answered.
        if proxied.end != End::Closed {
            return Some(format!("PostgreSQL closes the connection, the proxy does not ({:?})", proxied.end));
        }
        let Some(at) = other.iter().position(|line| is_fatal(line)) else {
            return Some("the proxy closes without a reason".to_owned());
        };
        other.truncate(at);
        one.truncate(at);
    }
    let at = (0..one.len().max(other.len())).find(|at| !is_same(one.get(*at), other.get(*at)));
    if let Some(at) = at {
        let show = |lines: &[String]| lines.get(at).cloned().unwrap_or_else(|| "nothing more".to_owned());
        let before = one[at.saturating_sub(3)..at].join("\n    ");
        return Some(format!("after\n    {before}\n  direct:  {}\n  proxied: {}", show(&one), show(&other)));
    }
    (direct.end != proxied.end && proxied.end != End::Closed)
        .then(|| format!("direct ends {:?}, proxied {:?}", direct.end, proxied.end))
}
