//! An upstream that is authenticated to by the client itself, message by message.
//!
//! Never sees a password that was not sent in clear, and keeps none. Never lets anybody in whom the upstream did not
//! ask: a server that trusts the proxy's host would otherwise trust every client of the proxy.
//! Invariant: an [`Upstream`] comes only from [`LoginRelay::finish`], after AuthenticationOk that followed a challenge.

use bytes::{BufMut as _, Bytes, BytesMut};
use postgres_protocol::authentication::sasl::{SCRAM_SHA_256, SCRAM_SHA_256_PLUS};

use super::authentication::{self, CLEARTEXT_PASSWORD, MD5_PASSWORD, OK, SASL, SASL_CONTINUE, SASL_FINAL};
use super::dial::Route;
use super::wire::Wire;
use super::{Upstream, UpstreamError, open, ready, within};
use crate::config::UpstreamConfig;

/// What the upstream asks for, or says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthenticationRequest {
    /// AuthenticationCleartextPassword.
    CleartextPassword,
    /// AuthenticationMD5Password with its salt.
    Md5Password([u8; 4]),
    /// AuthenticationSASL that offers SCRAM-SHA-256.
    Scram {
        /// Whether SCRAM-SHA-256-PLUS was offered as well; it cannot be used, because the client's TLS ends here.
        plus: bool,
    },
    /// AuthenticationSASLContinue.
    SaslContinue(Bytes),
    /// AuthenticationSASLFinal.
    SaslFinal(Bytes),
    /// AuthenticationOk.
    Ok,
}

/// A connection whose upstream has not yet been convinced.
pub struct LoginRelay {
    wire: Wire,
    route: Route,
    target: UpstreamConfig,
    challenged: bool,
}

impl LoginRelay {
    /// Connects as `connect` does and sends the StartupMessage, for `target.user`.
    ///
    /// # Errors
    /// [`UpstreamError`]
    pub async fn begin(target: UpstreamConfig, startup: &[(String, String)]) -> Result<Self, UpstreamError> {
        let (wire, route) = within(target.connect_timeout, open(&target, startup)).await?;
        Ok(Self { wire, route, target, challenged: false })
    }

    /// The next request of the upstream.
    ///
    /// # Errors
    /// [`UpstreamError`]: among others an ErrorResponse, a method that cannot be relayed, and AuthenticationOk without
    /// anything before it.
    pub async fn request(&mut self) -> Result<AuthenticationRequest, UpstreamError> {
        let (code, data) = within(self.target.connect_timeout, authentication::request(&mut self.wire)).await?;
        let request = match code {
            OK if !self.challenged => return Err(UpstreamError::Unchallenged),
            OK => AuthenticationRequest::Ok,
            CLEARTEXT_PASSWORD if !authentication::is_confidential(&self.wire.stream) => {
                return Err(UpstreamError::CleartextRefused);
            }
            CLEARTEXT_PASSWORD => AuthenticationRequest::CleartextPassword,
            MD5_PASSWORD => {
                let salt = data.as_ref().try_into().map_err(|_| UpstreamError::Protocol("malformed md5 salt"))?;
                AuthenticationRequest::Md5Password(salt)
            }
            SASL => {
                let offers = |wanted: &str| data.split(|byte| *byte == 0).any(|name| name == wanted.as_bytes());
                if !offers(SCRAM_SHA_256) {
                    return Err(UpstreamError::UnsupportedAuthentication(SASL));
                }
                AuthenticationRequest::Scram { plus: offers(SCRAM_SHA_256_PLUS) }
            }
            SASL_CONTINUE => AuthenticationRequest::SaslContinue(data),
            SASL_FINAL => AuthenticationRequest::SaslFinal(data),
            code => return Err(UpstreamError::UnsupportedAuthentication(code)),
        };
        self.challenged = true;
        Ok(request)
    }

    /// Sends the body of a password message of the client.
    ///
    /// # Errors
    /// [`UpstreamError`]
    pub async fn answer(&mut self, body: &[u8]) -> Result<(), UpstreamError> {
        let length = u32::try_from(body.len() + 4).map_err(|_| UpstreamError::Protocol("password message too long"))?;
        let mut out = BytesMut::with_capacity(body.len() + 5);
        out.put_u8(b'p');
        out.put_u32(length);
        out.put_slice(body);
        within(self.target.connect_timeout, self.wire.send(&out)).await
    }

    /// Waits for ReadyForQuery. Call it after [`AuthenticationRequest::Ok`].
    ///
    /// # Errors
    /// [`UpstreamError`]
    pub async fn finish(self) -> Result<Upstream, UpstreamError> {
        let Self { wire, route, target, challenged } = self;
        if !challenged {
            return Err(UpstreamError::Unchallenged);
        }
        within(target.connect_timeout, ready(wire, route, &target)).await
    }
}
