use std::path::Path;

use countersign_policy::mask::Predicates;
use countersign_policy::rule::{Action, Mode, Stage};

use super::*;

mod notify;
mod schema;

const MINIMAL: &str = r#"
[[users]]
name = "alice"
groups = ["engineering"]

[[users]]
name = "bob"
groups = ["dba-team", "admin"]

[databases.shop]
upstream = "postgres://rw@localhost/shop"
groups = ["engineering"]
default = "allow"
review = { groups = ["dba-team"] }
"#;

fn parse(text: &str) -> Result<Config, ConfigProblems> {
    Config::parse(Path::new("countersign.toml"), text)
}

/// Adds to the minimal file; `top` goes before its tables, `end` after.
pub(super) fn with(top: &str, end: &str) -> Result<Config, ConfigProblems> {
    parse(&format!("{top}{MINIMAL}{end}"))
}

pub(super) fn messages(result: Result<Config, ConfigProblems>) -> Vec<String> {
    match result {
        Ok(_) => Vec::new(),
        Err(problems) => problems.0.iter().map(|problem| problem.message.clone()).collect(),
    }
}

/// Something added to the minimal file gives exactly this problem.
#[track_caller]
fn check(top: &str, end: &str, expected: &str) {
    assert_eq!(messages(with(top, end)), [expected], "{top}{end}");
}

/// Something added to the minimal file is accepted, with a warning that holds this text.
#[track_caller]
fn check_warning(top: &str, end: &str, expected: &str) {
    let warnings = with(top, end).unwrap().warnings;
    assert!(warnings.iter().any(|warning| warning.contains(expected)), "{warnings:?}");
}

fn rule(body: &str) -> String {
    format!("[[rules]]\nname = \"x\"\naction = \"deny\"\n{body}\n")
}

#[test]
fn the_minimal_file_has_safe_defaults() {
    let config = with("", "").unwrap();
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(config.listen, [ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 6543)))]);
    assert_eq!(config.web.public_url, "http://127.0.0.1:8543");
    assert!(config.review.admins_bypass && !config.audit.fail_open);
    let database = &config.policy.databases[0];
    assert_eq!((database.unparsed, database.stage, database.review.mode), (Action::Hold, Stage::Enforce, Mode::Auto));
    assert_eq!(config.policy.revision.len(), 12);
    assert!(config.user("alice").unwrap().verifier.is_none());
}

#[test]
fn a_database_without_a_default_holds() {
    let config = parse(&MINIMAL.replace("default = \"allow\"\n", "")).unwrap();
    assert_eq!(config.policy.databases[0].default, Action::Hold);
}

