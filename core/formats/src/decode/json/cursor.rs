//! A place in JSON text.

use super::super::number::Number;
use super::super::{Fault, Unknown};
use super::string;

/// A place in JSON text, and how to read on from there.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) at: usize,
    /// Whether a newline ends the record, rather than being white space in it.
    lines: bool,
    /// What a string with escapes says.
    scratch: Vec<u8>,
    /// Where keys are noted that no column has; `None`: they don't matter.
    pub(crate) unknown: Option<Unknown>,
}

/// What a value is, as its first byte tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Null,
    Bool,
    Number,
    Text,
    Array,
    Object,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self {
            data,
            at: 0,
            lines: false,
            scratch: Vec::new(),
            unknown: None,
        }
    }

    /// Over NDJSON: stops at newlines.
    pub(crate) fn lines(data: &'a [u8]) -> Self {
        Self {
            lines: true,
            ..Self::new(data)
        }
    }

    #[inline]
    pub(crate) fn peek(&self) -> Option<u8> {
        self.data.get(self.at).copied()
    }

    /// Skips white space.
    #[inline]
    pub(crate) fn space(&mut self) {
        if let Some(byte) = self.peek()
            && byte <= b' '
        {
            self.more_space();
        }
    }

    fn more_space(&mut self) {
        while let Some(byte) = self.peek()
            && (matches!(byte, b' ' | b'\t' | b'\r') || (byte == b'\n' && !self.lines))
        {
            self.at += 1;
        }
    }

    /// Takes `byte`, if it stands here.
    #[inline]
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        self.at += usize::from(here);
        here
    }

    /// The type of the value that begins here.
    pub(crate) fn type_here(&self) -> Result<Type, Fault> {
        Ok(match self.peek() {
            Some(b'n') => Type::Null,
            Some(b't' | b'f') => Type::Bool,
            Some(b'-' | b'0'..=b'9') => Type::Number,
            Some(b'"') => Type::Text,
            Some(b'[') => Type::Array,
            Some(b'{') => Type::Object,
            _ => return Err(self.unexpected("a value")),
        })
    }

    #[cold]
    pub(crate) fn unexpected(&self, wanted: &str) -> Fault {
        match self.peek() {
            None | Some(b'\n') => {
                Fault::new(format!("malformed JSON: expected {wanted}, but it ends"))
            }
            Some(_) => {
                let end = self.data.len().min(self.at + 16);
                let line = self.data[self.at..end].split(|byte| *byte == b'\n').next();
                let found = String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
                Fault::new(format!(
                    "malformed JSON: expected {wanted} before `{found}`"
                ))
            }
        }
    }

    /// Takes `null`, `true` or `false`.
    #[inline]
    pub(crate) fn literal(&mut self, literal: &'static [u8]) -> Result<(), Fault> {
        if self.data[self.at..].starts_with(literal) {
            self.at += literal.len();
            return Ok(());
        }
        Err(self.unexpected("a value"))
    }

    /// Takes a number.
    #[inline]
    pub(crate) fn number(&mut self) -> Result<(Number, &'a [u8]), Fault> {
        let start = self.at;
        let Some((number, length)) = Number::json(&self.data[start..]) else {
            return Err(self.unexpected("a number"));
        };
        self.at += length;
        Ok((number, &self.data[start..self.at]))
    }

    /// Takes a string, the quote before it included; gives what it says.
    #[inline]
    pub(crate) fn text(&mut self) -> Result<&[u8], Fault> {
        let start = self.at + 1;
        let end = string::plain_end(self.data, start);
        if self.data.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(&self.data[start..end]);
        }
        self.scratch.clear();
        let mut scratch = std::mem::take(&mut self.scratch);
        let result = string::unescape(self.data, start, &mut scratch);
        self.scratch = scratch;
        self.at = result?;
        Ok(&self.scratch)
    }

    /// Takes a string, appending what it says to `out`.
    #[inline]
    pub(crate) fn text_into(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let start = self.at + 1;
        let end = string::plain_end(self.data, start);
        if self.data.get(end) == Some(&b'"') {
            self.at = end + 1;
            string::append(out, self.data, start, end);
            return Ok(());
        }
        self.at = string::unescape(self.data, start, out)?;
        Ok(())
    }

    /// Takes a string, whatever it says; gives its text without the quotes, escapes left as they
    /// are.
    pub(crate) fn raw_text(&mut self) -> Result<&'a [u8], Fault> {
        let start = self.at + 1;
        let end = string::plain_end(self.data, start);
        if self.data.get(end) == Some(&b'"') {
            self.at = end + 1;
        } else {
            self.text()?;
        }
        Ok(&self.data[start..self.at - 1])
    }

    /// Takes a value, whatever it is; gives its text.
    pub(crate) fn raw(&mut self) -> Result<&'a [u8], Fault> {
        let start = self.at;
        self.skip(tidegate_core::DEEPEST)?;
        Ok(&self.data[start..self.at])
    }

    fn skip(&mut self, depth: usize) -> Result<(), Fault> {
        match self.type_here()? {
            Type::Text => self.raw_text().map(drop),
            Type::Number => self.number().map(drop),
            Type::Null => self.literal(b"null"),
            Type::Bool if self.peek() == Some(b't') => self.literal(b"true"),
            Type::Bool => self.literal(b"false"),
            _ if depth == 0 => Err(too_deep()),
            Type::Array => self.each(|cursor| cursor.skip(depth - 1)),
            Type::Object => self.each(|cursor| {
                cursor.raw_key()?;
                cursor.skip(depth - 1)
            }),
        }
    }

    /// Takes an array or object, calling `member` where each member begins.
    #[inline]
    pub(crate) fn each(
        &mut self,
        mut member: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let close = if self.peek() == Some(b'{') {
            b'}'
        } else {
            b']'
        };
        self.at += 1;
        self.space();
        if self.take(close) {
            return Ok(());
        }
        loop {
            member(self)?;
            self.space();
            if self.take(b',') {
                self.space();
            } else if self.take(close) {
                return Ok(());
            } else {
                return Err(self.unexpected(if close == b'}' {
                    "`,` or `}`"
                } else {
                    "`,` or `]`"
                }));
            }
        }
    }

    /// Takes an object's key and its colon; gives the key's text, escapes left as they are.
    pub(crate) fn raw_key(&mut self) -> Result<&'a [u8], Fault> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a key"));
        }
        let key = self.raw_text()?;
        self.space();
        if !self.take(b':') {
            return Err(self.unexpected("`:`"));
        }
        self.space();
        Ok(key)
    }

    /// Takes the white space at a value's end; nothing else may stand there.
    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        self.space();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected("the end")),
        }
    }
}

/// What is said of a value that is nested deeper than [`tidegate_core::DEEPEST`] levels.
#[cold]
pub(super) fn too_deep() -> Fault {
    Fault::new(format!(
        "the JSON is nested more than {} levels deep",
        tidegate_core::DEEPEST
    ))
}
