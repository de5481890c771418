//! Which schemas are of one table, and what that table's is.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use tidegate_catalog::{widen, with_columns_of};
use tidegate_core::TableFormat;

use crate::read::find;

/// The least share of the wider schema's columns that similar ones have in common.
const SIMILAR: f64 = 0.7;

/// Whether files of these could be of one table: the formats are the same, most columns too, and no
/// column contradicts.
pub(super) fn similar(one: (&TableFormat, &SchemaRef), other: (&TableFormat, &SchemaRef)) -> bool {
    if merged_format(one.0, other.0).is_none() || merged(one.0, one.1, other.1).is_none() {
        return false;
    }
    // Numbered columns say nothing: their number has to.
    if matches!(one.0, TableFormat::Csv { header: false, .. }) {
        return one.1.fields().len() == other.1.fields().len();
    }
    let fields = |schema: &SchemaRef| schema.fields().len();
    let common = one.1.fields().iter();
    let common = common.filter(|field| find(other.1.fields(), field.name()).is_some());
    let (common, most) = (common.count(), fields(one.1).max(fields(other.1)));
    // Counts of columns are small.
    #[allow(clippy::cast_precision_loss)]
    let share = common as f64 / most.max(1) as f64;
    share >= SIMILAR
}

/// The format of files of both; quotes in some of them are quotes in all.
pub(super) fn merged_format(one: &TableFormat, other: &TableFormat) -> Option<TableFormat> {
    match (one, other) {
        (
            TableFormat::Csv {
                delimiter,
                header,
                quoted,
            },
            TableFormat::Csv {
                delimiter: other_delimiter,
                header: other_header,
                quoted: other_quoted,
            },
        ) => (delimiter == other_delimiter && header == other_header).then_some(TableFormat::Csv {
            delimiter: *delimiter,
            header: *header,
            quoted: *quoted || *other_quoted,
        }),
        _ => (one == other).then(|| one.clone()),
    }
}

/// The columns of both; `None` where one contradicts the other.
pub(super) fn merged(
    format: &TableFormat,
    one: &SchemaRef,
    other: &SchemaRef,
) -> Option<SchemaRef> {
    if one == other {
        return Some(Arc::clone(one));
    }
    if *format == TableFormat::Parquet {
        let fields = with_columns_of(Some(one.fields()), other.fields(), "").ok()?;
        return Some(Arc::new(Schema::new(fields)));
    }
    let mut fields: Vec<Field> = one.fields().iter().map(|f| f.as_ref().clone()).collect();
    for field in other.fields() {
        let Some(at) = find(one.fields(), field.name()) else {
            fields.push(field.as_ref().clone());
            continue;
        };
        let (mine, theirs) = (fields[at].data_type(), field.data_type());
        let wider = guessed(mine, theirs);
        fields[at] = fields[at].clone().with_data_type(wider);
    }
    Some(Arc::new(Schema::new(fields)))
}

/// A type for what was guessed to be one and, in another sample, the other.
fn guessed(one: &DataType, other: &DataType) -> DataType {
    use DataType as T;
    match (one, other) {
        _ if one == other => one.clone(),
        (T::Int64, T::Float64) | (T::Float64, T::Int64) => T::Float64,
        (T::Struct(a), T::Struct(b)) => {
            let (a, b) = (Schema::new(a.clone()), Schema::new(b.clone()));
            match merged(&TableFormat::Ndjson, &Arc::new(a), &Arc::new(b)) {
                Some(both) => T::Struct(both.fields().clone()),
                None => T::Utf8,
            }
        }
        (T::List(a), T::List(b)) => {
            let items = guessed(a.data_type(), b.data_type());
            T::List(Arc::new(a.as_ref().clone().with_data_type(items)))
        }
        _ => widen(one, other).unwrap_or(T::Utf8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
        let fields = columns
            .iter()
            .map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    #[test]
    fn most_columns_in_common_and_no_contradiction_is_similar() {
        use DataType as T;
        let one = schema(&[("a", T::Int32), ("b", T::Utf8), ("c", T::Utf8)]);
        let more = schema(&[
            ("A", T::Int64),
            ("b", T::Utf8),
            ("c", T::Utf8),
            ("d", T::Utf8),
        ]);
        let less = schema(&[("a", T::Int32), ("x", T::Utf8), ("y", T::Utf8)]);
        let other = schema(&[("a", T::Utf8), ("b", T::Utf8), ("c", T::Utf8)]);
        let (parquet, json) = (TableFormat::Parquet, TableFormat::Ndjson);
        assert!(similar((&parquet, &one), (&parquet, &more)));
        assert!(!similar((&parquet, &one), (&parquet, &less)));
        assert!(!similar((&parquet, &one), (&parquet, &other)));
        assert!(!similar((&parquet, &one), (&json, &one)));
        // What was guessed from text is text if it has to be.
        assert!(similar((&json, &one), (&json, &other)));
        let merged = merged(&parquet, &one, &more).unwrap_or_else(|| one.clone());
        let wanted = schema(&[
            ("a", T::Int64),
            ("b", T::Utf8),
            ("c", T::Utf8),
            ("d", T::Utf8),
        ]);
        assert_eq!(merged, wanted);
    }
}
