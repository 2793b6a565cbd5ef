//! Frames and messages of a client.
//!
//! Checked: any chunking gives the same frames; a view exists only of a whole body; names, texts and values lie in it;
//! what a person is shown of a value can be made of any value.

use bytes::BytesMut;
use countersign_protocol::frame::HEADER_LEN;
use countersign_protocol::frontend::{self, Bind, Execute, Parse, Target, tag};
use countersign_protocol::value;

use super::bytes_in::frames_of;

/// Types that [`value::display`] reads in their binary form, and some that it does not.
const TYPES: &[u32] = &[
    0, 16, 17, 18, 19, 20, 21, 23, 25, 26, 114, 142, 600, 700, 701, 790, 829, 869, 1042, 1043, 1082, 1083, 1114, 1184,
    1186, 1266, 1700, 2249, 2950, 3802, 20_000,
];

/// See the module documentation.
///
/// # Panics
/// A promise is broken.
pub fn run(data: &[u8]) {
    for frame in frames_of(data) {
        let body = frame.body();
        match frame.tag {
            tag::QUERY => query(body),
            tag::PARSE => parse(body),
            tag::BIND => bind(body),
            tag::DESCRIBE | tag::CLOSE => target(frame.tag, body),
            _ => execute(body),
        }
    }
}

fn query(body: &[u8]) {
    let Ok(text) = frontend::query(body) else { return };
    assert!(!text.contains(&0) && text.len() + 1 == body.len(), "the text is the body without its NUL");
    if let Ok(text) = std::str::from_utf8(text) {
        let mut again = BytesMut::new();
        frontend::put_query(&mut again, text);
        assert_eq!(&again[HEADER_LEN..], body, "written again");
    }
}

fn parse(body: &[u8]) {
    let Ok(parse) = Parse::read(body) else { return };
    let length = parse.statement.len() + parse.query.len() + 4 + 4 * parse.parameter_types.len();
    assert_eq!(length, body.len(), "every byte of a Parse is accounted for");
    if let (Ok(text), true) = (std::str::from_utf8(parse.query), parse.parameter_types.is_empty()) {
        let mut again = BytesMut::new();
        frontend::put_parse(&mut again, parse.statement, text);
        assert_eq!(&again[HEADER_LEN..], body, "written again");
    }
}

fn bind(body: &[u8]) {
    let Ok(bind) = Bind::read(body) else { return };
    let values: usize = bind.values.iter().map(|value| 4 + value.map_or(0, <[u8]>::len)).sum();
    let codes = 2 * (bind.formats.len() + bind.result_formats.len());
    assert_eq!(bind.parameter_part.len(), 6 + codes + values, "every byte of a Bind is accounted for");
    assert_eq!(bind.portal.len() + bind.statement.len() + 2 + bind.parameter_part.len(), body.len());
    for (index, value) in bind.values.iter().enumerate() {
        let format = frontend::format_of(&bind.formats, index);
        for type_oid in TYPES {
            let _ = value::display(*type_oid, format, value.unwrap_or_default());
        }
    }
}

fn target(tag: u8, body: &[u8]) {
    let Ok(target) = Target::read("Describe", body) else { return };
    let mut again = BytesMut::new();
    match tag {
        tag::DESCRIBE => frontend::put_describe(&mut again, target),
        _ => frontend::put_close(&mut again, target),
    }
    assert_eq!(&again[HEADER_LEN..], body, "written again");
}

fn execute(body: &[u8]) {
    let Ok(execute) = Execute::read(body) else { return };
    assert_eq!(execute.portal.len() + 5, body.len(), "every byte of an Execute is accounted for");
}
