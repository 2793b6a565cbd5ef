//! What can be typed into the console.
//!
//! Never carries anything out. Invariant: whatever parses is one command with all of its arguments; nothing behind it is
//! ignored.

use countersign_protocol::sqlstate;

use crate::config::nearest;

use super::failure::Failure;

/// Words that a subject of SHOW, and a command, begin with; for who mistypes one.
const COMMANDS: [&str; 11] =
    ["SHOW", "APPROVE", "REJECT", "CANCEL", "REVOKE", "RELOAD", "PAUSE", "RESUME", "KILL", "SHUTDOWN", "HELP"];

/// What SQL begins with; none of it is a command mistyped.
const SQL: [&str; 16] = [
    "ALTER", "CALL", "COPY", "CREATE", "DELETE", "DO", "DROP", "EXPLAIN", "GRANT", "INSERT", "SELECT", "TABLE",
    "TRUNCATE", "UPDATE", "VALUES", "WITH",
];

/// One command. Ids and times are as they were typed: who carries it out reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Show(Subject),
    /// One request, by its id.
    ShowRequest(String),
    Decide(Decision),
    Reload,
    /// Of one database, or of all.
    Pause(Option<String>),
    Resume(Option<String>),
    Kill(String),
    Shutdown,
    /// What drivers send on their own account and the console has no use for: its command tag.
    Ignored(&'static str),
    /// A constant that drivers and pools ask for to see whether anybody is there.
    Constant(&'static str, String),
    /// psql asks how what stands behind SHOW goes on.
    Completions(String),
}

/// What somebody does about a request or a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) id: String,
    pub(super) does: Deed,
}

/// What there is to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// On demand with a grant for a time.
    Approve {
        reason: Option<String>,
        time: Option<String>,
    },
    Reject {
        reason: String,
    },
    Cancel {
        reason: Option<String>,
    },
    Revoke {
        reason: Option<String>,
    },
}

/// What SHOW shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Help,
    Requests,
    Grants,
    Sessions,
    Databases,
    Rules,
    Masks,
    Stats,
    Pools,
    Notifications,
    Config,
    Version,
}

impl Subject {
    pub(super) const ALL: [(&'static str, Self); 12] = [
        ("HELP", Self::Help),
        ("REQUESTS", Self::Requests),
        ("GRANTS", Self::Grants),
        ("SESSIONS", Self::Sessions),
        ("DATABASES", Self::Databases),
        ("RULES", Self::Rules),
        ("MASKS", Self::Masks),
        ("STATS", Self::Stats),
        ("POOLS", Self::Pools),
        ("NOTIFICATIONS", Self::Notifications),
        ("CONFIG", Self::Config),
        ("VERSION", Self::Version),
    ];
}

/// A piece of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    /// `$1` is 0.
    Parameter(usize),
    Mark(char),
}

/// A token, and where it begins, in characters from 1.
type Placed = (Token, usize);

/// The commands of a text, which are separated by semicolons. A parameter stands for its value; where there are no values
/// yet, for an empty text.
pub(super) fn parse(text: &str, values: Option<&[String]>) -> Result<Vec<Command>, Failure> {
    let tokens = tokens(text)?;
    tokens
        .split(|(token, _)| *token == Token::Mark(';'))
        .filter(|tokens| !tokens.is_empty())
        .map(|tokens| Reader { tokens, values, text_len: text.chars().count() }.command(text))
        .collect()
}

/// How many parameters the text takes.
pub(super) fn parameters(text: &str) -> Result<usize, Failure> {
    let numbers = tokens(text)?.into_iter().filter_map(|(token, _)| match token {
        Token::Parameter(number) => Some(number + 1),
        Token::Word(_) | Token::Text(_) | Token::Mark(_) => None,
    });
    Ok(numbers.max().unwrap_or(0))
}

/// Reads the tokens of one command, one after the other.
struct Reader<'t> {
    tokens: &'t [Placed],
    values: Option<&'t [String]>,
    text_len: usize,
}

