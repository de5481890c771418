//! Records that producers have put together into one, as the Kinesis Producer Library does.
//!
//! `F3 89 9A C2`, a protobuf `AggregatedRecord`, the MD5 of that protobuf
//! ([format](https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md)):
//!
//! ```text
//! message AggregatedRecord {
//!   repeated string partition_key_table = 1;
//!   repeated string explicit_hash_key_table = 2;
//!   repeated Record records = 3;
//! }
//! message Record {
//!   required uint64 partition_key_index = 1;
//!   optional uint64 explicit_hash_key_index = 2;
//!   required bytes data = 3;
//!   repeated Tag tags = 4;
//! }
//! ```

use std::collections::HashMap;

use md5::{Digest, Md5};

/// What an aggregated record begins with.
const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];

/// The length of an MD5.
const DIGEST: usize = 16;

/// A record in an aggregated one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sub<'a> {
    pub(crate) key: &'a str,
    pub(crate) data: &'a [u8],
}

/// Whether it begins as an aggregated record does.
pub(crate) fn seems(data: &[u8]) -> bool {
    data.starts_with(&MAGIC)
}

/// The records in an aggregated one; `None` if it is a plain one: anything that doesn't keep to the
/// format as a whole.
pub(crate) fn parse(data: &[u8]) -> Option<Vec<Sub<'_>>> {
    let body = data.strip_prefix(&MAGIC)?;
    let (body, digest) = body.split_at_checked(body.len().checked_sub(DIGEST)?)?;
    if Md5::digest(body)[..] != *digest {
        return None;
    }
    let (mut keys, mut found) = (Vec::new(), Vec::new());
    let mut fields = Fields(body);
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Bytes(key)) => keys.push(std::str::from_utf8(key).ok()?),
            (3, Value::Bytes(record)) => found.push(record_of(record)?),
            (1 | 3, _) => return None,
            _ => {}
        }
    }
    // The table of keys may stand after the records.
    let subs = found.into_iter().map(|(key, data)| {
        let key = *keys.get(usize::try_from(key).ok()?)?;
        Some(Sub { key, data })
    });
    subs.collect()
}

/// The index of its key, and its data.
fn record_of(record: &[u8]) -> Option<(u64, &[u8])> {
    let (mut key, mut data) = (None, None);
    let mut fields = Fields(record);
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Number(index)) => key = Some(index),
            (3, Value::Bytes(bytes)) => data = Some(bytes),
            (1 | 3, _) => return None,
            _ => {}
        }
    }
    Some((key?, data?))
}

/// An aggregated record in the making.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    /// The index of each key in the table.
    indexes: HashMap<String, usize>,
    /// As they stand in the message: the table of keys, and the records.
    keys: Vec<u8>,
    records: Vec<u8>,
}

impl Builder {
    /// How many bytes the whole takes with one record more.
    pub(crate) fn size_with(&self, key: &str, data: &[u8]) -> usize {
        let (index, added) = match self.indexes.get(key) {
            Some(index) => (*index, 0),
            None => (self.indexes.len(), bytes_size(key.len())),
        };
        let record = bytes_size(1 + varint_size(index) + bytes_size(data.len()));
        MAGIC.len() + self.keys.len() + added + self.records.len() + record + DIGEST
    }

    pub(crate) fn push(&mut self, key: &str, data: &[u8]) {
        let index = match self.indexes.get(key) {
            Some(index) => *index,
            None => {
                let index = self.indexes.len();
                self.indexes.insert(key.to_owned(), index);
                put_bytes(&mut self.keys, 1, key.as_bytes());
                index
            }
        };
        let out = &mut self.records;
        out.push(tag(3));
        put_varint(out, 1 + varint_size(index) + bytes_size(data.len()));
        // Field 1, a number.
        out.push(1 << 3);
        put_varint(out, index);
        put_bytes(out, 3, data);
    }

    /// The whole record.
    pub(crate) fn finish(self) -> Vec<u8> {
        sealed(&[self.keys, self.records].concat())
    }
}

/// A message with what stands around it.
fn sealed(body: &[u8]) -> Vec<u8> {
    [&MAGIC[..], body, &Md5::digest(body)[..]].concat()
}

/// What stands before a field of bytes; its number is below 16.
fn tag(field: u8) -> u8 {
    field << 3 | 2
}

fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(tag(field));
    put_varint(out, bytes.len());
    out.extend(bytes);
}

fn put_varint(out: &mut Vec<u8>, mut number: usize) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

/// The bytes of a field of so many bytes.
fn bytes_size(length: usize) -> usize {
    1 + varint_size(length) + length
}

