//! What clients may ask for when they connect.

use crate::support::proxy::Proxy;

/// Runs psql with these environment variables and conninfo options; yields standard output, or standard error when it
/// failed.
async fn psql(proxy: &Proxy, environment: &[(&str, &str)], options: &str, command: &str) -> Result<String, String> {
    let conninfo = format!("dbname=shop {options}");
    let mut psql = proxy.psql_command("alice", &["-At", "-d", &conninfo, "-c", command]);
    let output = psql.envs(environment.iter().copied()).output().await.expect("psql");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[tokio::test]
async fn settings_of_the_start_are_those_of_the_session() {
    let proxy = Proxy::start("").await;
    let check = async |environment: &[(&str, &str)], name: &str, expected: &str| {
        let show = format!("SELECT current_setting('{name}')");
        assert_eq!(psql(&proxy, environment, "", &show).await.as_deref(), Ok(expected), "{environment:?}");
    };
    let options =
        "-c search_path=x,public -c statement_timeout=5s --work-mem=1MB -c app.tenant=7 -c enable_seqscan=off";
    for (name, value) in [
        ("search_path", "x,public"),
        ("statement_timeout", "5s"),
        ("work_mem", "1MB"),
        ("app.tenant", "7"),
        ("enable_seqscan", "off"),
    ] {
        check(&[("PGOPTIONS", options)], name, value).await;
    }
    check(&[("PGDATESTYLE", "German")], "DateStyle", "German, DMY").await;
    check(&[("PGTZ", "Asia/Kathmandu")], "TimeZone", "Asia/Kathmandu").await;
    check(&[("PGGEQO", "off")], "geqo", "off").await;
    for encoding in ["UTF8", "utf-8", "UNICODE", "SQL_ASCII", "auto"] {
        check(&[("PGCLIENTENCODING", encoding), ("LC_ALL", "C.UTF-8")], "client_encoding", "UTF8").await;
    }
}

#[tokio::test]
async fn what_cannot_be_had_is_refused_with_a_reason() {
    let proxy = Proxy::start("").await;
    let check = async |environment: &[(&str, &str)], options: &str, expected: &[&str]| {
        let refusal = psql(&proxy, environment, options, "SELECT 1").await.expect_err(options);
        for text in expected {
            assert!(refusal.contains(text), "{environment:?} {options}: {refusal}");
        }
    };
    let encoding = "FATAL:  invalid value for parameter \"client_encoding\": \"LATIN1\"";
    let hint = "HINT:  Connect with client_encoding=UTF8, in psql by PGCLIENTENCODING.";
    check(&[("PGCLIENTENCODING", "LATIN1")], "", &[encoding, hint]).await;
    let strings = "FATAL:  invalid value for parameter \"standard_conforming_strings\": \"off\"";
    check(&[("PGOPTIONS", "-c standard_conforming_strings=off")], "", &[strings]).await;
    check(&[], "replication=true", &["FATAL:  replication connections are not supported"]).await;
    check(&[], "replication=database", &["FATAL:  replication connections are not supported"]).await;
    check(&[("PGOPTIONS", "-c no_such_setting=1")], "", &["FATAL:  the database server does not know"]).await;
    let role = "FATAL:  parameter \"role\" cannot be set at connection start";
    check(&[("PGOPTIONS", "-c role=postgres")], "", &[role, "HINT:  Use SET after connecting."]).await;
    let mode = "FATAL:  invalid value for parameter \"countersign.mode\": \"wiat\"";
    let hint = "HINT:  Available values: wait, resubmit, auto. Did you mean \"wait\"?";
    check(&[("PGOPTIONS", "-c countersign.mode=wiat")], "", &[mode, hint]).await;
    let client = proxy.client("alice").await;
    for sql in ["SET countersign.mode = 'wiat'", "SELECT set_config('countersign.mode', 'wiat', false)"] {
        let refused = client.refusal(sql).await;
        assert_eq!(
            (refused.code().code(), refused.hint()),
            ("22023", Some(hint.trim_start_matches("HINT:  "))),
            "{sql}"
        );
    }
    assert_eq!(client.value("SELECT current_setting('countersign.mode', true)").await.unwrap_or_default(), "");
}

/// What is not on the list of what every client may have is judged as the SET it amounts to.
#[tokio::test]
async fn rules_on_set_hold_at_the_start_too() {
    let rules = r#"
[[rules]]
name = "no-set"
effects = ["set", "set_dangerous"]
action = "deny"
message = "Settings are made by the application"
"#;
    let proxy = Proxy::start(rules).await;
    let start = async |options: &str| psql(&proxy, &[("PGOPTIONS", options)], "", "SELECT 1").await;
    assert_eq!(start("-c statement_timeout=5s -c work_mem=1MB").await.as_deref(), Ok("1"));
    for options in ["-c app.tenant=7", "-c geqo=on -c row_security=off", "-c session_replication_role=replica"] {
        let refusal = start(options).await.expect_err(options);
        assert!(refusal.contains("cannot be set at connection start"), "{refusal}");
        assert!(refusal.contains("DETAIL:  Settings are made by the application"), "{refusal}");
    }
}
