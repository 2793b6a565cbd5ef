//! What can be wrong with bytes from a peer.

/// Bytes that do not follow the protocol. The texts hold no payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The length field is smaller than itself, or larger than the limit of that message.
    #[error("invalid length {length} of message type {}", char::from(*tag).escape_default())]
    Length {
        /// Type byte.
        tag: u8,
        /// Length field as sent.
        length: u32,
    },
    /// The body ends before the field, or goes on after the last one.
    #[error("invalid body of message {message}: {what}")]
    Body {
        /// Name of the message in the manual.
        message: &'static str,
        /// What does not fit.
        what: &'static str,
    },
}
