//! The shared store: a schema of its own in a PostgreSQL, used by any number of proxies.
//!
//! Never waits for long: a store that cannot be reached refuses. Never goes by this machine's clock.
//! Invariant: every transition is one statement that compares the version, and tells the other proxies when it commits.

mod callers;
mod connect;
mod node;
mod outbox;
mod pool;
mod queries;
mod rows;
mod schema;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio_postgres::types::{ToSql, Type};

use countersign_policy::grant::Binding;

use self::connect::{Conn, Target};
use self::node::{Keeper, Node};
use self::pool::Pool;
use self::rows::{bigint, microseconds, request_from, state_name, storable};
use super::{
    Change, Digest, DigestFilter, Filter, GrantFilter, NewRecord, PAGE_MAX, Past, Store, StoreError, StoreEvent,
    StoreFuture, Telling, Untold, Viewer, WaitingOn, check_grant, check_history, check_transition, facts, owner, told,
};
use crate::audit::TrailAnchor;
use crate::card::Card;
use crate::config::UpstreamConfig;
use crate::review::{AccessRequest, Comment, GrantId, GrantRecord, GrantState, RequestId, State, Transition};

/// Requests of nodes that are gone that are ended in one transaction.
const REAP_BATCH: i64 = 1000;

/// Requests in the schema `countersign` of a PostgreSQL database.
pub struct PostgresStore {
    pool: Pool,
    node: Arc<Node>,
    _keeper: JoinSet<()>,
    // Held for as long as the store is open: the audit trail and the node belong to one process.
    _lock: File,
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").field("node", &self.node.id()).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Connects, brings the schema up to date, and joins the other proxies as a node whose lease lasts `lease` unless it
    /// is renewed. `data_dir` tells nodes apart: what an earlier process with the same directory has left open can be
    /// ended at once.
    ///
    /// # Errors
    /// When the directory is in use, the server cannot be reached or written, or a newer program has changed the schema.
    pub async fn open(data_dir: &Path, upstream: &UpstreamConfig, lease: Duration) -> Result<Self, StoreError> {
        let lock = owner::take(data_dir)?;
        let installation = owner::installation(data_dir)
            .map_err(|source| StoreError::Open { path: data_dir.to_owned(), source: source.into() })?;
        let target = Arc::new(Target::new(upstream, &installation)?);
        let mut first = target.connect(None).await?;
        schema::migrate(&mut first).await?;
        let keeper = Keeper::join(Arc::clone(&target), installation, lease).await?;
        let node = keeper.node();
        let mut tasks = JoinSet::new();
        tasks.spawn(keeper.run());
        Ok(Self { pool: Pool::start(&target, first), node, _keeper: tasks, _lock: lock })
    }

