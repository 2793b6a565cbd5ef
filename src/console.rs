//! The console: the proxy as a database of that name, in psql or any other client.
//!
//! Never takes SQL, and never decides who may do what: [`Review`](crate::review::Review) does. Invariant: a command that changes
//! something, or that was refused, is on record; where no record can be made, nothing is done.

use std::sync::Arc;

use countersign_protocol::sqlstate;
use jiff::Timestamp;
use tokio::sync::Semaphore;

use crate::audit::Record;
use crate::config::{CONSOLE, Config};
use crate::connection::{greet, refuse};
use crate::duration;
use crate::fault::with_causes;
use crate::identity::{Principal, Scopes};
use crate::review::{Act, Actor, Consent, GrantId, Offer, RequestId, ReviewError, Scope, Surface};
use crate::roles;
use crate::server::Shared;
use crate::session::messages::fatal;
use crate::session::startup::ClientHandshake;
use crate::sessions::{Connected, Entered};

mod command;
mod failure;
mod show;
mod table;
mod wire;

use command::{Command, Decision, Deed, Subject};
use failure::Failure;
use table::Row;

/// How many consoles may be open. They take no place from clients of databases, and none is taken from them.
const CONSOLES_MAX: usize = 100;
/// How many of them one user may have.
const PER_USER_MAX: usize = 10;
static CONSOLES: Semaphore = Semaphore::const_new(CONSOLES_MAX);

/// Why nothing is done.
const UNRECORDED: &str = "the proxy cannot keep a record of this session";

/// What SHOW HELP shows.
const HELP: [(&str, &str); 22] = [
    ("SHOW REQUESTS", "what waits for approval or to be sent again, as far as you may see it"),
    ("SHOW REQUEST <id>", "one request: statement, effects, plan, votes"),
    ("APPROVE <id> [REASON '…'] [FOR '30m']", "approve a request, on demand with a grant for a time; or a grant"),
    ("REJECT <id> REASON '…'", "reject a request or a grant; the requester reads the reason"),
    ("CANCEL <id> [REASON '…']", "withdraw what you have asked for"),
    ("REVOKE <id> [REASON '…']", "end a grant, or take back an approval that was not used"),
    ("SHOW GRANTS", "grants that are asked for or in force"),
    ("SHOW DATABASES", "the databases, and what happens where no rule speaks"),
    ("SHOW RULES", "the rules, in words"),
    ("SHOW MASKS", "the masks, in words"),
    ("SHOW VERSION", "version of the proxy"),
    ("SHOW SESSIONS", "who is connected (admins)"),
    ("SHOW STATS", "statements by verdict since the start (admins)"),
    ("SHOW POOLS", "sessions by database and user (admins)"),
    ("SHOW NOTIFICATIONS", "what others were told, and what waits to be told (admins)"),
    ("SHOW CONFIG", "what is in force (admins)"),
    ("RELOAD", "read the configuration file again (admins)"),
    ("PAUSE [<database>]", "let no transaction begin; running ones end (admins)"),
    ("RESUME [<database>]", "let transactions begin again (admins)"),
    ("KILL <session>", "end a session, cancelling what it runs (admins)"),
    ("SHUTDOWN", "end the proxy as SIGTERM does (admins)"),
    ("\\q", "leave"),
];

/// What SHOW VERSION and `SELECT version()` say.
fn version() -> String {
    format!("Countersign {}", env!("CARGO_PKG_VERSION"))
}

/// One session of the console.
struct Console {
    shared: Arc<Shared>,
    session: String,
    user: String,
}

/// What a command answers with.
enum Reply {
    Rows(Vec<Row>),
    Done(String),
}

