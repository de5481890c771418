//! What a run shows at its end: a table, and one sentence on what bounded it.

use std::io::Write;

use comfy_table::{Attribute, Cell, CellAlignment, Table, presets};
use tidegate::core::{ByteSize, Kind, printable};
use tidegate::runtime::{ComponentReport, Exhausted};
use tidegate::{Report, Status};

use super::args::{Global, LogFormat};
use super::progress::{compact, counted, grouped};
use super::{errors, lines, terminal};

/// Prints the end of a run to stderr: what the run was asked for may be on stdout.
pub(crate) fn print(global: &Global, report: &Report) {
    if !global.quiet {
        print_what_was_done(global, report);
    }
    // Nobody asked for this end, so it is told as an error is.
    if let Some(why) = &report.exhausted {
        if !global.quiet && global.log_format == LogFormat::Text {
            let _ = writeln!(std::io::stderr().lock());
        }
        errors::print_exhausted(global, why, advice(report, why).as_deref());
    }
}

fn print_what_was_done(global: &Global, report: &Report) {
    if global.log_format == LogFormat::Json {
        let report = serde_json::to_value(report).unwrap_or_default();
        return errors::log("INFO", "run ended", serde_json::json!({ "report": report }));
    }
    // Of a run that never began there is nothing to tell but why.
    if report.status == Status::Failed && report.components.iter().all(is_untouched) {
        return;
    }
    let mut err = std::io::stderr().lock();
    let _ = writeln!(
        err,
        "{}",
        table(report, global.color_stderr(), terminal::width())
    );
    let across = terminal::width().unwrap_or(usize::MAX);
    let (failed, more) = (failed_files(report), bound(report));
    let lines = sentence(report);
    let lines = lines.lines().chain(failed.iter().map(String::as_str));
    for line in lines.chain(more.as_deref()) {
        let _ = writeln!(err, "{}", lines::wrapped(line, 0, 2, across));
    }
}

/// What to do about an upstream that gives no more.
fn advice(report: &Report, why: &Exhausted) -> Option<String> {
    // Else every run would spend the quota and lose what it got for it.
    const WHOLE: &str = "a transform of this pipeline needs all rows of a run at once, so what was \
                         read could not be kept: write the rows to a sink first, and let a second \
                         pipeline read them from there";
    let read = |c: &ComponentReport| c.kind == Kind::Source && c.rows_out > 0;
    let lost = report.status == Status::Abandoned
        && report.epochs == 0
        && report.components.iter().any(read);
    match lost {
        true => Some(WHOLE.to_owned()),
        false => why.hint.clone(),
    }
}

