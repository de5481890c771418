//! A page of a result: which of its rows are rows, and what they hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Decimal128Builder, PrimitiveBuilder, StringBuilder,
};
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, SchemaRef, TimeUnit};
use arrow_select::filter::filter_record_batch;
use aws_sdk_athena::types::{ColumnInfo, Row};
use serde_json::Value;
use tidegate_core::{Decode, Decoded, Error, Origin, Rejected, Result};

use crate::cell::{self, Reason};

/// The columns of a row that wasn't read yet; a missing text is NULL.
pub(crate) type Cells = Vec<Option<String>>;

/// The cells of a page's rows.
///
/// `header`: whether the result's first row names the columns, and this is the first page. Athena
/// does so for queries, and not for SHOW, DESCRIBE and DDL; so does no other page.
///
/// Errors: `Data` if a row doesn't have as many cells as there are columns.
pub(crate) fn cells(rows: Vec<Row>, columns: &[ColumnInfo], header: bool) -> Result<Vec<Cells>> {
    // Where only the first page told the columns, the others' rows are at least of one width.
    let width = match (columns.len(), rows.first()) {
        (0, Some(first)) => first.data().len(),
        (width, _) => width,
    };
    let cells = rows.into_iter().map(|row| {
        let data = row.data.unwrap_or_default();
        let cells = data.into_iter().map(|datum| datum.var_char_value);
        fit(cells.collect(), width)
    });
    let mut cells = cells.collect::<Result<Vec<_>>>()?;
    if header && cells.first().is_some_and(|first| names(first, columns)) {
        cells.remove(0);
    }
    Ok(cells)
}

/// A row of as many cells as there are columns. DESCRIBE and the like put a whole row into its first
/// cell, with tabs between.
fn fit(cells: Cells, width: usize) -> Result<Cells> {
    match cells.as_slice() {
        _ if cells.len() == width => Ok(cells),
        [Some(line)] if width > 1 => {
            let parts = line
                .splitn(width, '\t')
                .map(|part| Some(part.trim().to_owned()));
            let mut parts: Cells = parts.collect();
            parts.resize(width, None);
            Ok(parts)
        }
        _ => Err(Error::data(format!(
            "Athena gave a row of {} values for {width} columns",
            cells.len()
        ))),
    }
}

fn names(cells: &Cells, columns: &[ColumnInfo]) -> bool {
    let mut both = cells.iter().zip(columns);
    both.all(|(cell, column)| match cell.as_deref() {
        None => column.name().is_empty(),
        Some(text) => text == column.name() || column.label() == Some(text),
    })
}

/// Rows of one page, still text.
#[derive(Debug)]
pub(crate) struct Page {
    rows: Vec<Cells>,
    /// All columns of the result.
    schema: SchemaRef,
    /// The columns that are wanted.
    wanted: Vec<usize>,
    /// How many rows of the result come before these.
    before: u64,
    /// The execution.
    origin: Arc<str>,
}

impl Page {
    /// A page of these rows; `before` is how many rows of the result come before them.
    ///
    /// Errors: `Data` if the rows don't have the schema's columns.
    pub(crate) fn new(
        rows: Vec<Cells>,
        schema: SchemaRef,
        wanted: Vec<usize>,
        before: u64,
        origin: Arc<str>,
    ) -> Result<Self> {
        let width = schema.fields().len();
        if let Some(row) = rows.iter().find(|row| row.len() != width) {
            return Err(Error::data(format!(
                "Athena gave a row of {} values for {width} columns",
                row.len()
            ))
            .with("execution", &origin));
        }
        Ok(Self {
            rows,
            schema,
            wanted,
            before,
            origin,
        })
    }

    /// Reads the wanted columns. A row with a value that its column can't hold is left out, with
    /// the reason.
    fn read(&self) -> Result<(RecordBatch, Rejected)> {
        let mut bad = BTreeMap::<usize, Reason>::new();
        let arrays = self.wanted.iter().map(|&column| {
            let field = self.schema.field(column);
            let mut reject = |row, reason| {
                let why = format!("column `{}`: {reason}", field.name());
                bad.entry(row).or_insert(why);
            };
            let texts = self.rows.iter().map(|cells| cells[column].as_deref());
            array(field, texts, &mut reject)
        });
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        let schema = Arc::new(self.schema.project(&self.wanted)?);
        // A count of rows is all that is left of a batch without columns.
        let rows = RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        let mut batch = RecordBatch::try_new_with_options(schema, arrays, &rows)?;
        if !bad.is_empty() {
            let good = (0..self.rows.len()).map(|row| Some(!bad.contains_key(&row)));
            batch = filter_record_batch(&batch, &good.collect::<BooleanArray>())?;
        }
        let mut rejected = Rejected::default();
        for (row, reason) in bad {
            let origin = Origin {
                file: Some(self.origin.clone()),
                offset: u64::try_from(row).ok().map(|row| self.before + row),
                ..Origin::default()
            };
            rejected.push(self.json(row), reason, origin);
        }
        Ok((batch, rejected))
    }

