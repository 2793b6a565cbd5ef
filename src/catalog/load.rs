//! One load: queries → [`Catalog`].
//!
//! Never publishes anything. Invariant: all rows are read in one read-only snapshot of the database together with the
//! probe that stands for them; what cannot be read fails the load, except single definitions (see [`Definitions`]).

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use countersign_policy::Catalog;
use countersign_policy::catalog::{
    Column, Consequence, EventTrigger, Function, Oid, Relation, RelationKind, SetOff, Stamp, Stamps, Type,
};
use tokio_postgres::types::FromSql;
use tokio_postgres::{Client, GenericClient, IsolationLevel, Row};

use super::consequences;
use super::definitions::{self, BuiltIn, Definitions};
use super::digest::{ContentDigest, Versions, is_temporary};
use super::{CatalogError, functions, look, queries, settings};

/// Stands for the state of the catalog; two equal probes mean that nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    rows: i64,
    stamp: Option<String>,
    /// The part of it that came with the server.
    pub(super) built_in: Option<String>,
}

/// The outcome of one load.
pub(super) struct Loaded {
    pub(super) probe: Probe,
    /// Whether every definition could be read.
    pub(super) complete: bool,
    pub(super) catalog: Catalog,
}

/// Rows with something that counts as their content but that nobody looks at.
pub(super) type Stamped<T> = Vec<(T, String)>;

/// Asks for the probe alone: a few milliseconds.
pub(super) async fn probe(client: &impl GenericClient) -> Result<Probe, CatalogError> {
    let rows = query(client, "the state", queries::PROBE).await?;
    let row = rows.first().ok_or(CatalogError::Unexpected { what: "state" })?;
    let what = "the state";
    Ok(Probe { rows: field(row, 0, what)?, stamp: field(row, 1, what)?, built_in: field(row, 2, what)? })
}

/// `server_version_num`: 150020 stands for 15.20.
async fn server_version(client: &impl GenericClient) -> Result<u32, CatalogError> {
    let rows = query(client, "the server's version", queries::SERVER_VERSION).await?;
    let row = rows.first().ok_or(CatalogError::Unexpected { what: "server_version_num" })?;
    let number: i32 = field(row, 0, "the server's version")?;
    u32::try_from(number).map_err(|_| CatalogError::Unexpected { what: "server_version_num" })
}

/// Loads everything, except definitions that are known from an earlier load and cannot have changed.
pub(super) async fn load(client: &mut Client, known: &mut BuiltIn) -> Result<Loaded, CatalogError> {
    let failed = |source| CatalogError::Query { what: "a snapshot", source: Arc::new(source) };
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await
        .map_err(failed)?;
    let probe = probe(&transaction).await?;
    let mut relations = relations(&query(&transaction, "relations", queries::RELATIONS).await?)?;
    let columns = query(&transaction, "columns", queries::COLUMNS).await?;
    let consequences = query(&transaction, "consequences", queries::CONSEQUENCES).await?;
    let event_triggers = query(&transaction, "event triggers", queries::EVENT_TRIGGERS).await?;
    let entangled = query(&transaction, "schemas", queries::ENTANGLED_SCHEMAS).await?;
    let types = types(&query(&transaction, "types", queries::TYPES).await?)?;
    let functions = functions::Rows(query(&transaction, "functions", queries::FUNCTIONS).await?);
    let stamps = query(&transaction, "stamps", &queries::stamps()).await?;
    let server_version = server_version(&transaction).await?;
    let mut settings_read = settings::read(&transaction).await?;
    let with_sql_body = functions::with_sql_body(&transaction, server_version).await?;
    transaction.commit().await.map_err(failed)?;
    add_columns(&mut relations, &columns)?;
    let stamps = Stamps { relations: add_stamps(&mut relations, &stamps)?, functions: functions.revisions()? };
    consequences::add(&mut relations, &consequences)?;
    let needing: Vec<Oid> =
        relations.iter().filter(|(relation, _)| needs_definition(relation)).map(|(relation, _)| relation.oid).collect();
    let definitions = definitions::read(client, &needing, &probe, known).await?;
    let bodies = functions::read_bodies(client, &with_sql_body).await?;
    let (rules, definitions_complete) = add_definitions(&mut relations, definitions);
    let complete = definitions_complete && bodies.are_complete();
    let functions = functions.read(&bodies)?;
    functions.iter().filter_map(|((_, _, function), _)| function.body.as_ref()).for_each(|body| {
        settings_read.read_text(&body.text);
    });
    let event_triggers = consequences::event_triggers(&event_triggers)?;
    let entangled: HashSet<String> =
        entangled.iter().map(|row| field(row, 0, "schemas")).collect::<Result<_, CatalogError>>()?;
    let catalog = assemble(server_version, relations, types, functions, event_triggers)
        .with_rules(rules)
        .with_stamps(stamps)
        .with_entangled_schemas(entangled)
        .with_settings_read(settings_read);
    Ok(Loaded { probe, complete, catalog })
}

