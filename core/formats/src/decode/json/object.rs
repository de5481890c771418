//! Objects to columns.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::Fields;
use tidegate_core::Result;

use super::super::column::{Build, Column};
use super::super::nested::alone;
use super::super::{Fault, within};
use super::{Cursor, string};

/// How far ahead and back a key is looked for in the order that was seen before.
const NEAR: usize = 16;
/// How many keys' order is remembered.
const ORDER: usize = 1024;
/// How many unknown keys are told apart: of objects whose keys are data there may be any number.
const UNKNOWN: usize = 256;

/// A column per key of interest.
///
/// The keys of one row are expected in the order of the row before, so that a key is usually
/// known by comparing its bytes once. Keys without a column are skipped (and noted, if the cursor
/// says so); of a key that comes twice, the last value counts, as in most readers of JSON.
pub(crate) struct Object {
    slots: Vec<Slot>,
    length: usize,
    /// The keys by their text, unescaped.
    index: HashMap<Box<[u8]>, usize>,
    /// The same in lower case, if keys of another case count too.
    folded: Option<Box<Folded>>,
    /// Names of columns that are known and not wanted; in lower case, if keys of another case count.
    others: Option<Arc<HashSet<String>>>,
    /// Keys that no column has, by their text, and their numbers.
    unknown: HashMap<Box<str>, usize>,
    order: Vec<Key>,
    /// The number of the current object, to tell which slots it has filled.
    turn: u64,
}

/// Keys of another case than columns' names.
struct Folded {
    /// The columns, by their names in lower case.
    slots: HashMap<String, usize>,
    /// Names of columns that are not wanted: as keys they are their own, in no other case those of
    /// columns that are.
    apart: HashSet<String>,
}

struct Slot {
    name: Arc<str>,
    nullable: bool,
    column: Column,
    turn: u64,
    /// Whether the current object has its key in another case only.
    folded: bool,
}

/// Where the value of a key goes.
#[derive(Clone, Copy)]
enum Target {
    Slot {
        slot: usize,
        /// Whether the key is the column's name in another case.
        folded: bool,
    },
    /// Nowhere.
    None,
    /// Nowhere, and it is noted under this number.
    Unknown(usize),
}

/// A key as it was seen.
struct Key {
    /// With quotes and colon.
    text: Box<[u8]>,
    /// Its first 16 bytes and which of them count, if it has no more.
    word: Option<(u128, u128)>,
    target: Target,
}

impl Key {
    fn new(raw: &[u8], target: Target) -> Self {
        let text = [b"\"", raw, b"\":"].concat();
        let word = (text.len() <= 16).then(|| {
            let mut bytes = [0; 16];
            bytes[..text.len()].copy_from_slice(&text);
            let mut mask = [0; 16];
            mask[..text.len()].fill(0xFF);
            (u128::from_ne_bytes(bytes), u128::from_ne_bytes(mask))
        });
        Self {
            text: text.into(),
            word,
            target,
        }
    }

    #[inline]
    fn matches(&self, data: &[u8], at: usize) -> bool {
        if let Some((word, mask)) = self.word
            && let Some(bytes) = data
                .get(at..at + 16)
                .and_then(|bytes| bytes.try_into().ok())
        {
            return (u128::from_ne_bytes(bytes) ^ word) & mask == 0;
        }
        data[at..].starts_with(&self.text)
    }
}

impl Object {
    pub(crate) fn new(fields: &Fields, capacity: usize, exact: bool) -> Result<Self> {
        let mut slots = Vec::with_capacity(fields.len());
        for field in fields {
            slots.push(Slot {
                name: field.name().as_str().into(),
                nullable: field.is_nullable(),
                column: Column::new(field, capacity, exact)?,
                turn: 0,
                folded: false,
            });
        }
        let index = fields
            .iter()
            .enumerate()
            .map(|(at, field)| (field.name().as_bytes().into(), at));
        Ok(Self {
            index: index.collect(),
            folded: None,
            others: None,
            unknown: HashMap::new(),
            slots,
            length: 0,
            order: Vec::new(),
            turn: 0,
        })
    }

