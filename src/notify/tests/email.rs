//! Mail: what is in it, and servers that are not good.

use super::post::Post;
use super::*;
use crate::config::{EmailConfig, EmailTls, Secret, mailbox};
use crate::notify::email::Email;
use crate::review::fixture::{PEOPLE, config};

fn settings(post: &Post) -> EmailConfig {
    EmailConfig {
        host: "127.0.0.1".to_owned(),
        port: post.port,
        tls: EmailTls::None,
        ca: None,
        login: None,
        from: mailbox("cs@example.com").unwrap(),
        to: vec![mailbox("dba@lists.example.com").unwrap()],
        people: false,
        include_statement: false,
    }
}

/// A bench whose people have addresses, and what writes to them.
async fn stage(email: &EmailConfig) -> Stage {
    stage_of(email, &[]).await
}

/// The same, with other addresses of these people.
async fn stage_of(email: &EmailConfig, addresses: &[(&str, &str)]) -> Stage {
    let bench = Bench::new();
    let mut config = config(PEOPLE);
    for user in &mut config.users {
        let other = addresses.iter().find(|(name, _)| *name == user.name);
        user.email = Some(other.map_or(format!("{}@example.com", user.name), |(_, email)| (*email).to_owned()));
    }
    bench.config.store(Arc::new(config));
    let tell = Email::new(email, &bench.review, &bench.outbox, "https://countersign.example.com");
    Stage::on(bench, Arc::new(tell)).await
}

/// The recipients of the commands so far.
fn recipients(post: &Post) -> Vec<String> {
    let lines = post.lines();
    lines.iter().filter_map(|line| line.strip_prefix("RCPT TO:<")?.strip_suffix('>')).map(str::to_owned).collect()
}

/// The headers of a message, unfolded.
fn headers(message: &str) -> Vec<String> {
    let (head, _) = message.split_once("\r\n\r\n").unwrap();
    head.replace("\r\n ", " ").split("\r\n").map(str::to_owned).collect()
}

#[tokio::test]
async fn nothing_that_people_write_ends_a_header_a_line_or_the_message() {
    let post = Post::good().await;
    let mut stage = stage(&EmailConfig { include_statement: true, ..settings(&post) }).await;
    let evil = "x\r\nBcc: eve@evil.example\r\n\r\n.\r\nMAIL FROM:<eve@evil.example>\r\n";
    let new = NewRequest {
        user: evil.to_owned(),
        groups: vec![evil.to_owned()],
        database: evil.to_owned(),
        statement: format!("DELETE FROM t WHERE v = '{evil}.{evil}\u{202e}'"),
        summary: format!("{evil}{}=?utf-8?q?a=0d=0aBcc:_b?=", "ü".repeat(500)),
        justification: Some(evil.to_owned()),
        rules: vec![evil.to_owned(), "<script>".to_owned()],
        ..new_request("dba", Mode::Resubmit)
    };
    stage.bench.review.open(new, at(0)).await.unwrap();
    stage.deliver().await;
    assert_eq!(stage.count(DeliveryState::Delivered).await, 1, "{:?}", stage.deliveries().await);
    let commands: Vec<_> = post.lines().iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(commands, ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]);
    let message = post.messages().remove(0);
    let names: Vec<_> = headers(&message).iter().map(|line| line.split(':').next().unwrap().to_owned()).collect();
    let expected =
        ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-Countersign-Event", "MIME-Version"];
    assert_eq!(names[..8], expected, "{message}");
    assert!(!names.iter().any(|name| name.eq_ignore_ascii_case("bcc")), "{message}");
    assert!(message.is_ascii() && message.split("\r\n").all(|line| line.len() <= 998 && !line.contains('\n')));
    assert!(!message.contains("<script>") && !message.contains("\r\n.\r\nMAIL"), "{message}");
}

#[tokio::test]
async fn people_hear_of_what_concerns_them_and_not_of_what_they_did() {
    let post = Post::good().await;
    let settings = EmailConfig { to: Vec::new(), people: true, ..settings(&post) };
    // Addresses that are none are not written to, whatever stands in them.
    let addresses = [("carol", "carol@example.com>\r\nDATA"), ("maya", "BOB@example.com")];
    let mut stage = stage_of(&settings, &addresses).await;
    let id = stage.ask("dba*2").await;
    stage.deliver().await;
    let mut heard = recipients(&post);
    heard.sort();
    assert_eq!(heard, ["bob@example.com", "sam@example.com"], "root sees all and is not asked, carol has no address");
    stage.bench.review.approve(id, &actor("sam"), None, at(1)).await.unwrap();
    stage.deliver().await;
    assert_eq!(recipients(&post)[2..], ["bob@example.com"], "alice hears of the outcome");
    stage.bench.review.reject(id, &actor("bob"), "no".to_owned(), at(2)).await.unwrap();
    stage.deliver().await;
    let mut heard = recipients(&post)[3..].to_vec();
    heard.sort();
    // Maya has bob's address, and has done nothing.
    assert_eq!(heard, ["BOB@example.com", "alice@example.com", "sam@example.com"]);
}