    /// All of it, or an error about the first row that can't be read.
    pub(crate) fn read_all(&self) -> Result<RecordBatch> {
        let (batch, rejected) = self.read()?;
        match rejected.rows.into_iter().next() {
            None => Ok(batch),
            Some(row) => Err(Error::data("a value of the result can't be read")
                .with("reason", row.reason)
                .with("row", row.origin.offset.map_or(0, |row| row + 1))
                .with("execution", &self.origin)
                .hint("cast the column to varchar in the query")),
        }
    }

    fn json(&self, row: usize) -> String {
        let fields = self.schema.fields().iter().zip(&self.rows[row]);
        let object = fields.map(|(field, cell)| {
            let value = cell.clone().map_or(Value::Null, Value::String);
            (field.name().clone(), value)
        });
        Value::Object(object.collect()).to_string()
    }
}

impl Decode for Page {
    fn size(&self) -> usize {
        let cells = self.rows.iter().flatten();
        let text = cells.map(|cell| cell.as_ref().map_or(0, String::len));
        let slots = self.rows.len() * self.schema.fields().len();
        text.sum::<usize>() + slots * size_of::<Option<String>>()
    }

    fn decode(self: Box<Self>) -> Result<Decoded> {
        let (batch, rejected) = self.read()?;
        Ok(Decoded {
            batches: vec![batch],
            rejected,
            ..Decoded::default()
        })
    }
}

fn array<'a>(
    field: &Field,
    texts: impl Iterator<Item = Option<&'a str>>,
    reject: &mut dyn FnMut(usize, Reason),
) -> Result<ArrayRef> {
    fn numbers<'a, T: ArrowPrimitiveType<Native: std::str::FromStr>>(
        texts: impl Iterator<Item = Option<&'a str>>,
        reject: &mut dyn FnMut(usize, Reason),
        what: &str,
    ) -> PrimitiveBuilder<T> {
        primitives(texts, reject, |text| cell::number(text, what))
    }

    Ok(match field.data_type() {
        DataType::Boolean => {
            let mut array = BooleanBuilder::new();
            each(texts, reject, cell::boolean, |value| {
                array.append_option(value)
            });
            Arc::new(array.finish())
        }
        DataType::Int8 => Arc::new(numbers::<Int8Type>(texts, reject, "a tinyint").finish()),
        DataType::Int16 => Arc::new(numbers::<Int16Type>(texts, reject, "a smallint").finish()),
        DataType::Int32 => Arc::new(numbers::<Int32Type>(texts, reject, "an integer").finish()),
        DataType::Int64 => Arc::new(numbers::<Int64Type>(texts, reject, "a bigint").finish()),
        DataType::Float32 => Arc::new(numbers::<Float32Type>(texts, reject, "a float").finish()),
        DataType::Float64 => Arc::new(numbers::<Float64Type>(texts, reject, "a double").finish()),
        &DataType::Decimal128(precision, scale) => {
            let mut array = Decimal128Builder::new().with_precision_and_scale(precision, scale)?;
            let scale = scale.unsigned_abs();
            let read = |text: &str| cell::decimal(text, precision, scale);
            each(texts, reject, read, |value| array.append_option(value));
            Arc::new(array.finish())
        }
        DataType::Date32 => Arc::new(primitives::<Date32Type>(texts, reject, cell::date).finish()),
        DataType::Time64(TimeUnit::Microsecond) => {
            Arc::new(primitives::<Time64MicrosecondType>(texts, reject, cell::time).finish())
        }
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            let mut array = primitives::<TimestampMicrosecondType>(texts, reject, cell::timestamp);
            Arc::new(array.finish())
        }
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) => {
            let mut array = primitives::<TimestampMicrosecondType>(texts, reject, cell::zoned);
            Arc::new(array.finish().with_timezone(zone.clone()))
        }
        DataType::Binary => {
            let mut array = BinaryBuilder::new();
            each(texts, reject, cell::bytes, |value| {
                array.append_option(value)
            });
            Arc::new(array.finish())
        }
        DataType::Utf8 => {
            let mut array = StringBuilder::new();
            texts.for_each(|text| array.append_option(text));
            Arc::new(array.finish())
        }
        other => {
            return Err(Error::internal(format!(
                "a column of Athena became {other}, which nothing reads"
            ))
            .with("column", field.name()));
        }
    })
}

fn primitives<'a, T: ArrowPrimitiveType>(
    texts: impl Iterator<Item = Option<&'a str>>,
    reject: &mut dyn FnMut(usize, Reason),
    read: impl Fn(&str) -> Result<T::Native, Reason>,
) -> PrimitiveBuilder<T> {
    let mut array = PrimitiveBuilder::<T>::new();
    each(texts, reject, read, |value| array.append_option(value));
    array
}