#[test]
fn the_documented_example_is_accepted() {
    let directory = tempfile::tempdir().unwrap();
    for file in ["server.crt", "server.key", "ca.crt"] {
        std::fs::write(directory.path().join(file), "").unwrap();
    }
    let verifier = derive_verifier("secret");
    let text = format!(
        r#"
listen   = ["0.0.0.0:6543", "unix:/run/countersign/.s.PGSQL.6543"]
data_dir = "/var/lib/countersign"
[web]
listen     = "127.0.0.1:8543"
public_url = "https://countersign.example.com/"
[tls]
cert = "server.crt"
key  = "server.key"
require   = true
[store]
url = "sqlite"
[audit]
record_results = "none"
retention      = "400d"
[[users]]
name   = "alice"
email  = "alice@example.com"
groups = ["engineering", "dba-team", "security-team"]
password = {{ scram = "{verifier}" }}
[databases.prod-db]
upstream = "postgres://shop_rw@db.internal:5432/shop?sslmode=verify-full&sslrootcert=ca.crt"
password = {{ env = "PATH" }}
groups   = ["engineering", "dba-team"]
default  = "allow"
unparsed = "hold"
review   = {{ groups = ["dba-team"], timeout = "1h", mode = "auto" }}
[[rules]]
name    = "no-destructive-ddl"
effects = ["drop", "truncate"]
action  = "deny"
message = "Drop and truncate go through a migration, never through a session"
[[rules]]
name      = "writes-need-two-people"
databases = ["prod-*"]
groups    = ["engineering"]
effects   = ["insert", "update", "delete", "merge"]
relations = ["public.*"]
action    = "hold"
reviewers = ["dba-team", "security-team"]
timeout   = "30m"
[[masks]]
name    = "customer-pii"
columns = ["public.customers.email", "*.*.ssn"]
mask    = "email"
except_groups = ["privacy-officers"]
"#
    );
    let config = Config::parse(&directory.path().join("countersign.toml"), &text).unwrap();
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.web.public_url, "https://countersign.example.com");
    assert_eq!(config.user("alice").unwrap().verifier.as_deref(), Some(verifier.as_str()));
    let upstream = &config.database("prod-db").unwrap().upstream;
    assert_eq!(upstream.ssl_root_cert, Some(directory.path().join("ca.crt")));
    assert_eq!(upstream.password.as_ref().unwrap().expose(), std::env::var("PATH").unwrap());
    assert_eq!(config.policy.rules[1].timeout, Some(Duration::from_secs(1800)));
    assert_eq!(config.audit.retention, Some(Duration::from_secs(400 * 86400)));
    assert_eq!(config.warnings, [""; 0]);
    assert!(!format!("{config:?}").contains(&std::env::var("PATH").unwrap()));
}

#[test]
fn every_problem_is_reported_at_once_with_its_place() {
    let text = "lisen = \"x\"\n[[rules]]\nname = \"x\"\n  relatons = [\"public.*\"]\naction = \"dny\"\nmode = 3\n";
    let problems = parse(text).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "countersign.toml:1:1: unknown key \"lisen\" in the file; did you mean \"listen\"?\n\
         countersign.toml:4:3: unknown key \"relatons\" in [[rules]] \"x\"; did you mean \"relations\"?\n\
         countersign.toml:5:10: \"dny\" is not a value of \"action\" in [[rules]] \"x\"; did you mean \"deny\"?\n\
         countersign.toml:6:8: \"mode\" in [[rules]] \"x\" must be a string, not an integer"
    );
}

#[test]
fn broken_toml_is_placed() {
    let problems = parse("a = 1\nb = = 2\n").unwrap_err();
    assert_eq!((problems.0.len(), problems.0[0].line), (1, 2));
    assert!(Config::load(Path::new("/nonexistent/countersign.toml")).is_err());
}

#[test]
fn a_store_is_embedded_or_a_postgresql() {
    check("", "[store]\nurl = \"mysql://x\"\n", "\"url\" in [store] is not a store");
    check("", "[store]\nurl = \"postgres://x\"\n", "\"url\" in [store] names no user");
    check("", "[store]\nurl = \"postgres://u:p@h/d\"\n", "\"url\" in [store] holds a password");
    check("", "[store]\nlease = \"5s\"\n", "\"lease\" in [store] is for a store on PostgreSQL");
    check("", "[store]\nurl = \"postgres://u@h/d\"\nlease = \"1h\"\n", "\"lease\" in [store] must be from 1s to 10m");
    check(
        "",
        "[store]\nurl = \"postgres://u@h/d\"\npassword = \"x\"\n",
        "\"password\" in [store] stands in the file in clear",
    );
}

#[test]
fn keys_that_nothing_enforces_yet_are_refused() {
    check("", "[notify.slack]\n", "[notify.slack] lacks \"bot_token\"");
}

