//! Tables of text files whose columns nobody declared: a crawl has guessed them from samples.
//!
//! A guess holds only for what was looked at, so that such a table is read by the rules of types that
//! are found out, and a later crawl may know better.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields, TimeUnit};
use tidegate_core::{CatalogTable, TableFormat};

use crate::merge::widen;
use crate::together::same_name;

/// The property of such a table. Its value is a JSON list of the columns whose times have no zone,
/// because a catalog may have only one type of times.
const GUESSED: &str = "tidegate.guessed";

/// Whether the table's format and types were guessed.
pub fn is_guessed(table: &CatalogTable) -> bool {
    table.properties.contains_key(GUESSED)
}

/// Notes that the table's format and types were guessed.
pub fn mark_guessed(table: &mut CatalogTable) {
    let fields = table.columns.fields().iter();
    let naive = fields.filter(|field| matches!(field.data_type(), DataType::Timestamp(_, None)));
    let names = naive.map(|field| field.name().clone()).collect();
    table.properties.insert(GUESSED.to_owned(), written(&names));
}

/// The names of the columns whose times have no zone in the files, as the guess was.
pub fn naive_times(table: &CatalogTable) -> Vec<String> {
    names(table).into_iter().collect()
}

/// The columns as they were guessed, whatever types of times the catalog has.
pub fn guessed_columns(table: &CatalogTable) -> Fields {
    let names = names(table);
    let fields = table.columns.fields().iter();
    fields.map(|field| as_guessed(field, &names)).collect()
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

/// What both say of how they were guessed.
pub(crate) fn merged_properties(have: &CatalogTable, want: &CatalogTable) -> CatalogTable {
    let mut merged = have.clone();
    let all = names(have).union(&names(want)).cloned().collect();
    merged.properties.insert(GUESSED.to_owned(), written(&all));
    merged
}

fn names(table: &CatalogTable) -> BTreeSet<String> {
    let text = table.properties.get(GUESSED);
    let names = text.and_then(|text| serde_json::from_str(text).ok());
    names.unwrap_or_default()
}

fn written(names: &BTreeSet<String>) -> String {
    serde_json::json!(names).to_string()
}
