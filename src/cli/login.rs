//! `countersign login`: for who signs in on the page a password for databases and a token for the other commands, each for an
//! hour.
//!
//! Never sends the password anywhere: the proxy gets its SCRAM verifier. Invariant: a code is taken from the page that this
//! program has sent the browser to, or from whoever sits at the terminal.

mod browser;
pub(super) mod kept;
mod pgpass;
mod private;

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use reqwest::Url;
use serde::Deserialize;
use serde_json::json;

use super::output::{Colour, Exit, visible_line};
use super::requests::Failure;
use crate::config::derive_verifier;
use crate::web::Problem;
use browser::Loopback;
use pgpass::HostPort;

/// How long the proxy may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// `countersign login …`
#[derive(Clone, Debug, clap::Args)]
pub struct LoginArgs {
    /// Base URL of the proxy's page
    #[arg(long, env = "COUNTERSIGN_URL", default_value = "http://127.0.0.1:8543")]
    url: String,
    /// Open no browser: print the address, and ask for the code that the page shows
    #[arg(long)]
    no_browser: bool,
    /// Put the password into PGPASSFILE (or ~/.pgpass), for the proxy at this address; it is not printed then
    #[arg(long, value_name = "HOST:PORT")]
    pgpass: Option<HostPort>,
    /// Output for people, for machines, or for the shell: eval "$(countersign login --format env)"
    #[arg(long, value_enum, default_value_t)]
    format: LoginFormat,
}

/// How the password is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum LoginFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
    /// As `export PGUSER=… PGPASSWORD=…`.
    Env,
}

/// What the proxy says of a password.
#[derive(Deserialize)]
struct Given {
    user: String,
    expires_at: Timestamp,
    token: String,
    own_password: bool,
}

/// Runs the command.
pub async fn run(args: LoginArgs) -> ExitCode {
    match login(&args).await {
        Ok(()) => Exit::Ok.into(),
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit.into()
        }
    }
}

async fn login(args: &LoginArgs) -> Result<(), Failure> {
    let page = page_of(&args.url)?;
    let code = if args.no_browser { pasted_code(&page)? } else { sent_code(&page).await? };
    let password = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 24]>());
    let given = claim(&page, &code, &derive_verifier(&password)).await?;
    let failed = |error: io::Error| Failure::new(Exit::Io, format!("could not keep the token: {error}"), "");
    let Given { user, token, expires_at, .. } = &given;
    let login = kept::Kept { user: user.clone(), token: token.clone(), expires_at: *expires_at };
    let logins = kept::keep(&page, login, Timestamp::now()).map_err(failed)?;
    eprintln!("The token for other commands is in {}.", logins.display());
    let kept = match &args.pgpass {
        Some(_) if given.own_password => None,
        Some(at) => Some(
            pgpass::keep(at, &given.user, &password)
                .map_err(|error| Failure::new(Exit::Io, format!("could not keep the password: {error}"), ""))?,
        ),
        None => None,
    };
    let is_shown = kept.is_none() && !given.own_password;
    let text = printed(args.format, &given, is_shown.then_some(password.as_str()));
    io::stdout().write_all(text.as_bytes()).map_err(|error| Failure::new(Exit::Io, error.to_string(), ""))?;
    if let Some(path) = kept {
        eprintln!("The password is in {}.", path.display());
    }
    if given.own_password {
        eprintln!("You have a password for databases in the configuration; connect with that.");
    }
    Ok(())
}

fn page_of(url: &str) -> Result<Url, Failure> {
    let wrong = || {
        let hint = "set COUNTERSIGN_URL, for example https://countersign.example.com";
        Failure::new(Exit::Usage, format!("\"{url}\" is not the address of a page that can be trusted"), hint)
    };
    if !crate::config::is_safe(url) {
        return Err(wrong());
    }
    Url::parse(url).and_then(|base| base.join("/login/cli")).map_err(|_error| wrong())
}

