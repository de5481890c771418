//! Tables of text files whose columns nobody declared: a crawl has guessed them from samples.
//!
//! A guess holds only for what was looked at, so that such a table is read by the rules of types that
//! are found out, and a later crawl may know better.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields, TimeUnit};
use serde::{Deserialize, Serialize};
use tidegate_core::{CatalogTable, TableFormat};

use crate::merge::widen;
use crate::together::same_name;

/// The property of such a table. Its value is [`Guess`] in JSON.
const GUESSED: &str = "tidegate.guessed";

/// What the types that a catalog keeps don't tell.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Guess {
    /// The columns whose times have no zone: a catalog may have only one type of times.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    naive: BTreeSet<String>,
    /// The columns of which no value was seen. They are text until one is.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    unseen: BTreeSet<String>,
}

impl Guess {
    fn of(table: &CatalogTable) -> Self {
        let text = table.properties.get(GUESSED);
        let guess = text.and_then(|text| serde_json::from_str(text).ok());
        guess.unwrap_or_default()
    }

    fn note(&self, table: &mut CatalogTable) {
        let text = serde_json::json!(self).to_string();
        table.properties.insert(GUESSED.to_owned(), text);
    }
}

/// Whether the table's format and types were guessed.
pub fn is_guessed(table: &CatalogTable) -> bool {
    table.properties.contains_key(GUESSED)
}

/// Notes that the table's format and types were guessed, and of which columns no value was seen.
pub fn mark_guessed(table: &mut CatalogTable, unseen: impl IntoIterator<Item = String>) {
    let fields = table.columns.fields().iter();
    let naive = fields.filter(|field| matches!(field.data_type(), DataType::Timestamp(_, None)));
    let guess = Guess {
        naive: naive.map(|field| field.name().clone()).collect(),
        unseen: unseen.into_iter().collect(),
    };
    guess.note(table);
}

/// Whether no value of a guessed table's column was seen yet, so that any type may be its.
pub fn is_unseen(table: &CatalogTable, column: &Field) -> bool {
    unseen_in(&Guess::of(table), table, column)
}

fn unseen_in(guess: &Guess, table: &CatalogTable, column: &Field) -> bool {
    // A catalog may have folded the name, and another column may have it as it is.
    let its = |name: &String| {
        name == column.name()
            || same_name(name, column.name()) && table.columns.fields().find(name).is_none()
    };
    *column.data_type() == DataType::Utf8 && guess.unseen.iter().any(its)
}

/// The names of the columns whose times have no zone in the files, as the guess was.
pub fn naive_times(table: &CatalogTable) -> Vec<String> {
    Guess::of(table).naive.into_iter().collect()
}

/// The columns as they were guessed, whatever types of times the catalog has.
pub fn guessed_columns(table: &CatalogTable) -> Fields {
    let naive = Guess::of(table).naive;
    let fields = table.columns.fields().iter();
    fields.map(|field| as_guessed(field, &naive)).collect()
}

/// A column with a time without a zone, if it is one of these names.
pub fn as_guessed<'a>(field: &FieldRef, naive: impl IntoIterator<Item = &'a String>) -> FieldRef {
    let zoned = matches!(field.data_type(), DataType::Timestamp(_, Some(_)));
    if !zoned || !naive.into_iter().any(|name| same_name(name, field.name())) {
        return Arc::clone(field);
    }
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    Arc::new(field.as_ref().clone().with_data_type(time))
}

