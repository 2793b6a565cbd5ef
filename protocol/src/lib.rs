//! The PostgreSQL frontend/backend protocol, version 3, as far as a proxy needs it.
//!
//! Bytes ⇄ frames ⇄ message views, response builders, row and parameter values.
//! This package knows no SQL and no policy, reads no clock and opens no socket.
//! Invariant: no byte sequence a peer can send makes it panic or allocate more than the frame it came in.

pub mod backend;
pub mod copy;
pub mod error;
pub mod frame;
pub mod frontend;
pub mod proxy_header;
pub mod response;
pub mod row;
pub mod scram;
pub mod sqlstate;
pub mod startup;
pub mod value;

mod cursor;

pub use error::ProtocolError;
pub use frame::{Frame, FrameRef, Header};
