//! Signing in at a provider that can be told to lie.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::*;
use crate::config::UserClaim;

pub(crate) const CLIENT: &str = "countersign";
const BACK: &str = "http://127.0.0.1:1/login/oidc/callback";

/// What changes a document before it is sent.
type Lie = Box<dyn Fn(&mut Value) + Send>;

/// A provider at which everybody may sign in.
pub(crate) struct Liar {
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    issuer: String,
    keys: Mutex<(String, EcdsaKeyPair)>,
    /// The challenge and the claims of each code that was not used yet.
    codes: Mutex<HashMap<String, (String, Value)>>,
    about_itself: Mutex<Option<Lie>>,
    about_person: Mutex<Value>,
    /// Asked for at `/me`.
    calls: Mutex<u32>,
}

fn key_pair() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random).unwrap()
}

impl Liar {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            issuer: format!("http://{address}"),
            keys: Mutex::new(("one".to_owned(), key_pair())),
            codes: Mutex::default(),
            about_itself: Mutex::default(),
            about_person: Mutex::default(),
            calls: Mutex::default(),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(about_itself))
            .route("/jwks", get(jwks))
            .route("/token", post(token))
            .route("/me", get(me))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { shared, task }
    }

    pub(crate) fn config(&self) -> OidcConfig {
        OidcConfig {
            name: "Example".to_owned(),
            issuer: self.shared.issuer.clone(),
            client_id: CLIENT.to_owned(),
            client_secret: None,
            scopes: vec!["email".to_owned()],
            user_claim: UserClaim::Email,
            groups_claim: "groups".to_owned(),
            groups: vec![
                ("their-dbas".to_owned(), "dba".to_owned()),
                ("their-admins".to_owned(), "admin".to_owned()),
                ("other-dbas".to_owned(), "dba".to_owned()),
            ],
            ca: None,
        }
    }

    /// Somebody with these claims has signed in for the address that `begin` gave; the code that they bring back.
    pub(crate) fn code_for(&self, address: &str, claims: Value) -> String {
        let query = |name: &str| query_of(address, name).unwrap_or_else(|| panic!("no {name} in {address}"));
        let now = Timestamp::now().as_second();
        let mut all = json!({
            "iss": self.shared.issuer, "aud": CLIENT, "sub": "1234", "nonce": query("nonce"),
            "iat": now, "exp": now + 300, "email": "eve@example.com", "email_verified": true,
        });
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        let code = hex::encode(rand::random::<[u8; 8]>());
        self.shared.codes.lock().unwrap().insert(code.clone(), (query("code_challenge"), all));
        code
    }

    /// What it says at `/me`.
    pub(crate) fn tells(&self, claims: Value) {
        *self.shared.about_person.lock().unwrap() = claims;
    }

    fn lies_about_itself(&self, lie: impl Fn(&mut Value) + Send + 'static) {
        *self.shared.about_itself.lock().unwrap() = Some(Box::new(lie));
    }

    pub(crate) async fn stop(self) {
        self.task.abort();
        drop(self.task.await);
    }
}

pub(crate) fn query_of(address: &str, name: &str) -> Option<String> {
    let (_, query) = address.split_once('?')?;
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

async fn about_itself(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let issuer = &shared.issuer;
    let mut document = json!({
        "issuer": issuer, "authorization_endpoint": format!("{issuer}/auth"), "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"), "userinfo_endpoint": format!("{issuer}/me"),
        "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"],
    });
    if let Some(lie) = shared.about_itself.lock().unwrap().as_ref() {
        lie(&mut document);
    }
    Json(document)
}

async fn jwks(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let keys = shared.keys.lock().unwrap();
    let point = keys.1.public_key().as_ref();
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    Json(json!({ "keys": [{
        "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": keys.0,
        "x": part(&point[1..33]), "y": part(&point[33..]),
    }] }))
}