    /// From now on, a key that is no column's name counts as the column whose name it is in another
    /// case, unless that column's own key is there too. So in members and items as well. `stream` has
    /// all columns, also those that are not wanted: their keys are theirs.
    pub(crate) fn fold_names(&mut self, stream: &Fields) {
        let mut slots = HashMap::with_capacity(self.slots.len());
        for (at, slot) in self.slots.iter_mut().enumerate() {
            slots.entry(slot.name.to_lowercase()).or_insert(at);
            slot.column.fold_names();
        }
        let names = stream.iter().map(|field| field.name());
        let apart = names.filter(|name| {
            !self.index.contains_key(name.as_bytes()) && slots.contains_key(&name.to_lowercase())
        });
        let apart = apart.cloned().collect();
        self.folded = Some(Box::new(Folded { slots, apart }));
    }

    /// Names that are no unknown columns'.
    pub(crate) fn know(&mut self, others: &Arc<HashSet<String>>) {
        self.others = Some(Arc::clone(others));
    }

    /// Gives the numbers and names of all unknown keys that were met, in members too; this object
    /// is at `path`.
    pub(crate) fn name_unknown(&self, path: &str, give: &mut dyn FnMut(usize, String)) {
        for (name, number) in &self.unknown {
            give(*number, within(path, name));
        }
        for slot in &self.slots {
            slot.column.name_unknown(&within(path, &slot.name), give);
        }
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Drops all rows but the first `length`, and what was appended of an unfinished one.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.length = length;
        for slot in &mut self.slots {
            slot.column.truncate(length);
        }
    }

    /// Appends a row of nulls, for a struct that is NULL.
    pub(crate) fn append_null(&mut self) {
        for slot in &mut self.slots {
            slot.column.append_null();
        }
        self.length += 1;
    }

    pub(crate) fn finish(&mut self) -> Result<Vec<ArrayRef>> {
        self.length = 0;
        self.slots
            .iter_mut()
            .map(|slot| slot.column.finish())
            .collect()
    }

    /// Appends the object at the cursor. After an error, truncate.
    pub(crate) fn append(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        if cursor.peek() != Some(b'{') {
            let text = super::super::fault::excerpt(cursor.raw()?);
            return Err(Fault::new(format!("{text} is not a JSON object")));
        }
        self.turn += 1;
        let (mut filled, mut expected) = (0, 0);
        cursor.at += 1;
        cursor.space();
        if !cursor.take(b'}') {
            loop {
                match self.key(cursor, &mut expected)? {
                    Target::Slot { slot, folded }
                        if folded
                            && self.slots[slot].turn == self.turn
                            && !self.slots[slot].folded =>
                    {
                        cursor.raw()?;
                    }
                    Target::Slot { slot, folded } => {
                        let slot = &mut self.slots[slot];
                        slot.folded = folded;
                        if slot.turn == self.turn {
                            slot.column.truncate(self.length);
                        } else {
                            slot.turn = self.turn;
                            filled += 1;
                        }
                        if let Err(fault) = slot.column.append(cursor, slot.nullable) {
                            return Err(fault.within(&slot.name));
                        }
                    }
                    Target::None => {
                        cursor.raw()?;
                    }
                    Target::Unknown(number) => self.skip_unknown(cursor, number)?,
                }
                cursor.space();
                match cursor.peek() {
                    Some(b',') => cursor.at += 1,
                    Some(b'}') => break,
                    _ => return Err(cursor.unexpected("`,` or `}`")),
                }
                cursor.space();
            }
            cursor.at += 1;
        }
        if filled < self.slots.len() {
            self.fill()?;
        }
        self.length += 1;
        Ok(())
    }

