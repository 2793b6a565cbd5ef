//! What the demo prints at its start: which line to paste into which terminal.
//!
//! Never prints to a file or pipe what only a terminal understands. Invariant: every line that is to be pasted stands
//! alone on its line and is complete.

use std::fmt::Write;
use std::io::IsTerminal;
use std::path::PathBuf;

use super::Demo;

/// Terminal colours, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// ANSI escape sequences.
    Colour,
    /// Text only.
    Plain,
}

/// How a piece of text is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// A heading.
    Strong,
    /// To be pasted.
    Command,
    /// Explanation.
    Quiet,
    /// Allowed, approved, done.
    Good,
    /// Waits.
    Waiting,
    /// Denied, rejected, failed.
    Bad,
}

impl Paint {
    /// For standard output as it is: colours on a terminal, unless `NO_COLOR` is set (<https://no-color.org>) or the
    /// terminal is dumb.
    #[must_use]
    pub fn for_stdout() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        match std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb {
            true => Self::Colour,
            false => Self::Plain,
        }
    }

    /// The text in that tone.
    #[must_use]
    pub fn text(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Strong => "1",
            Tone::Command => "36",
            Tone::Quiet => "2",
            Tone::Good => "32",
            Tone::Waiting => "33",
            Tone::Bad => "31",
        };
        match self {
            Self::Colour => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Plain => text.to_owned(),
        }
    }
}

/// The whole guide, ending with a newline.
#[must_use]
pub fn guide(demo: &Demo, paint: Paint) -> String {
    let mut lines = Lines { paint, text: String::new() };
    let (postgres, web) = (demo.postgres(), demo.web());
    lines.line(Tone::Strong, "Countersign demo");
    lines.line(
        Tone::Quiet,
        &format!(
            "PostgreSQL {} with a sample shop, and a proxy in front of it on {postgres}. Ctrl-C ends both and removes them.",
            demo.server().version()
        ),
    );
    let program = program_name();
    for person in demo.people() {
        match person.group {
            "engineering" => {
                lines.heading(&format!("In one terminal, {}, an engineer:", person.name));
                lines.command(&format!(
                    "PGPASSWORD={} psql -h {} -p {} -U {} -d shop",
                    person.password,
                    postgres.ip(),
                    postgres.port(),
                    person.name
                ));
                lines.line(Tone::Quiet, "  and there, one after the other:");
                lines.statement(
                    "SELECT name, email, phone, ssn, card FROM customers LIMIT 3;",
                    "personal data is masked",
                );
                lines.statement("SELECT 'leak ' || upper(email) AS harmless FROM customers LIMIT 3;", "here too");
                lines.statement("UPDATE orders SET status = 'shipped' WHERE id = 4;", "waits until bob agrees");
                lines.statement("DROP TABLE payments;", "denied");
            }
            _ => {
                lines.heading(&format!("In a browser, {}, a database administrator:", person.name));
                lines.command(&format!("http://{web}"));
                lines.line(Tone::Quiet, &format!("  name: {}, password: {}", person.name, person.password));
                lines.heading("Or in another terminal:");
                lines.command(&format!("export COUNTERSIGN_URL=http://{web} COUNTERSIGN_TOKEN={}", person.token));
                lines.command(&format!("{program} requests watch"));
                lines.command(&format!("{program} requests approve ID"));
                lines.line(Tone::Quiet, "  or: requests reject ID --reason '…', requests show ID");
            }
        }
    }
    lines.heading("What happens:");
    lines.text
}

/// `countersign` when that is what the shell would find, otherwise the path of this very program.
fn program_name() -> String {
    let name = "countersign";
    let running = std::env::current_exe().unwrap_or_else(|_| PathBuf::from(name));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join(name)).find(|program| program.is_file());
    match found {
        Some(found) if found.canonicalize().ok() == running.canonicalize().ok() => name.to_owned(),
        Some(_) | None => running.display().to_string(),
    }
}

struct Lines {
    paint: Paint,
    text: String,
}

impl Lines {
    fn line(&mut self, tone: Tone, text: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{}", self.paint.text(tone, text));
    }

    fn heading(&mut self, text: &str) {
        self.text.push('\n');
        self.line(Tone::Strong, text);
    }

    fn command(&mut self, text: &str) {
        let _ = writeln!(self.text, "  {}", self.paint.text(Tone::Command, text));
    }

    fn statement(&mut self, statement: &str, effect: &str) {
        let effect = self.paint.text(Tone::Quiet, &format!("-- {effect}"));
        let _ = writeln!(self.text, "    {}  {effect}", self.paint.text(Tone::Command, statement));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_has_no_escape_sequences() {
        assert_eq!(Paint::Plain.text(Tone::Bad, "denied"), "denied");
        assert_eq!(Paint::Colour.text(Tone::Bad, "denied"), "\x1b[31mdenied\x1b[0m");
    }
}
