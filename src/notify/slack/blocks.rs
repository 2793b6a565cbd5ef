//! Messages and dialogs as Block Kit has them.
//!
//! Never lets a text of others be read as markup: it is plain text, or escaped. Invariant: what is made keeps Block Kit's
//! limits (3,000 characters of a text, 2,000 of a field, 10 fields, 50 blocks).

use serde_json::{Value, json};

use crate::notify::words::{Cut, Tone, Words, cut};
use crate::review::{AccessRequest, State};

/// Characters of the code in a section, fences and escapes included.
const CODE_MAX: usize = 2900;
/// Characters of a fact: escaped, it may become five times as long.
const FIELD_MAX: usize = 350;
/// Characters of a plain text.
const TEXT_MAX: usize = 1500;
/// Characters of a reason, as the dialog asks for it.
pub(super) const REASON_MAX: u32 = 1000;

/// What is told of a request: as long as it waits, with buttons.
pub(super) fn of_request(words: &Words, request: &AccessRequest) -> Value {
    let mut blocks = common(words);
    let mut elements = Vec::new();
    if request.state == State::Pending {
        let id = request.id.to_string();
        elements.push(json!({
            "type": "button", "action_id": "approve", "style": "primary", "value": id,
            "text": plain("Approve"),
            "confirm": {
                "title": plain("Approve?"),
                "text": plain("It runs once, exactly as it stands on its page."),
                "confirm": plain("Approve"), "deny": plain("Not yet"),
            },
        }));
        elements.push(json!({
            "type": "button", "action_id": "reject", "style": "danger", "value": id, "text": plain("Reject…"),
        }));
    }
    elements.push(open(words));
    blocks.push(json!({"type": "actions", "elements": elements}));
    Value::Array(blocks)
}

/// What is told of a grant.
pub(super) fn of_grant(words: &Words) -> Value {
    let mut blocks = common(words);
    blocks.push(json!({"type": "actions", "elements": [open(words)]}));
    Value::Array(blocks)
}

/// What a requester is told of the outcome.
pub(super) fn to_requester(words: &Words) -> Value {
    let mut blocks = vec![title(words)];
    blocks.extend(written(words));
    blocks.push(json!({"type": "actions", "elements": [open(words)]}));
    Value::Array(blocks)
}

/// The dialog that asks for a reason.
pub(super) fn rejection(id: &str, channel: &str) -> Value {
    json!({
        "type": "modal",
        "callback_id": "reject",
        "private_metadata": json!({"id": id, "channel": channel}).to_string(),
        "title": plain("Reject"),
        "submit": plain("Reject"),
        "close": plain("Back"),
        "blocks": [{
            "type": "input", "block_id": "reason",
            "label": plain("Reason"), "hint": plain("The requester reads it."),
            "element": {
                "type": "plain_text_input", "action_id": "reason", "multiline": true, "max_length": REASON_MAX,
            },
        }],
    })
}

fn common(words: &Words) -> Vec<Value> {
    let mut blocks = vec![title(words)];
    let field = |(name, value): &(&'static str, String)| {
        let said = format!("*{name}*\n{}", escaped(&cut(value, FIELD_MAX).0));
        json!({"type": "mrkdwn", "text": said, "verbatim": true})
    };
    let fields: Vec<_> = words.facts.iter().take(10).map(field).collect();
    if !fields.is_empty() {
        blocks.push(json!({"type": "section", "fields": fields}));
    }
    if let Some((statement, is_cut)) = &words.statement {
        let (code, more) = code(statement);
        blocks.push(json!({"type": "section", "text": {"type": "mrkdwn", "text": code, "verbatim": true}}));
        if *is_cut == Cut::Cut || more == Cut::Cut {
            let said = format!("The statement goes on: <{}|all of it>", escaped(&words.url));
            blocks.push(json!({"type": "context", "elements": [{"type": "mrkdwn", "text": said, "verbatim": true}]}));
        }
    }
    blocks.extend(words.not_shown.map(|why| json!({"type": "context", "elements": [plain(why)]})));
    blocks.extend(written(words));
    blocks
}

fn title(words: &Words) -> Value {
    let mark = match words.tone {
        Tone::Waits => ":large_yellow_circle:",
        Tone::Good => ":white_check_mark:",
        Tone::Bad => ":no_entry:",
        Tone::Over => ":white_circle:",
    };
    // A star in it would end the bold type.
    let said = format!("{mark} *{}*", escaped(&words.title).replace('*', "∗"));
    json!({"type": "section", "text": {"type": "mrkdwn", "text": cut(&said, TEXT_MAX).0, "verbatim": true}})
}

fn written(words: &Words) -> Option<Value> {
    let (by, said) = words.written.as_ref()?;
    let text = if said.is_empty() { by.clone() } else { format!("{by}: {said}") };
    Some(json!({"type": "context", "elements": [plain(&cut(&text, TEXT_MAX).0)]}))
}

fn open(words: &Words) -> Value {
    json!({"type": "button", "action_id": "open", "url": words.url, "text": plain("Open")})
}

fn plain(text: &str) -> Value {
    json!({"type": "plain_text", "text": text, "emoji": false})
}

/// `&`, `<` and `>` begin what Slack looks into.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A statement as a block of code, cut where the limit is, and never within what stands for one character.
fn code(statement: &str) -> (String, Cut) {
    let mut code = String::new();
    let mut is_cut = Cut::Whole;
    let mut count = 0;
    // What ends the block would let the rest be read as markup.
    for c in statement.replace("```", "'''").chars() {
        let shown = escaped(&c.to_string());
        count += shown.chars().count();
        if count > CODE_MAX {
            is_cut = Cut::Cut;
            code.push('…');
            break;
        }
        code.push_str(&shown);
    }
    (format!("```{code}```"), is_cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_escaped_cut_whole_and_cannot_be_ended() {
        let (code_text, is_cut) = code("SELECT '<!channel>' & ``` *x*");
        assert_eq!(code_text, "```SELECT '&lt;!channel&gt;' &amp; ''' *x*```");
        assert_eq!(is_cut, Cut::Whole);
        let (long, is_cut) = code(&"<".repeat(3000));
        assert!(is_cut == Cut::Cut && long.chars().count() <= 3000, "{}", long.len());
        assert!(long.ends_with("&lt;…```"));
        let (backticks, _) = code(&"`".repeat(7));
        assert!(!backticks.trim_start_matches("```").trim_end_matches("```").contains("```"), "{backticks}");
    }
}