/// Serves a client that has authenticated and named the console as its database.
pub(crate) async fn serve(mut handshake: Box<ClientHandshake>, shared: Arc<Shared>) {
    let Ok(_place) = CONSOLES.try_acquire() else {
        let message = format!("there are {CONSOLES_MAX} consoles open already");
        return refuse(&mut handshake.stream, &fatal(sqlstate::TOO_MANY_CONNECTIONS, &message, None)).await;
    };
    if shared.sessions.count(CONSOLE, &handshake.user) >= PER_USER_MAX {
        let message = format!("you have {PER_USER_MAX} consoles open already");
        return refuse(&mut handshake.stream, &fatal(sqlstate::TOO_MANY_CONNECTIONS, &message, None)).await;
    }
    let session = shared.session_name();
    let (entered, orders) = enter(&handshake, &shared, &session);
    let (key, _cancels) = shared.cancels.register(None, handshake.cancel_secret_len, Arc::default());
    let parameters = parameters(&handshake);
    if let Err(error) = greet(&mut handshake.stream, &parameters, &key).await {
        tracing::debug!(%error, "client left during the greeting");
        return;
    }
    if !record_open(&shared, &session, &handshake) {
        return refuse(&mut handshake.stream, &fatal(sqlstate::IO_ERROR, UNRECORDED, None)).await;
    }
    let ClientHandshake { stream, unread, user, .. } = *handshake;
    let console = Console { shared: Arc::clone(&shared), session: session.clone(), user: user.clone() };
    let reason = wire::run(Arc::new(console), stream, unread, orders).await;
    drop(entered);
    let record = Record::SessionClose { session: &session, user: &user, database: CONSOLE, reason };
    if let Err(error) = shared.audit.record(Timestamp::now(), &record) {
        tracing::error!(%error, "could not record the end of a session");
    }
}

fn enter(
    handshake: &ClientHandshake,
    shared: &Shared,
    session: &str,
) -> (Entered, tokio::sync::watch::Receiver<crate::sessions::Order>) {
    let who = Connected {
        user: handshake.user.clone(),
        database: CONSOLE.to_owned(),
        application: application(handshake).to_owned(),
        client_address: handshake.peer.clone(),
        process_id: None,
        since: Timestamp::now(),
    };
    shared.sessions.enter(session, who, Arc::default())
}

fn application(handshake: &ClientHandshake) -> &str {
    let found = handshake.parameters.iter().find(|(name, _)| name == "application_name");
    found.map_or("", |(_, value)| value)
}

fn record_open(shared: &Shared, session: &str, handshake: &ClientHandshake) -> bool {
    let record = Record::SessionOpen {
        session,
        user: &handshake.user,
        database: CONSOLE,
        client_address: &handshake.peer,
        application: application(handshake),
    };
    shared.audit.record(Timestamp::now(), &record).is_ok() || shared.config().audit.fail_open
}

