//! Messages of a client, as values: to be sent, and to be read by people.
//!
//! Never checked for sense: what a client must not send is among them. Invariant: the bytes are those of the manual's
//! "Message Formats".

use std::fmt;

use bytes::{BufMut, BytesMut};

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Query(String),
    Parse {
        statement: String,
        text: String,
    },
    Bind {
        portal: String,
        statement: String,
        values: Vec<Option<String>>,
        result_format: i16,
    },
    DescribeStatement(String),
    DescribePortal(String),
    Execute {
        portal: String,
        rows: i32,
    },
    CloseStatement(String),
    ClosePortal(String),
    Flush,
    Sync,
    CopyData(String),
    CopyDone,
    CopyFail,
    /// A frame of that type with this body.
    Malformed(u8, Vec<u8>),
}

impl Message {
    /// Appends its bytes.
    pub fn put(&self, out: &mut BytesMut) {
        let mut body = BytesMut::new();
        let tag = self.put_body(&mut body);
        out.put_u8(tag);
        out.put_i32(i32::try_from(body.len() + 4).expect("a small message"));
        out.put_slice(&body);
    }

    fn put_body(&self, out: &mut BytesMut) -> u8 {
        match self {
            Self::Query(text) => put(out, b'Q', &[text]),
            Self::Parse { statement, text } => {
                put(out, b'P', &[statement, text]);
                out.put_i16(0);
                b'P'
            }
            Self::Bind { portal, statement, values, result_format } => {
                put(out, b'B', &[portal, statement]);
                out.put_i16(0);
                out.put_i16(i16::try_from(values.len()).expect("few values"));
                for value in values {
                    match value {
                        None => out.put_i32(-1),
                        Some(value) => {
                            out.put_i32(i32::try_from(value.len()).expect("a short value"));
                            out.put_slice(value.as_bytes());
                        }
                    }
                }
                out.put_slice(&[0, 1]);
                out.put_i16(*result_format);
                b'B'
            }
            Self::DescribeStatement(name) => put_target(out, b'D', b'S', name),
            Self::DescribePortal(name) => put_target(out, b'D', b'P', name),
            Self::CloseStatement(name) => put_target(out, b'C', b'S', name),
            Self::ClosePortal(name) => put_target(out, b'C', b'P', name),
            Self::Execute { portal, rows } => {
                put(out, b'E', &[portal]);
                out.put_i32(*rows);
                b'E'
            }
            Self::Flush => b'H',
            Self::Sync => b'S',
            Self::CopyData(text) => {
                out.put_slice(text.as_bytes());
                b'd'
            }
            Self::CopyDone => b'c',
            Self::CopyFail => put(out, b'f', &[&"no more".to_owned()]),
            Self::Malformed(tag, body) => {
                out.put_slice(body);
                *tag
            }
        }
    }
}

fn put(out: &mut BytesMut, tag: u8, texts: &[&String]) -> u8 {
    for text in texts {
        out.put_slice(text.as_bytes());
        out.put_u8(0);
    }
    tag
}

fn put_target(out: &mut BytesMut, tag: u8, kind: u8, name: &String) -> u8 {
    out.put_u8(kind);
    put(out, tag, &[name])
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query(text) => write!(f, "Query {text:?}"),
            Self::Parse { statement, text } => write!(f, "Parse {statement:?} {text:?}"),
            Self::Bind { portal, statement, values, result_format } => {
                write!(f, "Bind {portal:?} of {statement:?} {values:?} format {result_format}")
            }
            Self::DescribeStatement(name) => write!(f, "Describe statement {name:?}"),
            Self::DescribePortal(name) => write!(f, "Describe portal {name:?}"),
            Self::Execute { portal, rows } => write!(f, "Execute {portal:?} rows {rows}"),
            Self::CloseStatement(name) => write!(f, "Close statement {name:?}"),
            Self::ClosePortal(name) => write!(f, "Close portal {name:?}"),
            Self::Flush => f.write_str("Flush"),
            Self::Sync => f.write_str("Sync"),
            Self::CopyData(text) => write!(f, "CopyData {text:?}"),
            Self::CopyDone => f.write_str("CopyDone"),
            Self::CopyFail => f.write_str("CopyFail"),
            Self::Malformed(tag, body) => write!(f, "malformed {:?} {body:?}", char::from(*tag)),
        }
    }
}