#[test]
fn rules_are_checked() {
    check("", &rule("effects = [\"dleete\"]"), "\"dleete\" is not a value of \"effects\" in [[rules]] \"x\"");
    check("", &rule("effects = []"), "\"effects\" in [[rules]] \"x\" is empty and matches nothing");
    check(
        "",
        &rule("effects = \"delete\""),
        "\"effects\" in [[rules]] \"x\" must be an array of strings, not a string",
    );
    check("", &rule("relations = [\"customers\"]"), "\"customers\" must be written as schema.name");
    check(
        "",
        &rule("relations = [\"public.[a\"]"),
        "\"[a\" is not a valid pattern: unclosed character class; missing ']'",
    );
    check("", &rule("text = \"(\""), "\"text\" in [[rules]] \"x\" is not a valid regular expression");
    check("", &rule("users = [\"alcie\"]"), "there is no user \"alcie\"");
    check("", &rule("databases = [\"shp\"]"), "there is no database \"shp\"");
    check(
        "",
        &rule("access = \"read\""),
        "\"access\" in [[rules]] \"x\" has no effect without \"relations\" or \"columns\"",
    );
    check("", &rule("approvals = 2"), "\"approvals\" in [[rules]] \"x\" has no effect: the rule does not hold");
    check(
        "",
        &rule("effects = [\"select\"]\nrelations = [\"public.pii\"]"),
        "[[rules]] \"x\" never matches: \"relations\" speaks of those written, \"effects\" of reading",
    );
    check("", "[[rules]]\naction = \"deny\"\n", "[[rules]] lacks \"name\"");
    check("", "[[rules]]\nname = \"x\"\n", "[[rules]] \"x\" lacks \"action\"");
    check("", &(rule("") + &rule("")), "[[rules]] \"x\" is defined twice");
    check("", "[[rules]]\nname = \"x\"\naction = \"hold\"\ntimeout = \"1\"\n", "\"1\" is not a duration");
    check(
        "",
        "[[rules]]\nname = \"x\"\naction = \"hold\"\napprovals = 0\n",
        "\"approvals\" in [[rules]] \"x\" must be from 1 to 1000",
    );
    assert!(with("", &rule("effects = [\"select\"]\nrelations = [\"public.pii\"]\naccess = \"read\"")).is_ok());
}

#[test]
fn masks_are_checked() {
    let mask =
        |columns: &str, kind: &str| format!("[[masks]]\nname = \"m\"\ncolumns = [\"{columns}\"]\nmask = \"{kind}\"\n");
    check("", &mask("customers.email", "email"), "\"customers.email\" must be written as schema.relation.column");
    check("", &mask("*.*.email", "emial"), "\"emial\" is not a value of \"mask\" in [[masks]] \"m\"");
    check(
        "",
        "[[masks]]\nname = \"m\"\ncolumns = []\nmask = \"null\"\n",
        "\"columns\" in [[masks]] \"m\" is empty and matches nothing",
    );
    let predicates = |line: &str| {
        let config = with("", &(mask("*.*.email", "email") + line)).map_err(drop).unwrap();
        config.policy.masks[0].predicates
    };
    assert_eq!(predicates(""), Predicates::Hold);
    for (name, expected) in Predicates::ALL {
        assert_eq!(predicates(&format!("predicates = \"{name}\"\n")), expected);
    }
}