#[tokio::test]
async fn answers_from_before_encryption_are_not_believed() {
    let post = Post::start(|line| {
        Some(match line {
            _ if line.starts_with("EHLO") => "250-post.example.com\r\n250 STARTTLS\r\n".to_owned(),
            "STARTTLS" => "220 go\r\n250-post.example.com\r\n250 AUTH PLAIN\r\n235 welcome\r\n".to_owned(),
            _ => "?".to_owned(),
        })
    })
    .await;
    let login = Some(("countersign".to_owned(), Secret::new("sesame".to_owned())));
    let mut stage = stage(&EmailConfig { tls: EmailTls::StartTls, login, ..settings(&post) }).await;
    stage.ask("dba").await;
    stage.deliver().await;
    let delivery = stage.deliveries().await.remove(0);
    assert_eq!(delivery.state, DeliveryState::Waiting);
    assert_eq!(delivery.answer.as_deref(), Some("not an answer of SMTP (more than the answer to STARTTLS)"));
    assert_eq!(post.lines().last().map(String::as_str), Some("STARTTLS"));
}

#[tokio::test]
async fn an_answer_that_is_none_means_that_nothing_was_taken() {
    let cases: [(&str, &str, &str); 9] = [
        ("GREETING", "554 go away\r\n", "554 (greeting)"),
        ("GREETING", "HTTP/1.1 400 Bad Request\r\n", "not an answer of SMTP (no code)"),
        ("MESSAGE", "2500 OK\r\n", "not an answer of SMTP (no code)"),
        ("MESSAGE", "250-OK\r\n550 no\r\n", "not an answer of SMTP (two codes)"),
        ("MESSAGE", "354 go on\r\n", "354 (message)"),
        ("DATA", "250 OK\r\n", "not an answer of SMTP (no answer to DATA)"),
        ("MESSAGE", "421 closing\r\n", "421 (message)"),
        ("MAIL FROM:<cs@example.com>", "550 not from you\r\n", "550 (MAIL)"),
        ("MESSAGE", "452 full\r\n", "452"),
    ];
    for (at_line, answer, expected) in cases {
        let post = Post::start(move |line| Some(if line == at_line { answer } else { "?" }.to_owned())).await;
        let mut stage = stage(&settings(&post)).await;
        stage.ask("dba").await;
        stage.deliver().await;
        let delivery = stage.deliveries().await.remove(0);
        assert_eq!((delivery.state, delivery.answer.as_deref()), (DeliveryState::Waiting, Some(expected)), "{answer}");
    }
    // What never ends is not read to its end.
    for endless in ["2".repeat(1 << 20), "250-more\r\n".repeat(1 << 16)] {
        let post =
            Post::start(move |line| Some(if line == "GREETING" { endless.clone() } else { "?".to_owned() })).await;
        let mut stage = stage(&settings(&post)).await;
        stage.ask("dba").await;
        stage.deliver().await;
        let delivery = stage.deliveries().await.remove(0);
        assert_eq!(delivery.state, DeliveryState::Waiting);
        assert!(delivery.answer.as_deref().is_some_and(|answer| answer.starts_with("not an answer")), "{delivery:?}");
    }
}

#[tokio::test]
async fn what_was_perhaps_taken_is_sent_again_with_the_same_id() {
    let post = Post::start(|line| (line != "MESSAGE").then(|| "?".to_owned())).await;
    let mut stage = stage(&settings(&post)).await;
    stage.ask("dba").await;
    stage.deliver().await;
    assert_eq!(stage.deliveries().await[0].answer.as_deref(), Some("not an answer of SMTP (a line without end)"));
    post.play(|_line| Some("?".to_owned()));
    stage.pass(2).await;
    assert_eq!(stage.count(DeliveryState::Delivered).await, 1);
    let ids: Vec<_> = post.messages().iter().map(|message| headers(message)[4].clone()).collect();
    assert!(ids.len() == 2 && ids[0] == ids[1] && ids[0].starts_with("Message-ID: <msg_"), "{ids:?}");
}

#[tokio::test]
async fn a_server_that_knows_login_only_is_logged_in_to_by_that() {
    let post = Post::start(|line| {
        Some(match line {
            "c2VzYW1l" => "235 welcome\r\n".to_owned(),
            "Y291bnRlcnNpZ24=" => "334 UGFzc3dvcmQ6\r\n".to_owned(),
            _ => "?".to_owned(),
        })
    })
    .await;
    let login = Some(("countersign".to_owned(), Secret::new("sesame".to_owned())));
    let mut stage = stage(&EmailConfig { login, ..settings(&post) }).await;
    stage.ask("dba").await;
    stage.deliver().await;
    assert_eq!(stage.count(DeliveryState::Delivered).await, 1, "{:?}", stage.deliveries().await);
    post.play(|line| Some(if line == "c2VzYW1l" { "535 wrong\r\n" } else { "?" }.to_owned()));
    stage.ask("dba").await;
    stage.deliver().await;
    assert_eq!(post.messages().len(), 1);
    // A password can be set right: what waits for that is not lost.
    assert_eq!(stage.count(DeliveryState::Waiting).await, 1);
}