    async fn query(
        &self,
        text: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, StoreError> {
        let conn = self.pool.connection().await?;
        conn.within(conn.query(text, parameters)).await
    }

    async fn requests(
        &self,
        text: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<AccessRequest>, StoreError> {
        self.query(text, parameters).await?.iter().map(request_from).collect()
    }

    async fn insert(&self, new: NewRecord) -> Result<bool, StoreError> {
        let request = &new.request;
        check_history(request)?;
        let groups: Vec<&str> = request.reviewers.iter().map(|demand| demand.group.as_str()).collect();
        let approvals: Vec<i64> = request.reviewers.iter().map(|demand| i64::from(demand.approvals)).collect();
        let made = self
            .query(
                queries::CREATE,
                &[
                    &request.id.to_string(),
                    &state_name(request.state),
                    &bigint(request.version),
                    &storable(&request.user),
                    &storable(&request.database),
                    &new.binding.0.as_slice(),
                    &facts::mode_name(new.mode),
                    &facts::encode(request)?,
                    &request.created_at.as_microsecond(),
                    &request.expires_at.as_microsecond(),
                    &microseconds(request.decided_at),
                    &request.outcome.as_deref().map(storable),
                    &self.node.id(),
                    &groups,
                    &approvals,
                    &rows::votes(&request.votes, 0)?,
                    &rows::transitions(&request.transitions, 0)?,
                    &request.shape,
                    &facts::encode_rules(request)?,
                    &facts::encode_card(&new.card)?,
                    &new.undecided_max.map(i64::from),
                ],
            )
            .await?;
        made.first().map_or(Err(StoreError::LeaseLost), |row| Ok(row.try_get(0)?))
    }

    /// The compare-and-set.
    async fn apply(&self, change: Change) -> Result<Option<AccessRequest>, StoreError> {
        let from = change.transition.as_ref().and_then(|transition| transition.from);
        if let Some(transition) = &change.transition
            && check_transition(from, transition).is_err()
        {
            return self.refused(&change).await;
        }
        let conn = self.pool.connection().await?;
        let made = conn.within(write(&conn, &change, from, self.node.id())).await?;
        if !made {
            return self.refused(&change).await;
        }
        let changed = conn.within(conn.query(queries::GET, &[&change.id.to_string()])).await?;
        changed.first().map(request_from).transpose()
    }

    /// Why a change was not made: `None` when the request is not at the version.
    async fn refused(&self, change: &Change) -> Result<Option<AccessRequest>, StoreError> {
        let found = self.query(queries::STATE, &[&change.id.to_string()]).await?;
        let Some(row) = found.first() else { return Ok(None) };
        let (state, version): (&str, i64) = (row.try_get(0)?, row.try_get(1)?);
        if version != bigint(change.expected_version) {
            return Ok(None);
        }
        let from = facts::state_from(state)?;
        let transition = change.transition.as_ref().ok_or(StoreError::Invalid("change"))?;
        check_transition(Some(from), transition)?;
        Err(StoreError::LeaseLost)
    }

    async fn list_page(&self, filter: Filter) -> Result<Vec<AccessRequest>, StoreError> {
        let mut text = queries::LIST.to_owned();
        let mut values: Vec<(Box<dyn ToSql + Sync + Send>, Type)> = Vec::new();
        let mut also = |clause: &str, value: Box<dyn ToSql + Sync + Send>, kind: Type| {
            values.push((value, kind));
            text.push_str(&clause.replace('?', &format!("${}", values.len())));
        };
        if let Some(state) = filter.state {
            also(" AND r.state = ?", Box::new(state_name(state)), Type::TEXT);
        }
        if let Some(database) = filter.database {
            also(" AND r.database = ?", Box::new(storable(&database)), Type::TEXT);
        }
        if let Some(user) = filter.user {
            also(" AND r.requester = ?", Box::new(storable(&user)), Type::TEXT);
        }
        if let Some(after) = filter.after {
            also(" AND r.id < ?", Box::new(after.to_string()), Type::TEXT);
        }
        if let Some(viewer) = filter.visible_to {
            also(" AND (r.requester = ?", Box::new(storable(&viewer.name)), Type::TEXT);
            for on in viewer.on {
                also(" OR (r.database = ?", Box::new(storable(&on.database)), Type::TEXT);
                also(" AND r.reviewers && ?)", Box::new(on.groups), Type::TEXT_ARRAY);
            }
            also(" OR r.reviewers && ?)", Box::new(viewer.groups), Type::TEXT_ARRAY);
        }
        let limit = i64::from(filter.limit.clamp(1, PAGE_MAX));
        also(" ORDER BY r.id DESC LIMIT ?", Box::new(limit), Type::INT8);
        let parameters: Vec<(&(dyn ToSql + Sync), Type)> =
            values.iter().map(|(value, kind)| (value.as_ref() as &(dyn ToSql + Sync), kind.clone())).collect();
        let conn = self.pool.connection().await?;
        // Planned for these values each time: which index serves best depends on them.
        let page = conn.within(async { Ok(conn.client().query_typed(&text, &parameters).await?) }).await?;
        page.iter().map(request_from).collect()
    }

    async fn reap_gone(&self) -> Result<Vec<(RequestId, Transition)>, StoreError> {
        let ended = self.query(queries::REAP, &[&REAP_BATCH]).await?;
        if ended.is_empty() {
            self.query(queries::FORGET, &[]).await?;
        }
        ended.iter().map(rows::ended_from).collect()
    }
}

/// Writes a change if the request is at its version and in state `from`; whether it was.
async fn write(conn: &Conn, change: &Change, from: Option<State>, node: i64) -> Result<bool, StoreError> {
    let transition = change.transition.as_ref();
    let to = transition.map(|transition| state_name(transition.to));
    let decided_at = transition.filter(|_| from == Some(State::Pending)).map(|transition| transition.at);
    let seq = change.expected_version.saturating_add(1);
    let (id, outcome) = (change.id.to_string(), change.outcome.as_deref().map(storable));
    let (votes, transitions) = (rows::votes(&change.vote, seq)?, rows::transitions(&change.transition, seq)?);
    let (decided_at, expires_at) = (microseconds(decided_at), microseconds(change.expires_at));
    let (version, mode) = (bigint(change.expected_version), change.mode.map(facts::mode_name));
    let from = from.map(state_name);
    let grants = rows::grants(change.grant.as_deref().map(|grant| (None, grant)))?;
    let begins = to == Some("EXECUTING");
    let binding = change.binding.as_ref().map(|binding| binding.0.as_slice());
    let comment = change.comment.as_ref();
    let (by, text) = (comment.map(|comment| storable(&comment.by)), comment.map(|comment| storable(&comment.text)));
    let surface = comment.map(|comment| facts::surface_name(comment.surface));
    let at = microseconds(comment.map(|comment| comment.at));
    let justification = change.justification.as_deref().map(storable);
    let mut set: Vec<&(dyn ToSql + Sync)> =
        vec![&id, &version, &from, &to, &decided_at, &expires_at, &outcome, &mode, &votes, &transitions];
    let made = if begins {
        set.push(&node);
        conn.query(queries::BEGIN, &set).await?
    } else {
        set.extend([&grants as &(dyn ToSql + Sync), &binding, &by, &surface, &at, &text, &justification]);
        conn.query(queries::CHANGE, &set).await?
    };
    Ok(!made.is_empty())
}

impl Store for PostgresStore {
    fn create(&self, new: NewRecord) -> StoreFuture<'_, bool> {
        Box::pin(self.insert(new))
    }

    fn get(&self, id: RequestId) -> StoreFuture<'_, Option<AccessRequest>> {
        Box::pin(async move { Ok(self.requests(queries::GET, &[&id.to_string()]).await?.pop()) })
    }

