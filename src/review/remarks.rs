//! What people write about a request without deciding it: comments, and a reason that is given later.
//!
//! Never changes the state of a request. Invariant: only who may know of a request writes about it, and only its requester
//! gives its reason, once, while it waits for votes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::decide::unchanged;
use super::feed::Changed;
use super::{AccessRequest, Actor, RequestId, Review, ReviewError, State, Surface};
use crate::audit::Record;
use crate::session::justification;
use crate::store::Change;

/// Longest comment, in characters.
pub const COMMENT_CHARS_MAX: usize = 4_000;
/// Changes of a request after which nobody writes about it any more.
const VERSION_MAX: u64 = 1_000;

/// What somebody wrote about a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Comment {
    /// Who.
    pub by: String,
    /// Where.
    pub surface: Surface,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What.
    pub text: String,
}

impl Review {
    /// Adds a comment, in whatever state the request is.
    ///
    /// # Errors
    /// When the actor may not know of it, the text is empty or too long, there are too many, or it cannot be recorded.
    pub async fn comment(
        &self,
        id: RequestId,
        actor: &Actor,
        text: &str,
        now: Timestamp,
    ) -> Result<AccessRequest, ReviewError> {
        let (at, text) = (self.time(now), text.trim());
        if text.is_empty() || text.chars().count() > COMMENT_CHARS_MAX {
            return Err(ReviewError::BadComment);
        }
        let comment = Comment { by: actor.name.clone(), surface: actor.surface, at, text: text.to_owned() };
        let commented = self.decide(id, |request| {
            self.may_write(request, actor)?;
            Ok(Change { comment: Some(comment.clone()), ..unchanged(request) })
        });
        let commented = commented.await?;
        self.feed.tell(Changed::Request(id));
        let Comment { by, surface, text, .. } = &comment;
        self.note(at, &Record::Comment { request: id, by, surface: *surface, text })?;
        Ok(commented)
    }

    /// What was written about it, oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn comments(&self, id: RequestId) -> Result<Vec<Comment>, ReviewError> {
        Ok(self.store.comments(id).await?)
    }

    /// Gives the requester's reason for a request that was made without one.
    ///
    /// # Errors
    /// When the actor did not make it, it has a reason or is decided, the reason is empty, or it cannot be recorded.
    pub async fn justify(
        &self,
        id: RequestId,
        actor: &Actor,
        reason: &str,
        now: Timestamp,
    ) -> Result<AccessRequest, ReviewError> {
        let now = self.time(now);
        let reason = justification::kept(reason).ok_or(ReviewError::ReasonRequired)?;
        let justified = self.decide(id, |request| {
            self.may_write(request, actor)?;
            if request.user != actor.name {
                return Err(ReviewError::NotRequester);
            }
            match request.state {
                State::Pending if request.expires_at <= now => Err(ReviewError::Expired),
                State::Pending if request.justification.is_some() => Err(ReviewError::AlreadyJustified),
                State::Pending => Ok(Change { justification: Some(reason.clone()), ..unchanged(request) }),
                state => Err(ReviewError::AlreadyDecided { state }),
            }
        });
        let justified = justified.await?;
        self.feed.tell(Changed::Request(id));
        let record = Record::Justification { request: id, by: &actor.name, surface: actor.surface, reason: &reason };
        self.note(now, &record)?;
        Ok(justified)
    }

    /// Whether the actor may know of the request, by the groups of this moment, and there is room.
    fn may_write(&self, request: &AccessRequest, actor: &Actor) -> Result<(), ReviewError> {
        if !self.may_see(request, &actor.name, &self.groups_of(&actor.name)) {
            return Err(ReviewError::NotFound);
        }
        if request.version > VERSION_MAX { Err(ReviewError::TooMany) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::fixture::{Bench, actor, at};

    #[tokio::test]
    async fn who_watches_is_told_of_comments_and_reasons() {
        let bench = Bench::new();
        let id = bench.ask("dba").await;
        let mut watching = bench.review.watch();
        bench.review.comment(id, &actor("alice"), "it is urgent", at(1)).await.unwrap();
        assert_eq!(watching.try_recv(), Ok(Changed::Request(id)));
        bench.review.justify(id, &actor("alice"), "ticket 17", at(2)).await.unwrap();
        assert_eq!(watching.try_recv(), Ok(Changed::Request(id)));
        assert!(watching.try_recv().is_err(), "once each");
    }
}
