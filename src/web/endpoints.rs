//! Every endpoint that is neither a page nor there for Slack.
//!
//! Never a rule of who may do what: that is what [`Review`](crate::review::Review) decides; here stands only what a bearer
//! token must be for. Invariant: what is not on this list does not exist.

use serde_json::Value;
use utoipa::ToSchema;

use super::decide::{Approved, Decided, Rejected};
use super::endpoint::Endpoint;
use super::grants::{self, Asked, GrantPage, GrantView};
use super::remarks::{self, Commented, Justified};
use super::{analytics, api, audit, databases, decide, events, notifications, openapi, ready, render_metrics, run};
use crate::identity::Scope;
use crate::review::analytics::Analytics;
use crate::review::{AccessRequest, GrantRecord};

/// The OpenAPI document.
#[derive(ToSchema)]
#[schema(as = OpenApiDocument, value_type = Object)]
#[expect(dead_code, reason = "only its description is used")]
struct Document(Value);

/// See the module documentation.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let mut all = of_requests();
    all.extend(of_all_requests());
    all.extend(of_grants());
    all.extend(of_notifications());
    all.extend(open());
    all
}

fn of_requests() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/api/v1/me", "me", api::me)
            .does("Who the caller is")
            .needs(Scope::RequestsRead)
            .answers::<api::Me>(),
        Endpoint::get("/api/v1/events", "watch", events::stream)
            .does("What changes, as server-sent events: request, grants, missed")
            .needs(Scope::RequestsRead)
            .text("text/event-stream"),
        Endpoint::get("/api/v1/requests", "listRequests", api::list)
            .does("A page of access requests that the caller may see, newest first")
            .needs(Scope::RequestsRead)
            .query::<api::ListQuery>()
            .answers::<api::Page>(),
        Endpoint::post("/api/v1/requests", "runStatement", run::run)
            .does("Runs a statement as its caller; 202 names the access request that has to be approved before it is sent again")
            .needs(Scope::StatementsRun)
            .takes::<run::Asked>()
            .answers::<run::Ran>()
            .or_answers::<api::RequestView>(202)
            .fails(404)
            .refuses::<run::Refused>(422),
        Endpoint::get("/api/v1/requests/{id}", "showRequest", api::show)
            .does("One access request, with its card, comments and who else must approve it")
            .needs(Scope::RequestsRead)
            .answers::<api::RequestView>(),
        Endpoint::post("/api/v1/requests/{id}/approve", "approveRequest", decide::approve::<AccessRequest>)
            .does("Counts the caller's approval")
            .needs(Scope::RequestsDecide)
            .takes::<Approved>()
            .answers::<api::RequestView>(),
        Endpoint::post("/api/v1/requests/{id}/reject", "rejectRequest", decide::reject::<AccessRequest>)
            .does("Ends it, for a reason")
            .needs(Scope::RequestsDecide)
            .takes::<Rejected>()
            .answers::<api::RequestView>(),
        Endpoint::post("/api/v1/requests/{id}/cancel", "cancelRequest", decide::cancel::<AccessRequest>)
            .does("Withdraws it: for its requester and admins")
            .needs(Scope::RequestsWrite)
            .takes::<Decided>()
            .answers::<api::RequestView>(),
        Endpoint::post("/api/v1/requests/{id}/revoke", "revokeRequest", decide::revoke::<AccessRequest>)
            .does("Takes back an approval that was not used yet: for its reviewers and admins")
            .needs(Scope::RequestsDecide)
            .takes::<Decided>()
            .answers::<api::RequestView>(),
        Endpoint::post("/api/v1/requests/{id}/comments", "commentOnRequest", remarks::comment)
            .does("Writes about it, in whatever state it is")
            .needs(Scope::RequestsWrite)
            .takes::<Commented>()
            .answers::<api::RequestView>(),
        Endpoint::post("/api/v1/requests/{id}/justify", "justifyRequest", remarks::justify)
            .does("Gives the reason for a request that has none: for its requester")
            .needs(Scope::RequestsWrite)
            .takes::<Justified>()
            .answers::<api::RequestView>(),
    ]
}