async fn token(
    State(shared): State<Arc<Shared>>,
    Form(form): Form<HashMap<String, String>>,
) -> (StatusCode, Json<Value>) {
    let refused = |error: &str| (StatusCode::BAD_REQUEST, Json(json!({ "error": error })));
    let Some((challenge, mut claims)) = shared.codes.lock().unwrap().remove(&form["code"]) else {
        return refused("invalid_grant");
    };
    let proof = URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"]));
    if proof != challenge || !form["redirect_uri"].ends_with(LEAD_BACK) {
        return refused("invalid_grant");
    }
    let spoilt = claims.as_object_mut().unwrap().remove("spoilt");
    let keys = shared.keys.lock().unwrap();
    let algorithm = if spoilt == Some(json!("none")) { "none" } else { "ES256" };
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({ "alg": algorithm, "kid": keys.0 })), part(&claims));
    let signature = keys.1.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    let signature = match spoilt {
        None => URL_SAFE_NO_PAD.encode(signature.as_ref()),
        Some(_) if algorithm == "none" => String::new(),
        Some(_) => URL_SAFE_NO_PAD.encode([7; 64]),
    };
    let id_token = format!("{signed}.{signature}");
    let answer = json!({ "access_token": "a", "token_type": "Bearer", "expires_in": 60, "id_token": id_token });
    (StatusCode::OK, Json(answer))
}

async fn me(State(shared): State<Arc<Shared>>) -> Json<Value> {
    *shared.calls.lock().unwrap() += 1;
    Json(shared.about_person.lock().unwrap().clone())
}

/// Signs somebody with these claims in.
async fn sign_in(liar: &Liar, config: &OidcConfig, claims: Value) -> Result<Said, OidcError> {
    let (provider, attempt) = (Provider::default(), Attempt::new());
    let address = provider.begin(config, &attempt, BACK).await?;
    let code = liar.code_for(&address, claims);
    provider.finish(config, &attempt, &code, BACK).await
}

fn why(outcome: Result<Said, OidcError>) -> String {
    outcome.map_or_else(|error| error.to_string(), |said| format!("{said:?}"))
}

#[tokio::test]
async fn who_has_signed_in_there_is_known_here() {
    let liar = Liar::start().await;
    let config = liar.config();
    let said = sign_in(&liar, &config, json!({ "groups": ["their-dbas", "other-dbas", "all"] })).await.unwrap();
    assert_eq!(said.who, "eve@example.com");
    assert_eq!(said.groups, ["their-dbas", "other-dbas"], "only groups that the configuration names");
    assert_eq!(config.groups_here(&said.groups), ["dba"]);
    let one = sign_in(&liar, &config, json!({ "groups": "their-dbas" })).await.unwrap();
    assert_eq!(one.groups, ["their-dbas"]);
    assert_eq!(*liar.shared.calls.lock().unwrap(), 0, "the token has said everything");
    let by_sub = OidcConfig { user_claim: UserClaim::Sub, ..config };
    assert_eq!(sign_in(&liar, &by_sub, json!({ "groups": [] })).await.unwrap().who, "1234");
    liar.stop().await;
}

#[tokio::test]
async fn a_token_that_is_not_for_us_signs_nobody_in() {
    let liar = Liar::start().await;
    let config = liar.config();
    let long_ago = Timestamp::now().as_second() - 3600;
    for (claims, want) in [
        (json!({ "nonce": "another" }), "another nonce"),
        (json!({ "nonce": null }), "another nonce"),
        (json!({ "iss": "https://elsewhere.example" }), "another issuer"),
        (json!({ "aud": "another-client" }), "another audience"),
        (json!({ "aud": ["countersign", "another-client"] }), "another audience"),
        (json!({ "exp": long_ago }), "expired"),
        (json!({ "spoilt": "signature" }), "no good signature"),
        (json!({ "spoilt": "none" }), "no good signature"),
        (json!({ "groups": [], "email": "" }), "does not tell the claim \"email\""),
        (json!({ "groups": [], "email_verified": false }), "has not verified the e-mail address"),
        (json!({ "groups": [], "email_verified": null }), "has not verified the e-mail address"),
    ] {
        let found = why(sign_in(&liar, &config, claims.clone()).await);
        assert!(found.contains(want), "{claims}: {found}");
    }
    liar.stop().await;
}

