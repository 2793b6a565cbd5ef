//! ARCHITECTURE.md against the tree: every module stands on the map, and what stands there is in the tree.

use std::collections::BTreeSet;

use super::{in_repository, page};

/// The part of the map below `heading`: the names of files and directories on it.
fn mapped(map: &str, heading: &str) -> BTreeSet<String> {
    let below = map.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("{heading} is not on the map")).1;
    let lines = below.lines().take_while(|line| line.starts_with(' ') || line.is_empty());
    let words = lines.flat_map(|line| line.split([' ', ',', ';', ':']));
    words.filter(|word| word.ends_with(".rs") || word.ends_with('/')).map(str::to_owned).collect()
}

/// The modules of a directory: each file, without what only starts the program or says what the package is.
fn modules(directory: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(in_repository(directory)).expect("a directory").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".rs") && name != "lib.rs" && name != "main.rs").collect()
}

#[test]
fn every_module_is_on_the_map_and_nothing_else() {
    let text = page("ARCHITECTURE.md");
    let map = text.split("```").nth(1).expect("the map");
    for directory in ["protocol/src/", "policy/src/", "src/"] {
        let mapped = mapped(map, directory);
        let missing: Vec<_> = modules(directory).into_iter().filter(|module| !mapped.contains(module)).collect();
        assert!(missing.is_empty(), "not on the map of {directory}: {missing:?}");
        for name in mapped {
            let there = in_repository(&format!("{directory}{name}")).exists();
            assert!(there, "the map of {directory} has {name}, which is not there");
        }
    }
}

#[test]
fn the_map_names_every_directory() {
    let text = page("ARCHITECTURE.md");
    let map = text.split("```").nth(1).expect("the map");
    for entry in std::fs::read_dir(in_repository("")).expect("the repository").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // What is made, what Git and CI need, and the seeds that proptest has kept.
        let is_ours =
            entry.path().is_dir() && !name.starts_with('.') && name != "target" && name != "proptest-regressions";
        assert!(!is_ours || map.contains(&format!("{name}/")), "{name} is not on the map");
    }
}
