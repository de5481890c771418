//! Tables for people.

use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, Field, Schema};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{
    Attribute, Cell, CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, Width,
};
use tidegate_core::{Result, printable};

/// The longest text that a cell shows.
const WIDEST: usize = 80;

/// The narrowest that a text is cut to, so that more columns fit.
const NARROWEST: usize = 12;

/// What a column takes beside its values: a border, and a blank on each side.
const BESIDE: usize = 3;

/// How a table is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// How many columns the terminal has; `None`: as many as it takes.
    pub width: Option<usize>,
    /// Whether the headings are bold.
    pub bold: bool,
}

impl Look {
    /// As it suits standard output, where that is a terminal.
    pub fn of_stdout(bold: bool) -> Self {
        let width = Table::new().width().map(usize::from);
        Self { width, bold }
    }
}

/// The first `most` rows as a table, and how many columns it has no room for: numbers are never cut,
/// and texts not to less than twelve characters. NULL is `NULL`. Controls are shown as escapes.
///
/// Errors: `Data` for values that can't be shown.
pub fn draw(
    schema: &Schema,
    batches: &[RecordBatch],
    most: usize,
    look: Look,
) -> Result<(String, usize)> {
    let cells = cells(batches, most)?;
    let columns: Vec<Column> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(at, field)| Column::of(field, cells.iter().map(|row| &row[at])))
        .collect();
    let shown = match look.width {
        None => columns.len(),
        Some(width) => fitting(&columns, width),
    };
    let mut table = Table::new();
    table
        .load_preset(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_truncation_indicator("…");
    if !look.bold {
        table.force_no_tty();
    }
    if let Some(width) = look.width {
        table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
    }
    table.set_header(columns[..shown].iter().map(|column| {
        let cell = Cell::new(&column.heading);
        match look.bold {
            true => cell.add_attribute(Attribute::Bold),
            false => cell,
        }
    }));
    for row in cells {
        let mut row = Row::from(row.into_iter().take(shown));
        // One line a row: what doesn't fit is cut, not wrapped.
        row.max_height(1);
        table.add_row(row);
    }
    for (at, column) in columns[..shown].iter().enumerate() {
        let Some(drawn) = table.column_mut(at) else {
            continue;
        };
        if column.is_number {
            drawn.set_cell_alignment(CellAlignment::Right);
        }
        let least = u16::try_from(column.least + 2).unwrap_or(u16::MAX);
        drawn.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least)));
    }
    Ok((table.to_string(), columns.len() - shown))
}

struct Column {
    heading: String,
    is_number: bool,
    /// The least characters that it makes sense with.
    least: usize,
}

impl Column {
    fn of<'a>(field: &Field, cells: impl Iterator<Item = &'a String>) -> Self {
        let heading = shorten(field.name());
        let data_type = field.data_type();
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        let name = heading.chars().count().min(NARROWEST);
        // Half a number or half a time is another one.
        let whole = data_type.is_primitive() || *data_type == DataType::Boolean;
        let least = match whole {
            true => widest.max(name),
            false => widest.min(NARROWEST).max(name),
        };
        Self {
            heading,
            is_number: data_type.is_numeric(),
            least: least.max(1),
        }
    }
}

/// How many columns fit beside each other, from the first.
fn fitting(columns: &[Column], width: usize) -> usize {
    let mut taken = 1;
    let fits = columns.iter().take_while(|column| {
        taken += column.least + BESIDE;
        taken <= width
    });
    fits.count().max(columns.len().min(1))
}

fn cells(batches: &[RecordBatch], most: usize) -> Result<Vec<Vec<String>>> {
    let options = FormatOptions::new()
        .with_null("NULL")
        .with_display_error(true);
    let mut rows = Vec::new();
    for batch in batches {
        let columns = batch.columns().iter();
        let columns = columns
            .map(|column| Ok(ArrayFormatter::try_new(column.as_ref(), &options)?))
            .collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows().min(most - rows.len()) {
            let cells = columns.iter();
            rows.push(
                cells
                    .map(|column| shorten(&column.value(row).to_string()))
                    .collect(),
            );
        }
    }
    Ok(rows)
}

/// The rows under the input's name, and how many more rows and columns there are, or that there are none.
pub(crate) fn render(
    title: &str,
    schema: &Schema,
    batches: &[RecordBatch],
    more: u64,
    look: Look,
) -> Result<String> {
    let title = printable::line(title);
    let (table, hidden) = draw(schema, batches, usize::MAX, look)?;
    let mut text = format!("{title}\n{table}\n");
    if batches.is_empty() && more == 0 {
        text.push_str("0 rows\n");
    }
    if let Some(note) = left_out(more, hidden) {
        text.push_str(&note);
        text.push('\n');
    }
    Ok(text)
}

/// What a table doesn't show: `… 3 more rows, 7 more columns`.
pub fn left_out(rows: u64, columns: usize) -> Option<String> {
    let counted = |number: u64, noun: &str| {
        let plural = if number == 1 { "" } else { "s" };
        (number > 0).then(|| format!("{} more {noun}{plural}", thousands(number)))
    };
    let parts = [counted(rows, "row"), counted(columns as u64, "column")];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("… {}", parts.join(", ")))
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
    use super::{left_out, shorten, thousands};

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(1234), "1,234");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }

    #[test]
    fn what_is_left_out_is_counted() {
        assert_eq!(left_out(0, 0), None);
        assert_eq!(left_out(1, 0).as_deref(), Some("… 1 more row"));
        assert_eq!(
            left_out(1_234, 7).as_deref(),
            Some("… 1,234 more rows, 7 more columns")
        );
    }

    #[test]
    fn a_cell_is_one_short_line() {
        assert_eq!(shorten("a\nb\u{1b}[31m"), r"a\nb\u{1b}[31m");
        assert_eq!(shorten(&"ü".repeat(80)).chars().count(), 80);
        assert_eq!(shorten(&"ü".repeat(100)).chars().count(), 81);
        assert_eq!(shorten(&"\n".repeat(80)).chars().count(), 81);
    }
}
