//! `tidegate catalog`: list, show, drop, crawl.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow_schema::FieldRef;
use comfy_table::{CellAlignment, Table, presets};
use owo_colors::OwoColorize;
use serde_json::{Value, json};
use tidegate::core::{
    ByteSize, Catalog, CatalogTable, TableFormat, TableName, TablePartition, TypeName, printable,
};
use tidegate::{Error, Result};
use tidegate_files::crawl::{self, Change, CrawlOptions, CrawlReport};

use super::args::{
    CatalogArgs, CatalogCommand, CatalogCrawlArgs, CatalogDropArgs, CatalogListArgs,
    CatalogShowArgs, Global,
};
use super::confirm::confirm;
use super::lake::{Ground, Look, on_all_cores, stopped};
use super::progress::{counted, grouped};
use super::rows::type_name;
use super::{errors, exit, out};

/// How many partitions or skipped files are listed before the rest is only counted.
const SHOWN: usize = 8;

/// Does what a command of the catalog says.
pub(crate) fn catalog(global: &Global, args: CatalogArgs) -> u8 {
    let lake = match &args.command {
        CatalogCommand::List(args) => &args.lake,
        CatalogCommand::Show(args) => &args.lake,
        CatalogCommand::Drop(args) => &args.lake,
        CatalogCommand::Crawl(args) => &args.lake,
    };
    let ground = match Ground::read(global, lake) {
        Ok(ground) => ground,
        Err(code) => return code,
    };
    let ended = on_all_cores(async {
        match &args.command {
            CatalogCommand::List(args) => list(&ground, args).await,
            CatalogCommand::Show(args) => show(global, &ground, args).await,
            CatalogCommand::Drop(args) => forget(&ground, args).await,
            CatalogCommand::Crawl(args) => find(global, &ground, args).await,
        }
    });
    match ended {
        Ok(Some(text)) => out::show(global, &text),
        Ok(None) => stopped(global),
        Err(error) => {
            errors::print(global, &error, None);
            exit::of_error(&error)
        }
    }
}

