//! How a query's plan looks.

use std::fmt::Write;

use owo_colors::OwoColorize;
use tidegate::core::{ByteSize, printable};
use tidegate_sql::{Explanation, Share, TableShare};

/// The plan for people.
pub(crate) fn text(explained: &Explanation, color: bool) -> String {
    let strong = |text: &str| match color {
        true => text.bold().to_string(),
        false => text.to_owned(),
    };
    let mut text = String::new();
    for table in &explained.tables {
        let _ = writeln!(
            text,
            "{}  {}",
            strong(&printable::line(&table.table)),
            printable::line(&about(table))
        );
        for (key, value) in lines(table) {
            let _ = writeln!(text, "  {key:<12}{}", printable::line(&value));
        }
        text.push('\n');
    }
    let _ = writeln!(text, "{}", strong("plan"));
    for line in explained.plan.lines() {
        let _ = writeln!(text, "  {}", printable::line(line));
    }
    text
}

fn about(table: &TableShare) -> String {
    match table.location == table.table {
        true => table.format.to_owned(),
        false => format!("{} at {}", table.format, table.location),
    }
}

fn lines(table: &TableShare) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if let Some(partitions) = table.partitions {
        let by = match table.chosen_by.is_empty() {
            true => String::new(),
            false => format!(", by {}", table.chosen_by.join(" AND ")),
        };
        lines.push(("partitions", of(partitions) + &by));
    }
    lines.push((
        "files",
        format!("{}, {}", table.files, ByteSize(table.bytes)),
    ));
    if let Some(groups) = table.row_groups {
        lines.push(("row groups", of(groups)));
    }
    if !table.pushed_down.is_empty() {
        lines.push(("pushed down", table.pushed_down.join(" AND ")));
    }
    let columns = match table.columns.len() {
        0 => "none, rows are only counted".to_owned(),
        _ => table.columns.join(", "),
    };
    let read = Share {
        read: table.columns.len(),
        of: table.of_columns,
    };
    lines.push(("columns", format!("{}: {columns}", of(read))));
    lines
}

fn of(share: Share) -> String {
    format!("{} of {}", share.read, share.of)
}
