//! CSV records to columns.

use std::borrow::Cow;

use arrow_schema::{DataType, SchemaRef};
use memchr::memchr;
use tidegate_core::{Decoded, Result};

use super::column::{Build, Column};
use super::decoder::{Rejects, batch};
use super::fault::excerpt;
use super::{Fault, Learnt, Unknown};
use crate::csv_options::Dialect;
use crate::split::csv::first_record_end;

/// A field of a record.
#[derive(Debug)]
pub(crate) struct Field<'a> {
    pub(crate) bytes: Cow<'a, [u8]>,
    pub(crate) quoted: bool,
}

/// The fields of a single record, its newline included or not.
pub(crate) fn fields<'a>(record: &'a [u8], dialect: &Dialect) -> Result<Vec<Field<'a>>, Fault> {
    let lexer = Lexer::new(record, dialect);
    let (mut fields, mut at, mut scratch) = (Vec::new(), 0, Vec::new());
    loop {
        let lexed = lexer.field(at, &mut scratch)?;
        let bytes = match lexed.escaped {
            true => Cow::Owned(scratch.clone()),
            false => Cow::Borrowed(&record[lexed.start..lexed.end]),
        };
        fields.push(Field {
            bytes,
            quoted: lexed.quoted,
        });
        at = lexed.next;
        if lexed.last {
            return Ok(fields);
        }
    }
}

struct Lexer<'a> {
    data: &'a [u8],
    quote: u8,
    delimiter: u8,
    delimiters: u64,
}

/// A field: where its text is, unless it had escapes and is in the scratch.
struct Lexed {
    start: usize,
    end: usize,
    escaped: bool,
    quoted: bool,
    /// Behind the delimiter or newline that ends it.
    next: usize,
    /// Whether it is the record's last.
    last: bool,
}

const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);

impl<'a> Lexer<'a> {
    fn new(data: &'a [u8], dialect: &Dialect) -> Self {
        Self {
            data,
            quote: dialect.quote,
            delimiter: dialect.delimiter,
            delimiters: LOW * u64::from(dialect.delimiter),
        }
    }

    #[inline]
    fn field(&self, at: usize, scratch: &mut Vec<u8>) -> Result<Lexed, Fault> {
        if self.data.get(at) == Some(&self.quote) {
            return self.quoted(at + 1, scratch);
        }
        let end = self.plain_end(at);
        let (length, last) = match &self.data[end..] {
            [byte, ..] if *byte == self.delimiter => (1, false),
            rest => (newline(rest), true),
        };
        Ok(Lexed {
            start: at,
            end,
            escaped: false,
            quoted: false,
            next: end + length,
            last,
        })
    }

    /// The next delimiter or newline, or the end.
    #[inline]
    fn plain_end(&self, mut at: usize) -> usize {
        let ends = |byte: u8| byte == self.delimiter || matches!(byte, b'\n' | b'\r');
        while let Some(bytes) = self
            .data
            .get(at..at + 8)
            .and_then(|bytes| bytes.try_into().ok())
        {
            let word = u64::from_le_bytes(bytes);
            let delimiter = word ^ self.delimiters;
            // All of 8 to 15, of which hardly any but newlines stand in text.
            let newline = (word & (LOW * 0xF8)) ^ (LOW * 0x08);
            let hits = ((delimiter.wrapping_sub(LOW) & !delimiter)
                | (newline.wrapping_sub(LOW) & !newline))
                & HIGH;
            if hits == 0 {
                at += 8;
                continue;
            }
            at += (hits.trailing_zeros() / 8) as usize;
            if ends(self.data[at]) {
                return at;
            }
            at += 1;
        }
        while let Some(byte) = self.data.get(at)
            && !ends(*byte)
        {
            at += 1;
        }
        at
    }