impl Reader<'_> {
    fn command(mut self, text: &str) -> Result<Command, Failure> {
        let at = self.place();
        let verb = self.word().unwrap_or_default().to_ascii_uppercase();
        let command = match verb.as_str() {
            "SHOW" => self.show()?,
            "HELP" => Command::Show(Subject::Help),
            "APPROVE" | "REJECT" | "CANCEL" | "REVOKE" => self.decision(&verb)?,
            "RELOAD" => Command::Reload,
            "PAUSE" => Command::Pause(self.optional_argument()?),
            "RESUME" => Command::Resume(self.optional_argument()?),
            "KILL" => Command::Kill(self.argument("a session, as SHOW SESSIONS names it")?),
            "SHUTDOWN" => Command::Shutdown,
            _ => return self.of_drivers(&verb, text).ok_or_else(|| unknown(&verb, at)),
        };
        match self.tokens.first() {
            None => Ok(command),
            Some(_) => Err(self.expected("nothing more")),
        }
    }

    fn decision(&mut self, verb: &str) -> Result<Command, Failure> {
        let id = self.argument("the id of a request or grant")?;
        let does = match verb {
            "APPROVE" => {
                let (reason, time) = self.reason_and_time()?;
                Deed::Approve { reason, time }
            }
            "REJECT" => {
                let reason = self.reason()?;
                Deed::Reject { reason: reason.ok_or_else(|| self.expected("REASON '…'"))? }
            }
            "CANCEL" => Deed::Cancel { reason: self.reason()? },
            _ => Deed::Revoke { reason: self.reason()? },
        };
        Ok(Command::Decide(Decision { id, does }))
    }

    fn show(&mut self) -> Result<Command, Failure> {
        let at = self.place();
        let word = self.word().ok_or_else(|| self.expected("what to show, such as REQUESTS"))?.to_ascii_uppercase();
        if word == "REQUEST" {
            return Ok(Command::ShowRequest(self.argument("the id of a request")?));
        }
        let known = Subject::ALL.iter().find(|(name, _)| *name == word);
        known.map(|(_, subject)| Command::Show(*subject)).ok_or_else(|| {
            let near = nearest(&word, Subject::ALL.iter().map(|(name, _)| *name));
            let hint = near.map(|near| format!("Did you mean SHOW {near}?"));
            let hint = hint.unwrap_or_else(|| "SHOW HELP lists what there is.".to_owned());
            Failure::new(
                sqlstate::UNDEFINED_OBJECT,
                format!("there is nothing called \"{}\" to show", word.to_lowercase()),
            )
            .at(at)
            .hint(hint)
        })
    }

    /// What drivers and pools send that is no command of the console.
    fn of_drivers(&mut self, verb: &str, text: &str) -> Option<Command> {
        let ignored = ["SET", "RESET", "BEGIN", "START", "COMMIT", "ROLLBACK", "DISCARD", "DEALLOCATE"];
        if let Some(tag) = ignored.into_iter().find(|tag| *tag == verb) {
            return Some(Command::Ignored(if tag == "START" { "BEGIN" } else { tag }));
        }
        if verb != "SELECT" {
            return None;
        }
        if let Some(prefix) = completed(text) {
            return Some(Command::Completions(prefix));
        }
        let words: Vec<_> = self.tokens.iter().map(|(token, _)| token).collect();
        match words.as_slice() {
            [Token::Word(number)] if number.parse::<i32>().is_ok() => {
                Some(Command::Constant("?column?", number.to_string()))
            }
            [Token::Word(name), Token::Mark('('), Token::Mark(')')] if name.eq_ignore_ascii_case("version") => {
                Some(Command::Constant("version", super::version()))
            }
            _ => None,
        }
    }

    /// `REASON '…'` and `FOR '…'`, each once, in any order.
    fn reason_and_time(&mut self) -> Result<(Option<String>, Option<String>), Failure> {
        let (mut reason, mut time) = (None, None);
        loop {
            if reason.is_none() && self.takes("REASON") {
                reason = Some(self.argument("a reason, such as 'ticket 4711'")?);
            } else if time.is_none() && self.takes("FOR") {
                time = Some(self.argument("a time, such as '30m'")?);
            } else {
                return Ok((reason, time));
            }
        }
    }

    fn reason(&mut self) -> Result<Option<String>, Failure> {
        self.takes("REASON").then(|| self.argument("a reason, such as 'not today'")).transpose()
    }

    /// Skips that keyword, if it is next.
    fn takes(&mut self, keyword: &str) -> bool {
        let is_next = matches!(self.tokens.first(), Some((Token::Word(word), _)) if word.eq_ignore_ascii_case(keyword));
        if is_next {
            self.tokens = &self.tokens[1..];
        }
        is_next
    }

    fn word(&mut self) -> Option<String> {
        let (Token::Word(word), _) = self.tokens.first()? else { return None };
        self.tokens = &self.tokens[1..];
        Some(word.clone())
    }

    fn optional_argument(&mut self) -> Result<Option<String>, Failure> {
        if self.tokens.is_empty() { Ok(None) } else { self.argument("the name of a database").map(Some) }
    }

    fn argument(&mut self, what: &str) -> Result<String, Failure> {
        let value = match self.tokens.first() {
            Some((Token::Word(text) | Token::Text(text), _)) => text.clone(),
            Some((Token::Parameter(number), at)) => match self.values {
                None => String::new(),
                Some(values) => values.get(*number).cloned().ok_or_else(|| {
                    Failure::new(sqlstate::UNDEFINED_PARAMETER, format!("there is no parameter ${}", number + 1))
                        .at(*at)
                })?,
            },
            Some((Token::Mark(_), _)) | None => return Err(self.expected(what)),
        };
        self.tokens = &self.tokens[1..];
        Ok(value)
    }

    /// Where the next token begins, or the text ends.
    fn place(&self) -> usize {
        self.tokens.first().map_or(self.text_len + 1, |(_, at)| *at)
    }

    fn expected(&self, what: &str) -> Failure {
        let found = match self.tokens.first() {
            Some((Token::Word(text) | Token::Text(text), _)) => format!("syntax error at or near \"{text}\""),
            Some((Token::Parameter(number), _)) => format!("syntax error at or near \"${}\"", number + 1),
            Some((Token::Mark(mark), _)) => format!("syntax error at or near \"{mark}\""),
            None => "syntax error at end of input".to_owned(),
        };
        Failure::new(sqlstate::SYNTAX_ERROR, found).at(self.place()).hint(format!("Expected {what}."))
    }
}