pub(super) async fn query(
    client: &impl GenericClient,
    what: &'static str,
    text: &str,
) -> Result<Vec<Row>, CatalogError> {
    client.query_typed(text, &[]).await.map_err(|source| CatalogError::Query { what, source: Arc::new(source) })
}

pub(super) fn field<'a, T: FromSql<'a>>(row: &'a Row, index: usize, what: &'static str) -> Result<T, CatalogError> {
    row.try_get(index).map_err(|source| CatalogError::Query { what, source: Arc::new(source) })
}

/// A `"char"` column, selected as text.
pub(super) fn code(row: &Row, index: usize, what: &'static str) -> Result<char, CatalogError> {
    field::<&str>(row, index, what)?.chars().next().ok_or(CatalogError::Unexpected { what })
}

fn relations(rows: &[Row]) -> Result<Stamped<Relation>, CatalogError> {
    let what = "relations";
    let relation = |row: &Row| {
        let relation = Relation {
            oid: field(row, 0, what)?,
            schema: field(row, 1, what)?,
            name: field(row, 2, what)?,
            kind: relation_kind(code(row, 3, "relkind")?)?,
            row_type: field(row, 4, what)?,
            columns: Vec::new(),
            definition: None,
            parents: field(row, 5, what)?,
            has_rules: field(row, 6, what)?,
            consequences: Vec::new(),
        };
        Ok((relation, field(row, 7, what)?))
    };
    rows.iter().map(relation).collect()
}

fn relation_kind(code: char) -> Result<RelationKind, CatalogError> {
    Ok(match code {
        'r' | 't' => RelationKind::Table,
        'p' => RelationKind::PartitionedTable,
        'v' => RelationKind::View,
        'm' => RelationKind::MaterializedView,
        'f' => RelationKind::ForeignTable,
        'S' => RelationKind::Sequence,
        'c' => RelationKind::CompositeType,
        'i' | 'I' => RelationKind::Index,
        _ => return Err(CatalogError::Unexpected { what: "relkind" }),
    })
}

/// Both lists are in the order of relation OIDs.
fn add_columns(relations: &mut Stamped<Relation>, rows: &[Row]) -> Result<(), CatalogError> {
    let what = "columns";
    let mut rows = rows.iter().peekable();
    for (relation, _) in relations {
        while let Some(row) = rows.peek() {
            if field::<Oid>(row, 0, what)? != relation.oid {
                break;
            }
            relation.columns.push(Column {
                attnum: field(row, 1, what)?,
                name: field(row, 2, what)?,
                type_oid: field(row, 3, what)?,
                generated: field::<bool>(row, 4, what)?.then(String::new),
            });
            rows.next();
        }
    }
    match rows.next() {
        None => Ok(()),
        Some(_) => Err(CatalogError::Unexpected { what: "attrelid" }),
    }
}

/// Reads the stamps of users' relations. The version of the catalog stands for them too.
fn add_stamps(relations: &mut Stamped<Relation>, rows: &[Row]) -> Result<HashMap<Oid, Stamp>, CatalogError> {
    let what = "stamps";
    let one = |row: &Row| Ok((field(row, 0, what)?, look::stamp(field(row, 1, what)?)?));
    let stamps = rows.iter().map(one).collect::<Result<HashMap<Oid, Stamp>, CatalogError>>()?;
    for (relation, content) in relations {
        content.extend(stamps.get(&relation.oid).map(Stamp::to_string));
    }
    Ok(stamps)
}

