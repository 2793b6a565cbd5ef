//! The OpenAPI document, made of the list of endpoints.
//!
//! Never written by hand. Invariant: `docs/openapi.json` is what this makes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::http::header;
use axum::response::IntoResponse;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ComponentsBuilder, Content, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathsBuilder, Ref, RefOr,
    Required, Schema,
};

use super::endpoint::{Described, Endpoint};
use super::endpoints::endpoints;
use super::problem::Problem;
use super::session::CSRF_HEADER;

/// Names of the security schemes.
const BEARER: &str = "bearer";
const SESSION: &str = "session";
const CSRF: &str = "csrf";

/// The rendered document.
#[derive(Clone)]
pub(super) struct Rendered(pub(super) Arc<str>);

/// `GET /api/openapi.json`.
pub(super) async fn show(Extension(Rendered(text)): Extension<Rendered>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], text.to_string())
}

/// The OpenAPI document of the API, as JSON.
#[must_use]
pub fn document() -> String {
    render(&endpoints())
}

pub(super) fn render(endpoints: &[Endpoint]) -> String {
    // What serde makes of these types has string keys only, so this cannot fail.
    let mut text = describe(endpoints).to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

fn describe(endpoints: &[Endpoint]) -> OpenApi {
    let mut schemas = BTreeMap::new();
    let mut paths = utoipa::openapi::Paths::new();
    let problem = Described::of::<Problem>();
    schemas.extend(problem.with);
    for endpoint in endpoints {
        let body = endpoint.body.as_ref().map(|(described, _)| described);
        let refusal = endpoint.refusal.as_ref().map(|(_, described)| described);
        let other = endpoint.or_answer.as_ref().map(|(_, described)| described);
        for described in body.into_iter().chain(&endpoint.answer).chain(other).chain(refusal) {
            schemas.extend(described.with.iter().cloned());
        }
        paths.add_path_operation(endpoint.path, vec![endpoint.method.clone()], operation(endpoint));
    }
    let info = InfoBuilder::new()
        .title("Countersign")
        .description(Some("Access requests, grants, and what else people and programs ask of the proxy"))
        .version(env!("CARGO_PKG_VERSION"))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()));
    let mut components = ComponentsBuilder::new().schemas_from_iter(schemas);
    for (name, scheme) in schemes() {
        components = components.security_scheme(name, scheme);
    }
    let paths = PathsBuilder::from(paths).build();
    OpenApiBuilder::new().info(info.build()).paths(paths).components(Some(components.build())).build()
}

fn schemes() -> [(&'static str, SecurityScheme); 3] {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A token of `countersign users token`; each call names the scope that it must have"));
    let key = |name: &str, about: &str| ApiKeyValue::with_description(name, about);
    let session =
        "The session of somebody who is signed in on the page; __Host-countersign where that is served by https";
    let csrf = "What the forms of that session hold; for calls that change something";
    [
        (BEARER, SecurityScheme::Http(bearer.build())),
        (SESSION, SecurityScheme::ApiKey(ApiKey::Cookie(key("countersign", session)))),
        (CSRF, SecurityScheme::ApiKey(ApiKey::Header(key(CSRF_HEADER, csrf)))),
    ]
}

fn operation(endpoint: &Endpoint) -> utoipa::openapi::path::Operation {
    let mut operation = OperationBuilder::new().operation_id(Some(endpoint.id)).summary(Some(endpoint.does));
    let own = endpoint.parameters.iter().cloned().map(never_null);
    for parameter in own.chain(id_parameter(endpoint)).chain(seq_parameter(endpoint)).chain(key_parameter(endpoint)) {
        operation = operation.parameter(parameter);
    }
    if let Some((body, required)) = &endpoint.body {
        let required = if *required { Required::True } else { Required::False };
        let body = RequestBodyBuilder::new().content("application/json", content(&body.schema));
        operation = operation.request_body(Some(body.required(Some(required)).build()));
    }
    operation = operation.response(endpoint.status.to_string(), answer(endpoint, endpoint.answer.as_ref()));
    if let Some((status, described)) = &endpoint.or_answer {
        operation = operation.response(status.to_string(), answer(endpoint, Some(described)));
    }
    for status in &endpoint.fails {
        operation = operation.response(status.to_string(), problem(*status, None));
    }
    if let Some((status, described)) = &endpoint.refusal {
        operation = operation.response(status.to_string(), problem(*status, Some(&described.schema)));
    }
    if let Some(scope) = endpoint.need {
        let none = || std::iter::empty::<String>();
        let session = SecurityRequirement::new(SESSION, none());
        operation = operation
            .security(SecurityRequirement::new(BEARER, [scope.as_str()]))
            .security(if endpoint.is_safe() { session } else { session.add(CSRF, none()) });
    }
    operation.build()
}

fn seq_parameter(endpoint: &Endpoint) -> Option<Parameter> {
    endpoint.path.contains("{seq}").then(|| {
        ParameterBuilder::new()
            .name("seq")
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .description(Some("The number of the record"))
            .schema(Some(ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1))))
            .build()
    })
}

