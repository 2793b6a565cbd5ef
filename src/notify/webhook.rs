//! Webhooks, as Standard Webhooks has them: an event as JSON, with its id, its time and a signature.
//!
//! Never sends an event without a signature. Invariant: an event that is sent again has the same `webhook-id`; its time and
//! signature are those of the attempt.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use sha2::Sha256;

use super::Tell;
use super::event::{Literals, Story};
use super::guard::{Lookup, System};
use super::http::{Caller, Outcome};
use super::payload::WebhookEvent;
use crate::config::{SigningSecret, WebhookConfig};

/// One webhook.
pub(super) struct Webhook {
    caller: Caller,
    /// What signs: the secret, and the former one if there is one.
    secrets: Vec<SigningSecret>,
    literals: Literals,
    public_url: String,
}

impl Webhook {
    pub(super) fn new(config: &WebhookConfig, public_url: &str) -> Self {
        Self::with_lookup(config, public_url, Arc::new(System))
    }

    /// As [`Webhook::new`], with names looked up in that way.
    pub(super) fn with_lookup(config: &WebhookConfig, public_url: &str, lookup: Arc<dyn Lookup>) -> Self {
        Self {
            caller: Caller::new(&config.endpoint, lookup),
            secrets: [Some(config.secret.clone()), config.former_secret.clone()].into_iter().flatten().collect(),
            literals: Literals::of(config.include_statement),
            public_url: public_url.to_owned(),
        }
    }

    async fn send(&self, story: &Story, now: Timestamp) -> Outcome {
        let event = WebhookEvent::of(story, self.literals, &self.public_url);
        let Ok(body) = serde_json::to_vec(&event) else { return Outcome::refused("cannot be written as JSON") };
        let call = match self.caller.post() {
            Ok(call) => call,
            Err(outcome) => return outcome,
        };
        let at = now.as_second();
        let call = call
            .header("content-type", "application/json")
            .header("webhook-id", &story.id)
            .header("webhook-timestamp", at)
            .header("webhook-signature", signatures(&self.secrets, &story.id, at, &body))
            .body(body);
        match call.send().await {
            // What it says besides is not read.
            Ok(response) => Outcome::of_status(&response, now),
            Err(error) => Outcome::of_error(&error),
        }
    }
}

impl Tell for Webhook {
    fn tell<'a>(&'a self, story: &'a Story, now: Timestamp) -> BoxFuture<'a, Outcome> {
        Box::pin(self.send(story, now))
    }
}

/// `v1,…` by each secret, separated by spaces.
fn signatures(secrets: &[SigningSecret], id: &str, at: i64, body: &[u8]) -> String {
    let signature = |secret: &SigningSecret| {
        // HMAC takes keys of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose()).ok()?;
        mac.update(format!("{id}.{at}.").as_bytes());
        mac.update(body);
        Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    };
    secrets.iter().filter_map(signature).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference implementations.
    #[test]
    fn a_signature_is_that_of_the_specification() {
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let (id, at, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        let one = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signatures(std::slice::from_ref(&secret), id, at, body), one);
        let other = SigningSecret::parse(&format!("whsec_{}", STANDARD.encode([7; 32]))).unwrap();
        let both = signatures(&[other, secret], id, at, body);
        assert!(both.starts_with("v1,") && both.ends_with(&format!(" {one}")), "{both}");
    }
}
