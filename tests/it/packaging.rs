//! What is in `deploy/`: that it names what there is, and that the program takes it.
//!
//! Never builds a package or an image: `scripts/package --check` does. Invariant: no file of it speaks of a path, a key or a
//! command that is not there.

use std::process::Command;

use crate::browser::in_repository;
use crate::documents::blocks;

fn read(path: &str) -> String {
    std::fs::read_to_string(in_repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What `countersign check` says of a configuration with these secrets.
#[track_caller]
fn check_configuration(path: &str, secrets: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.args(["check", "-c"]).arg(in_repository(path)).envs(secrets.iter().map(|name| (name, "x")));
    let output = command.output().expect("the program");
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_configuration_of_the_package_is_accepted_once_its_secret_is_there() {
    check_configuration("deploy/debian/countersign.toml", &["SHOP_DB_PASSWORD"]);
    let mut without = Command::new(env!("CARGO_BIN_EXE_countersign"));
    without.args(["check", "-c"]).arg(in_repository("deploy/debian/countersign.toml")).env_remove("SHOP_DB_PASSWORD");
    let output = without.output().expect("the program");
    // What the unit does not start again for.
    assert_eq!(output.status.code(), Some(78));
    assert!(read("deploy/debian/countersign.service").contains("RestartPreventExitStatus=78"));
}

#[test]
fn the_units_of_the_documentation_are_those_of_the_package() {
    let shown: Vec<_> = blocks(&read("docs/operations.md"), "ini").into_iter().map(|(_line, block)| block).collect();
    let packaged = ["socket", "service"].map(|kind| read(&format!("deploy/debian/countersign.{kind}")));
    assert_eq!(shown, packaged);
}

#[test]
fn the_socket_of_the_package_is_the_one_its_configuration_listens_on() {
    let unit = read("deploy/debian/countersign.socket");
    let address = unit.lines().find_map(|line| line.strip_prefix("ListenStream=")).expect("an address");
    assert!(read("deploy/debian/countersign.toml").contains(&format!("\nlisten   = \"{address}\"")), "{address}");
}