/// The type of a column that was guessed twice. What has no type in common is text, which holds
/// every value as it is written.
pub fn guessed_together(one: &DataType, other: &DataType) -> DataType {
    use DataType as T;
    let both = |one: &FieldRef, other: &FieldRef| -> FieldRef {
        let data_type = guessed_together(one.data_type(), other.data_type());
        Arc::new(Field::new(one.name(), data_type, true))
    };
    let decimal = |data_type: &T| matches!(data_type, T::Decimal128(_, 1..));
    match (one, other) {
        _ if one == other => one.clone(),
        (T::Int64, T::Float64) | (T::Float64, T::Int64) => T::Float64,
        (T::List(one), T::List(other)) => T::List(both(one, other)),
        (T::Struct(one), T::Struct(other)) => {
            let place = |fields: &Fields, name: &str| {
                let mut fields = fields.iter();
                fields.position(|field| same_name(field.name(), name))
            };
            let old = one.iter().map(|field| match place(other, field.name()) {
                Some(at) => both(field, &other[at]),
                None => Arc::clone(field),
            });
            let new = other.iter();
            let new = new.filter(|field| place(one, field.name()).is_none());
            T::Struct(old.chain(new.cloned()).collect())
        }
        // `3` is no decimal with two digits after the point as it is written.
        _ if decimal(one) != decimal(other) => T::Utf8,
        _ => widen(one, other).unwrap_or(T::Utf8),
    }
}

/// The format of files that were guessed twice: quotes in some of them are quotes in all, and where
/// they have headers each says itself what stands between its fields. `None` if they contradict.
pub fn guessed_format(one: &TableFormat, other: &TableFormat) -> Option<TableFormat> {
    match (one, other) {
        (
            TableFormat::Csv {
                delimiter,
                header,
                quoted,
            },
            TableFormat::Csv {
                delimiter: its_delimiter,
                header: its_header,
                quoted: its_quoted,
            },
        ) => {
            let told = *header && is_told(*delimiter) && is_told(*its_delimiter);
            let alike = header == its_header && (told || delimiter == its_delimiter);
            alike.then_some(TableFormat::Csv {
                delimiter: *delimiter,
                header: *header,
                quoted: *quoted || *its_quoted,
            })
        }
        _ => (one == other).then(|| one.clone()),
    }
}

/// Whether a header tells that its fields are separated by this.
pub fn is_told(delimiter: char) -> bool {
    matches!(delimiter, ',' | ';' | '\t' | '|')
}

/// The table as both were guessed, but for its columns.
pub(crate) fn merged_guess(have: &CatalogTable, want: &CatalogTable) -> CatalogTable {
    let (mine, theirs) = (Guess::of(have), Guess::of(want));
    let unknown = |guess: &Guess, table: &CatalogTable, name: &str| {
        let mut columns = table.columns.fields().iter();
        let column = columns.find(|column| same_name(column.name(), name));
        column.is_none_or(|column| unseen_in(guess, table, column))
    };
    let unseen = mine.unseen.union(&theirs.unseen);
    let unseen = unseen.filter(|name| unknown(&mine, have, name) && unknown(&theirs, want, name));
    let both = Guess {
        naive: mine.naive.union(&theirs.naive).cloned().collect(),
        unseen: unseen.cloned().collect(),
    };
    let mut merged = have.clone();
    both.note(&mut merged);
    merged
}

/// The columns as both were guessed.
pub(crate) fn merged_columns(have: &CatalogTable, want: &CatalogTable) -> Fields {
    let (mine, theirs) = (Guess::of(have), Guess::of(want));
    let (old, new) = (have.columns.fields(), want.columns.fields());
    let merged = old.iter().map(|field| {
        let Some((_, other)) = new.find(field.name()) else {
            return Arc::clone(field);
        };
        let unseen = unseen_in(&mine, have, field);
        let wide = match (unseen, unseen_in(&theirs, want, other)) {
            (true, false) => other.data_type().clone(),
            (false, true) => field.data_type().clone(),
            _ => guessed_together(field.data_type(), other.data_type()),
        };
        match wide == *field.data_type() {
            true => Arc::clone(field),
            false => Arc::new(other.as_ref().clone().with_data_type(wide)),
        }
    });
    let more = new.iter().filter(|field| old.find(field.name()).is_none());
    let more = more.map(|field| Arc::new(field.as_ref().clone().with_nullable(true)));
    merged.chain(more).collect()
}