    #[inline]
    fn quoted(&self, start: usize, scratch: &mut Vec<u8>) -> Result<Lexed, Fault> {
        let mut at = start;
        let mut escaped = false;
        let end = loop {
            let Some(found) = memchr(self.quote, &self.data[at..]) else {
                return Err(Fault::new("a quoted field isn't closed"));
            };
            let quote = at + found;
            if self.data.get(quote + 1) != Some(&self.quote) {
                if escaped {
                    scratch.extend_from_slice(&self.data[at..quote]);
                }
                break quote;
            }
            if !escaped {
                scratch.clear();
                escaped = true;
            }
            scratch.extend_from_slice(&self.data[at..=quote]);
            at = quote + 2;
        };
        let (next, last) = match &self.data[end + 1..] {
            [byte, ..] if *byte == self.delimiter => (end + 2, false),
            rest @ ([] | [b'\n' | b'\r', ..]) => (end + 1 + newline(rest), true),
            _ => {
                let text = excerpt(&self.data[start..end]);
                return Err(Fault::new(format!(
                    "text follows the closing quote of {text}"
                )));
            }
        };
        Ok(Lexed {
            start,
            end,
            escaped,
            quoted: true,
            next,
            last,
        })
    }
}

/// How many bytes the newline has that begins these: LF, CRLF or CR.
#[inline]
fn newline(bytes: &[u8]) -> usize {
    match bytes {
        [] => 0,
        [b'\r', b'\n', ..] => 2,
        _ => 1,
    }
}

struct Slot<'a> {
    name: &'a str,
    nullable: bool,
    /// Whether an empty text is a value, as of text and bytes.
    empty: bool,
    column: Column,
}

impl Slot<'_> {
    #[inline]
    fn append(&mut self, text: &[u8], quoted: bool, null: &[u8]) -> Result<(), Fault> {
        let is_null = match quoted {
            // Most fields are neither empty nor compared: NULL is written as nothing.
            false if text.is_empty() => null.is_empty() || !self.empty,
            false => !null.is_empty() && text == null,
            true => text.is_empty() && !self.empty,
        };
        let result = if !is_null {
            self.column.append_text(text)
        } else if self.nullable {
            self.column.append_null();
            return Ok(());
        } else if text.is_empty() && self.empty {
            self.column.append_text(text)
        } else {
            Err(Fault::null())
        };
        result.map_err(|fault| fault.within(self.name))
    }
}

/// Where a field goes.
#[derive(Clone, Copy)]
enum Target {
    Slot(usize),
    /// Nowhere.
    None,
    /// Nowhere, and it is noted under this number.
    Unknown(usize),
}

/// Decodes a chunk's records. `places` are the positions of the schema's columns in the file's
/// `width`; with `new`, fields of those unknown columns are noted.
pub(crate) fn decode(
    schema: &SchemaRef,
    dialect: &Dialect,
    places: &[usize],
    width: usize,
    new: Option<(&Learnt, &[(usize, String)])>,
    exact: bool,
    mut rejects: Rejects<'_>,
) -> Result<Decoded> {
    let chunk = rejects.chunk();
    let data = &chunk.bytes[..];
    let capacity = chunk.rows_guess();
    let mut slots = Vec::with_capacity(places.len());
    let mut targets = vec![Target::None; width];
    for (at, (field, place)) in schema.fields().iter().zip(places).enumerate() {
        targets[*place] = Target::Slot(at);
        slots.push(Slot {
            name: field.name(),
            nullable: field.is_nullable(),
            empty: matches!(
                field.data_type(),
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary
            ),
            column: Column::new(field, capacity, exact)?,
        });
    }
    let new = new.filter(|(_, names)| !names.is_empty());
    let mut new = new.map(|(learnt, names)| (learnt.unknown(), names));
    if let Some((unknown, names)) = &mut new {
        for (place, _) in *names {
            targets[*place] = Target::Unknown(unknown.column());
        }
    }
    let valid = simdutf8::basic::from_utf8(data).is_ok();
    let lexer = Lexer::new(data, dialect);
    let (mut at, mut rows, mut scratch) = (0, 0, Vec::new());
    while at < data.len() {
        // In a file of one column, an empty line is a row like any other.
        if width != 1 && matches!(data[at], b'\n' | b'\r') {
            at += 1;
            continue;
        }
        let start = at;
        let end = || start + first_record_end(&data[start..], dialect);
        let result = if !valid && simdutf8::basic::from_utf8(&data[start..end()]).is_err() {
            Err(Fault::new(invalid(
                &data[start..end()],
                dialect,
                schema,
                &targets,
            )))
        } else {
            record(
                &lexer,
                &mut at,
                &targets,
                &mut slots,
                &dialect.null,
                &mut scratch,
                &mut new,
            )
        };
        if let Some((unknown, _)) = &mut new {
            match &result {
                Ok(()) => unknown.taken(start),
                Err(_) => unknown.rejected(),
            }
        }
        match result {
            Ok(()) => {
                rows += 1;
                rejects.taken(start);
            }
            Err(fault) => {
                for slot in &mut slots {
                    slot.column.truncate(rows);
                }
                at = end();
                let text = data[start..at]
                    .strip_suffix(b"\n")
                    .unwrap_or(&data[start..at]);
                let text = text.strip_suffix(b"\r").unwrap_or(text);
                let blank = text.trim_ascii().is_empty() && !text.contains(&dialect.delimiter);
                let fault = match width != 1 && blank {
                    true => Fault::new(format!(
                        "a line of blanks, but the file has {width} columns"
                    )),
                    false => fault,
                };
                rejects.push(start, text, &fault);
            }
        }
    }
    let columns = slots
        .iter_mut()
        .map(|slot| slot.column.finish())
        .collect::<Result<Vec<_>>>()?;
    let batch = batch(schema, columns, rows)?;
    let ignored = new.map(|(unknown, names)| {
        unknown.ignored(Some(rejects.places()), |name| {
            let names = names.iter().enumerate();
            names.for_each(|(number, (_, its))| name(number, its.clone()));
        })
    });
    Ok(rejects.decoded(batch, ignored))
}

