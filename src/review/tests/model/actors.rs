//! What sessions do with a held statement, between any two steps of others.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use countersign_policy::grant::Binding;
use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};

use crate::review::{Edit, Execution, GrantId, NewRequest, Opened, Outcome, RequestId, Review, ReviewError};
use crate::store::tests::memory::{Shelf, pause};

/// What a proxy did that nobody can undo.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    /// A held statement went upstream.
    Ran { id: RequestId, text: String, is_ticket: bool },
    /// A grant let a statement go upstream.
    Lifted { grant: GrantId, user: String },
}

/// What a session sees of the world.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) review: Arc<Review>,
    pub(super) shelf: Arc<Mutex<Shelf>>,
    pub(super) deeds: Rc<RefCell<Vec<Deed>>>,
}

impl Scene {
    /// The time; no two sessions read the same microsecond, by which what has begun is known.
    pub(super) fn now(&self) -> Timestamp {
        let mut shelf = self.shelf.lock().unwrap();
        shelf.now += SignedDuration::from_micros(1);
        shelf.now
    }
}

/// How a client that waits goes away.
#[derive(Clone, Copy, Debug)]
pub(super) enum Leave {
    Withdraw,
    Park,
    Vanish,
}

/// How it will behave.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    pub(super) patience: u32,
    pub(super) leave: Leave,
    /// Whether the policy denies it when it is judged again.
    pub(super) denied: bool,
    /// Whether a changed text has to be sent by the client itself.
    pub(super) extended: bool,
    pub(super) outcome: Outcome,
}

/// The texts that are held, each bound to its number.
pub(super) const TEXTS: [&str; 3] = ["DELETE FROM t", "DELETE FROM t WHERE id = 1", "UPDATE t SET v = 1"];

pub(super) fn binding_of(text: &str) -> Binding {
    let number = TEXTS.iter().position(|known| *known == text).unwrap_or(TEXTS.len());
    Binding([u8::try_from(number).unwrap(); 32])
}

/// One statement from the client to the end; what went wrong on the way.
pub(super) async fn session(scene: Scene, new: NewRequest, manner: Manner) -> Result<(), ReviewError> {
    let microsecond = scene.now().as_microsecond();
    let in_force = scene.review.grants_in_force();
    let lifts = in_force
        .iter()
        .find(|grant| grant.user == new.user && grant.database == new.database && microsecond < grant.until);
    if let Some(grant) = lifts {
        let grant = GrantId(ulid::Ulid::from_string(&grant.id).unwrap());
        scene.deeds.borrow_mut().push(Deed::Lifted { grant, user: new.user });
        return Ok(());
    }
    let text = new.statement.clone();
    match scene.review.open(new, scene.now()).await? {
        Opened::Ticket { id, agreement } => execute(&scene, (id, true), &text, agreement.edit, &manner).await,
        Opened::SelfApproved { id, .. } => execute(&scene, (id, false), &text, None, &manner).await,
        Opened::Resubmit(_) | Opened::Joined(_) | Opened::Unjustified | Opened::TooMany(_) => Ok(()),
        Opened::Waiting(mut waiting) => {
            let id = waiting.request.id;
            for _turn in 0..manner.patience {
                match waiting.decision().now_or_never() {
                    None => pause().await,
                    Some(crate::review::Decision::Approved(agreement)) => {
                        return execute(&scene, (id, false), &text, agreement.edit, &manner).await;
                    }
                    Some(_ended) => return Ok(()),
                }
            }
            match manner.leave {
                Leave::Withdraw => scene.review.withdraw(id, scene.now()).await,
                Leave::Park => scene.review.park(id, scene.now()).await.map(drop),
                Leave::Vanish => Ok(()),
            }
        }
    }
}

async fn execute(
    scene: &Scene,
    (id, is_ticket): (RequestId, bool),
    text: &str,
    edit: Option<Edit>,
    manner: &Manner,
) -> Result<(), ReviewError> {
    pause().await;
    let review = &scene.review;
    if manner.denied {
        return review.deny_after_approval(id, "a new rule".to_owned(), scene.now()).await;
    }
    let text = edit.as_ref().map_or(text, |edit| &edit.statement);
    if edit.is_some() && manner.extended {
        return review.rebind(id, binding_of(text)).await;
    }
    review.begin_execution(id, scene.now()).await?;
    scene.deeds.borrow_mut().push(Deed::Ran { id, text: text.to_owned(), is_ticket });
    pause().await;
    let execution = Execution { outcome: manner.outcome.clone(), ..super::super::executed() };
    review.finish(id, &execution, scene.now()).await
}