#[tokio::test]
async fn what_the_token_leaves_out_is_asked_for() {
    let liar = Liar::start().await;
    let config = liar.config();
    liar.tells(
        json!({ "sub": "1234", "email": "mallory@example.com", "email_verified": true, "groups": ["their-dbas"] }),
    );
    let said = sign_in(&liar, &config, json!({})).await.unwrap();
    assert_eq!((said.who.as_str(), said.groups), ("eve@example.com", vec!["their-dbas".to_owned()]));
    // An address that the token leaves unverified is not verified by what is said elsewhere.
    let said = why(sign_in(&liar, &config, json!({ "email_verified": false })).await);
    assert!(said.contains("has not verified"), "{said}");
    liar.tells(json!({ "sub": "another", "groups": ["their-admins"] }));
    let said = why(sign_in(&liar, &config, json!({})).await);
    assert!(said.contains("answer about the person cannot be used"), "{said}");
    liar.tells(json!({ "sub": "1234" }));
    let said = sign_in(&liar, &config, json!({})).await.unwrap();
    assert!(said.groups.is_empty() && !said.tells_groups);
    liar.stop().await;
}

#[tokio::test]
async fn a_code_is_for_one_attempt_once() {
    let liar = Liar::start().await;
    let (config, provider, attempt) = (liar.config(), Provider::default(), Attempt::new());
    let address = provider.begin(&config, &attempt, BACK).await.unwrap();
    assert_eq!(query_of(&address, "code_challenge_method").as_deref(), Some("S256"));
    assert_eq!(query_of(&address, "scope").as_deref(), Some("openid email"));
    assert!(attempt.is_state(&query_of(&address, "state").unwrap()) && !Attempt::new().is_state(&attempt.state()));
    assert!(!address.contains(attempt.expose()));
    let code = liar.code_for(&address, json!({ "groups": [] }));
    let stolen = provider.finish(&config, &Attempt::new(), &code, BACK).await;
    assert!(matches!(stolen, Err(OidcError::CodeRefused)), "{stolen:?}");
    let code = liar.code_for(&address, json!({ "groups": [] }));
    provider.finish(&config, &attempt, &code, BACK).await.unwrap();
    let again = provider.finish(&config, &attempt, &code, BACK).await;
    assert!(matches!(again, Err(OidcError::CodeRefused)), "{again:?}");
    liar.stop().await;
}

#[tokio::test]
async fn a_provider_that_is_another_or_away_is_not_used() {
    let liar = Liar::start().await;
    let config = liar.config();
    probe(&config).await.unwrap();
    for (key, value, want) in [
        ("issuer", json!("https://elsewhere.example"), "issuer"),
        ("jwks_uri", json!("http://elsewhere.example/jwks"), "cannot be"),
        ("jwks_uri", json!(null), "discovery document"),
        ("padding", json!("x".repeat(2 << 20)), "cannot be reached"),
    ] {
        liar.lies_about_itself(move |document| document[key] = value.clone());
        let found = probe(&config).await.unwrap_err().to_string();
        assert!(found.contains(want), "{key}: {found}");
    }
    liar.lies_about_itself(|document| document["token_endpoint"] = json!("http://elsewhere.example/token"));
    let found = sign_in(&liar, &config, json!({})).await;
    assert!(matches!(found, Err(OidcError::Unreachable(HttpError::Unsafe))), "{found:?}");
    liar.stop().await;
    let provider = Provider::default();
    let found = provider.begin(&config, &Attempt::new(), BACK).await;
    assert!(matches!(found, Err(OidcError::Unreachable(_))), "{found:?}");
    let again = provider.begin(&config, &Attempt::new(), BACK).await;
    assert!(matches!(again, Err(OidcError::Away)), "{again:?}");
}
