//! Tables for people.

use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, Schema};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use tidegate_core::{Result, printable};

/// The longest text that a cell shows.
const WIDEST: usize = 80;

/// The rows under the input's name, fitted to the terminal where there is one, and how many more
/// there are.
pub(crate) fn render(
    title: &str,
    schema: &Schema,
    batches: &[RecordBatch],
    more: u64,
) -> Result<String> {
    let mut table = Table::new();
    table
        .load_preset(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_truncation_indicator("…")
        .set_header(schema.fields().iter().map(|field| shorten(field.name())));
    let options = FormatOptions::new()
        .with_null("NULL")
        .with_display_error(true);
    for batch in batches {
        let columns = batch.columns().iter();
        let columns = columns
            .map(|column| {
                let numeric = column.data_type().is_numeric();
                Ok((numeric, ArrayFormatter::try_new(column.as_ref(), &options)?))
            })
            .collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            let cells = columns.iter().map(|(numeric, column)| {
                let cell = Cell::new(shorten(&column.value(row).to_string()));
                if *numeric {
                    cell.set_alignment(CellAlignment::Right)
                } else {
                    cell
                }
            });
            let mut cells = comfy_table::Row::from(cells.collect::<Vec<_>>());
            // One line a row: what doesn't fit is cut, not wrapped.
            cells.max_height(1);
            table.add_row(cells);
        }
    }
    for (at, field) in schema.fields().iter().enumerate() {
        let right = field.data_type().is_numeric() && *field.data_type() != DataType::Null;
        if let Some(column) = table.column_mut(at).filter(|_| right) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let footer = match more {
        0 => String::new(),
        1 => "… 1 more row\n".to_owned(),
        more => format!("… {} more rows\n", thousands(more)),
    };
    Ok(format!("{}\n{table}\n{footer}", printable::line(title)))
}

/// One line of a sensible length.
fn shorten(text: &str) -> String {
    let end = |text: &str| text.char_indices().nth(WIDEST).map(|(end, _)| end);
    // Before it is escaped, because it may be very long; and again, because escapes are longer.
    let head = &text[..end(text).unwrap_or(text.len())];
    let line = printable::line(head);
    match end(&line) {
        Some(end) => format!("{}…", &line[..end]),
        None if head.len() < text.len() => format!("{line}…"),
        None => line.into_owned(),
    }
}

/// `1234567` → `1,234,567`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{shorten, thousands};

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(1234), "1,234");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }

    #[test]
    fn a_cell_is_one_short_line() {
        assert_eq!(shorten("a\nb\u{1b}[31m"), r"a\nb\u{1b}[31m");
        assert_eq!(shorten(&"ü".repeat(80)).chars().count(), 80);
        assert_eq!(shorten(&"ü".repeat(100)).chars().count(), 81);
        assert_eq!(shorten(&"\n".repeat(80)).chars().count(), 81);
    }
}
