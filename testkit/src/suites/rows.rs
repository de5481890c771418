//! Rows as text: what the suites compare, and show when they differ.

use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use tidegate_core::Result;

/// The rows of a batch, each as one line of text with the columns by name, sorted by name, so
/// that neither the columns' order nor the width of a number's type makes a difference. NULL is `∅`.
pub fn render(batch: &RecordBatch) -> Result<Vec<String>> {
    let options = FormatOptions::new().with_null("∅");
    let schema = batch.schema();
    let mut columns = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| {
            Ok((
                field.name().as_str(),
                ArrayFormatter::try_new(column.as_ref(), &options)?,
            ))
        })
        .collect::<Result<Vec<_>>>()?;
    columns.sort_by_key(|(name, _)| *name);
    Ok((0..batch.num_rows())
        .map(|row| {
            let cells: Vec<_> = columns
                .iter()
                .map(|(name, cells)| format!("{name}={}", cells.value(row)))
                .collect();
            cells.join(", ")
        })
        .collect())
}

/// The rows of many batches, sorted.
pub fn sorted(batches: &[RecordBatch]) -> Result<Vec<String>> {
    let mut rows = in_order(batches)?;
    rows.sort_unstable();
    Ok(rows)
}

/// The rows of many batches, in their order.
pub(super) fn in_order(batches: &[RecordBatch]) -> Result<Vec<String>> {
    let mut rows = Vec::new();
    for batch in batches {
        rows.extend(render(batch)?);
    }
    Ok(rows)
}

/// Where two lists of rows differ, in a sentence; `None` where they don't.
pub(super) fn difference(got: &[String], want: &[String]) -> Option<String> {
    if got == want {
        return None;
    }
    let at = got.iter().zip(want).take_while(|(a, b)| a == b).count();
    let show = |rows: &[String]| {
        rows.get(at)
            .map_or("nothing".to_owned(), |row| format!("`{row}`"))
    };
    Some(format!(
        "{} rows where {} were expected; at row {at}: {} where {} was expected",
        got.len(),
        want.len(),
        show(got),
        show(want)
    ))
}