fn varint_size(mut number: usize) -> usize {
    let mut size = 1;
    while number > 0x7f {
        number >>= 7;
        size += 1;
    }
    size
}

/// The fields of a protobuf message
/// ([encoding](https://protobuf.dev/programming-guides/encoding/)).
struct Fields<'a>(&'a [u8]);

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of 32 or 64 bits, which nothing here has.
    Fixed,
}

impl<'a> Fields<'a> {
    /// The next field's number and value; `Some(None)` at the end, `None` for what is no message.
    #[expect(clippy::option_option, reason = "the end isn't an error")]
    fn next(&mut self) -> Option<Option<(u64, Value<'a>)>> {
        if self.0.is_empty() {
            return Some(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return None,
        };
        Some(Some((tag >> 3, value)))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    /// As another library wrote it: two keys, three records, the last one with an explicit hash key
    /// and a tag.
    fn written() -> Vec<u8> {
        let mut body = Vec::new();
        for key in ["a", "größe"] {
            body.extend([0x0a, u8::try_from(key.len()).unwrap()]);
            body.extend(key.as_bytes());
        }
        body.extend([0x12, 1, b'7']);
        body.extend([0x1a, 7, 0x08, 0, 0x1a, 3, b'o', b'n', b'e']);
        body.extend([0x1a, 4, 0x08, 1, 0x1a, 0]);
        let tag = [0x22, 3, 0x0a, 1, b't'];
        body.extend([0x1a, 12, 0x08, 1, 0x10, 0, 0x1a, 1, b'3']);
        body.extend(tag);
        sealed(&body)
    }

    #[test]
    fn the_records_of_an_aggregated_one_are_found() {
        let written = written();
        let subs = parse(&written).unwrap();
        let found: Vec<_> = subs.iter().map(|sub| (sub.key, sub.data)).collect();
        assert_eq!(found, [("a", &b"one"[..]), ("größe", b""), ("größe", b"3")]);
        assert_eq!(parse(&sealed(b"")).unwrap(), []);
    }

    #[test]
    fn what_isn_t_whole_is_a_plain_record() {
        let written = written();
        for cut in 0..written.len() {
            assert_eq!(parse(&written[..cut]), None, "cut at {cut}");
            let mut other = written.clone();
            other[cut] ^= 1;
            assert_eq!(parse(&other), None, "changed at {cut}");
        }
        // The digest is right, the message isn't.
        for body in [
            &[0x1a, 4, 0x08, 1, 0x1a, 0][..],
            &[0x1a, 2, 0x08, 0],
            &[0x0a, 2, 0xff, 0xff],
            &[0x0a, 200],
            &[0x0b],
            &[0xff; 11],
        ] {
            assert_eq!(parse(&sealed(body)), None, "{body:?}");
        }
    }

    fn built(records: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = Builder::default();
        for (key, data) in records {
            let size = builder.size_with(key, data);
            builder.push(key, data);
            let whole = [&builder.keys[..], &builder.records].concat();
            assert_eq!(sealed(&whole).len(), size, "told before it is there");
        }
        builder.finish()
    }

    #[test]
    fn what_was_built_is_taken_apart_again() {
        let long = vec![0x80; 70_000];
        let key = "ü".repeat(256);
        let names: Vec<_> = (0..300).map(|number| format!("k{number}")).collect();
        // More keys than one byte counts, and all of them twice.
        let many = names.iter().chain(&names);
        let many: Vec<_> = many.map(|name| (&**name, name.as_bytes())).collect();
        for records in [
            vec![],
            vec![("a", &b""[..])],
            vec![("a", b"one")],
            vec![
                ("größe", b""),
                ("鍵", b"3"),
                ("größe", b"\xff\0"),
                ("", b""),
            ],
            vec![(&*key, &*long), ("a", &long[..127]), ("a", &long[..128])],
            many,
        ] {
            let built = built(&records);
            let found: Vec<_> = parse(&built).unwrap();
            let found: Vec<_> = found.iter().map(|sub| (sub.key, sub.data)).collect();
            assert_eq!(found, records);
        }
    }

    #[test]
    fn a_record_is_built_as_the_format_says() {
        let body = [
            &[0x0a, 1, b'a', 0x0a, 3][..],
            "鍵".as_bytes(),
            &[0x1a, 7, 0x08, 0, 0x1a, 3, b'o', b'n', b'e'],
            &[0x1a, 4, 0x08, 1, 0x1a, 0],
            &[0x1a, 5, 0x08, 0, 0x1a, 1, b'3'],
        ];
        let records = [("a", &b"one"[..]), ("鍵", b""), ("a", b"3")];
        assert_eq!(built(&records), sealed(&body.concat()));
    }
}