fn unknown(verb: &str, at: usize) -> Failure {
    let hint = match nearest(verb, COMMANDS).filter(|_| !SQL.contains(&verb)) {
        Some(near) => format!("Did you mean {near}? SHOW HELP lists the commands."),
        None => "This is the console of the proxy, which takes no SQL. SHOW HELP lists its commands.".to_owned(),
    };
    let what = if verb.is_empty() { "syntax error".to_owned() } else { format!("there is no command {verb}") };
    Failure::new(sqlstate::SYNTAX_ERROR, what).at(at).hint(hint)
}

/// What psql wants completed: it asks for the names of settings that begin with something, whenever somebody presses Tab
/// behind SHOW.
fn completed(text: &str) -> Option<String> {
    let (_, behind) = text.split_once("pg_catalog.pg_settings")?;
    let (_, pattern) = behind.split_once("LIKE")?;
    let (_, quoted) = pattern.split_once('\'')?;
    let (prefix, _) = quoted.split_once('%')?;
    Some(prefix.replace('\\', ""))
}

fn tokens(text: &str) -> Result<Vec<Placed>, Failure> {
    let letters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&letter) = letters.get(at) {
        let begin = at;
        let while_word = |mut end: usize| {
            while letters.get(end).is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.')) {
                end += 1;
            }
            end
        };
        let token = match letter {
            c if c.is_whitespace() => {
                at += 1;
                continue;
            }
            '-' if letters.get(at + 1) == Some(&'-') => {
                at = letters[at..].iter().position(|c| *c == '\n').map_or(letters.len(), |length| at + length);
                continue;
            }
            '\'' | '"' => {
                let (quoted, end) = quoted(&letters, at)
                    .ok_or_else(|| Failure::new(sqlstate::SYNTAX_ERROR, "unterminated quoted string").at(begin + 1))?;
                at = end;
                Token::Text(quoted)
            }
            '$' => {
                at = while_word(at + 1);
                let digits: String = letters[begin + 1..at].iter().collect();
                let number = digits.parse::<usize>().ok().filter(|number| (1..=16).contains(number));
                let wrong = || Failure::new(sqlstate::SYNTAX_ERROR, format!("there is no parameter ${digits}"));
                Token::Parameter(number.ok_or_else(|| wrong().at(begin + 1))? - 1)
            }
            c if c.is_alphanumeric() || c == '_' => {
                at = while_word(at);
                Token::Word(letters[begin..at].iter().collect())
            }
            mark => {
                at += 1;
                Token::Mark(mark)
            }
        };
        tokens.push((token, begin + 1));
    }
    Ok(tokens)
}

