//! One endpoint: what serves it, what a caller needs for it, and how the OpenAPI document tells of it.
//!
//! Never served without being described: the router and the document are made of the same list.
//! Invariant: an endpoint that needs a scope is behind the gate.

use std::collections::BTreeSet;

use axum::handler::Handler;
use axum::routing::{self, MethodRouter};
use utoipa::openapi::path::{HttpMethod, Parameter, ParameterIn};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{IntoParams, ToSchema};

use super::ApiState;
use crate::identity::Scope;

/// A schema with those that it refers to.
pub(super) struct Described {
    pub(super) schema: RefOr<Schema>,
    pub(super) with: Vec<(String, RefOr<Schema>)>,
}

impl Described {
    pub(super) fn of<T: ToSchema>() -> Self {
        let mut with = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut with);
        Self { schema: Ref::from_schema_name(T::name()).into(), with }
    }
}

/// See the module documentation.
pub(super) struct Endpoint {
    pub(super) method: HttpMethod,
    pub(super) path: &'static str,
    /// `operationId`.
    pub(super) id: &'static str,
    /// One line for people.
    pub(super) does: &'static str,
    /// What a bearer token must be for; `None` is open to strangers.
    pub(super) need: Option<Scope>,
    pub(super) parameters: Vec<Parameter>,
    /// What it takes, and whether there must be something.
    pub(super) body: Option<(Described, bool)>,
    pub(super) status: u16,
    /// What is answered when all is well, if that is JSON.
    pub(super) answer: Option<Described>,
    /// Another answer when all is well.
    pub(super) or_answer: Option<(u16, Described)>,
    /// Media type of that.
    pub(super) media: &'static str,
    /// Statuses of its problems.
    pub(super) fails: BTreeSet<u16>,
    /// A problem that says more than others.
    pub(super) refusal: Option<(u16, Described)>,
    pub(super) serve: MethodRouter<ApiState>,
}

impl Endpoint {
    pub(super) fn get<H, T>(path: &'static str, id: &'static str, handler: H) -> Self
    where
        H: Handler<T, ApiState>,
        T: 'static,
    {
        Self::new(HttpMethod::Get, path, id, routing::get(handler))
    }

    pub(super) fn post<H, T>(path: &'static str, id: &'static str, handler: H) -> Self
    where
        H: Handler<T, ApiState>,
        T: 'static,
    {
        let mut endpoint = Self::new(HttpMethod::Post, path, id, routing::post(handler));
        // Of a call that was made before with its key.
        endpoint.fails.extend([409, 422]);
        endpoint
    }

    fn new(method: HttpMethod, path: &'static str, id: &'static str, serve: MethodRouter<ApiState>) -> Self {
        let mut fails = BTreeSet::from([408]);
        if path.contains('{') {
            fails.extend([400, 404]);
        }
        let (does, need, parameters, body, status) = ("", None, Vec::new(), None, 200);
        let (answer, or_answer, media, refusal) = (None, None, "text/plain", None);
        Self { method, path, id, does, need, parameters, body, status, answer, or_answer, media, fails, refusal, serve }
    }

    /// Whether it changes nothing.
    pub(super) fn is_safe(&self) -> bool {
        self.method == HttpMethod::Get
    }

    pub(super) fn does(self, does: &'static str) -> Self {
        Self { does, ..self }
    }

    pub(super) fn needs(mut self, scope: Scope) -> Self {
        self.fails.extend([401, 403, 429, 503]);
        Self { need: Some(scope), ..self }
    }

    pub(super) fn query<T: IntoParams>(mut self) -> Self {
        self.fails.insert(400);
        Self { parameters: T::into_params(|| Some(ParameterIn::Query)), ..self }
    }

    pub(super) fn takes<T: ToSchema>(mut self) -> Self {
        self.fails.extend([400, 413, 415]);
        let required = matches!(T::schema(), RefOr::T(Schema::Object(object)) if !object.required.is_empty());
        Self { body: Some((Described::of::<T>(), required)), ..self }
    }

    pub(super) fn answers<T: ToSchema>(self) -> Self {
        Self { answer: Some(Described::of::<T>()), media: "application/json", ..self }
    }

    pub(super) fn or_answers<T: ToSchema>(self, status: u16) -> Self {
        Self { or_answer: Some((status, Described::of::<T>())), ..self }
    }

    pub(super) fn text(self, media: &'static str) -> Self {
        Self { answer: None, media, ..self }
    }

    /// Answers with 201: it makes something.
    pub(super) fn creates(self) -> Self {
        Self { status: 201, ..self }
    }

    pub(super) fn refuses<T: ToSchema>(self, status: u16) -> Self {
        Self { refusal: Some((status, Described::of::<T>())), ..self }
    }

    pub(super) fn fails(mut self, status: u16) -> Self {
        self.fails.insert(status);
        self
    }
}