    fn card(&self, id: RequestId) -> StoreFuture<'_, Option<Card>> {
        Box::pin(async move {
            let found = self.query(queries::CARD, &[&id.to_string()]).await?;
            found.first().map(|row| facts::card_from(row.try_get(0)?)).transpose()
        })
    }

    fn fill_card(&self, id: RequestId, card: Card) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.query(queries::FILL_CARD, &[&id.to_string(), &facts::encode_card(&card)?]).await.map(drop)
        })
    }

    fn comments(&self, id: RequestId) -> StoreFuture<'_, Vec<Comment>> {
        Box::pin(async move {
            let found = self.query(queries::COMMENTS, &[&id.to_string()]).await?;
            found.iter().map(rows::comment_from).collect()
        })
    }

    fn digests(&self, filter: DigestFilter) -> StoreFuture<'_, Vec<Digest>> {
        Box::pin(async move {
            let (from, until) = filter.ids();
            let limit = i64::from(filter.limit);
            let page = match &filter.visible_to {
                None => self.query(queries::DIGESTS, &[&from, &until, &limit]).await?,
                Some(viewer) => {
                    let (groups, databases): (Vec<_>, Vec<_>) = viewer.ways().unzip();
                    let name = storable(&viewer.name);
                    self.query(queries::DIGESTS_SEEN, &[&from, &until, &limit, &name, &groups, &databases]).await?
                }
            };
            page.iter().map(rows::digest_from).collect()
        })
    }

    fn past(&self, request: AccessRequest, user: Option<String>) -> StoreFuture<'_, Past> {
        Box::pin(async move {
            let user = user.as_deref().map(storable);
            let parameters: [&(dyn ToSql + Sync); 4] =
                [&request.shape, &storable(&request.database), &request.id.to_string(), &user];
            let mut past = Past::default();
            for row in self.query(queries::PAST, &parameters).await? {
                let count: i64 = row.try_get(1)?;
                past.add(facts::state_from(row.try_get(0)?)?, count.unsigned_abs());
            }
            Ok(past)
        })
    }

    fn list(&self, filter: Filter) -> StoreFuture<'_, Vec<AccessRequest>> {
        Box::pin(self.list_page(filter))
    }

    fn waiting_on(&self, person: Viewer, now: Timestamp, limit: u32) -> StoreFuture<'_, WaitingOn> {
        Box::pin(async move {
            let name = storable(&person.name);
            let (required, missing) = (facts::JUSTIFICATION_REQUIRED, facts::NOT_JUSTIFIED);
            let now = now.as_microsecond();
            let (groups, databases): (Vec<&str>, Vec<Option<&str>>) = person.ways().unzip();
            let parameters: [&(dyn ToSql + Sync); 6] = [&name, &groups, &now, &required, &missing, &databases];
            let counted = self.query(queries::COUNT_WAITING, &parameters).await?;
            let count: i64 = counted.first().map_or(Ok(0), |row| row.try_get(0))?;
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            if limit == 0 || count == 0 {
                return Ok(WaitingOn { count, first: Vec::new() });
            }
            let limit = i64::from(limit.min(PAGE_MAX));
            let parameters: [&(dyn ToSql + Sync); 7] = [&name, &groups, &now, &required, &missing, &databases, &limit];
            Ok(WaitingOn { count, first: self.requests(queries::WAITING, &parameters).await? })
        })
    }

    fn vote_and_transition(&self, change: Change) -> StoreFuture<'_, Option<AccessRequest>> {
        Box::pin(self.apply(change))
    }

    fn find_resubmittable(
        &self,
        binding: Binding,
        user: String,
        state: State,
        now: Timestamp,
    ) -> StoreFuture<'_, Option<AccessRequest>> {
        Box::pin(async move {
            let parameters: [&(dyn ToSql + Sync); 4] =
                [&binding.0.as_slice(), &storable(&user), &state_name(state), &now.as_microsecond()];
            Ok(self.requests(queries::RESUBMITTABLE, &parameters).await?.pop())
        })
    }

    fn expire_due(&self, now: Timestamp, limit: u32) -> StoreFuture<'_, Vec<(RequestId, Transition)>> {
        Box::pin(async move {
            let ended = self.query(queries::EXPIRE, &[&now.as_microsecond(), &i64::from(limit)]).await?;
            ended.iter().map(rows::ended_from).collect()
        })
    }

    fn next_expiry(&self) -> StoreFuture<'_, Option<Timestamp>> {
        Box::pin(async move {
            let found = self.query(queries::NEXT_EXPIRY, &[]).await?;
            let next: Option<i64> = found.first().map(|row| row.try_get(0)).transpose()?.flatten();
            next.map(facts::time_from).transpose()
        })
    }

    fn recover(&self, _now: Timestamp) -> StoreFuture<'_, Vec<(RequestId, Transition)>> {
        // By then this process has joined as a new node, and its predecessor is gone.
        Box::pin(async move {
            let mut all = Vec::new();
            loop {
                let ended = self.reap_gone().await?;
                if ended.is_empty() {
                    return Ok(all);
                }
                all.extend(ended);
            }
        })
    }

    fn create_grant(&self, grant: GrantRecord, undecided_max: Option<u32>) -> StoreFuture<'_, bool> {
        Box::pin(async move {
            let (rows, user) = (rows::grants([(None, &grant)])?, storable(&grant.user));
            let (now, most) = (grant.created_at.as_microsecond(), undecided_max.map(i64::from));
            let made = self.query(queries::GIVE, &[&rows, &user, &now, &most]).await?;
            Ok(!made.is_empty())
        })
    }

    fn grant(&self, id: GrantId) -> StoreFuture<'_, Option<GrantRecord>> {
        Box::pin(async move {
            let found = self.query(queries::GRANT, &[&id.to_string()]).await?;
            found.first().map(rows::grant_from).transpose()
        })
    }

    fn grants(&self, filter: GrantFilter) -> StoreFuture<'_, Vec<GrantRecord>> {
        Box::pin(async move {
            let limit = i64::from(filter.limit.clamp(1, PAGE_MAX));
            let (database, user) = (filter.database.as_deref().map(storable), filter.user.as_deref().map(storable));
            let (state, after) = (filter.state.map(GrantState::as_str), filter.after.map(|id| id.to_string()));
            let page = self.query(queries::GRANTS, &[&filter.open, &state, &database, &user, &after, &limit]).await?;
            page.iter().map(rows::grant_from).collect()
        })
    }

    fn replace_grant(&self, next: GrantRecord) -> StoreFuture<'_, bool> {
        Box::pin(async move {
            let Some(found) = self.grant(next.id).await? else { return Ok(false) };
            if found.version.checked_add(1) != Some(next.version) {
                return Ok(false);
            }
            check_grant(found.state, next.state)?;
            let made = self
                .query(queries::REPLACE_GRANT, &[&rows::grants([(Some(&found), &next)])?, &found.state.as_str()])
                .await?;
            Ok(!made.is_empty())
        })
    }

    fn untold(&self, before: Timestamp) -> StoreFuture<'_, Vec<Untold>> {
        Box::pin(async move {
            let parameters: [&(dyn ToSql + Sync); 3] =
                [&self.node.installation(), &before.as_microsecond(), &told::UNTOLD_MAX];
            let of_requests = self.query(queries::UNTOLD, &parameters).await?;
            let of_grants = self.query(queries::UNTOLD_OF_GRANTS, &parameters).await?;
            let all = of_requests.iter().map(rows::untold_from).chain(of_grants.iter().map(rows::untold_of_grant));
            let mut all = all.collect::<Result<Vec<_>, _>>()?;
            all.sort_by_key(|untold| untold.at);
            Ok(all)
        })
    }

    fn told(&self, tellings: Vec<Telling>) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let (votes, transitions, of_grants) = rows::tellings(&tellings);
            if !votes.0.is_empty() {
                self.query(queries::TOLD_VOTES, &[&votes.0, &votes.1, &votes.2]).await?;
            }
            if !transitions.0.is_empty() {
                self.query(queries::TOLD_TRANSITIONS, &[&transitions.0, &transitions.1]).await?;
            }
            if !of_grants.0.is_empty() {
                let (grants, people, states, times) = &of_grants;
                self.query(queries::TOLD_OF_GRANTS, &[grants, people, states, times]).await?;
            }
            Ok(())
        })
    }

    fn anchor(&self, anchors: Vec<TrailAnchor>) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            for TrailAnchor { seq, hash, line } in anchors {
                let seq = i64::try_from(seq).map_err(|_too_large| StoreError::Invalid("number of a record"))?;
                self.query(queries::ANCHOR, &[&self.node.installation(), &seq, &hash, &line]).await?;
            }
            Ok(())
        })
    }

    fn keeps_anchors(&self) -> bool {
        true
    }

    fn reap(&self) -> StoreFuture<'_, Vec<(RequestId, Transition)>> {
        Box::pin(async move {
            self.query(queries::MARK_GONE, &[&self.node.id()]).await?;
            self.reap_gone().await
        })
    }

    fn decided(&self, ids: Vec<RequestId>) -> StoreFuture<'_, Vec<AccessRequest>> {
        Box::pin(async move {
            let ids: Vec<String> = ids.iter().map(RequestId::to_string).collect();
            self.requests(queries::DECIDED, &[&ids]).await
        })
    }

    fn subscribe(&self) -> Option<broadcast::Receiver<StoreEvent>> {
        Some(self.node.subscribe())
    }

    fn now(&self) -> Option<Timestamp> {
        Some(self.node.now())
    }

    fn compare_rules(&self, rules: String) -> StoreFuture<'_, Vec<String>> {
        Box::pin(async move {
            let others = self.query(queries::COMPARE_RULES, &[&self.node.id(), &rules]).await?;
            others.iter().map(|row| Ok(row.try_get(0)?)).collect()
        })
    }

    fn is_reachable(&self) -> bool {
        self.pool.is_connected()
    }

    fn leave(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move { self.query(queries::LEAVE, &[&self.node.id()]).await.map(drop) })
    }
}
