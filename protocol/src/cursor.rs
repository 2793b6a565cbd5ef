//! Reading the fields of a message body from left to right, without a panic on any input.

use crate::ProtocolError;

/// A position in a message body.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    message: &'static str,
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(message: &'static str, body: &'a [u8]) -> Self {
        Self { message, rest: body }
    }

    pub(crate) fn fail<T>(&self, what: &'static str) -> Result<T, ProtocolError> {
        Err(ProtocolError::Body { message: self.message, what })
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], ProtocolError> {
        match self.rest.split_at_checked(length) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => self.fail("it ends within a field"),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtocolError> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => self.fail("it ends within a field"),
        }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, ProtocolError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn i16(&mut self) -> Result<i16, ProtocolError> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, ProtocolError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, ProtocolError> {
        self.array().map(u32::from_be_bytes)
    }

    /// An Int16 count, which must not be negative.
    pub(crate) fn count(&mut self) -> Result<usize, ProtocolError> {
        let count = self.i16()?;
        usize::try_from(count).or_else(|_| self.fail("a count is negative"))
    }

    /// An Int16 count that PostgreSQL reads as unsigned (parameters of Bind and Parse).
    pub(crate) fn unsigned_count(&mut self) -> Result<usize, ProtocolError> {
        self.array().map(u16::from_be_bytes).map(usize::from)
    }

    /// An Int32 length followed by that many bytes; -1 is NULL.
    pub(crate) fn value(&mut self) -> Result<Option<&'a [u8]>, ProtocolError> {
        match self.i32()? {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) => self.bytes(length).map(Some),
                Err(_) => self.fail("a length is negative"),
            },
        }
    }

    /// A NUL-terminated string, without the NUL.
    pub(crate) fn cstr(&mut self) -> Result<&'a [u8], ProtocolError> {
        match memchr::memchr(0, self.rest) {
            Some(end) => {
                let taken = self.bytes(end)?;
                self.u8()?;
                Ok(taken)
            }
            None => self.fail("a string is not terminated"),
        }
    }

    pub(crate) fn end(&self) -> Result<(), ProtocolError> {
        if self.rest.is_empty() { Ok(()) } else { self.fail("bytes follow the last field") }
    }
}