/// What stands between the quotes that begin there, doubled ones taken for one, and where it goes on.
fn quoted(letters: &[char], begin: usize) -> Option<(String, usize)> {
    let quote = *letters.get(begin)?;
    let (mut text, mut at) = (String::new(), begin + 1);
    loop {
        let letter = *letters.get(at)?;
        at += 1;
        match letter {
            c if c != quote => text.push(c),
            _ if letters.get(at) == Some(&quote) => {
                text.push(quote);
                at += 1;
            }
            _ => return Some((text, at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Command {
        let mut all = parse(text, None).unwrap_or_else(|failure| panic!("{text}: {failure:?}"));
        assert_eq!(all.len(), 1, "{text}");
        all.remove(0)
    }

    #[track_caller]
    fn fails(text: &str, at: usize, hint: &str) {
        let failure = parse(text, None).expect_err(text);
        assert_eq!(failure.position, Some(at), "{text}: {failure:?}");
        assert!(failure.hint.as_deref().unwrap_or_default().contains(hint), "{text}: {failure:?}");
    }

    #[test]
    fn commands_are_read_whatever_their_case() {
        assert_eq!(one("show requests;"), Command::Show(Subject::Requests));
        assert_eq!(one("SHOW REQUEST 01KDY"), Command::ShowRequest("01KDY".to_owned()));
        let does = Deed::Approve { reason: Some("it's fine; really".to_owned()), time: Some("30m".to_owned()) };
        let approve = Command::Decide(Decision { id: "01KDY".to_owned(), does });
        assert_eq!(one("approve 01KDY reason 'it''s fine; really' for '30m'"), approve);
        assert_eq!(one("APPROVE '01KDY' FOR '30m' REASON 'it''s fine; really' -- done"), approve);
        assert_eq!(one("PAUSE \"my-db\""), Command::Pause(Some("my-db".to_owned())));
        assert_eq!(one("resume"), Command::Resume(None));
        assert_eq!(one("KILL 1767225600-12"), Command::Kill("1767225600-12".to_owned()));
        assert_eq!(parse("show stats; show pools;;", None).unwrap().len(), 2);
    }

    #[test]
    fn parameters_stand_for_their_values() {
        let values = ["01KDY".to_owned(), "APPROVE 'x'".to_owned()];
        let all = parse("REJECT $1 REASON $2", Some(&values)).unwrap();
        assert_eq!(
            all,
            [Command::Decide(Decision { id: values[0].clone(), does: Deed::Reject { reason: values[1].clone() } })]
        );
        assert_eq!(parameters("REJECT $1 REASON $2").unwrap(), 2);
        assert!(parse("REJECT $1 REASON $3", Some(&values)).is_err());
        assert!(parse("REJECT $0 REASON 'x'", None).is_err());
    }

    #[test]
    fn what_is_no_command_says_where_and_what_to_do() {
        fails("SHOW REQESTS", 6, "Did you mean SHOW REQUESTS?");
        fails("APROVE 1", 1, "Did you mean APPROVE?");
        fails("SELECT * FROM customers", 1, "takes no SQL");
        fails("UPDATE customers SET name = 'x'", 1, "SHOW HELP");
        fails("REJECT 01KDY", 13, "REASON");
        fails("REJECT 01KDY 'no'", 14, "REASON");
        fails("APPROVE 01KDY REASON 'x' REASON 'y'", 26, "nothing more");
        fails("SHUTDOWN NOW", 10, "nothing more");
        fails("KILL", 5, "SHOW SESSIONS");
        assert_eq!(parse("REJECT 1 REASON 'open", None).expect_err("open").position, Some(17));
    }

    #[test]
    fn what_drivers_send_on_their_own_is_known() {
        assert_eq!(one("SET extra_float_digits = 3"), Command::Ignored("SET"));
        assert_eq!(one("START TRANSACTION READ ONLY"), Command::Ignored("BEGIN"));
        assert_eq!(one("select 1"), Command::Constant("?column?", "1".to_owned()));
        assert_eq!(one("SELECT version()"), Command::Constant("version", super::super::version()));
        let tab = "SELECT pg_catalog.lower(name) FROM pg_catalog.pg_settings \
                   WHERE pg_catalog.lower(name) LIKE pg_catalog.lower('req%')\nLIMIT 1000";
        assert_eq!(one(tab), Command::Completions("req".to_owned()));
    }
}