/// What was, of all requests.
fn of_all_requests() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/api/v1/analytics", "analytics", analytics::show)
            .does("How requests that the caller may see were decided")
            .needs(Scope::RequestsRead)
            .query::<analytics::AnalyticsQuery>()
            .fails(422)
            .answers::<Analytics>(),
        Endpoint::get("/api/v1/audit", "searchAudit", audit::list)
            .does("Records of the audit trail, newest first: for admins and [audit] readers")
            .needs(Scope::AuditRead)
            .query::<audit::Ask>()
            .fails(422)
            .answers::<audit::AuditPage>(),
        Endpoint::get("/api/v1/audit/{seq}", "showAuditRecord", audit::show)
            .does("One record of the audit trail, and whether the chain holds around it")
            .needs(Scope::AuditRead)
            .answers::<audit::AuditRecord>(),
    ]
}

fn of_grants() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/api/v1/databases", "listDatabases", databases::list)
            .does("The databases that the caller may know of")
            .needs(Scope::PolicyRead)
            .answers::<databases::DatabaseList>(),
        Endpoint::get("/api/v1/grants", "listGrants", grants::list)
            .does("A page of grants that the caller may see, newest first")
            .needs(Scope::GrantsRead)
            .query::<grants::ListQuery>()
            .answers::<GrantPage>(),
        Endpoint::post("/api/v1/grants", "requestGrant", grants::request)
            .does("Asks for a grant for the caller")
            .needs(Scope::GrantsWrite)
            .takes::<Asked>()
            .creates()
            .answers::<GrantView>(),
        Endpoint::get("/api/v1/grants/{id}", "showGrant", grants::show)
            .does("One grant")
            .needs(Scope::GrantsRead)
            .answers::<GrantView>(),
        Endpoint::post("/api/v1/grants/{id}/approve", "approveGrant", decide::approve::<GrantRecord>)
            .does("Counts the caller's approval")
            .needs(Scope::GrantsDecide)
            .takes::<Decided>()
            .answers::<GrantView>(),
        Endpoint::post("/api/v1/grants/{id}/reject", "rejectGrant", decide::reject::<GrantRecord>)
            .does("Refuses it, for a reason")
            .needs(Scope::GrantsDecide)
            .takes::<Rejected>()
            .answers::<GrantView>(),
        Endpoint::post("/api/v1/grants/{id}/cancel", "cancelGrant", decide::cancel::<GrantRecord>)
            .does("Withdraws what was asked for: for who asked, and admins")
            .needs(Scope::GrantsWrite)
            .takes::<Decided>()
            .answers::<GrantView>(),
        Endpoint::post("/api/v1/grants/{id}/revoke", "revokeGrant", decide::revoke::<GrantRecord>)
            .does("Ends it: for its reviewers, admins and who has it")
            .needs(Scope::GrantsDecide)
            .takes::<Decided>()
            .answers::<GrantView>(),
    ]
}

/// For admins.
fn of_notifications() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/api/v1/notifications", "listNotifications", notifications::list)
            .does("A page of what others are told, newest first: for admins")
            .needs(Scope::Admin)
            .query::<notifications::DeliveryQuery>()
            .answers::<notifications::DeliveryPage>(),
        Endpoint::post("/api/v1/notifications/{id}/redeliver", "redeliverNotification", notifications::redeliver)
            .does("Sends one again: for admins")
            .needs(Scope::Admin)
            .answers::<notifications::Redelivered>(),
    ]
}

/// What needs no caller.
fn open() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/api/openapi.json", "openapi", openapi::show).does("This document").answers::<Document>(),
        Endpoint::get("/livez", "liveness", super::live)
            .does("Whether the process answers, whatever else is away")
            .answers::<super::Live>(),
        Endpoint::get("/healthz", "health", super::health)
            .does("Whether the process serves")
            .answers::<super::Health>()
            .fails(503),
        Endpoint::get("/readyz", "readiness", ready::show)
            .does("Whether the proxy can do what it is there for, part by part")
            .answers::<ready::Readiness>()
            .refuses::<ready::Unready>(503),
        Endpoint::get("/metrics", "metrics", render_metrics)
            .does("Metrics, as Prometheus reads them")
            .text("text/plain"),
    ]
}