/// The code that somebody copies from the page.
fn pasted_code(page: &Url) -> Result<String, Failure> {
    eprintln!("Open this page, and paste the code that it shows:\n  {page}");
    if io::stdin().is_terminal() {
        eprint!("Code: ");
    }
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::new(Exit::Io, format!("could not read the code: {error}"), ""))?;
    let code = line.trim().to_owned();
    if code.is_empty() { Err(Failure::new(Exit::Usage, "no code", "")) } else { Ok(code) }
}

/// The code that the page sends to this machine.
async fn sent_code(page: &Url) -> Result<String, Failure> {
    let failed =
        |error: io::Error| Failure::new(Exit::Io, format!("could not wait for the page: {error}"), "use --no-browser");
    let loopback = Loopback::open().await.map_err(failed)?;
    let mut address = page.clone();
    address.query_pairs_mut().append_pair("port", &loopback.port().to_string()).append_pair("state", loopback.state());
    eprintln!("Go on in the browser:\n  {address}");
    browser::open(address.as_str());
    loopback.code().await.map_err(failed)
}

async fn claim(page: &Url, code: &str, verifier: &str) -> Result<Given, Failure> {
    crate::telemetry::install_crypto_provider();
    let unreachable = |error: reqwest::Error| {
        let hint = "is the proxy running, and COUNTERSIGN_URL its page?";
        Failure::new(Exit::Unavailable, format!("could not reach the proxy: {}", error.without_url()), hint)
    };
    let client = reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none()).build();
    let mut to = page.clone();
    to.set_path("/login/cli/claim");
    let body = json!({ "code": code, "verifier": verifier });
    let answer = client.map_err(unreachable)?.post(to).json(&body).send().await.map_err(unreachable)?;
    if answer.status().is_success() {
        return answer.json().await.map_err(unreachable);
    }
    let problem: Problem = answer.json().await.map_err(unreachable)?;
    Err(Failure::new(Exit::Permission, problem.detail, "run countersign login again"))
}

fn printed(format: LoginFormat, given: &Given, password: Option<&str>) -> String {
    let Given { user, expires_at, .. } = given;
    match format {
        LoginFormat::Text => {
            let user = visible_line(user, Colour::Off);
            let password = password.map(|password| format!("password: {password}\n")).unwrap_or_default();
            format!("user:     {user}\n{password}until:    {expires_at:.0}\n")
        }
        LoginFormat::Json => format!("{:#}\n", json!({ "user": user, "password": password, "expires_at": expires_at })),
        LoginFormat::Env => {
            let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
            let password = password.map(|password| format!("export PGPASSWORD={}\n", quoted(password)));
            format!("export PGUSER={}\n{}", quoted(user), password.unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_page_that_nobody_can_read_along_is_opened() {
        for (url, want) in [
            ("https://countersign.example.com", Some("https://countersign.example.com/login/cli")),
            ("http://127.0.0.1:8543/", Some("http://127.0.0.1:8543/login/cli")),
            ("http://countersign.example.com", None),
            ("countersign.example.com", None),
            ("file:///etc/passwd", None),
        ] {
            assert_eq!(page_of(url).ok().map(String::from).as_deref(), want, "{url}");
        }
    }

    #[test]
    fn what_is_printed_is_safe_for_a_shell_and_a_terminal() {
        let given = Given {
            user: "o'b\u{1b}[0m".to_owned(),
            expires_at: "2026-11-22T10:00:00.5Z".parse().unwrap(),
            token: "csl_x".to_owned(),
            own_password: false,
        };
        assert_eq!(
            printed(LoginFormat::Env, &given, Some("p'w")),
            "export PGUSER='o'\\''b\u{1b}[0m'\nexport PGPASSWORD='p'\\''w'\n"
        );
        let text = printed(LoginFormat::Text, &given, Some("pw"));
        assert!(!text.contains('\u{1b}') && text.contains("password: pw\n") && text.contains("10:00:00Z"), "{text}");
        assert!(!printed(LoginFormat::Text, &given, None).contains("password"));
        let json: serde_json::Value = serde_json::from_str(&printed(LoginFormat::Json, &given, Some("pw"))).unwrap();
        assert_eq!((&json["user"], &json["password"]), (&json!("o'b\u{1b}[0m"), &json!("pw")));
    }
}
