//! Where the values of a JSON file end.

use memchr::{memchr, memchr2};

use crate::decode::json::Cursor;

/// The search for values in a file that is an array of them, one, or several in a row.
///
/// Only strings and depth matter here; whether a value is right is found out when it is decoded.
#[derive(Debug)]
pub(crate) struct JsonScan {
    /// Everything before this was looked at.
    at: usize,
    state: State,
    /// Whether the values stand in an array.
    in_array: bool,
    /// Whether they did where the bytes begin, but for what is skipped.
    from_array: bool,
    /// What precedes the first value and is not part of a chunk.
    skip: usize,
    /// Behind the last whole value.
    whole: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Outside of any array: a value or an array may begin.
    Top,
    /// Behind `[`: a value or `]`.
    First,
    /// Behind `,`: a value.
    Value,
    /// Behind an element: `,` or `]`.
    After,
    /// In an object or array, so many deep.
    Nested(u32),
    /// In a string, at this depth.
    Text(u32),
    /// In a number or literal.
    Scalar,
}

/// A chunk found: bytes to leave out, and the chunk's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) skip: usize,
    pub(crate) end: usize,
    pub(crate) from_array: bool,
    pub(crate) to_array: bool,
}

type Malformed = (usize, &'static str);

impl JsonScan {
    pub(crate) fn new(in_array: bool) -> Self {
        Self {
            at: 0,
            state: if in_array { State::After } else { State::Top },
            in_array,
            from_array: in_array,
            skip: 0,
            whole: 0,
        }
    }

    /// Continues over `bytes`, which begin where the last chunk ended, until the values make a chunk
    /// of `least` bytes, or an array ends.
    pub(crate) fn advance(
        &mut self,
        bytes: &[u8],
        least: usize,
        finished: bool,
    ) -> Result<Option<Cut>, Malformed> {
        while self.at < bytes.len() {
            match self.state {
                State::Text(depth) => {
                    let Some(found) = memchr2(b'"', b'\\', &bytes[self.at..]) else {
                        self.at = bytes.len();
                        break;
                    };
                    self.at += found;
                    if bytes[self.at] == b'\\' {
                        if self.at + 1 == bytes.len() {
                            break;
                        }
                        self.at += 2;
                        continue;
                    }
                    self.at += 1;
                    if depth > 0 {
                        self.state = State::Nested(depth);
                    } else if let Some(cut) = self.value_ends(least) {
                        return Ok(Some(cut));
                    }
                }
                State::Nested(depth) => {
                    let rest = &bytes[self.at..];
                    let Some(found) = rest.iter().position(|byte| STRUCTURE[usize::from(*byte)])
                    else {
                        self.at = bytes.len();
                        break;
                    };
                    self.at += found + 1;
                    match rest[found] {
                        b'"' => self.state = State::Text(depth),
                        b'{' | b'[' => self.state = State::Nested(depth + 1),
                        _ if depth > 1 => self.state = State::Nested(depth - 1),
                        _ => {
                            if let Some(cut) = self.value_ends(least) {
                                return Ok(Some(cut));
                            }
                        }
                    }
                }
                State::Scalar => {
                    let end = bytes[self.at..].iter().position(|byte| {
                        matches!(
                            byte,
                            b',' | b']' | b'[' | b'{' | b'"' | b' ' | b'\t' | b'\r' | b'\n'
                        )
                    });
                    self.at = end.map_or(bytes.len(), |end| self.at + end);
                    if end.is_some()
                        && let Some(cut) = self.value_ends(least)
                    {
                        return Ok(Some(cut));
                    }
                }
                _ if matches!(bytes[self.at], b' ' | b'\t' | b'\r' | b'\n') => self.at += 1,
                State::Top | State::First | State::Value => {
                    let byte = bytes[self.at];
                    match (self.state, byte) {
                        (State::Top, b'[') => {
                            // The values before it are one chunk, as they stand outside of it.
                            if let Some(cut) = self.cut() {
                                return Ok(Some(cut));
                            }
                            self.at += 1;
                            (self.state, self.in_array, self.from_array) =
                                (State::First, true, true);
                            (self.skip, self.whole) = (self.at, self.at);
                            continue;
                        }
                        (State::First, b']') => {
                            self.leave_array();
                            continue;
                        }
                        (_, b'"') => self.state = State::Text(0),
                        (_, b'{' | b'[') => self.state = State::Nested(1),
                        (_, b',' | b']' | b'}' | b':') => {
                            return Err((self.at, "the JSON is malformed: expected a value"));
                        }
                        _ => self.state = State::Scalar,
                    }
                    self.at += 1;
                }
                State::After => match bytes[self.at] {
                    b',' => {
                        self.at += 1;
                        self.state = State::Value;
                    }
                    b']' => {
                        if let Some(cut) = self.cut() {
                            return Ok(Some(cut));
                        }
                        self.leave_array();
                    }
                    _ => {
                        return Err((
                            self.at,
                            "the JSON is malformed: expected `,` or `]` between an array's values",
                        ));
                    }
                },
            }
        }
        if finished {
            if self.state == State::Scalar && !self.in_array {
                self.end_value();
            }
            if self.state != State::Top {
                return Err((
                    bytes.len(),
                    "the JSON ends in the middle: the file is truncated",
                ));
            }
            return Ok(self.cut());
        }
        Ok(None)
    }

    fn leave_array(&mut self) {
        self.at += 1;
        (self.state, self.in_array, self.from_array) = (State::Top, false, false);
        (self.skip, self.whole) = (self.at, self.at);
    }

    fn end_value(&mut self) {
        self.whole = self.at;
        self.state = if self.in_array {
            State::After
        } else {
            State::Top
        };
    }

    fn value_ends(&mut self, least: usize) -> Option<Cut> {
        self.end_value();
        if self.whole - self.skip >= least {
            self.cut()
        } else {
            None
        }
    }

    /// A chunk of the whole values, if there are any; the scan continues behind it.
    fn cut(&mut self) -> Option<Cut> {
        if self.whole == self.skip {
            return None;
        }
        let cut = Cut {
            skip: self.skip,
            end: self.whole,
            from_array: self.from_array,
            to_array: self.in_array,
        };
        self.at -= self.whole;
        self.from_array = self.in_array;
        (self.skip, self.whole) = (0, 0);
        Some(cut)
    }
}

/// What matters within an object or array.
static STRUCTURE: [bool; 256] = {
    let mut table = [false; 256];
    table[b'"' as usize] = true;
    table[b'{' as usize] = true;
    table[b'}' as usize] = true;
    table[b'[' as usize] = true;
    table[b']' as usize] = true;
    table
};

/// The end of the value, right or not, that begins `bytes`: at the comma or white space behind a
/// number or word, behind the quote or bracket that closes the others.
pub(crate) fn value_end(bytes: &[u8]) -> usize {
    let mut scan = JsonScan::new(false);
    scan.state = match bytes.first() {
        Some(b'"') => State::Text(0),
        Some(b'{' | b'[') => State::Nested(1),
        _ => State::Scalar,
    };
    scan.at = 1;
    match scan.advance(bytes, 1, true) {
        Ok(Some(cut)) => cut.end,
        _ => bytes.len(),
    }
}

/// How far a first record over several lines is looked for: so large a one stands in one line.
const LOOK: usize = 1 << 20;

/// Whether the objects of an NDJSON file stand freely, several in a line or one over several, or in
/// an array, as its first one tells.
#[derive(Debug)]
pub(crate) struct FirstRecord {
    scan: JsonScan,
    /// Behind the first value, once it was found.
    end: Option<usize>,
}

impl FirstRecord {
    pub(crate) fn new() -> Self {
        Self {
            scan: JsonScan::new(false),
            end: None,
        }
    }

    /// Looks at the file's first `bytes`, which only grow; `None` when more are needed. What is no
    /// JSON is a line of its own, to be rejected alone.
    pub(crate) fn is_free(&mut self, bytes: &[u8], complete: bool) -> Option<bool> {
        let space = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        let blank = bytes.iter().take_while(space).count();
        let array = match bytes.get(blank) {
            Some(b'{') => false,
            Some(b'[') => true,
            Some(_) => return Some(false),
            None => return complete.then_some(false),
        };
        let end = match self.end {
            Some(end) => end,
            None => match self.scan.advance(bytes, 1, complete) {
                Err(_) => return Some(false),
                Ok(None) if complete => return Some(array),
                Ok(None) => {
                    let many = bytes.len() > LOOK && memchr(b'\n', &bytes[blank..]).is_some();
                    return many.then_some(false);
                }
                Ok(Some(cut)) => {
                    let value = &bytes[cut.skip..cut.end];
                    let mut cursor = Cursor::new(value);
                    cursor.space();
                    let object = cursor.peek() == Some(b'{');
                    if !object || cursor.raw().and_then(|_| cursor.end()).is_err() {
                        return Some(false);
                    }
                    if array || memchr(b'\n', value.trim_ascii()).is_some() {
                        return Some(true);
                    }
                    *self.end.insert(cut.end)
                }
            },
        };
        let behind = &bytes[end..];
        let next = behind
            .iter()
            .find(|byte| !matches!(byte, b' ' | b'\t' | b'\r'));
        match next {
            None => complete.then_some(false),
            Some(byte) => Some(*byte == b'{'),
        }
    }
}