/// A column's heading, and what a component has in it.
type Column = (&'static str, fn(&ComponentReport) -> String);

fn is_untouched(component: &ComponentReport) -> bool {
    component.rows_in + component.rows_out + component.bytes + component.rejected == 0
}

/// What is left out of a table that the terminal is too narrow for, the first of these first.
const SPARED: [&str; 5] = ["guarantee", "busy", TYPE, "bytes", "files"];

/// The column of types, which has no heading.
const TYPE: &str = "";

/// The table, without what makes it wider than so many columns.
fn table(report: &Report, color: bool, width: Option<usize>) -> Table {
    let fits = |spared: &&[&str]| {
        let plain = columns_without(report, false, spared);
        // With the blanks at their ends, which make a terminal break a line too.
        let widest = plain.lines().map(|line| line.chars().count()).max();
        width.is_none_or(|width| widest.unwrap_or(0) <= width)
    };
    let mut fewer = (0..=SPARED.len()).map(|count| &SPARED[..count]);
    let spared = fewer.find(fits).unwrap_or(&SPARED);
    columns_without(report, color, spared)
}

fn columns_without(report: &Report, color: bool, spared: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    if !color {
        table.force_no_tty();
    }
    let shows = |value: fn(&ComponentReport) -> u64| report.components.iter().any(|c| value(c) > 0);
    let mut columns: Vec<Column> = vec![
        ("rows in", |c| {
            if c.kind == Kind::Source {
                String::new()
            } else {
                grouped(c.rows_in)
            }
        }),
        ("rows out", |c| {
            if c.kind == Kind::Sink {
                String::new()
            } else {
                grouped(c.rows_out)
            }
        }),
        ("bytes", |c| some(c.bytes, ByteSize(c.bytes).to_string())),
        ("files", |c| some(c.files, grouped(c.files))),
    ];
    if shows(|c| c.rejected) {
        columns.push(("rejected", |c| some(c.rejected, grouped(c.rejected))));
    }
    if shows(|c| c.ignored) {
        columns.push(("left out", |c| some(c.ignored, grouped(c.ignored))));
    }
    if shows(|c| c.requests) {
        columns.push(("requests", |c| some(c.requests, grouped(c.requests))));
    }
    if shows(|c| c.retries) {
        columns.push(("retries", |c| some(c.retries, grouped(c.retries))));
    }
    if report.components.iter().any(|c| c.waited_s >= 0.1) {
        columns.push(("throttled", |c| {
            some(u64::from(c.waited_s >= 0.1), format!("{:.1}s", c.waited_s))
        }));
    }
    columns.push(("busy", |c| format!("{:.1}s", c.busy_s)));
    columns.retain(|(name, _)| !spared.contains(name));
    let shown = |name| !spared.contains(&name);
    let mut header = vec![heading("")];
    if shown(TYPE) {
        header.push(heading(""));
    }
    header.extend(
        columns
            .iter()
            .map(|(name, _)| heading(name).set_alignment(CellAlignment::Right)),
    );
    if shown("guarantee") {
        header.push(heading("guarantee"));
    }
    table.set_header(header);
    for component in &report.components {
        let mut row = vec![Cell::new(&component.id).add_attribute(Attribute::Bold)];
        if shown(TYPE) {
            row.push(Cell::new(format!(
                "{} {}",
                component.r#type, component.kind
            )));
        }
        row.extend(
            columns
                .iter()
                .map(|(_, of)| Cell::new(of(component)).set_alignment(CellAlignment::Right)),
        );
        if shown("guarantee") {
            row.push(Cell::new(component.guarantee.unwrap_or_default()));
        }
        table.add_row(row);
    }
    if let Some(first) = table.column_mut(0) {
        first.set_padding((0, 1));
    }
    let last = table.column_count().saturating_sub(1);
    if let Some(last) = table.column_mut(last) {
        last.set_padding((1, 0));
    }
    table
}

fn heading(text: &str) -> Cell {
    Cell::new(text).add_attribute(Attribute::Dim)
}

fn some(number: u64, text: String) -> String {
    if number == 0 { String::new() } else { text }
}

fn sentence(report: &Report) -> String {
    let rows: u64 = report
        .components
        .iter()
        .filter(|c| c.kind == Kind::Source)
        .map(|c| c.rows_out)
        .sum();
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = rows as f64 / report.duration_s.max(1e-3);
    let resumed = if report.resumed {
        ", going on with an interrupted run"
    } else {
        ""
    };
    let (what, next) = match report.status {
        Status::Completed => ("done in", ""),
        Status::Stopped if rows == 0 => (
            "stopped after",
            "\nnothing was read; the next run begins where this one did",
        ),
        Status::Stopped => (
            "stopped after",
            "\nwhat was read is committed; the next run resumes from there",
        ),
        Status::Abandoned if report.epochs > 0 => (
            "stopped after",
            "\nwhat came after the last checkpoint isn't committed; the next run resumes from there",
        ),
        Status::Abandoned if report.resumed => (
            "stopped after",
            "\nnothing more was committed; the next run resumes where this one began",
        ),
        Status::Abandoned => (
            "stopped after",
            "\nnothing of this run was committed; the next run starts it over",
        ),
        Status::Failed => ("failed after", ""),
    };
    let rate = match rows {
        0 => String::new(),
        _ => format!(" at {}/s", compact(rate)),
    };
    format!(
        "{} {what} {:.2}s: {}{rate}, {}{resumed}{next}",
        printable::line(&report.pipeline),
        report.duration_s,
        counted(rows, "row"),
        counted(report.epochs, "epoch")
    )
}

/// The files that were passed over: how many of each source, and the first of them.
fn failed_files(report: &Report) -> Vec<String> {
    const SHOWN: usize = 3;
    let mut lines = Vec::new();
    for component in report.components.iter().filter(|c| c.failed > 0) {
        let count = counted(component.failed, "file");
        let verb = if component.failed == 1 { "was" } else { "were" };
        lines.push(format!(
            "`{}`: {count} can't be read and {verb} passed over:",
            component.id
        ));
        for failed in component.failed_files.iter().take(SHOWN) {
            let file = &failed.file;
            let rows = match file.rows_committed {
                Some(0) => "none of its rows is committed".to_owned(),
                Some(1) => "the first row of it is committed".to_owned(),
                Some(rows) => format!("the first {} rows of it are committed", grouped(rows)),
                None => "a part of its rows is committed".to_owned(),
            };
            let moved = match &failed.moved_to {
                Some(to) => format!("; it is now {to}"),
                None => String::new(),
            };
            let line = format!("- {}: {}; {rows}{moved}", file.path, file.error);
            lines.push(printable::line(&line).into_owned());
        }
        let more = component.failed.saturating_sub(SHOWN as u64);
        if more > 0 {
            lines.push(format!("- and {} more", grouped(more)));
        }
    }
    lines
}

fn bound(report: &Report) -> Option<String> {
    // What happens in less than that is start-up, not work.
    const LEAST_S: f64 = 1.0;
    if report.duration_s < LEAST_S {
        return None;
    }
    let percent = report.bound_percent.filter(|percent| *percent > 0)?;
    let id = report.bound_by.as_ref()?;
    let component = report
        .components
        .iter()
        .find(|component| component.id.as_str() == id)?;
    Some(match component.kind {
        Kind::Source => {
            format!("bottleneck: `{id}`: the workers waited for it {percent} % of the time")
        }
        Kind::Sink if component.requests > 0 => {
            format!("bottleneck: `{id}`: it waited for answers {percent} % of the time")
        }
        _ => format!("bottleneck: `{id}`: it kept the CPU threads busy {percent} % of the time"),
    })
}
