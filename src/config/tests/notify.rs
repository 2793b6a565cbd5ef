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
fn mail_is_encrypted_on_its_way_and_goes_to_addresses() {
    let email =
        |more: &str| format!("[notify.email]\nhost = \"mail.example.com\"\nfrom = \"cs@example.com\"\n{more}\n");
    let read = |text: &str| with("", text).unwrap().notify.email.unwrap();
    let plain = read(&email(""));
    assert_eq!((plain.port, plain.tls, plain.people), (587, EmailTls::StartTls, true));
    assert_eq!(read(&email("tls = \"implicit\"")).port, 465);
    let here = "[notify.email]\nhost = \"127.0.0.1\"\ntls = \"none\"\nfrom = \"cs@example.com\"\n";
    assert_eq!((read(here).port, with("", here).unwrap().warnings), (25, Vec::<String>::new()));
    let open = "[notify.email] would send mail in plaintext to another machine";
    check("", &email("tls = \"none\""), open);
    check_warning("", &email("tls = \"none\"\ndangerous_plaintext = true"), "in plaintext to another machine");
    let login = "username = \"cs\"\npassword = { env = \"PATH\" }";
    assert!(read(&email(login)).login.is_some());
    let told = "[notify.email] would send its password in plaintext";
    check("", &email(&format!("tls = \"none\"\ndangerous_plaintext = true\n{login}")), told);
    check("", &email("username = \"cs\""), "\"username\" in [notify.email] is without \"password\"");
    check(
        "",
        &email("username = \"cs\"\npassword = \"x\""),
        "\"password\" in [notify.email] stands in the file in clear",
    );
    check("", &email("people = false"), "[notify.email] writes to nobody");
    check("", &email("tls = \"ssl\""), "\"ssl\" is not a value of \"tls\" in [notify.email]");
    check("", &email("port = 70000"), "\"port\" in [notify.email] must be from 1 to 65535");
    for (address, shown) in [
        ("nobody", "nobody"),
        ("a@b.example\\r\\nRCPT TO:<c@d.example>", "a@b.example\\r\\nRCPT TO:<c@d.example>"),
        ("dba@exämple.com", "dba@exämple.com"),
    ] {
        check("", &email(&format!("to = [\"{address}\"]")), &format!("\"{shown}\" is not a mail address"));
    }
    check_warning("", &email("include_statement = true"), "with their literals and parameters");
    let zoe = "[[users]]\nname = \"zoe\"\nemail = \"zoë@example.com>\"\n";
    let nobody = "Nobody writes to zoe: \"email\" is not a mail address in ASCII.";
    check_warning("", &format!("{}{zoe}", email("")), nobody);
    let list = email("people = false\nto = [\"dba@example.com\"]");
    assert_eq!(with("", &format!("{list}{zoe}")).unwrap().warnings, Vec::<String>::new());
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
