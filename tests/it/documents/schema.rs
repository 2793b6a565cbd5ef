//! `docs/countersign.schema.json` against what the reader of countersign.toml accepts, by a validator that is not ours.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use countersign::config::Config;
use toml_edit::{DocumentMut, Item, Table, Value};

use super::{blocks, in_repository, page, pages};

/// What the schema has against each of the configurations.
fn objections(texts: &[String], more: &[&str]) -> Vec<Vec<String>> {
    let mut child = Command::new("python3")
        .arg(in_repository("tests/clients/config_schema.py"))
        .arg(in_repository("docs/countersign.schema.json"))
        .args(more)
        .env("PYTHONPATH", in_repository("target/clients/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 (scripts/setup --tests installs what it needs)");
    let mut stdin = child.stdin.take().expect("stdin");
    let lines: String = texts.iter().map(|text| format!("{}\n", serde_json::json!(text))).collect();
    // Many lines go in before the first comes out.
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().expect("the script");
    writer.join().expect("a writer").expect("the script reads");
    assert!(output.status.success(), "the validator failed");
    let found: Vec<_> = String::from_utf8(output.stdout).expect("UTF-8").lines().map(read).collect();
    assert_eq!(found.len(), texts.len());
    found
}

fn read(line: &str) -> Vec<String> {
    serde_json::from_str(line).expect("a list")
}

#[track_caller]
fn check_accepted(named: &[(String, String)], more: &[&str]) {
    let texts: Vec<_> = named.iter().map(|(_, text)| text.clone()).collect();
    let found = objections(&texts, more);
    let wrong: Vec<_> = named.iter().zip(found).filter(|(_, against)| !against.is_empty()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_configuration_of_the_documentation_fits() {
    let named: Vec<_> = pages()
        .into_iter()
        .flat_map(|(path, text)| {
            blocks(&text, "toml").into_iter().map(move |(line, block)| (format!("{path}:{line}"), block))
        })
        .collect();
    assert!(named.len() >= 10, "only {} were found", named.len());
    check_accepted(&named, &["--fragments"]);
    let shipped = ["deploy/debian/countersign.toml", "deploy/compose/countersign.toml"];
    check_accepted(&shipped.map(|path| (path.to_owned(), page(path))), &[]);
}

#[test]
fn what_init_writes_fits_with_every_pack() {
    let home = tempfile::tempdir().expect("temporary directory");
    let packs = countersign::packs::Pack::ALL.map(|pack| vec![pack.name()]);
    let all = vec![countersign::packs::Pack::ALL.map(countersign::packs::Pack::name).to_vec(), Vec::new()];
    let mut named = Vec::new();
    for (number, packs) in packs.into_iter().chain(all).enumerate() {
        let path = home.path().join(format!("{number}.toml"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.args(["init", "--upstream", "postgres://shop@127.0.0.1:1/shop", "-c"]).arg(&path);
        let output = command.args(packs.iter().flat_map(|pack| ["--pack", pack])).output().expect("countersign init");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = std::fs::read_to_string(&path).expect("the file");
        assert!(text.starts_with("#:schema https://"), "an editor is told of the schema");
        named.push((format!("{packs:?}"), text));
    }
    check_accepted(&named, &[]);
}

/// A configuration with every key that there is, in a directory with the files that it names.
fn everything(home: &Path) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key").serialize_pem();
    for (name, text) in [
        ("server.crt", ""),
        ("server.key", ""),
        ("ca.crt", ""),
        ("whsec", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"),
        ("xoxb", "xoxb-1\n"),
        ("xapp", "xapp-1\n"),
        ("url", "https://hooks.example.com/x\n"),
        ("ed25519.pem", key.as_str()),
    ] {
        let path = home.join(name);
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("mode");
    }
    include_str!("everything.toml").to_owned()
}

/// Every place of a document, as the keys that lead there; arrays of tables count by their first.
fn places(table: &Table, above: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (key, item) in table {
        let here: Vec<String> = above.iter().cloned().chain([key.to_owned()]).collect();
        match item {
            Item::Table(table) => found.extend(places(table, &here)),
            Item::ArrayOfTables(tables) => found.extend(tables.get(0).into_iter().flat_map(|one| places(one, &here))),
            Item::Value(_) | Item::None => {}
        }
        found.push(here);
    }
    found
}

/// Changes a document at a place: `change` gets the table and the key.
fn changed(text: &str, place: &[String], change: impl Fn(&mut Table, &str)) -> String {
    let mut document: DocumentMut = text.parse().expect("TOML");
    let (key, above) = place.split_last().expect("a place");
    let mut table = document.as_table_mut();
    for step in above {
        table = match table.get_mut(step).expect("a step") {
            Item::Table(table) => table,
            Item::ArrayOfTables(tables) => tables.get_mut(0).expect("a table"),
            other => panic!("{step} is {}", other.type_name()),
        };
    }
    change(table, key);
    document.to_string()
}

/// Names of people's own making.
fn is_free(place: &[String]) -> bool {
    place.len() == 2 && place[0] == "databases" || place.iter().any(|step| step == "groups") && place[0] == "web"
}

#[test]
fn schema_and_reader_agree_on_every_key() {
    let home = tempfile::tempdir().expect("temporary directory");
    let text = everything(home.path());
    let path = home.path().join("countersign.toml");
    let accepts = |text: &str| Config::parse(&path, text).map(drop).map_err(|problems| problems.to_string());
    assert_eq!(accepts(&text), Ok(()));
    let document: DocumentMut = text.parse().expect("TOML");
    let mut cases = vec![("as it is".to_owned(), text.clone(), true)];
    for place in places(&document, &[]) {
        let at = place.join(".");
        let gone = changed(&text, &place, |table, key| drop(table.remove(key)));
        // The reader may know of more that is needed; the schema never of less that is allowed.
        let is_fine = accepts(&gone).is_ok();
        cases.push((format!("without {at}"), gone, is_fine));
        if !is_free(&place) {
            let misspelt = changed(&text, &place, |table, key| {
                let item = table.remove(key).expect("an item");
                table.insert(&format!("{key}x"), item);
            });
            cases.push((format!("{at}x"), misspelt, false));
        }
        let is_flag = document_value(&document, &place).is_some_and(Value::is_bool);
        let other = if is_flag { Value::from("true") } else { Value::from(true) };
        let mistyped = changed(&text, &place, |table, key| drop(table.insert(key, Item::Value(other.clone()))));
        cases.push((format!("{at} mistyped"), mistyped, false));
    }
    assert!(cases.len() > 300, "only {} cases", cases.len());
    let found = objections(&cases.iter().map(|(_, text, _)| text.clone()).collect::<Vec<_>>(), &[]);
    for ((what, text, is_fine), against) in cases.iter().zip(found) {
        assert_eq!(accepts(text).is_ok(), *is_fine, "the reader, {what}");
        assert!(against.is_empty() || !is_fine, "the schema refuses what the reader takes, {what}: {against:?}");
        let is_form = !what.starts_with("without") && what != "as it is";
        assert!(!against.is_empty() || !is_form, "the schema takes what the reader refuses, {what}");
    }
}

#[test]
fn the_configuration_with_everything_has_every_key() {
    let text = std::fs::read_to_string(in_repository("docs/countersign.schema.json")).expect("the schema");
    let schema: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let tables = schema["definitions"].as_object().expect("definitions").values().chain([&schema]);
    let keys = tables.flat_map(|table| table["properties"].as_object().expect("properties").keys());
    let used = include_str!("everything.toml");
    // How passwords are kept is no other form, only another name.
    let is_there = |key: &str| {
        ["scram", "argon2"].contains(&key)
            || [format!("{key} = "), format!("[{key}]"), format!("{key}.")].iter().any(|form| used.contains(form))
            || used.contains(&format!(".{key}]"))
    };
    let missing: Vec<_> = keys.filter(|key| !is_there(key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn document_value<'d>(document: &'d DocumentMut, place: &[String]) -> Option<&'d Value> {
    let mut item = document.as_item();
    for step in place {
        item = match item {
            Item::ArrayOfTables(tables) => tables.get(0)?.get(step)?,
            other => other.get(step)?,
        };
    }
    item.as_value()
}
