//! What is in `deploy/`: that it names what there is, and that the program takes it.
//!
//! Never builds a package or an image, nor asks the programs that read these files: `scripts/package --check` and
//! `scripts/deploy-check` do. Invariant: no file of it speaks of a path, a key or a
//! command that is not there.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use crate::browser::in_repository;
use crate::documents::blocks;
use crate::support::certificates::Certificates;

fn read(path: &str) -> String {
    std::fs::read_to_string(in_repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What `countersign check` says of a configuration with these secrets.
#[track_caller]
fn check_configuration(path: &str, secrets: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    // Long enough for every kind of secret.
    let secrets = secrets.iter().map(|name| (name, "x".repeat(40)));
    command.args(["check", "-c"]).arg(in_repository(path)).envs(secrets);
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

/// What a YAML file says.
fn yaml(path: &str) -> Value {
    let text = read(path);
    let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.argv[1])))";
    serde_json::from_str(&python(&["-c", script, &text])).expect("JSON")
}

/// What Python prints, with the packages of the tests.
#[track_caller]
fn python(arguments: &[&str]) -> String {
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", in_repository("target/clients/python")).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.args(arguments).output().expect("python3 (scripts/setup --tests installs what it needs)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().expect("an array").iter().map(|one| one.as_str().expect("a string")).collect()
}

/// What is said between the marks, everywhere in a text.
fn between<'t>(text: &'t str, begin: &str, end: &str) -> BTreeSet<&'t str> {
    text.split(begin).skip(1).filter_map(|rest| rest.split(end).next()).collect()
}

#[test]
fn the_compose_file_names_what_there_is() {
    let compose = yaml("deploy/compose.yaml");
    let text = read("deploy/compose.yaml");
    let services = compose["services"].as_object().expect("services");
    for (name, service) in services {
        for volume in service["volumes"].as_array().into_iter().flatten().map(|volume| volume.as_str().expect("text")) {
            let source = volume.split(':').next().expect("a source");
            let is_there = match source.strip_prefix("./") {
                Some(path) => in_repository("deploy").join(path).is_file(),
                None => compose["volumes"].get(source).is_some(),
            };
            assert!(is_there, "{name}: {volume}");
        }
        for network in service["networks"].as_array().into_iter().flatten() {
            assert!(compose["networks"].get(network.as_str().expect("a name")).is_some(), "{name}: {network}");
        }
    }
    let build = &compose["x-proxy"]["build"];
    let context = in_repository("deploy").join(build["context"].as_str().expect("a context"));
    assert!(context.join(build["dockerfile"].as_str().expect("a file")).is_file());
    let example = read("deploy/compose/env.example");
    let documented: BTreeSet<_> = example.lines().filter_map(|line| line.strip_suffix('=')).collect();
    assert_eq!(between(&text, "${", ":?"), documented);
    let configuration = read("deploy/compose/countersign.toml");
    let secrets = between(&configuration, "env = \"", "\"");
    let given: BTreeSet<_> =
        compose["x-proxy"]["environment"].as_object().expect("variables").keys().map(String::as_str).collect();
    assert_eq!(secrets, given);
    check_configuration("deploy/compose/countersign.toml", &secrets.into_iter().collect::<Vec<_>>());
    // Whoever is believed about clients is the balancer and nobody else.
    let balancer = services["balancer"]["networks"]["front"]["ipv4_address"].as_str().expect("an address");
    let believed =
        configuration.lines().filter(|line| line.contains("_from ")).filter_map(|line| line.split('"').nth(1));
    assert_eq!(believed.collect::<Vec<_>>(), [balancer, balancer]);
    let balanced = read("deploy/compose/haproxy.cfg");
    let servers: BTreeSet<_> =
        balanced.lines().filter_map(|line| line.trim().strip_prefix("server ")?.split_whitespace().nth(1)).collect();
    let proxies = services.keys().filter(|name| name.starts_with("countersign-"));
    let expected: BTreeSet<_> = proxies.flat_map(|name| [6543, 8543].map(|port| format!("{name}:{port}"))).collect();
    assert_eq!(servers.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), expected);
}

#[test]
fn the_image_is_made_of_what_there_is_and_by_a_compiler_that_can() {
    let dockerfile = read("deploy/Dockerfile");
    let ignored = read("deploy/Dockerfile.dockerignore");
    for path in ignored.lines().filter_map(|line| line.strip_prefix('!')) {
        assert!(in_repository(path).exists(), "{path}");
    }
    let sources =
        ["Cargo.toml", "Cargo.lock", "askama.toml", "src", "protocol", "policy", "docs", "benches", "tests/it"];
    let built_by = ["scripts/release-build", "deploy/countersign.profdata.xz", "deploy/countersign.profdata.key"];
    for needed in sources.into_iter().chain(built_by) {
        assert!(ignored.contains(&format!("\n!{needed}\n")), "{needed} is not sent to the builder");
    }
    let version = |text: &str| -> Vec<u32> { text.split('.').map(|part| part.parse().expect("a number")).collect() };
    let used = between(&dockerfile, "FROM rust:", "-slim").into_iter().next().expect("a compiler");
    let manifest = read("Cargo.toml");
    let least = between(&manifest, "rust-version = \"", "\"").into_iter().next().expect("a version");
    assert!(version(used) >= version(least), "{used} < {least}");
    assert!(dockerfile.contains("\nUSER 65532:65532\n"), "not root");
}