#[test]
fn users_and_databases_are_checked() {
    check("", "[[users]]\nname = \"alice\"\n", "[[users]] \"alice\" is defined twice");
    check(
        "",
        "[[users]]\nname = \"c\"\npassword = \"hunter2\"\n",
        "\"password\" in [[users]] \"c\" stands in the file in clear",
    );
    check(
        "",
        "[[users]]\nname = \"c\"\npassword = { scram = \"x\" }\n",
        "\"scram\" in [[users]] \"c\" is not a SCRAM-SHA-256 verifier",
    );
    check("", "[[users]]\nname = \"c\"\npassword = {}\n", "\"password\" in [[users]] \"c\" has no source");
    check(
        "",
        "[[users]]\nname = \"c\"\npassword = { env = \"COUNTERSIGN_TEST_UNSET\" }\n",
        "environment variable COUNTERSIGN_TEST_UNSET of \"password\" in [[users]] \"c\" is not set",
    );
    check(
        "",
        "[[users]]\nname = \"c\"\ntokens = [\"cs_x\"]\n",
        "a token in [[users]] \"c\" is not \"sha256:\" and 64 hexadecimal digits",
    );
    check("", "[databases.d]\ngroups = [\"admin\"]\n", "[databases.d] lacks \"upstream\"");
    check("", "[databases.d]\nupstream = \"postgres://u@localhost/d\"\n", "[databases.d] lacks \"groups\"");
    check(
        "",
        "[databases.d]\nupstream = \"postgres://u:hunter2@localhost/d\"\ngroups = [\"admin\"]\n",
        "\"upstream\" in [databases.d] holds a password",
    );
    check(
        "",
        "[databases.countersign]\nupstream = \"postgres://u@localhost/d\"\ngroups = [\"admin\"]\n",
        "database name \"countersign\" is reserved",
    );
    check(
        "",
        "[databases.d]\nupstream = \"postgres://u@localhost/d\"\ngroups = [\"admin\"]\nunparsed = \"allow\"\n",
        "\"allow\" is not a value of \"unparsed\" in [databases.d]",
    );
}

#[test]
fn plaintext_beyond_loopback_must_be_asked_for() {
    check("listen = \"0.0.0.0:6543\"\n", "", "\"0.0.0.0:6543\" is not a loopback address, and there is no [tls]");
    check_warning("listen = \"0.0.0.0:6543\"\ndangerous_plaintext = true\n", "", "in plaintext");
    check("listen = [\"127.0.0.1:6543\", \"6543\"]\n", "", "\"6543\" is not an address");
    check("listen = []\n", "", "\"listen\" is empty");
    check("", "[web]\npublic_url = \"example.com\"\n", "\"example.com\" is not an http:// or https:// URL");
}

#[test]
fn what_weakens_protection_is_a_warning() {
    check_warning("", "[audit]\nfail_open = true\n", "fail_open");
    check_warning("", &rule("stage = \"observe\""), "only observed");
    check_warning("", &rule("groups = [\"enginering\"]"), "no user is in group \"enginering\"");
    check_warning("", "[web]\nlisten = \"0.0.0.0:8543\"\n", "without TLS");
    let database = "upstream = \"postgres://u@db.internal/d\"\ngroups = [\"admin\"]\n";
    check_warning("", &format!("[databases.d]\n{database}"), "sslmode does not check");
    check_warning("", &format!("[databases.d]\n{database}"), "names no reviewer group");
    check_warning("", &format!("[databases.d]\n{database}stage = \"observe\"\n"), "only observed");
}

#[test]
fn the_mask_key_is_made_when_a_hash_needs_it() {
    let directory = tempfile::tempdir().unwrap();
    let mask = "[[masks]]\nname = \"m\"\ncolumns = [\"*.*.email\"]\nmask = \"hash\"\n";
    let top = format!("data_dir = {:?}\n", directory.path());
    let mut config = with(&top, mask).unwrap();
    assert!(config.mask_key_missing);
    config.ensure_mask_key().unwrap();
    let key = config.policy.masks[0].key;
    let again = with(&top, mask).unwrap();
    assert!(!again.mask_key_missing);
    assert_eq!(again.policy.masks[0].key, key);
    assert!(!with(&top, "").unwrap().mask_key_missing);
    let configured = with("", &format!("{mask}[masking]\nhash_key = {{ env = \"PATH\" }}\n")).unwrap();
    assert!(!configured.mask_key_missing);
}

#[test]
fn every_key_is_documented() {
    let page = include_str!("../../docs/configuration.md");
    for keys in schema::tables() {
        assert!(page.contains(&format!("`{}`", keys.table)) || keys.table == "the file", "{}", keys.table);
        for key in keys.names() {
            assert!(page.contains(&format!("| `{key}`")), "\"{key}\" of {}", keys.table);
        }
    }
}

