//! What has changed from one text of the file to the next, for the audit trail.
//!
//! Never shows what a password or token could be guessed by: verifiers and digests are cut. Invariant: a line that is the
//! same in both texts, at their beginning or end, is not shown.

/// Hexadecimal digits of a SHA-256.
const SHA256_DIGITS: usize = 64;

/// The lines that go, with `-`, and those that come, with `+`, each with a line feed.
#[must_use]
pub fn diff(before: &str, after: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let same = |pair: &(&&str, &&str)| pair.0 == pair.1;
    let head = old.iter().zip(&new).take_while(same).count();
    let most = old.len().min(new.len()) - head;
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(same).take(most).count();
    let gone = old[head..old.len() - tail].iter().map(|line| format!("-{}\n", shown(line)));
    let come = new[head..new.len() - tail].iter().map(|line| format!("+{}\n", shown(line)));
    gone.chain(come).collect()
}

fn shown(line: &str) -> String {
    let words: Vec<String> = line.split(['"', '\'']).map(cut).collect();
    let mut quotes = line.matches(['"', '\'']);
    let mut out = String::with_capacity(line.len());
    for word in words {
        out.push_str(&word);
        out.push_str(quotes.next().unwrap_or_default());
    }
    out
}

fn cut(word: &str) -> String {
    let kept = if word.starts_with("SCRAM-SHA-256$") {
        "SCRAM-SHA-256$".len()
    } else if word.starts_with("$argon2") {
        "$argon2".len()
    } else if word.len() == SHA256_DIGITS && word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        8
    } else {
        return word.to_owned();
    };
    format!("{}…", &word[..kept])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(before: &str, after: &str, want: &str) {
        assert_eq!(diff(before, after), want);
    }

    #[test]
    fn only_what_changes_is_shown() {
        check("a = 1\nb = 2\nc = 3\n", "a = 1\nb = 4\nc = 3\n", "-b = 2\n+b = 4\n");
        check("a = 1\n", "a = 1\na = 1\n", "+a = 1\n");
        check("a = 1\n", "", "-a = 1\n");
        check("a = 1", "a = 1\n", "");
    }

    #[test]
    fn nothing_that_helps_to_guess_a_secret_is_shown() {
        let digest = "0123456789abcdef".repeat(4);
        check("", &format!("tokens = [{{ sha256 = \"{digest}\" }}]"), "+tokens = [{ sha256 = \"01234567…\" }]\n");
        check("", "password = { scram = 'SCRAM-SHA-256$4096:a$b:c' }", "+password = { scram = 'SCRAM-SHA-256$…' }\n");
        check("", "web_password = { argon2 = \"$argon2id$v=19$x\" }", "+web_password = { argon2 = \"$argon2…\" }\n");
        check("", "name = \"o'neill\"", "+name = \"o'neill\"\n");
    }
}
