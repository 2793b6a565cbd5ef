//! What SHOW shows: rows of what the person who asks may know.
//!
//! Never decides who may know what; [`Review`](crate::review::Review) does. Invariant: what comes from clients is shown with what deceives
//! spelt out, and on one line except a request's own page.

use std::collections::BTreeMap;

use countersign_policy::rule::{DatabasePolicy, Rule, Stage};
use jiff::Timestamp;

use super::command::{Command, Subject};
use super::failure::Failure;
use super::table::{Column, Row, Value, int, text};
use super::{Console, HELP};
use crate::cli::grants::scope;
use crate::cli::output::Colour;
use crate::cli::requests::view;
use crate::config::{Config, told};
use crate::drain::Phase;
use crate::identity::Principal;
use crate::review::{AccessRequest, RequestId, ReviewError, State};
use crate::store::outbox::{DELIVERIES_MAX, Delivery, DeliveryFilter, DeliveryState};
use crate::store::{Filter, GrantFilter, PAGE_MAX};
use crate::visible::line;
use crate::web::{Details, RequestView};

/// How much of a statement a list shows, in characters.
const HEAD_CHARS: usize = 60;

/// The columns of what a command shows; none of one that shows nothing.
pub(super) fn columns(command: &Command) -> Vec<Column> {
    let subject = match command {
        Command::Show(subject) => *subject,
        Command::ShowRequest(_) => return vec![text("request")],
        Command::Constant("?column?", _) => return vec![int("?column?")],
        Command::Constant(name, _) => return vec![text(name)],
        Command::Completions(_) => return vec![text("name")],
        Command::Decide(_)
        | Command::Reload
        | Command::Pause(_)
        | Command::Resume(_)
        | Command::Kill(_)
        | Command::Shutdown
        | Command::Ignored(_) => return Vec::new(),
    };
    match subject {
        Subject::Help => vec![text("command"), text("what_it_does")],
        Subject::Requests => {
            let names = ["id", "state", "user", "database", "what", "needs", "left", "statement"];
            names.map(text).into()
        }
        Subject::Grants => ["id", "state", "user", "database", "scope", "left"].map(text).into(),
        Subject::Sessions => {
            let mut columns: Vec<_> = ["session", "user", "database", "application", "client_address"].map(text).into();
            columns.extend([int("pid"), text("connected_at"), text("state")]);
            columns
        }
        Subject::Databases => {
            let mut columns: Vec<_> = ["name", "groups", "stage", "state"].map(text).into();
            columns.extend([int("sessions"), text("defaults")]);
            columns
        }
        Subject::Rules => ["name", "does", "when", "stage"].map(text).into(),
        Subject::Masks => ["name", "columns", "does"].map(text).into(),
        Subject::Stats => {
            let mut columns = vec![text("database")];
            columns.extend(
                ["total_query_count", "total_allowed", "total_held", "total_denied", "total_failed", "sessions"]
                    .map(int),
            );
            columns
        }
        Subject::Pools => {
            let mut columns = vec![text("database"), text("user")];
            columns.extend(["cl_active", "cl_waiting", "sv_active", "sv_idle"].map(int));
            columns.push(text("pool_mode"));
            columns
        }
        Subject::Notifications => {
            let mut columns = vec![int("id")];
            columns.extend(["target", "about", "subject", "what", "at", "state"].map(text));
            columns.extend([int("attempts"), text("answer"), text("due")]);
            columns
        }
        Subject::Config => vec![text("key"), text("value")],
        Subject::Version => vec![text("version")],
    }
}

impl Console {
    pub(super) async fn show(&self, subject: Subject, who: &Principal) -> Result<Vec<Row>, Failure> {
        Ok(match subject {
            Subject::Help => HELP.iter().map(|(command, does)| vec![(*command).into(), (*does).into()]).collect(),
            Subject::Requests => self.requests(who).await?,
            Subject::Grants => self.grants(who).await?,
            Subject::Sessions => self.sessions(),
            Subject::Databases => self.databases(who),
            Subject::Rules => self.rules(who),
            Subject::Masks => self.masks(),
            Subject::Stats => self.stats(),
            Subject::Pools => self.pools(),
            Subject::Notifications => self.notifications().await?,
            Subject::Config => self.config_in_force(),
            Subject::Version => vec![vec![super::version().into()]],
        })
    }