fn id_parameter(endpoint: &Endpoint) -> Option<Parameter> {
    endpoint.path.contains("{id}").then(|| {
        ParameterBuilder::new()
            .name("id")
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .description(Some("26 characters, as lists give it"))
            .schema(Some(ObjectBuilder::new().schema_type(Type::String).min_length(Some(1))))
            .build()
    })
}

fn key_parameter(endpoint: &Endpoint) -> Option<Parameter> {
    (!endpoint.is_safe()).then(|| {
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[!-~]([ -~]{0,253}[!-~])?$"));
        ParameterBuilder::new()
            .name("Idempotency-Key")
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some("Whatever is sent again with the same key within 24 hours is not done again"))
            .schema(Some(text))
            .build()
    })
}

/// A parameter is there or not; it is never null.
fn never_null(mut parameter: Parameter) -> Parameter {
    if let Some(RefOr::T(Schema::Object(object))) = &mut parameter.schema
        && let SchemaType::Array(types) = &object.schema_type
        && let Some(only) = types.iter().find(|kind| **kind != Type::Null)
    {
        object.schema_type = SchemaType::Type(only.clone());
    }
    if let Some(RefOr::T(Schema::OneOf(either))) = &parameter.schema {
        parameter.schema = either.items.first().cloned();
    }
    parameter
}

fn content(schema: &RefOr<Schema>) -> Content {
    Content::new(Some(schema.clone()))
}

fn answer(endpoint: &Endpoint, described: Option<&Described>) -> Response {
    let schema = match described {
        Some(described) => described.schema.clone(),
        None => ObjectBuilder::new().schema_type(Type::String).build().into(),
    };
    ResponseBuilder::new().description(endpoint.does).content(endpoint.media, content(&schema)).build()
}

fn problem(status: u16, schema: Option<&RefOr<Schema>>) -> Response {
    let plain = Ref::from_schema_name("Problem").into();
    let title = axum::http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let response = ResponseBuilder::new()
        .description(title.unwrap_or("Problem"))
        .content("application/problem+json", content(schema.unwrap_or(&plain)));
    if status != 429 {
        return response.build();
    }
    let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
    let wait = HeaderBuilder::new().schema(Some(seconds)).description(Some("Seconds until there is room again"));
    response.header("Retry-After", wait.build()).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_document_is_that_of_the_code() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
        if std::env::var_os("COUNTERSIGN_WRITE_DOCS").is_some() {
            std::fs::write(&path, document()).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == document(), "write it anew: countersign api-schema > docs/openapi.json");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document: serde_json::Value = serde_json::from_str(&document()).unwrap();
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
        assert_eq!(document["openapi"], "3.1.0");
    }
}