/// Reads one text after the other. What is refused becomes NULL, until its row is left out.
fn each<'a, V>(
    texts: impl Iterator<Item = Option<&'a str>>,
    reject: &mut dyn FnMut(usize, Reason),
    read: impl Fn(&str) -> Result<V, Reason>,
    mut push: impl FnMut(Option<V>),
) {
    for (row, text) in texts.enumerate() {
        push(match text.map(&read).transpose() {
            Ok(value) => value,
            Err(reason) => {
                reject(row, reason);
                None
            }
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use aws_sdk_athena::types::Datum;

    use super::*;
    use crate::columns::schema;
    use crate::columns::tests::column;

    fn row(cells: &[Option<&str>]) -> Row {
        let datum = |text: &Option<&str>| {
            let text = text.map(str::to_owned);
            Datum::builder().set_var_char_value(text).build()
        };
        Row::builder()
            .set_data(Some(cells.iter().map(datum).collect()))
            .build()
    }

    fn texts(cells: &[Cells]) -> Vec<Vec<&str>> {
        let row = |cells: &'_ Cells| -> Vec<String> {
            cells
                .iter()
                .map(|cell| cell.clone().unwrap_or("NULL".into()))
                .collect()
        };
        let rows: Vec<Vec<String>> = cells.iter().map(row).collect();
        let leak = |text: String| -> &'static str { text.leak() };
        rows.into_iter()
            .map(|row| row.into_iter().map(leak).collect())
            .collect()
    }

    #[test]
    fn a_querys_first_page_begins_with_the_names() {
        let columns = [column("a", "varchar"), column("b", "varchar")];
        let rows = || vec![row(&[Some("a"), Some("b")]), row(&[Some("a"), Some("b")])];
        let first = cells(rows(), &columns, true).unwrap();
        assert_eq!(
            texts(&first),
            [["a", "b"]],
            "a row that looks like the names is a row"
        );
        let second = cells(rows(), &columns, false).unwrap();
        assert_eq!(second.len(), 2);
    }

    #[test]
    fn a_first_row_that_isnt_the_names_is_kept() {
        let columns = [column("rows", "bigint")];
        let first = cells(vec![row(&[Some("3")])], &columns, true).unwrap();
        assert_eq!(texts(&first), [["3"]]);
    }

    #[test]
    fn lines_of_describe_are_cut_at_their_tabs() {
        let columns = ["col_name", "data_type", "comment"].map(|name| column(name, "string"));
        let rows = vec![
            row(&[Some("id                \tbigint     \t           ")]),
            row(&[Some("")]),
        ];
        let lines = cells(rows, &columns, false).unwrap();
        assert_eq!(texts(&lines), [["id", "bigint", ""], ["", "NULL", "NULL"]]);
    }

    #[test]
    fn a_row_of_another_width_is_an_error() {
        let columns = [column("a", "varchar"), column("b", "varchar")];
        let error = cells(vec![row(&[None, None, None])], &columns, true).unwrap_err();
        assert!(
            error.to_string().contains("3 values for 2 columns"),
            "{error}"
        );
    }

    fn page(columns: &[ColumnInfo], rows: &[&[Option<&str>]]) -> Page {
        let schema = schema(columns).unwrap();
        let rows = rows.iter().map(|cells| row(cells)).collect();
        let rows = cells(rows, columns, false).unwrap();
        Page::new(
            rows,
            schema,
            (0..columns.len()).collect(),
            40,
            "execution".into(),
        )
        .unwrap()
    }

    #[test]
    fn null_is_not_the_empty_text() {
        let columns = [column("a", "varchar"), column("n", "integer")];
        let page = page(&columns, &[&[Some(""), None], &[None, Some("7")]]);
        let batch = page.read_all().unwrap();
        let a = batch.column(0).as_string::<i32>();
        assert!(!a.is_null(0));
        assert_eq!(a.value(0), "");
        assert!(a.is_null(1));
        assert!(batch.column(1).is_null(0));
    }

    #[test]
    fn a_value_that_doesnt_fit_rejects_its_row_alone() {
        let columns = [column("id", "tinyint"), column("at", "timestamp")];
        let page = page(
            &columns,
            &[
                &[Some("1"), Some("2024-01-01 00:00:00.000")],
                &[Some("300"), Some("never")],
                &[Some("3"), None],
            ],
        );
        let error = page.read_all().unwrap_err();
        assert!(error.to_string().contains("row: 42"), "{error}");
        let decoded = Box::new(page).decode().unwrap();
        assert_eq!(decoded.batches[0].num_rows(), 2);
        let [rejected] = decoded.rejected.rows.as_slice() else {
            panic!("{:?}", decoded.rejected);
        };
        assert_eq!(rejected.row, r#"{"id":"300","at":"never"}"#);
        assert_eq!(rejected.reason, "column `id`: `300` is not a tinyint");
        assert_eq!(rejected.origin.offset, Some(41));
        assert_eq!(rejected.origin.file.as_deref(), Some("execution"));
    }

    #[test]
    fn without_columns_the_count_of_rows_stays() {
        let columns = [column("id", "tinyint")];
        let mut page = page(&columns, &[&[Some("1")], &[Some("300")]]);
        page.wanted.clear();
        let batch = page.read_all().unwrap();
        assert_eq!((batch.num_rows(), batch.num_columns()), (2, 0));
    }
}
