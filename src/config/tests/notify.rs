//! Who is told of what happens, as the file says it.

use super::*;

#[test]
fn webhooks_are_checked() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt;
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        format!("{{ file = {path:?} }}")
    };
    let good = file("good", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let short = file("short", "whsec_MfKQ9r8GKYqrTw==");
    let hook = |url: &str, secret: &str, more: &str| {
        format!("[[notify.webhooks]]\nname = \"siem\"\nurl = {url}\nsecret = {secret}\n{more}\n")
    };
    let (inside, url) = ("\"http://hooks.internal/x\"", "\"https://hooks.example.com/x\"");
    let config = with("", &hook(url, &good, "allow_addresses = \"10.0.0.0/8\"")).unwrap();
    assert_eq!((config.notify.webhooks.len(), config.warnings), (1, Vec::<String>::new()));
    check("", &hook(inside, &good, ""), "\"url\" in [[notify.webhooks]] \"siem\" is not an https:// URL");
    let bad = "\"secret\" in [[notify.webhooks]] \"siem\" is not whsec_ and base 64 of 24 to 64 bytes";
    check("", &hook(url, &short, ""), bad);
    let clear = "\"secret\" in [[notify.webhooks]] \"siem\" stands in the file in clear";
    check("", &hook(url, "\"whsec_x\"", ""), clear);
    let network = "\"10.0.0.1/8\" is not a network";
    check("", &hook(url, &good, "allow_addresses = [\"10.0.0.1/8\"]"), network);
    let twice = format!("{}{}", hook(url, &good, ""), hook(url, &good, ""));
    check("", &twice, "[[notify.webhooks]] \"siem\" is defined twice");
    check_warning("", &hook(url, &good, "include_statement = true"), "with their literals and parameters");
}

#[test]
fn slack_and_teams_are_checked() {
    let token = "[notify.slack]\nbot_token = { env = \"PATH\" }\n";
    check("", token, "\"bot_token\" in [notify.slack] is not the token of a bot (xoxb-…)");
    check(
        "",
        "[notify.slack]\nbot_token = \"xoxb-1\"\n",
        "\"bot_token\" in [notify.slack] stands in the file in clear",
    );
    let clear = "\"url\" in [notify.teams] stands in the file in clear";
    check("", "[notify.teams]\nurl = \"https://example.com/?sig=x\"\n", clear);
    check("", "[notify.teams]\nurl = { env = \"PATH\" }\n", "\"url\" in [notify.teams] is not an https:// URL");
    let app = "\"app_token\" in [notify.slack] is not the token of an app (xapp-…)";
    assert!(messages(with("", &format!("{token}app_token = {{ env = \"PATH\" }}\n"))).contains(&app.to_owned()));
    let unknown = "unknown key \"chanels\" in [notify.slack]";
    assert!(messages(with("", &format!("{token}chanels = []\n"))).contains(&unknown.to_owned()));
    let channel = "\"#general\" is not the id of a channel";
    assert!(messages(with("", &format!("{token}channels = [\"#general\"]\n"))).contains(&channel.to_owned()));
}