    /// Appends a row whose values stand apart: for each column the text of its JSON value, or none.
    /// After an error, truncate.
    pub(crate) fn append_values(&mut self, values: &[Option<&str>]) -> Result<(), Fault> {
        debug_assert_eq!(values.len(), self.slots.len());
        for (slot, value) in self.slots.iter_mut().zip(values) {
            let result = match value {
                Some(text) => alone(text.as_bytes(), |cursor| {
                    slot.column.append(cursor, slot.nullable)
                }),
                None if slot.nullable => {
                    slot.column.append_null();
                    Ok(())
                }
                None => Err(Fault::missing()),
            };
            result.map_err(|fault| fault.within(&slot.name))?;
        }
        self.length += 1;
        Ok(())
    }

    /// Appends null to the columns that the current object doesn't have.
    fn fill(&mut self) -> Result<(), Fault> {
        for slot in &mut self.slots {
            if slot.turn != self.turn {
                if !slot.nullable {
                    return Err(Fault::missing().within(&slot.name));
                }
                slot.column.append_null();
            }
        }
        Ok(())
    }

    /// Takes a key, its colon and the space behind; gives where its value goes.
    #[inline]
    fn key(&mut self, cursor: &mut Cursor<'_>, expected: &mut usize) -> Result<Target, Fault> {
        if let Some(key) = self.order.get(*expected)
            && key.matches(cursor.data, cursor.at)
        {
            cursor.at += key.text.len();
            *expected += 1;
            cursor.space();
            return Ok(key.target);
        }
        self.other_key(cursor, expected)
    }

    /// The same for a key that is not the expected one.
    #[inline(never)]
    fn other_key(
        &mut self,
        cursor: &mut Cursor<'_>,
        expected: &mut usize,
    ) -> Result<Target, Fault> {
        // Another order, or some keys are not there.
        let end = self.order.len().min(*expected + NEAR);
        let start = expected.saturating_sub(NEAR).min(end);
        let near = (*expected..end)
            .chain(start..(*expected).min(end))
            .find(|at| self.order[*at].matches(cursor.data, cursor.at));
        if let Some(at) = near {
            let key = &self.order[at];
            cursor.at += key.text.len();
            *expected = at + 1;
            cursor.space();
            return Ok(key.target);
        }
        let raw = cursor.raw_key()?;
        let target = self.target(&string::unescaped(raw)?, cursor);
        if self.order.len() < ORDER {
            let at = (*expected).min(self.order.len());
            self.order.insert(at, Key::new(raw, target));
            *expected = at + 1;
        }
        Ok(target)
    }

    /// Where the value of this key goes, by its unescaped text.
    fn target(&mut self, key: &[u8], cursor: &mut Cursor<'_>) -> Target {
        if let Some(&slot) = self.index.get(key) {
            return Target::Slot {
                slot,
                folded: false,
            };
        }
        let Ok(name) = std::str::from_utf8(key) else {
            return Target::None;
        };
        let lower = self.folded.as_ref().map(|_| name.to_lowercase());
        if let (Some(folded), Some(lower)) = (&self.folded, &lower)
            && let Some(&slot) = folded.slots.get(lower)
            && !folded.apart.contains(name)
        {
            return Target::Slot { slot, folded: true };
        }
        let name_or_lower = lower.as_deref().unwrap_or(name);
        let known = self.others.as_ref();
        match &mut cursor.unknown {
            Some(unknown) if known.is_none_or(|known| !known.contains(name_or_lower)) => {
                let name = match self.unknown.len() < UNKNOWN || self.unknown.contains_key(name) {
                    true => name,
                    false => "*",
                };
                let number = self.unknown.entry(name.into());
                Target::Unknown(*number.or_insert_with(|| unknown.column()))
            }
            _ => Target::None,
        }
    }

    /// Takes the value of a key that no column has.
    #[inline(never)]
    fn skip_unknown(&self, cursor: &mut Cursor<'_>, number: usize) -> Result<(), Fault> {
        let null = cursor.peek() == Some(b'n');
        cursor.raw()?;
        let Some(unknown) = cursor.unknown.as_mut().filter(|_| !null) else {
            return Ok(());
        };
        unknown.meet(number, || {
            let mut names = self.unknown.iter();
            let name = names.find(|(_, other)| **other == number);
            name.map_or("*", |(name, _)| name).to_owned()
        })
    }
}