async fn list(ground: &Ground, args: &CatalogListArgs) -> Result<String> {
    let catalog = match ground.look().await? {
        Look::Found(catalog) => catalog,
        Look::Missing(_) if args.json => return Ok("[]\n".to_owned()),
        Look::Missing(path) => {
            let path = path.display().to_string();
            return Ok(format!(
                "no catalog at {}; a sink with `catalog`, or `tidegate catalog crawl`, makes one\n",
                printable::line(&path)
            ));
        }
    };
    let databases = match &args.database {
        Some(database) => vec![catalog.fold(database)?],
        None => catalog.databases().await?,
    };
    let mut tables = Vec::new();
    for database in databases {
        for table in catalog.tables(&database).await? {
            let name = TableName::new(&database, table);
            // Between the two questions another program may have dropped it.
            tables.extend(catalog.table(&name).await?);
        }
    }
    if args.json {
        let tables: Vec<_> = tables
            .iter()
            .map(|table| {
                json!({
                    "database": table.name.database,
                    "table": table.name.table,
                    "format": table.format.name(),
                    "location": table.location,
                })
            })
            .collect();
        return Ok(format!("{}\n", json!(tables)));
    }
    if tables.is_empty() {
        return Ok(match &args.database {
            Some(database) => format!("no tables in `{}`\n", printable::line(database)),
            None => "no tables\n".to_owned(),
        });
    }
    let mut shown = plain(&["table", "format", "columns", "location"]);
    if let Some(column) = shown.column_mut(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for table in tables {
        let columns = table.schema().fields().len().to_string();
        let name = table.name.to_string();
        add_row(
            &mut shown,
            [
                name.as_str(),
                table.format.name(),
                &columns,
                &table.location,
            ],
        );
    }
    Ok(format!("{}\n", trimmed(&shown)))
}

async fn show(global: &Global, ground: &Ground, args: &CatalogShowArgs) -> Result<String> {
    let catalog = there(ground).await?;
    let table = expect(&*catalog, &args.table).await?;
    let partitions = match args.partitions || !table.partition_keys.is_empty() {
        true => catalog.partitions(&table, &[]).await?,
        false => Vec::new(),
    };
    if args.json {
        let mut value = serde_json::to_value(&table)
            .map_err(|error| Error::internal("a table can't be shown").because(error))?;
        value["columns"] = table.columns.fields().iter().map(as_in_files).collect();
        value["partition_keys"] = table.partition_keys.iter().map(as_in_files).collect();
        if let (true, Some(table)) = (args.partitions, value.as_object_mut()) {
            table.insert("partitions".to_owned(), json!(partitions));
        }
        return Ok(format!("{value:#}\n"));
    }
    let mut text = title(global, &table.name);
    let mut facts = vec![
        ("location".into(), printable::line(&table.location)),
        ("format".into(), format_of(&table.format).into()),
    ];
    if !table.partition_keys.is_empty() {
        let count = grouped(partitions.len() as u64);
        let by = format!("{count}, by {}", keys_of(&table));
        facts.push(("partitions".into(), by.into()));
    }
    let properties = table.properties.iter();
    facts.extend(properties.map(|(key, value)| (printable::line(key), printable::line(value))));
    let width = facts.iter().map(|(key, _)| key.chars().count()).max();
    text.push('\n');
    for (key, value) in facts {
        let _ = writeln!(text, "  {key:<width$}  {value}", width = width.unwrap_or(0));
    }
    let _ = writeln!(text, "\n{}", columns(&table));
    if args.partitions {
        let _ = writeln!(text, "\n{}", listed(&table, &partitions));
    }
    Ok(text)
}

/// A table's name, as a heading.
fn title(global: &Global, name: &TableName) -> String {
    let name = name.to_string();
    let name = printable::line(&name);
    match global.color_stdout() {
        true => name.bold().to_string(),
        false => name.into_owned(),
    }
}

/// The names of a table's partition keys.
fn keys_of(table: &CatalogTable) -> String {
    let keys = table.partition_keys.iter();
    let keys: Vec<_> = keys.map(|key| printable::line(key.name())).collect();
    keys.join(", ")
}

fn columns(table: &CatalogTable) -> String {
    let mut shown = plain(&["column", "type", ""]);
    let columns = table.columns.fields().iter().map(|field| (field, ""));
    let keys = table.partition_keys.iter();
    for (field, role) in columns.chain(keys.map(|key| (key, "partition key"))) {
        let name = TypeName::of(field).to_string();
        add_row(&mut shown, [field.name().as_str(), &name, role]);
    }
    trimmed(&shown)
}

/// A column as `schema` of a pipeline file has it.
fn as_in_files(field: &FieldRef) -> Value {
    json!({
        "name": field.name(),
        "type": TypeName::of(field).to_string(),
        "nullable": field.is_nullable(),
    })
}

fn listed(table: &CatalogTable, partitions: &[TablePartition]) -> String {
    let mut headings: Vec<&str> = table
        .partition_keys
        .iter()
        .map(|key| key.name().as_str())
        .collect();
    headings.push("location");
    let mut shown = plain(&headings);
    for partition in partitions {
        let values = partition.values.iter();
        let mut row: Vec<String> = values
            .map(|value| value.clone().unwrap_or_else(|| "NULL".to_owned()))
            .collect();
        row.push(partition.location.clone());
        add_row(&mut shown, row.iter().map(String::as_str));
    }
    trimmed(&shown)
}

async fn forget(ground: &Ground, args: &CatalogDropArgs) -> Result<String> {
    let catalog = there(ground).await?;
    let table = expect(&*catalog, &args.table).await?;
    if !args.yes {
        confirm(
            &format!("drop `{}` from the catalog (its files stay)", table.name),
            &format!("`{}` is not dropped", table.name),
        )?;
    }
    catalog.drop_table(&table.name).await?;
    let text = format!(
        "dropped `{}`; its files stay at {}",
        table.name, table.location
    );
    Ok(printable::line(&text).into_owned() + "\n")
}

/// The catalog. Errors: `NotFound` if there is none.
async fn there(ground: &Ground) -> Result<Arc<dyn Catalog>> {
    match ground.look().await? {
        Look::Found(catalog) => Ok(catalog),
        Look::Missing(path) => Err(Error::not_found("there is no catalog")
            .with("path", path.display())
            .hint("a sink with `catalog`, or `tidegate catalog crawl`, makes one")),
    }
}

async fn find(global: &Global, ground: &Ground, args: &CatalogCrawlArgs) -> Result<String> {
    let catalog = ground.catalog().await?;
    let options = CrawlOptions {
        prefix: args.prefix.clone(),
        table_level: args.level,
        csv_header: !args.no_header,
        ..CrawlOptions::new(&args.database)
    };
    let report = crawl::crawl(&args.url, &ground.cx, &options).await?;
    let changes = match args.dry_run {
        true => crawl::diff(&report, &*catalog).await?,
        false => crawl::apply(&report, &*catalog).await?,
    };
    if args.json {
        let value = json!({ "found": report, "changes": changes, "dry_run": args.dry_run });
        return Ok(format!("{value:#}\n"));
    }
    Ok(found(global, &report, &changes, args.dry_run))
}

fn found(global: &Global, report: &CrawlReport, changes: &[Change], dry_run: bool) -> String {
    let mut text = String::new();
    for one in &report.tables {
        let _ = writeln!(
            text,
            "{}  {} at {}",
            title(global, &one.table.name),
            one.table.format.name(),
            printable::line(&one.table.location)
        );
        let mut about = format!("{}, {}", counted(one.files, "file"), ByteSize(one.bytes));
        if !one.table.partition_keys.is_empty() {
            let count = counted(one.partitions.len() as u64, "partition");
            let _ = write!(about, ", {count} by {}", keys_of(&one.table));
        }
        let _ = writeln!(text, "  {about}");
        for note in &one.notes {
            let _ = writeln!(text, "  note: {}", printable::line(note));
        }
    }
    if report.tables.is_empty() {
        text.push_str("no tables were found\n");
    }
    if !report.skipped.is_empty() {
        let _ = writeln!(
            text,
            "\nskipped {}",
            counted(report.skipped.len() as u64, "file")
        );
        for skipped in report.skipped.iter().take(SHOWN) {
            let line = format!("{}: {}", skipped.path, skipped.reason);
            let _ = writeln!(text, "  {}", printable::line(&line));
        }
        if let Some(more) = report.skipped.len().checked_sub(SHOWN + 1) {
            let _ = writeln!(text, "  … and {} more", more + 1);
        }
    }
    let heading = match (changes.is_empty(), dry_run) {
        (true, _) => "the catalog has all of it",
        (false, true) => "this would change in the catalog",
        (false, false) => "changed in the catalog",
    };
    let _ = writeln!(text, "\n{heading}");
    for change in changes {
        let _ = writeln!(text, "  {}", printable::line(&changed(change)));
    }
    text
}

fn changed(change: &Change) -> String {
    let count = |partitions: &[TablePartition]| counted(partitions.len() as u64, "partition");
    match change {
        Change::NewTable { table, partitions } => {
            let columns = counted(table.schema().fields().len() as u64, "column");
            let partitions = match table.partition_keys.is_empty() {
                true => String::new(),
                false => format!(", {}", counted(*partitions, "partition")),
            };
            format!("+ {}: {columns}{partitions}", table.name)
        }
        Change::NewColumns { table, columns } => {
            let columns: Vec<_> = columns
                .iter()
                .map(|field| format!("{} {}", field.name(), TypeName::of(field)))
                .collect();
            format!("+ {table}: {}", columns.join(", "))
        }
        Change::Widened {
            table,
            column,
            from,
            to,
        } => format!(
            "~ {table}.{column}: {} → {}",
            type_name(from),
            type_name(to)
        ),
        Change::Format { table, from, to } => {
            format!("~ {table}: {} → {}", format_of(from), format_of(to))
        }
        Change::NewPartitions { table, partitions } => {
            format!("+ {table}: {}", count(partitions))
        }
        Change::GonePartitions { table, partitions } => format!(
            "! {table}: {} without files; they stay in the catalog",
            count(partitions)
        ),
        Change::Refused { table, reason } => format!("! {table}: {reason}"),
        _ => "something else".to_owned(),
    }
}

fn format_of(format: &TableFormat) -> String {
    match format {
        TableFormat::Csv {
            delimiter,
            header,
            quoted,
        } => format!(
            "csv, delimited by {delimiter:?}, {} header, {}",
            if *header { "with a" } else { "no" },
            if *quoted { "quoted" } else { "unquoted" }
        ),
        other => other.name().to_owned(),
    }
}

/// The table of this name. Errors: `NotFound`, with the database's tables.
async fn expect(catalog: &dyn Catalog, name: &str) -> Result<CatalogTable> {
    let name: TableName = name.parse()?;
    let name = TableName::new(catalog.fold(&name.database)?, catalog.fold(&name.table)?);
    if let Some(table) = catalog.table(&name).await? {
        return Ok(table);
    }
    let tables = catalog.tables(&name.database).await?;
    let error = Error::not_found(format!("no table `{name}` in the catalog"));
    Err(match tables.as_slice() {
        [] => error.hint("`tidegate catalog list` shows what there is"),
        tables => error.hint(format!(
            "the database has: {}",
            tables
                .iter()
                .take(30)
                .map(|table| format!("`{table}`"))
                .collect::<Vec<_>>()
                .join(", ")
        )),
    })
}

pub(super) fn plain(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).force_no_tty();
    table.set_header(headings.iter().map(|heading| printable::line(heading)));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

fn add_row<'a>(table: &mut Table, cells: impl IntoIterator<Item = &'a str>) {
    table.add_row(cells.into_iter().map(printable::line));
}

/// Without the blanks at the ends of lines.
pub(super) fn trimmed(table: &Table) -> String {
    let lines = table.lines();
    let lines: Vec<String> = lines.map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}