/// What drivers want to know of a server.
fn parameters(handshake: &ClientHandshake) -> Vec<(String, String)> {
    let server_version = format!("14.0 ({})", version());
    let fixed = [
        // Old enough for no client to warn that it is older than the server.
        ("server_version", server_version.as_str()),
        ("server_encoding", "UTF8"),
        ("client_encoding", "UTF8"),
        ("DateStyle", "ISO, MDY"),
        ("IntervalStyle", "postgres"),
        ("TimeZone", "UTC"),
        ("integer_datetimes", "on"),
        ("standard_conforming_strings", "on"),
        ("is_superuser", "off"),
        ("session_authorization", &handshake.user),
        ("application_name", application(handshake)),
    ];
    fixed.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

impl Console {
    /// Carries a command out; text and values of its parameters are what is put on record.
    async fn execute(&self, command: Command, text: (&str, &[String])) -> Result<Reply, Failure> {
        let config = self.shared.config();
        let mut groups = config.groups_of(&self.user);
        let by_provider = self.shared.review.groups_of(&self.user);
        if config.user(&self.user).is_none() && by_provider.is_empty() {
            return Err(Failure::new(sqlstate::INSUFFICIENT_PRIVILEGE, "the configuration knows you no longer"));
        }
        roles::add(&mut groups, by_provider);
        let who = Principal { name: self.user.clone(), groups, scopes: Scopes::all() };
        if needs_admin(&command) && !self.shared.review.configures(&who.groups) {
            self.record(text, false)?;
            return Err(Failure::new(sqlstate::INSUFFICIENT_PRIVILEGE, "only members of admin may do this"));
        }
        // A decision is on record by itself, and its command once it is known whether it was permitted.
        let is_silent = matches!(command, Command::Ignored(_) | Command::Constant(..) | Command::Completions(_));
        if !is_silent && !matches!(command, Command::Decide(_)) {
            self.record(text, true)?;
        }
        Ok(match command {
            Command::Show(subject) => Reply::Rows(self.show(subject, &who).await?),
            Command::ShowRequest(id) => Reply::Rows(self.show_request(request_id(&id)?, &who).await?),
            Command::Reload => Reply::Done(self.reload(&config).await?),
            Command::Pause(database) => Reply::Done(self.pause(database, true)?),
            Command::Resume(database) => Reply::Done(self.pause(database, false)?),
            Command::Kill(session) => Reply::Done(self.kill(&session)?),
            Command::Shutdown => {
                self.shared.stop();
                Reply::Done("SHUTDOWN".to_owned())
            }
            Command::Constant(_, value) => Reply::Rows(vec![vec![constant(value)]]),
            Command::Completions(prefix) => Reply::Rows(completions(&prefix)),
            Command::Ignored(tag) => Reply::Done(tag.to_owned()),
            Command::Decide(decision) => self.decide(decision, text, &who).await?,
        })
    }

    fn actor(&self, who: &Principal) -> Actor {
        Actor { name: who.name.clone(), groups: who.groups.clone(), surface: Surface::Console }
    }

    /// Decides, if that may be done here.
    async fn decide(&self, decision: Decision, text: (&str, &[String]), who: &Principal) -> Result<Reply, Failure> {
        let withdraws = matches!(decision.does, Deed::Cancel { .. });
        let done = if withdraws || self.shared.config().review.console_decides {
            self.act(decision, who).await
        } else {
            let page = self.shared.public_url();
            Err(Failure::new(sqlstate::INSUFFICIENT_PRIVILEGE, "decisions are not taken in the console")
                .hint(format!("Decide on the page, {page}; [review] console_decides allows it here.")))
        };
        let refused = done.as_ref().err().is_some_and(Failure::is_refusal);
        self.record(text, !refused)?;
        done.map(Reply::Done)
    }

    /// Decides about a request, or about the grant of that id where there is no such request.
    async fn act(&self, Decision { id, does }: Decision, who: &Principal) -> Result<String, Failure> {
        let (tag, act) = match does {
            Deed::Approve { reason, time } => {
                let time = time.map(|time| seconds(&time)).transpose()?;
                let offer = time.map(|seconds| Offer { seconds, scope: Scope::Rules });
                let consent = Consent { offer, ..reason.into() };
                ("APPROVE", Act::Approve(consent))
            }
            Deed::Reject { reason } => ("REJECT", Act::Reject(Some(reason))),
            Deed::Cancel { reason } => ("CANCEL", Act::Cancel(reason)),
            Deed::Revoke { reason } => ("REVOKE", Act::Revoke(reason)),
        };
        let (review, actor, now) = (&self.shared.review, self.actor(who), Timestamp::now());
        let id = request_id(&id)?;
        let with_grant = matches!(&act, Act::Approve(consent) if consent.offer.is_some());
        match review.act(id, &actor, act.clone(), now).await {
            Ok(request) => Ok(format!("{tag} {}", request.state)),
            Err(ReviewError::NotFound) if !with_grant => {
                match review.act_on_grant(GrantId(id.0), &actor, act, now).await {
                    Ok(grant) => Ok(format!("{tag} {}", grant.state)),
                    Err(ReviewError::NoSuchGrant) => Err(no_such(&id)),
                    Err(error) => Err(error.into()),
                }
            }
            Err(ReviewError::NotFound) => Err(no_such(&id)),
            Err(error) => Err(error.into()),
        }
    }

    async fn reload(&self, now: &Config) -> Result<String, Failure> {
        let path = now.path.clone();
        let loading = tokio::task::spawn_blocking(move || Config::load(&path));
        let failed = |why: String| {
            Failure::new(sqlstate::INVALID_PARAMETER_VALUE, format!("the configuration stays as it was: {why}"))
        };
        let config = match loading.await {
            Ok(Ok(config)) => config,
            Ok(Err(problems)) => return Err(failed(problems.to_string())),
            Err(_panicked) => return Err(failed("it could not be read".to_owned())),
        };
        self.shared.reload(config).await.map_err(|error| failed(with_causes(&error)))?;
        Ok("RELOAD".to_owned())
    }

    fn pause(&self, database: Option<String>, is_paused: bool) -> Result<String, Failure> {
        let known = self.shared.databases();
        let chosen: Vec<_> = match database {
            None => known.keys().cloned().collect(),
            Some(name) if known.contains_key(&name) => vec![name],
            Some(name) => {
                let message = format!("there is no database \"{name}\"");
                return Err(Failure::new(sqlstate::UNDEFINED_OBJECT, message).hint("SHOW DATABASES lists them."));
            }
        };
        chosen.iter().for_each(|name| self.shared.sessions.pause(name, is_paused));
        Ok(if is_paused { "PAUSE" } else { "RESUME" }.to_owned())
    }

    fn kill(&self, session: &str) -> Result<String, Failure> {
        if self.shared.sessions.kill(session) {
            return Ok("KILL".to_owned());
        }
        let message = format!("there is no session \"{session}\"");
        Err(Failure::new(sqlstate::UNDEFINED_OBJECT, message).hint("SHOW SESSIONS lists them."))
    }

    /// Puts a command on record; where that fails, it must not be carried out.
    fn record(&self, (command, parameters): (&str, &[String]), permitted: bool) -> Result<(), Failure> {
        let record =
            Record::ConsoleCommand { session: &self.session, user: &self.user, command, parameters, permitted };
        match self.shared.audit.record(Timestamp::now(), &record) {
            Ok(()) => Ok(()),
            Err(error) if self.shared.config().audit.fail_open => {
                tracing::error!(%error, "could not record a command of the console");
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "could not record a command of the console");
                Err(Failure::new(sqlstate::IO_ERROR, UNRECORDED))
            }
        }
    }
}

