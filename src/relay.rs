//! The only way upstream: bytes leave for PostgreSQL through [`Relay::forward`], which takes a [`Permit`] by value, or
//! as a message that executes nothing of the client's ([`Control`]).
//!
//! Never judges and never reads a statement. Invariant: a request is written only together with the permit that was
//! made for it, whole, and byte for byte as it was analysed.

use bytes::{Bytes, BytesMut};
use countersign_policy::Permit;
use countersign_protocol::Frame;
use countersign_protocol::frontend::{self, Target, tag};

/// What is decided and forwarded as one: a Query, or the extended-protocol messages up to and including one Execute.
pub struct Request<'a> {
    serial: u64,
    bytes: &'a [u8],
    /// What is sent later: see [`Relay::forward_rest`].
    rest: Option<Bytes>,
}

impl<'a> Request<'a> {
    /// Names the bytes of one request; `serial` is the number its case is judged under.
    pub(crate) fn new(serial: u64, bytes: &'a [u8]) -> Self {
        Self { serial, bytes, rest: None }
    }

    /// The same in two parts, of which the second waits.
    pub(crate) fn in_two(serial: u64, bytes: &'a [u8], rest: Bytes) -> Self {
        Self { serial, bytes, rest: Some(rest) }
    }
}

/// The permit was made for another request. Cannot happen unless the session core has a defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the permit belongs to another request")]
pub struct WrongPermit;

/// A message that executes nothing of the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Asks for the replies so far.
    Flush,
    /// Ends a pipeline.
    Sync,
    /// Ends the connection.
    Terminate,
}

/// An error that the upstream is made to raise in place of a refused request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poison {
    /// A Query that no grammar accepts.
    Query,
    /// An Execute of a portal that does not exist.
    Execute,
}

/// A transaction of the proxy's own around a request that is limited to a number of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transaction {
    /// Begins it.
    Begin,
    /// The rows are within the limit.
    Commit,
    /// They are not, or the request has failed.
    Rollback,
}

/// A portal name that no client can have bound: the session refuses it in Bind.
pub const NO_PORTAL: &[u8] = b"countersign: refused";

/// Name of the prepared statement and portal of the proxy's own query.
pub const OWN_NAME: &[u8] = b"countersign: own";

/// With what a COPY is made to fail in which the client has sent something out of place.
pub const INTERRUPTION: &str = "countersign: message out of place";

const POISON_QUERY: &str = "countersign refused a statement";

/// Bytes on their way to the upstream.
#[derive(Default)]
pub struct Relay {
    out: BytesMut,
    /// What waits of the request that was forwarded last.
    rest: Option<Bytes>,
}

impl Relay {
    /// Writes a permitted request.
    ///
    /// # Errors
    /// The permit is for another request; nothing is written.
    pub fn forward(&mut self, request: Request<'_>, permit: Permit) -> Result<(), WrongPermit> {
        if permit.serial() != request.serial {
            return Err(WrongPermit);
        }
        self.out.extend_from_slice(request.bytes);
        self.rest = request.rest;
        Ok(())
    }

    /// Writes what waits of the request that was forwarded last, if anything does.
    pub(crate) fn forward_rest(&mut self) -> bool {
        let rest = self.rest.take();
        self.out.extend_from_slice(rest.as_deref().unwrap_or_default());
        rest.is_some()
    }

    /// Forgets it: it is not to be sent.
    pub(crate) fn forget_rest(&mut self) {
        self.rest = None;
    }

    /// Writes Parse, Describe and Close messages, and a Bind whose statement is permitted: they execute nothing.
    pub(crate) fn describe(&mut self, group: &[u8]) {
        self.out.extend_from_slice(group);
    }

    /// Writes bytes of CopyData, CopyDone or CopyFail frames; the upstream reads them only within a permitted COPY.
    pub(crate) fn copy(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Writes a message that executes nothing.
    pub fn control(&mut self, control: Control) {
        let tag = match control {
            Control::Flush => tag::FLUSH,
            Control::Sync => tag::SYNC,
            Control::Terminate => tag::TERMINATE,
        };
        frontend::put_empty(&mut self.out, tag);
    }

    /// Makes the upstream raise an error, so that its transaction state becomes what a refusal means.
    pub fn poison(&mut self, poison: Poison) {
        match poison {
            Poison::Query => frontend::put_query(&mut self.out, POISON_QUERY),
            Poison::Execute => frontend::put_execute(&mut self.out, NO_PORTAL),
        }
    }

    /// Begins or ends the proxy's own transaction.
    pub fn transaction(&mut self, transaction: Transaction) {
        let text = match transaction {
            Transaction::Begin => "BEGIN",
            Transaction::Commit => "COMMIT",
            Transaction::Rollback => "ROLLBACK",
        };
        frontend::put_query(&mut self.out, text);
    }

    /// Makes the upstream say what is wrong with a text: it is parsed, which executes nothing, and never bound. Should the
    /// upstream find nothing wrong, the Execute behind it fails.
    pub(crate) fn parse_only(&mut self, text: &str) {
        frontend::put_parse(&mut self.out, b"", text);
        self.poison(Poison::Execute);
        self.control(Control::Sync);
    }

    /// Runs one of the proxy's own queries, which reads facts of the session and changes nothing.
    pub(crate) fn own_query(&mut self, text: &str) {
        frontend::put_parse(&mut self.out, OWN_NAME, text);
        frontend::put_bind(&mut self.out, OWN_NAME, OWN_NAME, &[]);
        frontend::put_execute(&mut self.out, OWN_NAME);
        frontend::put_close(&mut self.out, Target::Portal(OWN_NAME));
        frontend::put_close(&mut self.out, Target::Statement(OWN_NAME));
    }

    /// Makes a COPY fail that reads CopyData, and does nothing otherwise.
    pub(crate) fn interrupt_copy(&mut self) {
        frontend::put_copy_fail(&mut self.out, INTERRUPTION);
    }

    /// Makes the upstream say which Syncs it has read, wherever it stands between requests: ReadyForQuery, CloseComplete,
    /// ReadyForQuery.
    pub(crate) fn count_syncs(&mut self) {
        self.control(Control::Sync);
        frontend::put_close(&mut self.out, Target::Statement(OWN_NAME));
        self.control(Control::Sync);
    }

    /// What waits to be written.
    pub fn pending(&mut self) -> &mut BytesMut {
        &mut self.out
    }
}

/// Whether a name is one of those the proxy keeps for itself.
pub(crate) fn is_reserved(name: &[u8]) -> bool {
    name == NO_PORTAL || name == OWN_NAME
}

/// Appends a frame to the bytes of a request that is being collected.
pub(crate) fn collect(group: &mut BytesMut, frame: &Frame) {
    group.extend_from_slice(&frame.bytes);
}