#[test]
fn the_values_of_the_chart_fit_their_schema_and_its_configuration_is_accepted() {
    let values = yaml("deploy/helm/countersign/values.yaml");
    let script = "import json, sys, jsonschema_rs\n\
        schema, values = (json.loads(text) for text in sys.argv[1:])\n\
        print(json.dumps([one.message for one in jsonschema_rs.validator_for(schema).iter_errors(values)]))";
    let schema = read("deploy/helm/countersign/values.schema.json");
    let objections = |values: &Value| -> Vec<String> {
        serde_json::from_str(&python(&["-c", script, &schema, &values.to_string()])).expect("a list")
    };
    assert_eq!(objections(&values), Vec::<String>::new());
    for (key, wrong) in
        [("replicas", json!(0)), ("replica", json!(1)), ("config", json!("listen = \"127.0.0.1:6543\""))]
    {
        let mut values = values.clone();
        values[key] = wrong;
        assert_eq!(objections(&values).len(), 1, "{key}");
    }
    // What the schema speaks of has a value, so that values.yaml shows all there is; `global` is Helm's.
    let known: Value = serde_json::from_str(&schema).expect("JSON");
    let known: BTreeSet<_> = known["properties"].as_object().expect("properties").keys().cloned().collect();
    let given = values.as_object().expect("values").keys().cloned().chain(["global".to_owned()]).collect();
    assert_eq!(known, given);
    let certificates = Certificates::make();
    let text = values["config"].as_str().expect("a configuration");
    let text = text
        .replace("/etc/countersign-tls/tls.crt", &certificates.path("server.crt"))
        .replace("/etc/countersign-tls/tls.key", &certificates.path("server.key"));
    let home = tempfile::tempdir().expect("temporary directory");
    let path = home.path().join("countersign.toml");
    std::fs::write(&path, &text).expect("the file");
    let secrets = values["secrets"].as_array().expect("secrets");
    let secrets: Vec<_> = secrets.iter().map(|secret| secret["env"].as_str().expect("a name")).collect();
    assert_eq!(between(&text, "env = \"", "\""), secrets.iter().copied().collect());
    check_configuration(&path.display().to_string(), &secrets);
}

#[test]
fn the_chart_is_of_this_version_and_asks_for_what_the_program_serves() {
    let chart = yaml("deploy/helm/countersign/Chart.yaml");
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    let pods = read("deploy/helm/countersign/templates/statefulset.yaml");
    let document: Value = serde_json::from_str(&read("docs/openapi.json")).expect("JSON");
    let served = |path: &str| document["paths"].get(path).is_some() || path == "/metrics";
    let asked = between(&pods, "httpGet: {path: ", ",");
    assert!(asked.len() == 2 && asked.iter().all(|path| served(path)), "{asked:?}");
    // The user of the image, whom the volumes belong to.
    for (path, user) in
        [("deploy/Dockerfile", "USER 65532"), ("deploy/Dockerfile", "--chown=65532:65532 /data /var/lib/countersign")]
    {
        assert!(read(path).contains(user), "{user}");
    }
    assert!(pods.contains("runAsUser: 65532") && pods.contains("fsGroup: 65532"));
    assert_eq!(texts(&chart["sources"]), [env!("CARGO_PKG_REPOSITORY")]);
}

#[test]
fn the_oldest_rust_that_will_do_is_the_same_everywhere() {
    let manifest = read("Cargo.toml");
    let least = between(&manifest, "rust-version = \"", "\"").into_iter().next().expect("a version");
    assert!(read("CONTRIBUTING.md").contains(&format!("\nRust {least} or later.\n")));
    assert!(read("docs/releasing.md").contains(&format!("`cargo +{least} check ")));
}

#[test]
fn the_bill_of_materials_names_what_the_program_is_made_of_and_nothing_else() {
    let output = Command::new(in_repository("scripts/sbom")).output().expect("python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bill: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let program = &bill["metadata"]["component"];
    assert_eq!((&program["name"], &program["version"]), (&json!("countersign"), &json!(env!("CARGO_PKG_VERSION"))));
    let components = bill["components"].as_array().expect("components");
    let names: BTreeSet<_> = components.iter().map(|one| one["name"].as_str().expect("a name")).collect();
    for part in ["ring", "rustls", "pg_query", "libsqlite3-sys", "countersign-policy", "countersign-protocol"] {
        assert!(names.contains(part), "{part} is part of the program");
    }
    // Tests only; or a second way to encrypt.
    for other in ["rcgen", "proptest", "criterion", "openssl", "native-tls", "aws-lc-rs"] {
        assert!(!names.contains(other), "{other}");
    }
    let ours = |name: &str| name.starts_with("countersign");
    for one in components.iter().filter(|one| !ours(one["name"].as_str().expect("a name"))) {
        assert!(one["licenses"][0]["expression"].is_string(), "{one}");
        assert_eq!(one["hashes"][0]["content"].as_str().map(str::len), Some(64), "{one}");
    }
}

#[test]
fn who_opens_an_issue_is_asked_what_is_needed_and_led_elsewhere_with_a_hole() {
    for form in ["bug", "idea"] {
        let form = yaml(&format!(".github/ISSUE_TEMPLATE/{form}.yml"));
        let questions = form["body"].as_array().expect("questions").iter().filter(|one| one["type"] != "markdown");
        assert!(form["name"].is_string() && form["description"].is_string());
        assert!(questions.clone().count() > 0 && questions.clone().all(|one| one["id"].is_string()), "{form}");
    }
    let elsewhere = yaml(".github/ISSUE_TEMPLATE/config.yml");
    let address = elsewhere["contact_links"][0]["url"].as_str().expect("an address");
    assert_eq!(address, format!("{}/security/advisories/new", env!("CARGO_PKG_REPOSITORY")));
}
