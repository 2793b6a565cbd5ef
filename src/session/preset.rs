//! Settings of a StartupMessage on which only the rules can decide.
//!
//! Never sends what it makes: the text of a SET is there to be judged. Invariant: a setting that is not on the list of
//! those that every client may have passes only where the SET of it would run without waiting for anybody.

use bytes::{Bytes, BytesMut};
use countersign_policy::analysis::{AnalysisContext, NothingPrepared};
use countersign_policy::grant::Grants;
use countersign_policy::subject::Subject;
use countersign_policy::verdict::{Case, Verdict};
use countersign_protocol::response::{ErrorFields, error_response};
use countersign_protocol::sqlstate;

use jiff::Timestamp;

use crate::clock;
use crate::config::Config;
use crate::database::Database;

/// Judges each setting as the SET it amounts to; the ErrorResponse of the first that is not allowed.
///
/// # Errors
/// A FATAL ErrorResponse.
pub(crate) fn judge(
    settings: &[(String, String)],
    subject: &Subject,
    config: &Config,
    database: &Database,
) -> Result<(), Bytes> {
    let (catalog, analyses, masks) = (database.catalog(), database.analyses(), database.masks(config, subject));
    let search_path = ["pg_catalog".to_owned(), "public".to_owned()];
    let context = AnalysisContext { catalog: &catalog, search_path: &search_path, prepared: &NothingPrepared };
    let moment = clock::outside_of_transactions(Timestamp::now());
    for (name, value) in settings {
        let text = set(name, value);
        let analysis = analyses.analyze(&text, &context);
        let case = Case {
            serial: 0,
            subject,
            text: &text,
            analysis: &analysis,
            masks: &masks,
            catalog: &catalog,
            moment,
            rows: None,
            approval: None,
            grants: Grants::default(),
        };
        match config.policy.judge(case).verdict {
            Verdict::Allow(_) => {}
            Verdict::Hold(_) => return Err(refusal(name, None)),
            Verdict::Deny(denial) => return Err(refusal(name, denial.message.as_deref())),
        }
    }
    Ok(())
}

fn refusal(name: &str, detail: Option<&str>) -> Bytes {
    let mut out = BytesMut::new();
    let fields = ErrorFields {
        severity: "FATAL",
        sqlstate: sqlstate::INSUFFICIENT_PRIVILEGE,
        message: &format!("parameter \"{name}\" cannot be set at connection start"),
        detail,
        hint: Some("Use SET after connecting: it is not allowed without review."),
    };
    error_response(&mut out, &fields);
    out.freeze()
}

/// `SET "name"."part" TO 'value'`.
fn set(name: &str, value: &str) -> String {
    let parts: Vec<_> = name.split('.').map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect();
    format!("SET {} TO '{}'", parts.join("."), value.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_quoted_whole() {
        assert_eq!(set("work_mem", "4MB"), "SET \"work_mem\" TO '4MB'");
        assert_eq!(set("app.tenant", "o'neill"), "SET \"app\".\"tenant\" TO 'o''neill'");
        assert_eq!(set("a\"; DROP TABLE t; --", "\\'"), "SET \"a\"\"; DROP TABLE t; --\" TO '\\'''");
    }
}
