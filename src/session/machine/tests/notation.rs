//! Messages as one reads them: `Q SELECT 1 | S` for bytes, and back.
//!
//! Messages stand between ` | `, their fields between blanks; `-` is the empty name. Of an ErrorResponse only the
//! SQLSTATE is written (`E 42501`, `E! 57P01` when FATAL), of a NoticeResponse likewise (`N 00000`).

use bytes::{BufMut, BytesMut};
use countersign_protocol::frontend::{self, Target};
use countersign_protocol::{Frame, response};

use crate::relay::{INTERRUPTION, NO_PORTAL, OWN_NAME};

/// Behind a COPY that failed: the question how many Syncs were read.
const COUNT_MESSAGES: &str = "S | C S own | S";
/// The proxy's own query about names, as one word of the notation.
const OWN_MESSAGES: &str = "P own | B own | E own | C P own | C S own";

fn name(word: &str) -> &[u8] {
    match word {
        "-" => b"",
        "nowhere" => NO_PORTAL,
        "own" => OWN_NAME,
        other => other.as_bytes(),
    }
}

fn frame(out: &mut BytesMut, tag: u8, body: impl FnOnce(&mut BytesMut)) {
    let mut content = BytesMut::new();
    body(&mut content);
    out.put_u8(tag);
    out.put_u32(u32::try_from(content.len() + 4).unwrap());
    out.put_slice(&content);
}

fn cstr(out: &mut BytesMut, text: &[u8]) {
    out.put_slice(text);
    out.put_u8(0);
}

fn target(words: &[&str]) -> (u8, Vec<u8>) {
    (words[0].as_bytes()[0], name(words[1]).to_vec())
}

/// Bytes that a client, or the proxy as a client, sends.
pub fn frontend(text: &str) -> Vec<u8> {
    let mut out = BytesMut::new();
    for message in text.replace("OWN", OWN_MESSAGES).replace("COUNT", COUNT_MESSAGES).split(" | ").map(str::trim) {
        let (tag, rest) = message.split_once(' ').unwrap_or((message, ""));
        let words: Vec<&str> = rest.split(' ').collect();
        match tag {
            "Q" => frontend::put_query(&mut out, &rest.replace("\\n", "\n")),
            "P" if rest.starts_with("own ") => {
                let names: Vec<String> = rest.split(' ').skip(1).map(str::to_owned).collect();
                frontend::put_parse(&mut out, OWN_NAME, &super::super::super::settings::query(&names));
            }
            "P" if rest == "own" => frontend::put_parse(&mut out, OWN_NAME, super::super::super::names::QUERY),
            "P" => {
                let (statement, query) = rest.split_once(' ').unwrap_or((rest, ""));
                frontend::put_parse(&mut out, name(statement), query);
            }
            "B" => bind(&mut out, &words),
            "D" | "C" => {
                let (kind, name) = target(&words);
                let target = if kind == b'S' { Target::Statement(&name) } else { Target::Portal(&name) };
                match tag {
                    "D" => frontend::put_describe(&mut out, target),
                    _ => frontend::put_close(&mut out, target),
                }
            }
            "E" => frame(&mut out, b'E', |out| {
                cstr(out, name(words[0]));
                out.put_i32(words.get(1).map_or(0, |rows| rows.parse().unwrap()));
            }),
            "F" if !rest.is_empty() => function_call(&mut out, &words),
            "d" => frame(&mut out, b'd', |out| out.put_slice(rest.as_bytes())),
            "f" if rest == "OUT" => frontend::put_copy_fail(&mut out, INTERRUPTION),
            "f" => frame(&mut out, b'f', |out| cstr(out, rest.as_bytes())),
            "c" | "H" | "S" | "X" | "F" => frontend::put_empty(&mut out, tag.as_bytes()[0]),
            "raw" => out.put_slice(rest.as_bytes()),
            other => panic!("unknown frontend message {other}"),
        }
    }
    out.to_vec()
}

/// `F 952 16384 262144`: OID of the function and its arguments.
fn function_call(out: &mut BytesMut, words: &[&str]) {
    frame(out, b'F', |out| {
        out.put_u32(words[0].parse().unwrap());
        out.put_i16(0);
        values(out, &words[1..]);
        out.put_i16(0);
    });
}

fn values(out: &mut BytesMut, values: &[&str]) {
    out.put_i16(i16::try_from(values.len()).unwrap());
    for value in values {
        out.put_i32(i32::try_from(value.len()).unwrap());
        out.put_slice(value.as_bytes());
    }
}

fn bind(out: &mut BytesMut, words: &[&str]) {
    let statement = words.get(1).copied().unwrap_or(words[0]);
    frame(out, b'B', |out| {
        cstr(out, name(words[0]));
        cstr(out, name(statement));
        out.put_i16(0);
        values(out, words.get(2..).unwrap_or_default());
        out.put_i16(0);
    });
}