fn is_view(relation: &Relation) -> bool {
    matches!(relation.kind, RelationKind::View | RelationKind::MaterializedView)
}

fn needs_definition(relation: &Relation) -> bool {
    is_view(relation) || relation.has_rules || relation.columns.iter().any(|column| column.generated.is_some())
}

/// Definitions of rules, by relation.
type Rules = HashMap<Oid, Vec<String>>;

/// Puts the definitions in their places; yields the rules, and whether nothing was missing.
fn add_definitions(relations: &mut Stamped<Relation>, mut definitions: Definitions) -> (Rules, bool) {
    let (mut all_rules, mut complete) = (Rules::new(), true);
    for (relation, stamp) in relations {
        if is_view(relation) {
            relation.definition = definitions.remove(&(relation.oid, 0));
            complete &= relation.definition.is_some();
        }
        let oid = relation.oid;
        for column in relation.columns.iter_mut().filter(|column| column.generated.is_some()) {
            let expression = definitions.remove(&(oid, column.attnum));
            complete &= expression.is_some();
            column.generated = Some(expression.unwrap_or_default());
        }
        if relation.has_rules {
            let rules: Vec<String> = (1..=i16::MAX).map_while(|number| definitions.remove(&(oid, -number))).collect();
            complete &= !rules.is_empty();
            stamp.push_str(&rules.concat());
            all_rules.extend((!rules.is_empty()).then_some((oid, rules)));
        }
    }
    (all_rules, complete)
}

fn types(rows: &[Row]) -> Result<Vec<Type>, CatalogError> {
    let what = "types";
    let one = |row: &Row| {
        Ok(Type {
            oid: field(row, 0, what)?,
            schema: field(row, 1, what)?,
            name: field(row, 2, what)?,
            kind: code(row, 3, "typtype")?,
            category: code(row, 4, "typcategory")?,
            relation: field(row, 5, what)?,
            element: field(row, 6, what)?,
            base: field(row, 7, what)?,
        })
    };
    rows.iter().map(one).collect()
}

/// Hashes everything into versions and builds the snapshot.
/// A relation as sessions see it that know nothing of the temporary ones: CASCADE from it reaches other people's temporary
/// views, whose coming and going is no change for anybody else.
fn for_all_sessions<'a>(relation: &'a Relation, temporary: &HashSet<Oid>) -> Cow<'a, Relation> {
    let is_others =
        |set_off: &Consequence| matches!(set_off.what, SetOff::Write(_, reached) if temporary.contains(&reached));
    if is_temporary(&relation.schema) || !relation.consequences.iter().any(is_others) {
        return Cow::Borrowed(relation);
    }
    let mut seen = relation.clone();
    seen.consequences.retain(|set_off| !is_others(set_off));
    Cow::Owned(seen)
}

fn assemble(
    server_version: u32,
    relations: Stamped<Relation>,
    types: Vec<Type>,
    functions: Stamped<(String, String, Function)>,
    event_triggers: Vec<EventTrigger>,
) -> Catalog {
    let mut digest = ContentDigest::default();
    digest.add("", &server_version, "");
    let temporary: HashSet<Oid> = relations
        .iter()
        .filter(|(relation, _)| is_temporary(&relation.schema))
        .map(|(relation, _)| relation.oid)
        .collect();
    for (relation, stamp) in &relations {
        digest.add(&relation.schema, &*for_all_sessions(relation, &temporary), stamp);
    }
    types.iter().for_each(|item| digest.add(&item.schema, item, ""));
    functions.iter().for_each(|(function, stamp)| digest.add(&function.0, function, stamp));
    event_triggers.iter().for_each(|trigger| digest.add("", trigger, ""));
    let Versions { durable, temporary } = digest.finish();
    Catalog::new(
        durable,
        relations.into_iter().map(|(relation, _)| relation).collect(),
        types,
        functions.into_iter().map(|(function, _)| function).collect(),
    )
    .with_temporary_versions(temporary)
    .with_server_version(server_version)
    .with_event_triggers(event_triggers)
}
