//! A server that takes what is sent to it, and answers as it is told.

use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::{Router, routing::any};
use serde_json::Value;

/// One call that came.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) status: u16,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What the next calls are answered with: status, headers, body.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Bytes of the body; the last are never sent when there are very many.
    pub(crate) body: usize,
    /// What stands in the body instead.
    pub(crate) json: Option<Value>,
}

impl Answer {
    pub(crate) fn of(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: 2, json: None }
    }

    pub(crate) fn json(json: Value) -> Self {
        Self { json: Some(json), ..Self::of(200) }
    }
}

/// How a call is answered, by the calls before and itself.
type Play = Box<dyn FnMut(&[Call], &Call) -> Answer + Send>;

struct Played {
    calls: Vec<Call>,
    play: Play,
}

/// See the module documentation.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) port: u16,
    played: Arc<Mutex<Played>>,
}

impl Receiver {
    pub(crate) async fn start(play: impl FnMut(&[Call], &Call) -> Answer + Send + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let played = Arc::new(Mutex::new(Played { calls: Vec::new(), play: Box::new(play) }));
        let router = Router::new().fallback(any(take)).with_state(Arc::clone(&played));
        // It ends with the runtime of the test.
        tokio::spawn(async move { axum_serve(listener, router).await });
        Self { port, played }
    }

    pub(crate) async fn answering(status: u16) -> Self {
        Self::start(move |_calls, _call| Answer::of(status)).await
    }

    /// Answers otherwise from now on.
    pub(crate) fn play(&self, play: impl FnMut(&[Call], &Call) -> Answer + Send + 'static) {
        self.played.lock().unwrap().play = Box::new(play);
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.played.lock().unwrap().calls.clone()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }
}

async fn take(State(played): State<Arc<Mutex<Played>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let mut call = Call { path: parts.uri.path().to_owned(), headers: parts.headers, body, status: 0 };
    let mut played = played.lock().unwrap();
    let Played { calls, play } = &mut *played;
    let answer = play(calls, &call);
    call.status = answer.status;
    calls.push(call);
    let body = answer.json.map_or_else(|| vec![b'x'; answer.body], |json| json.to_string().into_bytes());
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap();
    for (name, value) in answer.headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

/// What `axum::serve` does, which is not part of this build.
pub(crate) async fn axum_serve(listener: tokio::net::TcpListener, router: Router) {
    use hyper_util::rt::TokioIo;
    use hyper_util::service::TowerToHyperService;
    loop {
        let (stream, _peer) = listener.accept().await.unwrap();
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
