//! Records over HTTP: to an OpenTelemetry collector, or as JSON lines to a webhook.
//!
//! Never follows a redirect: records go where the configuration says. Invariant: a batch counts as sent only after an answer
//! of 2xx.
//! Source: OTLP 1.x (HTTP/JSON, `ExportLogsServiceRequest`); Standard Webhooks for the signature.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::redirect::Policy;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;

use super::{Line, SinkError};
use crate::config::{Secret, SinkConfig, SinkTarget};

/// How long a receiver may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// OpenTelemetry's INFO.
const SEVERITY_INFO: u8 = 9;

pub(super) struct Http {
    client: reqwest::Client,
    url: String,
    form: Form,
    authorization: Option<Secret>,
    secret: Option<Secret>,
}

#[derive(Clone, Copy)]
enum Form {
    Otlp,
    Lines,
}

impl Http {
    pub(super) fn new(config: &SinkConfig) -> Result<Self, SinkError> {
        crate::telemetry::install_crypto_provider();
        let (url, form) = match &config.to {
            SinkTarget::Otlp(url) => (url.clone(), Form::Otlp),
            SinkTarget::Webhook(url) => (url.clone(), Form::Lines),
            SinkTarget::Stdout | SinkTarget::Syslog(_) => (String::new(), Form::Lines),
        };
        let mut builder = reqwest::Client::builder().redirect(Policy::none()).timeout(PATIENCE);
        if let Some(ca) = &config.ca {
            builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(&std::fs::read(ca)?)?);
        }
        let (authorization, secret) = (config.authorization.clone(), config.secret.clone());
        Ok(Self { client: builder.build()?, url, form, authorization, secret })
    }

    /// Sends all of them as one; how many the receiver has dropped.
    pub(super) async fn send(&self, lines: &[Line]) -> Result<u64, SinkError> {
        let (content_type, body) = match self.form {
            Form::Otlp => ("application/json", otlp(lines).to_string()),
            Form::Lines => ("application/x-ndjson", lines.iter().map(|line| format!("{}\n", line.text)).collect()),
        };
        let mut request = self.client.post(&self.url).header(CONTENT_TYPE, content_type);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.expose());
        }
        if let (Some(secret), Some(first), Some(last)) = (&self.secret, lines.first(), lines.last()) {
            // A batch that is sent again has the same number.
            let id = format!("audit-{}-{}", first.seq, last.seq);
            let at = Timestamp::now().as_second().to_string();
            let signature = sign(secret, &id, &at, &body);
            request =
                request.header("webhook-id", id).header("webhook-timestamp", at).header("webhook-signature", signature);
        }
        let answer = request.body(body).send().await?;
        match answer.status().as_u16() {
            200..=299 => {}
            status @ (400 | 413 | 422) => return Err(SinkError::Refused(status)),
            // Whoever is in charge may put these right, and then nothing is lost.
            status => return Err(SinkError::Later(status)),
        }
        match self.form {
            Form::Otlp => Ok(rejected(&answer.bytes().await?)),
            Form::Lines => Ok(0),
        }
    }
}

/// `v1,` and the HMAC-SHA256 of id, time and body, as Standard Webhooks has it.
fn sign(secret: &Secret, id: &str, at: &str, body: &str) -> String {
    let given = secret.expose();
    let key = given.strip_prefix("whsec_").and_then(|key| STANDARD.decode(key).ok());
    let key = key.unwrap_or_else(|| given.as_bytes().to_vec());
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else { return String::new() };
    mac.update(format!("{id}.{at}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

fn otlp(lines: &[Line]) -> Value {
    let text = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
    let record = |line: &Line| {
        let nanoseconds = line.at.parse::<Timestamp>().map_or(0, Timestamp::as_nanosecond).to_string();
        json!({
            "timeUnixNano": nanoseconds,
            "observedTimeUnixNano": Timestamp::now().as_nanosecond().to_string(),
            "severityNumber": SEVERITY_INFO,
            "severityText": "INFO",
            "eventName": format!("countersign.audit.{}", line.kind),
            "body": { "stringValue": line.text },
            "attributes": [
                text("countersign.audit.kind", &line.kind),
                { "key": "countersign.audit.seq", "value": { "intValue": line.seq.to_string() } },
            ],
        })
    };
    json!({ "resourceLogs": [{
        "resource": { "attributes": [text("service.name", "countersign")] },
        "scopeLogs": [{
            "scope": { "name": "countersign.audit", "version": env!("CARGO_PKG_VERSION") },
            "logRecords": lines.iter().map(record).collect::<Vec<_>>(),
        }],
    }] })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    partial_success: Option<PartialSuccess>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PartialSuccess {
    #[serde(default)]
    rejected_log_records: Value,
}

/// How many records a collector says that it has rejected; 64-bit numbers are strings in OTLP's JSON.
fn rejected(body: &[u8]) -> u64 {
    let answer: Option<Answer> = serde_json::from_slice(body).ok();
    let rejected = answer.and_then(|answer| answer.partial_success).map(|partial| partial.rejected_log_records);
    rejected.and_then(|number| number.as_u64().or_else(|| number.as_str()?.parse().ok())).unwrap_or(0)
}
