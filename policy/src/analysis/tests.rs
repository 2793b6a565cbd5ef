//! Tests of the analysis: what must not slip through, what must not be in the way, and where columns come from.

mod benign;
mod body;
mod bypass;
mod caching;
mod cascade;
mod collected;
mod columns;
mod consequences;
mod copying;
mod corpus;
mod dialect;
mod events;
pub(crate) mod fixture;
mod hidden;
mod inference;
mod limits;
mod lineage;
mod parsing;
mod reading;
mod rebound;
mod redefined;
mod rows_counted;
mod shape;
mod work;