#[test]
fn every_word_is_documented() {
    let page = include_str!("../../docs/configuration.md");
    let masks = countersign_policy::mask::MaskKind::ALL.iter().map(|mask| mask.as_str());
    let effects = countersign_policy::Effect::ALL.iter().map(|effect| effect.as_str());
    masks.chain(effects).for_each(|word| assert!(page.contains(&format!("`{word}`")), "{word}"));
}

#[test]
fn certificates_of_users_need_a_ca() {
    let carol = "[[users]]\nname = \"carol\"\ncertificate = \"carol@example.com\"\n";
    check("", carol, "[[users]] \"carol\" has a certificate, but there is no [tls]");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("any.pem");
    std::fs::write(&file, "").unwrap();
    let tls = |more: &str| format!("{carol}[tls]\ncert = {file:?}\nkey = {file:?}\n{more}");
    check("", &tls(""), "[[users]] \"carol\" has a certificate, but clients are not asked for one");
    let config = with("", &tls(&format!("client_ca = {file:?}\n"))).unwrap();
    assert_eq!(config.user("carol").unwrap().certificates, ["carol@example.com"]);
    assert_eq!(config.tls.unwrap().client_ca, Some(file));
}

#[test]
fn a_private_key_for_the_upstream_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("proxy.key");
    std::fs::write(&key, "").unwrap();
    let text = MINIMAL.replace("/shop\"", &format!("/shop?sslcert={0}&sslkey={0}\"", key.display()));
    let problems = |mode: u32| {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        messages(parse(&text)).len()
    };
    assert_eq!((problems(0o600), problems(0o400)), (0, 0));
    assert_eq!((problems(0o644), problems(0o620), problems(0o604)), (1, 1, 1));
}

#[test]
fn load_balancers_are_networks() {
    let bad = "\"10.0.0.1/8\" is not a network";
    check("proxy_protocol_from = [\"10.0.0.1/8\"]\n", "", bad);
    let config = with("proxy_protocol_from = [\"10.0.0.0/8\", \"::1\"]\n", "").unwrap();
    assert_eq!(config.proxy_protocol_from.len(), 2);
    assert_eq!(with("proxy_protocol_from = \"192.0.2.7\"\n", "").unwrap().proxy_protocol_from.len(), 1);
}

#[test]
fn everybody_is_public_and_nobody_reviews_as_such() {
    let mine = |groups: &str| MINIMAL.replace("groups = [\"engineering\"]\ndefault", groups);
    let config = parse(&mine("groups = [\"public\"]\nauth = \"passthrough\"\ndefault")).unwrap();
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(config.database("shop").unwrap().auth, DatabaseAuth::Passthrough);
    assert_eq!(config.groups_of("bob"), ["dba-team", "admin", "public"]);
    assert_eq!(config.groups_of("any_role"), ["public"]);
    let warnings = parse(
        &MINIMAL.replace("[\"dba-team\"], ", "").replace("{ groups = [\"dba-team\"] }", "{ groups = [\"public\"] }"),
    );
    assert!(warnings.unwrap().warnings.iter().any(|warning| warning.contains("nobody could approve for it")));
    let auth = MINIMAL.replace("default = ", "auth = \"trust\"\ndefault = ");
    assert_eq!(messages(parse(&auth)), ["\"trust\" is not a value of \"auth\" in [databases.shop]"]);
}

#[test]
fn windows_of_time_are_read_and_wrong_ones_named() {
    let rule = |hours: &str| format!("{MINIMAL}[[rules]]\nname = \"r\"\naction = \"deny\"\nhours = [{hours}]\n");
    assert!(parse(&rule("\"Mon-Fri 09:00-17:30\", \"Sat\"")).is_ok());
    let problems = parse(&rule("\"weekdays\"")).unwrap_err().to_string();
    assert!(problems.contains("\"weekdays\" is not a window of time") && problems.contains("Mon-Fri"), "{problems}");
}