    /// What waits for somebody, newest first.
    async fn requests(&self, who: &Principal) -> Result<Vec<Row>, Failure> {
        let review = &self.shared.review;
        let visible_to = review.viewer(&who.name, &who.groups);
        let mut rows = Vec::new();
        for state in [State::Pending, State::Approved] {
            let filter = Filter {
                state: Some(state),
                visible_to: visible_to.clone(),
                limit: PAGE_MAX,
                database: None,
                user: None,
                after: None,
            };
            rows.extend(review.list(filter).await?.into_iter().map(|request| self.request_row(request)));
        }
        Ok(rows)
    }

    fn request_row(&self, request: AccessRequest) -> Row {
        let view = RequestView::with_link(&self.shared.review, &self.shared.public_url(), request);
        let request = &view.request;
        let mut statement: String = request.statement.chars().take(HEAD_CHARS).collect();
        if statement.len() < request.statement.len() {
            statement.push('…');
        }
        let left = view.seconds_left.map(view::duration).unwrap_or_default();
        let cells = [request.id.to_string(), request.state.to_string(), line(&request.user), line(&request.database)];
        let more = [line(&request.summary), line(&view::needs(&view)), left, line(&statement)];
        cells.into_iter().chain(more).map(Value::Text).collect()
    }

    /// The page of one request, as `countersign requests show` prints it.
    pub(super) async fn show_request(&self, id: RequestId, who: &Principal) -> Result<Vec<Row>, Failure> {
        let review = &self.shared.review;
        let request = review.find(id, &self.actor(who)).await?;
        let details = Details::of(review, who, &request).await?;
        let view = RequestView::with_link(review, &self.shared.public_url(), request);
        let view = RequestView { details: Some(details), ..view };
        Ok(view::full(&view, Colour::Off, None).lines().map(|line| vec![line.into()]).collect())
    }

    async fn grants(&self, who: &Principal) -> Result<Vec<Row>, Failure> {
        let review = &self.shared.review;
        let filter = GrantFilter { open: true, limit: PAGE_MAX, state: None, database: None, user: None, after: None };
        let grants = review.grants(filter).await?;
        let visible = grants.into_iter().filter(|grant| review.may_see_grant(grant, &who.name, &who.groups));
        let now = review.time(Timestamp::now());
        Ok(visible
            .map(|grant| {
                let left = view::duration(now.duration_until(grant.expires_at).as_secs().max(0));
                let who = [line(&grant.user), line(&grant.database), line(&scope(&grant.scope)), left];
                [grant.id.to_string(), grant.state.to_string()].into_iter().chain(who).map(Value::Text).collect()
            })
            .collect())
    }

    /// The newest of what others are told.
    async fn notifications(&self) -> Result<Vec<Row>, Failure> {
        let filter = DeliveryFilter { limit: DELIVERIES_MAX, ..DeliveryFilter::default() };
        let found = self.shared.notifier.outbox().deliveries(filter).await.map_err(ReviewError::from)?;
        let row = |one: Delivery| {
            let waits = one.state == DeliveryState::Waiting && one.due_at > Timestamp::UNIX_EPOCH;
            vec![
                Value::Int(one.id),
                line(&one.target).into(),
                one.event.about.as_str().into(),
                line(&one.event.subject).into(),
                line(&one.event.what).into(),
                view::time(one.event.at).into(),
                one.state.as_str().into(),
                Value::Int(i64::try_from(one.attempts).unwrap_or(i64::MAX)),
                one.answer.as_deref().map_or(Value::Null, |answer| line(answer).into()),
                if waits { view::time(one.due_at).into() } else { Value::Null },
            ]
        };
        Ok(found.into_iter().map(row).collect())
    }

    fn sessions(&self) -> Vec<Row> {
        let row = |(name, who, order): (String, crate::sessions::Connected, crate::sessions::Order)| {
            let state = match (order.phase, order.is_paused) {
                (Phase::Serving, false) => "serving",
                (Phase::Serving, true) => "paused",
                (Phase::Draining | Phase::Ending, _) => "leaving",
            };
            vec![
                name.into(),
                line(&who.user).into(),
                line(&who.database).into(),
                line(&who.application).into(),
                who.client_address.into(),
                who.process_id.map_or(Value::Null, |pid| Value::Int(pid.into())),
                view::time(who.since).into(),
                state.into(),
            ]
        };
        self.shared.sessions.list().into_iter().map(row).collect()
    }

    fn databases(&self, who: &Principal) -> Vec<Row> {
        let config = self.shared.config();
        let sessions = self.shared.sessions.list();
        let row = |policy: &DatabasePolicy| {
            let groups = config.database(&policy.name).map(|database| database.groups.join(", ")).unwrap_or_default();
            let reachable = self.shared.database(&policy.name).is_some_and(|database| database.is_reachable());
            let state = match (self.shared.sessions.is_paused(&policy.name), reachable) {
                (true, _) => "paused",
                (false, true) => "serving",
                (false, false) => "unreachable",
            };
            let count = sessions.iter().filter(|(_, who, _)| who.database == policy.name).count();
            vec![
                line(&policy.name).into(),
                line(&groups).into(),
                stage(policy.stage).into(),
                state.into(),
                Value::count(count),
                told::defaults(policy).into(),
            ]
        };
        self.known(&config, who).into_iter().map(row).collect()
    }

