//! Whether Slack has signed a call: `v0`, HMAC-SHA256 over its time and body.
//!
//! Never takes a call that is older than [`AGE_MAX`], or comes from as far in the future. Invariant: the comparison takes the
//! same time whatever differs.

use hmac::{Hmac, Mac};
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;

use crate::config::Secret;

/// How old a call may be, as Slack advises.
pub(crate) const AGE_MAX: SignedDuration = SignedDuration::from_mins(5);

/// The signature of a call, if it is right: never the same for two calls.
pub(crate) fn verified(
    secret: &Secret,
    (at, signature): (&str, &str),
    body: &[u8],
    now: Timestamp,
) -> Option<[u8; 32]> {
    // One way to write a number, so that one signature is for one call.
    let is_number = !at.is_empty() && at.len() <= 12 && at.bytes().all(|byte| byte.is_ascii_digit());
    let sent = Timestamp::from_second(at.parse().ok().filter(|_| is_number)?).ok()?;
    if now.duration_since(sent).abs() > AGE_MAX {
        return None;
    }
    let mut given = [0; 32];
    let digits = signature.strip_prefix("v0=")?;
    hex::decode_to_slice(digits, &mut given).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).ok()?;
    mac.update(b"v0:");
    mac.update(at.as_bytes());
    mac.update(b":");
    mac.update(body);
    mac.verify_slice(&given).ok()?;
    Some(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Slack's documentation.
    const BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    const SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";

    #[track_caller]
    fn check((at, signature): (&str, &str), body: &str, now: i64, expected: bool) {
        let secret = Secret::new("8f742231b10e8888abcd99yyyzzz85a5".to_owned());
        let now = Timestamp::from_second(now).unwrap();
        let found = verified(&secret, (at, signature), body.as_bytes(), now).is_some();
        assert_eq!(found, expected, "{at} {signature} {now}");
    }

    #[test]
    fn only_a_fresh_call_that_slack_has_signed_is_taken() {
        let sent = 1_531_420_618;
        check(("1531420618", SIGNATURE), BODY, sent, true);
        check(("1531420618", SIGNATURE), BODY, sent + 300, true);
        check(("1531420618", SIGNATURE), BODY, sent + 301, false);
        check(("1531420618", SIGNATURE), BODY, sent - 301, false);
        check(("1531420619", SIGNATURE), BODY, sent, false);
        check(("01531420618", SIGNATURE), BODY, sent, false);
        check(("+1531420618", SIGNATURE), BODY, sent, false);
        check(("1531420618", &SIGNATURE[3..]), BODY, sent, false);
        check(("1531420618", &SIGNATURE.replace("v0=", "v1=")), BODY, sent, false);
        check(("1531420618", &SIGNATURE[..60]), BODY, sent, false);
        check(("1531420618", ""), BODY, sent, false);
        check(("", SIGNATURE), BODY, sent, false);
        check(("1531420618", SIGNATURE), &BODY.replace("text=", "text=x"), sent, false);
    }
}