fn needs_admin(command: &Command) -> bool {
    match command {
        Command::Show(subject) => match subject {
            Subject::Sessions | Subject::Stats | Subject::Pools | Subject::Notifications | Subject::Config => true,
            Subject::Help
            | Subject::Requests
            | Subject::Grants
            | Subject::Databases
            | Subject::Rules
            | Subject::Masks
            | Subject::Version => false,
        },
        Command::Reload | Command::Pause(_) | Command::Resume(_) | Command::Kill(_) | Command::Shutdown => true,
        Command::ShowRequest(_)
        | Command::Decide(_)
        | Command::Ignored(_)
        | Command::Constant(..)
        | Command::Completions(_) => false,
    }
}

fn request_id(text: &str) -> Result<RequestId, Failure> {
    ulid::Ulid::from_string(text).map(RequestId).map_err(|_invalid| {
        let message = format!("\"{}\" is no id", crate::visible::line(crate::visible::head(text, 64)));
        Failure::new(sqlstate::INVALID_PARAMETER_VALUE, message).hint("SHOW REQUESTS and SHOW GRANTS list ids.")
    })
}

fn no_such(id: &RequestId) -> Failure {
    Failure::new(sqlstate::UNDEFINED_OBJECT, format!("there is no request or grant {id}"))
        .hint("SHOW REQUESTS and SHOW GRANTS list those that you may see.")
}

fn seconds(text: &str) -> Result<u64, Failure> {
    let wrong = || Failure::new(sqlstate::INVALID_PARAMETER_VALUE, "FOR takes a time such as '90s', '30m' or '2h'");
    duration::parse(text).map(|time| time.as_secs()).ok_or_else(wrong)
}

fn constant(value: String) -> table::Value {
    value.parse().map_or(table::Value::Text(value), table::Value::Int)
}

/// What SHOW can go on with, in small letters as psql wants it.
fn completions(prefix: &str) -> Vec<Row> {
    let subjects = Subject::ALL.iter().map(|(name, _)| *name).chain(["REQUEST"]).map(str::to_ascii_lowercase);
    subjects.filter(|name| name.starts_with(&prefix.to_ascii_lowercase())).map(|name| vec![name.into()]).collect()
}
