//! How many instructions does it take to analyse a statement that is new, whose shape was seen, and that was seen?

use std::hint::black_box;
use std::sync::Arc;

use countersign_instructions::catalog;
use countersign_policy::analysis::{AnalysisCache, AnalysisContext, NothingPrepared, analyze};
use countersign_policy::{Analysis, Catalog};
use gungraun::prelude::*;

const SHORT: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = {};";
const LONG: &str = "SELECT people.id, people.name, people.email, a.abalance FROM people INNER JOIN pgbench_accounts a ON \
    (people.id = a.aid) WHERE (a.abalance > {} AND people.name LIKE {} AND people.note IN ({}, {}, {})) ORDER BY people.id \
    DESC LIMIT {}";

/// What an analysis needs.
struct World {
    catalog: Catalog,
    search_path: [String; 2],
    cache: AnalysisCache,
    text: String,
}

impl World {
    fn context(&self) -> AnalysisContext<'_> {
        AnalysisContext { catalog: &self.catalog, search_path: &self.search_path, prepared: &NothingPrepared }
    }
}

fn new(text: &str) -> World {
    World {
        catalog: catalog(),
        search_path: ["pg_catalog".to_owned(), "public".to_owned()],
        cache: AnalysisCache::new(1_024, 1 << 24),
        text: text.replace("{}", "4711"),
    }
}

/// It has seen the statement with another literal.
fn with_shape(text: &str) -> World {
    let world = new(text);
    let seen = world.cache.analyze(&text.replace("{}", "815"), &world.context());
    assert_eq!(seen.not_understood(), None, "what is counted is an analysis");
    world
}

/// It has seen it as a text with parameters.
fn with_text(text: &str) -> World {
    let world = World { text: text.replace("{}", "$1"), ..new(text) };
    let _ = world.cache.analyze(&world.text, &world.context());
    world
}

#[library_benchmark]
#[bench::short(new(SHORT))]
#[bench::long(new(LONG))]
fn cold(world: World) -> (World, Analysis) {
    let analysis = analyze(black_box(&world.text), &world.context());
    (world, analysis)
}

#[library_benchmark]
#[bench::short_by_shape(with_shape(SHORT))]
#[bench::long_by_shape(with_shape(LONG))]
#[bench::short_by_text(with_text(SHORT))]
#[bench::long_by_text(with_text(LONG))]
fn cached(world: World) -> (World, Arc<Analysis>) {
    let analysis = world.cache.analyze(black_box(&world.text), &world.context());
    (world, analysis)
}

library_benchmark_group!(name = analyses, benchmarks = [cold, cached]);
main!(library_benchmark_groups = analyses);