#[inline]
fn record(
    lexer: &Lexer<'_>,
    at: &mut usize,
    targets: &[Target],
    slots: &mut [Slot<'_>],
    null: &[u8],
    scratch: &mut Vec<u8>,
    new: &mut Option<(Unknown, &[(usize, String)])>,
) -> Result<(), Fault> {
    let start = *at;
    for (place, target) in targets.iter().enumerate() {
        let lexed = lexer.field(*at, scratch)?;
        *at = lexed.next;
        match target {
            Target::Slot(slot) => {
                let text = match lexed.escaped {
                    true => scratch.as_slice(),
                    false => &lexer.data[lexed.start..lexed.end],
                };
                slots[*slot].append(text, lexed.quoted, null)?;
            }
            Target::None => {}
            Target::Unknown(number) => {
                let text = &lexer.data[lexed.start..lexed.end];
                let is_null = text.is_empty() || (!lexed.quoted && text == null);
                if let (false, Some((unknown, names))) = (is_null, &mut *new) {
                    unknown.meet(*number, || names[*number].1.clone())?;
                }
            }
        }
        if lexed.last != (place + 1 == targets.len()) {
            return Err(wrong_width(lexer, start, targets.len()));
        }
    }
    Ok(())
}

#[cold]
fn wrong_width(lexer: &Lexer<'_>, mut at: usize, width: usize) -> Fault {
    let (mut count, mut scratch) = (0, Vec::new());
    loop {
        match lexer.field(at, &mut scratch) {
            Err(fault) => return fault,
            Ok(lexed) => {
                count += 1;
                at = lexed.next;
                if lexed.last {
                    let fields = if count == 1 { "field" } else { "fields" };
                    return Fault::new(format!(
                        "{count} {fields}, but the file has {width} columns"
                    ));
                }
            }
        }
    }
}

/// Names the column that is not UTF-8.
#[cold]
fn invalid(record: &[u8], dialect: &Dialect, schema: &SchemaRef, targets: &[Target]) -> String {
    let fields = fields(record, dialect).unwrap_or_default();
    let bad = fields
        .iter()
        .position(|field| std::str::from_utf8(&field.bytes).is_err());
    match bad {
        None => "the row is not valid UTF-8".to_owned(),
        Some(place) => {
            let name = match targets.get(place) {
                Some(Target::Slot(at)) => format!("`{}`", schema.field(*at).name()),
                _ => (place + 1).to_string(),
            };
            format!(
                "column {name}: {} is not valid UTF-8",
                excerpt(&fields[place].bytes)
            )
        }
    }
}