/// Bytes that the upstream sends.
pub fn backend(text: &str) -> Vec<u8> {
    let mut out = BytesMut::new();
    for message in text.split(" | ").map(str::trim) {
        let (tag, rest) = message.split_once(' ').unwrap_or((message, ""));
        match tag {
            "1" | "2" | "3" | "n" | "s" | "I" | "c" => frame(&mut out, tag.as_bytes()[0], |_| {}),
            "T" => frame(&mut out, b'T', |out| fields(out, rest)),
            "D" => frame(&mut out, b'D', |out| {
                let cells: Vec<&str> = rest.split(' ').collect();
                out.put_i16(i16::try_from(cells.len()).unwrap());
                for cell in cells {
                    out.put_i32(i32::try_from(cell.len()).unwrap());
                    out.put_slice(cell.as_bytes());
                }
            }),
            "t" => frame(&mut out, b't', |out| out.put_i16(0)),
            "C" => frame(&mut out, b'C', |out| cstr(out, rest.as_bytes())),
            "Z" => frame(&mut out, b'Z', |out| out.put_slice(rest.as_bytes())),
            "G" | "H" => frame(&mut out, tag.as_bytes()[0], |out| out.put_slice(b"\0\0\x01\0\0")),
            "d" => frame(&mut out, b'd', |out| out.put_slice(rest.replace("\\n", "\n").as_bytes())),
            "V" => frame(&mut out, b'V', |out| {
                out.put_i32(i32::try_from(rest.len()).unwrap());
                out.put_slice(rest.as_bytes());
            }),
            "S" | "A" => frame(&mut out, tag.as_bytes()[0], |out| {
                if tag == "A" {
                    out.put_i32(7);
                }
                rest.split(' ').for_each(|word| cstr(out, word.as_bytes()));
            }),
            "raw" => out.put_slice(rest.as_bytes()),
            "E" | "E!" | "N" => told(&mut out, tag, rest),
            other => panic!("unknown backend message {other}"),
        }
    }
    out.to_vec()
}

/// `name` or `name:table:column`.
fn fields(out: &mut BytesMut, rest: &str) {
    let words: Vec<&str> = rest.split(' ').filter(|word| !word.is_empty()).collect();
    out.put_i16(i16::try_from(words.len()).unwrap());
    for word in words {
        let parts: Vec<&str> = word.split(':').collect();
        cstr(out, parts[0].as_bytes());
        out.put_u32(parts.get(1).map_or(0, |oid| oid.parse().unwrap()));
        out.put_i16(parts.get(2).map_or(0, |attnum| attnum.parse().unwrap()));
        out.put_u32(25);
        out.put_slice(b"\xff\xff\xff\xff\xff\xff\0\0");
    }
}

fn told(out: &mut BytesMut, tag: &str, sqlstate: &str) {
    let (sqlstate, message) = match sqlstate {
        "OUT" => ("57014", format!("COPY from stdin failed: {INTERRUPTION}")),
        _ => (sqlstate, "said by the upstream".to_owned()),
    };
    let severity = match tag {
        "E" => "ERROR",
        "E!" => "FATAL",
        _ => "NOTICE",
    };
    let fields = response::ErrorFields { severity, sqlstate, message: &message, detail: None, hint: None };
    match tag {
        "N" => response::notice_response(out, &fields),
        _ => response::error_response(out, &fields),
    }
}

/// What went to the client, in the notation.
pub fn heard(bytes: &[u8]) -> String {
    let mut buffer = BytesMut::from(bytes);
    let mut messages = Vec::new();
    while let Some(frame) = Frame::take(&mut buffer, |_| u32::MAX).unwrap() {
        messages.push(told_in_words(&frame));
    }
    if !buffer.is_empty() {
        messages.push(format!("and {} bytes", buffer.len()));
    }
    messages.join(" | ")
}

fn told_in_words(frame: &Frame) -> String {
    let body = frame.body();
    let text = |body: &[u8]| String::from_utf8_lossy(body).trim_end_matches('\0').replace('\0', " ");
    let tag = char::from(frame.tag);
    let field = |code| text(countersign_protocol::backend::error_field(body, code).unwrap_or_default());
    match frame.tag {
        b'E' if field(b'V') == "FATAL" => format!("E! {}", field(b'C')),
        b'E' | b'N' => format!("{tag} {}", field(b'C')),
        b'D' => {
            let cells = countersign_protocol::row::Cells::read(body).unwrap();
            let cells = cells.map(|cell| cell.unwrap().map_or("NULL".to_owned(), text));
            format!("D {}", cells.collect::<Vec<_>>().join(" "))
        }
        b'T' => format!("T {}", first_words(body)),
        b'G' | b'H' | b't' => tag.to_string(),
        _ if body.is_empty() => tag.to_string(),
        b'd' => format!("d {}", text(body).replace('\n', "\\n")),
        b'A' | b'V' => format!("{tag} {}", text(&body[4..])),
        _ => format!("{tag} {}", text(body)),
    }
}

/// Names of the columns of a RowDescription.
fn first_words(body: &[u8]) -> String {
    let mut rest = &body[2..];
    let mut names = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        names.push(String::from_utf8_lossy(&rest[..end]).into_owned());
        rest = &rest[end + 1 + 18..];
    }
    names.join(" ")
}

/// What the upstream was sent, in the notation; for messages of failed scripts.
pub fn sent(bytes: &[u8]) -> String {
    let mut buffer = BytesMut::from(bytes);
    let mut messages = Vec::new();
    while let Ok(Some(frame)) = Frame::take(&mut buffer, |_| u32::MAX) {
        let body = String::from_utf8_lossy(frame.body()).trim_end_matches('\0').replace('\0', " ");
        messages.push(format!("{} {body}", char::from(frame.tag)).trim().to_owned());
    }
    if !buffer.is_empty() {
        messages.push(format!("and {} bytes", buffer.len()));
    }
    messages.join(" | ")
}