    fn known<'c>(&self, config: &'c Config, who: &Principal) -> Vec<&'c DatabasePolicy> {
        let known = config.policy.databases.iter();
        known.filter(|policy| self.shared.review.may_know_database(&who.groups, &policy.name)).collect()
    }

    fn rules(&self, who: &Principal) -> Vec<Row> {
        let config = self.shared.config();
        let known = self.known(&config, who);
        let concerns = |rule: &&Rule| {
            let named = rule.matcher.databases.as_deref();
            named.is_none_or(|globs| globs.iter().any(|glob| known.iter().any(|one| glob.matches(&one.name))))
        };
        let row = |rule: &Rule| {
            let conditions = told::conditions(&rule.matcher).join("; ");
            [line(&rule.name), told::action(rule), conditions, stage(rule.stage).to_owned()].map(Value::Text).into()
        };
        config.policy.rules.iter().filter(concerns).map(row).collect()
    }

    fn masks(&self) -> Vec<Row> {
        let config = self.shared.config();
        let row = |mask: &countersign_policy::mask::MaskRule| {
            let columns: Vec<_> = mask.columns.iter().map(ToString::to_string).collect();
            [line(&mask.name), line(&columns.join(", ")), told::mask(mask)].map(Value::Text).into()
        };
        config.policy.masks.iter().map(row).collect()
    }

    /// Totals since the proxy has started, in columns named as those of PgBouncer where there is one of that meaning.
    fn stats(&self) -> Vec<Row> {
        let databases = self.shared.databases();
        let sessions = self.shared.sessions.list();
        let names: BTreeMap<_, _> = databases.iter().collect();
        let row = |(name, database): (&String, &std::sync::Arc<crate::database::Database>)| {
            let counts = database.tally().counts();
            let here = sessions.iter().filter(|(_, who, _)| who.database == *name).count();
            let mut row = vec![line(name).into(), Value::total(counts.iter().sum())];
            row.extend(counts.map(Value::total));
            row.push(Value::count(here));
            row
        };
        names.into_iter().map(row).collect()
    }

    /// Sessions by database and user. Each has an upstream connection of its own.
    fn pools(&self) -> Vec<Row> {
        let mut pools: BTreeMap<(String, String), (usize, usize)> = BTreeMap::new();
        for (_, who, order) in self.shared.sessions.list() {
            let counts = pools.entry((who.database, who.user)).or_default();
            if order.is_paused { counts.1 += 1 } else { counts.0 += 1 }
        }
        let row = |((database, user), (active, waiting)): ((String, String), (usize, usize))| {
            vec![
                line(&database).into(),
                line(&user).into(),
                Value::count(active),
                Value::count(waiting),
                Value::count(active),
                Value::count(waiting),
                "session".into(),
            ]
        };
        pools.into_iter().map(row).collect()
    }

    /// What is in force, without secrets.
    fn config_in_force(&self) -> Vec<Row> {
        let config = self.shared.config();
        let listen: Vec<_> = config.listen.iter().map(ToString::to_string).collect();
        let seconds = |time: std::time::Duration| format!("{}s", time.as_secs());
        let facts = [
            ("file", config.path.display().to_string()),
            ("revision", config.policy.revision.clone()),
            ("rules_digest", config.rules_digest.clone()),
            ("listen", listen.join(", ")),
            ("web.listen", config.web.listen.to_string()),
            ("web.public_url", self.shared.public_url()),
            ("data_dir", config.data_dir.display().to_string()),
            ("drain_timeout", seconds(config.drain_timeout)),
            ("limits.sessions", config.limits.sessions.to_string()),
            ("limits.unauthenticated", config.limits.unauthenticated.to_string()),
            ("databases", config.databases.len().to_string()),
            ("users", config.users.len().to_string()),
            ("rules", config.policy.rules.len().to_string()),
            ("masks", config.policy.masks.len().to_string()),
        ];
        let warnings = config.warnings.iter().map(|warning| vec!["warning".into(), line(warning).into()]);
        facts.into_iter().map(|(key, value)| vec![key.into(), line(&value).into()]).chain(warnings).collect()
    }
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Enforce => "enforce",
        Stage::Observe => "observe",
    }
}