/// The minimal file behind an address, with an identity provider.
fn with_oidc(lines: &str, end: &str) -> Result<Config, ConfigProblems> {
    let web = "[web]\npublic_url = \"https://countersign.example.com\"\n[web.oidc]\n";
    with("", &format!("{web}issuer = \"https://login.example.com/\"\nclient_id = \"c\"\n{lines}\n{end}"))
}

#[test]
fn an_identity_provider_is_read_with_safe_defaults() {
    let config = with_oidc("groups = { \"DB Admins\" = \"dba-team\" }", "").unwrap();
    assert_eq!(config.warnings, Vec::<String>::new());
    let oidc = config.web.oidc.unwrap();
    assert_eq!((oidc.name.as_str(), oidc.user_claim.as_str()), ("login.example.com", "email"));
    assert_eq!((oidc.scopes.join(" ").as_str(), oidc.groups_claim.as_str()), ("email profile", "groups"));
    assert_eq!(oidc.groups_here(&["DB Admins".to_owned(), "dba-team".to_owned()]), ["dba-team"]);
    assert_eq!(oidc.groups_here(&["dba-team".to_owned()]), Vec::<String>::new());
    let warnings = with_oidc("", "").unwrap().warnings;
    assert!(warnings[0].starts_with("Nobody can sign in by [web.oidc]"), "{warnings:?}");
    let dora = "[[users]]\nname = \"dora\"\noidc = \"dora@example.com\"\n";
    assert_eq!(with_oidc("", dora).unwrap().warnings, Vec::<String>::new());
}

#[test]
fn an_identity_provider_that_cannot_be_trusted_is_a_problem() {
    let problems = |lines: &str, end: &str| messages(with_oidc(lines, end));
    let oidc = |issuer: &str| {
        let web = "[web]\npublic_url = \"http://127.0.0.1:1\"\n[web.oidc]\nclient_id = \"c\"\n";
        messages(with("", &format!("{web}issuer = \"{issuer}\"\n")))
    };
    for unsafe_issuer in
        ["http://login.example.com", "ftp://127.0.0.1", "login.example.com", "http://127.0.0.1.example.com"]
    {
        assert_eq!(oidc(unsafe_issuer), [format!("\"{unsafe_issuer}\" is not an https:// URL")]);
    }
    for here in ["http://127.0.0.1:9", "http://localhost:9/a", "http://[::1]:9"] {
        assert_eq!(oidc(here), Vec::<String>::new(), "{here}");
    }
    assert_eq!(problems("user_claim = \"name\"", ""), ["\"name\" is not a value of \"user_claim\" in [web.oidc]"]);
    assert_eq!(
        problems("groups = [\"dba\"]", ""),
        ["\"groups\" in [web.oidc] must be a table of strings, not an array"]
    );
    assert_eq!(problems("client_secret = \"x\"", ""), ["\"client_secret\" in [web.oidc] stands in the file in clear"]);
    let twice = "[[users]]\nname = \"d\"\noidc = \"d@x\"\n[[users]]\nname = \"e\"\noidc = \"d@x\"\n";
    assert_eq!(problems("", twice), ["[[users]] \"e\" has the \"oidc\" of another user, \"d@x\""]);
    let alone = "[[users]]\nname = \"d\"\noidc = \"d@x\"\n";
    check("", alone, "[[users]] \"d\" has \"oidc\", but there is no identity provider");
    let nowhere = "[web.oidc]\nissuer = \"https://x\"\nclient_id = \"c\"\n";
    check("", nowhere, "[web.oidc] needs \"public_url\" in [web], where the provider leads people back to");
}

#[test]
fn rules_may_name_people_that_only_the_provider_knows() {
    let rule = rule("users = [\"eve@example.com\"]");
    assert_eq!(messages(with_oidc("", &rule)), ["there is no user \"eve@example.com\""]);
    assert!(with_oidc("groups = { a = \"b\" }", &rule).is_ok());
}
