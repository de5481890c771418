//! Tables that a crawl has made give what `files` gives of their directories.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_core::{Catalog, CatalogTable, Result, Source, TableFormat, TableName};
use tidegate_files::crawl::{self, Change, CrawlOptions, CrawlReport};
use tidegate_formats::row_to_json;

use crate::support::{self, read_all, write};
use crate::tables::{catalog, target};

/// Rows, and why others were rejected.
type Given = (Vec<Value>, Vec<String>);

async fn given(source: Result<Arc<dyn Source>>) -> Result<Given> {
    let (batches, rejected) = read_all(&source?).await?;
    let mut rows = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            rows.push(serde_json::from_str(&row_to_json(batch, row)?).unwrap());
        }
    }
    rows.sort_by_key(Value::to_string);
    let mut reasons: Vec<_> = rejected.rows.into_iter().map(|row| row.reason).collect();
    reasons.sort();
    Ok((rows, reasons))
}

async fn directory(base: &Path) -> Result<Given> {
    given(support::source(base, json!({ "url": "t/" })).await).await
}

async fn table(base: &Path) -> Result<Given> {
    let config = json!({ "catalog": target(base, "t"), "stream": "rows" });
    given(support::open_source("table", &support::context(base), config).await).await
}

struct Crawled {
    dir: tempfile::TempDir,
    catalog: Arc<dyn Catalog>,
}

impl Crawled {
    async fn of(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let catalog = catalog(dir.path()).await;
        let crawled = Self { dir, catalog };
        crawled.again(files).await;
        crawled
    }

    async fn again(&self, files: &[(&str, &str)]) -> (CrawlReport, Vec<Change>) {
        self.add(files);
        let cx = support::context(self.dir.path());
        let options = CrawlOptions::new("d");
        let report = crawl::crawl("t", &cx, &options).await.unwrap();
        let changes = crawl::apply(&report, self.catalog.as_ref()).await.unwrap();
        (report, changes)
    }

    fn add(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            write(self.dir.path(), &format!("t/{name}"), text);
        }
    }

    async fn table(&self) -> CatalogTable {
        let name = TableName::new("d", "t");
        self.catalog.table(&name).await.unwrap().unwrap()
    }

    /// What the table gives, which has to be what the directory gives.
    async fn same(&self) -> Given {
        let table = table(self.dir.path()).await.unwrap();
        assert_eq!(table, directory(self.dir.path()).await.unwrap());
        table
    }
}

const CSV: (&str, &str) = (
    "a.csv",
    "id,price,share,open,at\n1,1.10,0.5,true,2024-01-01T10:00:00\n",
);

/// Values of the types of [`CSV`], none of which is written as those are.
const BENT: &str = "id,price,share,open,at\n01234,2.00,1.5,true,2024-01-01T10:00:00\n\
    +49,2.00,1.5,true,2024-01-01T10:00:00\n1.0,2.00,1.5,true,2024-01-01T10:00:00\n\
    2,1.5,1.5,true,2024-01-01T10:00:00\n3,2.00,9007199254740993,true,2024-01-01T10:00:00\n\
    4,2.00,1.5,t,2024-01-01T10:00:00\n5,2.00,1.5,true,2024-01-01T10:00:00Z\n\
    6,2.25,1.5,false,2024-01-01T12:00:00\n";

#[tokio::test]
async fn values_that_a_guessed_type_would_bend_are_rejected() {
    let crawled = Crawled::of(&[CSV]).await;
    crawled.add(&[("b.csv", BENT)]);
    let (rows, rejected) = table(crawled.dir.path()).await.unwrap();
    let ids: Vec<_> = rows.iter().map(|row| row["id"].clone()).collect();
    assert_eq!(ids, [json!(1), json!(6)], "{rejected:?}");
    assert_eq!(rejected.len(), 7, "{rejected:?}");

    let crawled = Crawled::of(&[("a.ndjson", "{\"v\":1.5}\n")]).await;
    crawled.add(&[("b.ndjson", "{\"v\":\"1.10\"}\n{\"v\":9007199254740993}\n")]);
    let (rows, rejected) = table(crawled.dir.path()).await.unwrap();
    assert_eq!((rows, rejected.len()), (vec![json!({"v": 1.5})], 2));
}

#[tokio::test]
async fn types_that_somebody_declared_are_read_more_freely() {
    let crawled = Crawled::of(&[CSV]).await;
    let declared = CatalogTable {
        name: TableName::new("d", "declared"),
        properties: Default::default(),
        ..crawled.table().await
    };
    crawled.catalog.merge(&declared).await.unwrap();
    crawled.add(&[(
        "b.csv",
        "id,price,share,open,at\n01234,2,1.5,t,2024-01-01T10:00:00\n",
    )]);
    let base = crawled.dir.path();
    let config = json!({ "catalog": target(base, "declared"), "stream": "rows" });
    let source = support::open_source("table", &support::context(base), config).await;
    let (rows, rejected) = given(source).await.unwrap();
    assert!(rejected.is_empty(), "{rejected:?}");
    assert_eq!(rows[1]["id"], 1234);
}

#[tokio::test]
async fn a_type_that_new_files_contradict_is_another_after_the_next_crawl() {
    let crawled = Crawled::of(&[CSV]).await;
    let (_, changes) = crawled.again(&[("b.csv", BENT)]).await;
    let widened = changes
        .iter()
        .filter(|change| matches!(change, Change::Widened { .. }));
    assert_eq!(widened.count(), 5, "{changes:?}");
    let (rows, rejected) = crawled.same().await;
    assert_eq!((rows.len(), rejected.len()), (9, 0));
    assert!(rows.iter().any(|row| row["id"] == "01234"), "{rows:?}");
    let (_, changes) = crawled.again(&[]).await;
    assert!(changes.is_empty(), "{changes:?}");

    let crawled = Crawled::of(&[("a.ndjson", "{\"v\":1,\"l\":[1],\"o\":{\"a\":1}}\n")]).await;
    let more = "{\"v\":0.5,\"l\":[\"x\"],\"o\":{\"a\":true,\"b\":2}}\n";
    crawled.again(&[("b.ndjson", more)]).await;
    let (rows, rejected) = crawled.same().await;
    assert_eq!((rows.len(), rejected.len()), (2, 0));
    // A type holds what an earlier crawl has seen, too.
    std::fs::remove_file(crawled.dir.path().join("t/b.ndjson")).unwrap();
    let before = crawled.table().await;
    crawled.again(&[]).await;
    assert_eq!(crawled.table().await, before);
}

#[tokio::test]
async fn a_column_without_values_gets_the_type_of_the_first_that_come() {
    for (first, second) in [
        (("a.csv", "id,v\n"), ("b.csv", "id,v\n1,0.5\n")),
        (("a.csv", "id,v\n1,\n"), ("b.csv", "id,v\n2,true\n")),
        (
            ("a.ndjson", "{\"id\":1,\"v\":null}\n"),
            ("b.ndjson", "{\"id\":2,\"v\":{\"a\":1}}\n"),
        ),
    ] {
        let crawled = Crawled::of(&[first]).await;
        crawled.same().await;
        let (_, changes) = crawled.again(&[second]).await;
        assert!(!changes.is_empty());
        crawled.same().await;
        // Its type stays where there are no values again.
        std::fs::write(crawled.dir.path().join("t").join(second.0), first.1).unwrap();
        let (_, changes) = crawled.again(&[]).await;
        assert!(changes.is_empty(), "{changes:?}");
    }
}

#[tokio::test]
async fn quotes_are_quotes_wherever_they_come_first() {
    let crawled = Crawled::of(&[("a.csv", "id,name\n1,Kiel\n")]).await;
    let quoted = "id,name\n2,\"Oslo\"\n3,\"Ulm,\nan der Donau\"\n";
    crawled.add(&[("b.csv", quoted)]);
    let (rows, _) = crawled.same().await;
    assert_eq!(rows[1]["name"], "Oslo");
    let quotes =
        |table: &CatalogTable| matches!(table.format, TableFormat::Csv { quoted: true, .. });
    assert!(!quotes(&crawled.table().await));
    let (_, changes) = crawled.again(&[]).await;
    assert!(
        matches!(changes[..], [Change::Format { .. }]),
        "{changes:?}"
    );
    assert!(quotes(&crawled.table().await));
    crawled.same().await;

    // They are characters in a table that says so.
    let plain = CatalogTable {
        name: TableName::new("d", "plain"),
        format: TableFormat::Csv {
            delimiter: ',',
            header: true,
            quoted: false,
        },
        properties: Default::default(),
        ..crawled.table().await
    };
    let dir = crawled.dir.path();
    std::fs::write(dir.join("t/b.csv"), "id,name\n2,\"Oslo\"\n").unwrap();
    crawled.catalog.merge(&plain).await.unwrap();
    let config = json!({ "catalog": target(dir, "plain"), "stream": "rows" });
    let source = support::open_source("table", &support::context(dir), config).await;
    let (rows, _) = given(source).await.unwrap();
    assert_eq!(rows[1]["name"], "\"Oslo\"");
}

#[tokio::test]
async fn headers_and_delimiters_are_those_that_files_takes() {
    let long = format!("id,{}\n1,2\n", "x".repeat(200));
    for text in [
        "country,2023,2024\nNO,1,2\n",
        "2023,2024\n1,2\n",
        "First Name, Last Name\nAda,Byron\n",
        &long,
        "true,false\n1,2\n",
        "ID,id\n1,2\n",
        "id,name,Name\n1,x,y\n",
        "1,5\n2,6\n",
        "name,city\nBob,Oslo\nAda,Bergen\n",
        "id;price (EUR, net)\n1;1,5\n",
        "sep=;\nid;v\n1;a,b\n",
        "\nid,v\n1,a\n",
    ] {
        let crawled = Crawled::of(&[("a.csv", text)]).await;
        let (rows, rejected) = crawled.same().await;
        assert!(rejected.is_empty() && !rows.is_empty(), "{text}");
    }
    let report = |csv_header| async move {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "t/a.csv", "1,5\n2,6\n");
        let options = CrawlOptions {
            csv_header,
            ..CrawlOptions::new("d")
        };
        let cx = support::context(dir.path());
        crawl::crawl("t", &cx, &options).await.unwrap()
    };
    let found = &report(true).await.tables[0];
    assert!(found.notes[0].contains("looks like a row"), "{found:?}");
    let found = &report(false).await.tables[0];
    assert_eq!(found.table.columns.field(0).name(), "column_1", "{found:?}");
}

#[tokio::test]
async fn a_file_with_none_of_the_columns_is_an_error_that_names_it() {
    for (text, has) in [
        ("3,c\n33,cc\n", "3"),
        ("sep=;\nx;y\n3;c\n", "x"),
        ("{\"id\":3}", "{id"),
    ] {
        let crawled = Crawled::of(&[("a.csv", "id,v\n1,a\n")]).await;
        crawled.add(&[("b.csv", text)]);
        let mut declared = crawled.table().await;
        declared.name = TableName::new("d", "declared");
        declared.properties.clear();
        crawled.catalog.merge(&declared).await.unwrap();
        let base = crawled.dir.path();
        for name in ["t", "declared"] {
            let config = json!({ "catalog": target(base, name), "stream": "rows" });
            let source = support::open_source("table", &support::context(base), config).await;
            let error = given(source).await.unwrap_err();
            assert_eq!(error.message(), "the file has no column `id`", "{text}");
            assert!(error.to_string().contains("b.csv"), "{error}");
            let hint = error.hint_text().unwrap_or_default().replace('"', "");
            assert!(hint.contains(has), "{text}: {hint}");
        }
    }
}

#[tokio::test]
async fn columns_stand_as_the_files_have_them() {
    let crawled = Crawled::of(&[
        ("a.csv", "id\n1\n"),
        ("b.csv", "id,x\n2,3\n"),
        ("c.csv", "id,y\n4,5\n"),
    ])
    .await;
    let table = crawled.table().await;
    let names: Vec<_> = table.columns.fields().iter().map(|f| f.name()).collect();
    assert_eq!(names, ["id", "x", "y"]);
    crawled.same().await;
}

#[tokio::test]
async fn each_file_says_what_stands_between_its_fields() {
    let files = [
        ("a.csv", "id,v\n1,x\n"),
        ("b.csv", "id;v\n2;y,z\n"),
        ("c.csv", "sep=|\nid|v\n3|y;z\n"),
        ("d.tsv", "id\tv\n4\ty,z\n"),
    ];
    let crawled = Crawled::of(&files).await;
    let (rows, _) = crawled.same().await;
    assert_eq!((rows.len(), &rows[1]["v"]), (4, &json!("y,z")));
    let (report, _) = crawled.again(&[]).await;
    let notes = &report.tables[0].notes;
    assert!(notes[0].contains("several delimiters"), "{notes:?}");
}

#[tokio::test]
async fn keys_that_differ_in_case_alone_are_one() {
    let files = [
        ("Year=2023/month=1/a.csv", "id\n1\n"),
        ("year=2024/Month=2/a.csv", "id\n2\n"),
    ];
    let crawled = Crawled::of(&files).await;
    let (rows, _) = crawled.same().await;
    assert_eq!(rows[1], json!({"id": 2, "Year": 2024, "month": 2}));
}

#[tokio::test]
async fn directories_that_end_early_have_no_value_of_the_deeper_keys() {
    let crawled = Crawled::of(&[
        ("y=1/m=2/a.csv", "id\n1\n"),
        ("y=2/a.csv", "id\n2\n"),
        ("y=3/m=1/d=1/a.csv", "id\n3\n"),
    ]);
    let (rows, _) = crawled.await.same().await;
    assert_eq!(rows[1], json!({"id": 2, "y": 2, "m": null, "d": null}));
}

#[tokio::test]
async fn columns_that_only_a_directories_name_tells_are_said_to_be_missing() {
    let files = [
        ("y=1/m=2/a.csv", "id\n1\n"),
        ("y=1/b.csv", "id\n2\n"),
        ("c.csv", "id\n3\n"),
    ];
    let (report, _) = Crawled::of(&files).await.again(&[]).await;
    let notes = report.tables[0].notes.join("\n");
    assert!(notes.contains("no columns `y`, `m`"), "{notes}");
    // What lies deeper in one directory is no reason to lose the key of the directories above.
    let files = [
        ("y=1/m=2/a.csv", "id\n1\n"),
        ("y=1/b.csv", "id\n2\n"),
        ("y=2/m=3/a.csv", "id\n3\n"),
    ];
    let (report, _) = Crawled::of(&files).await.again(&[]).await;
    let notes = report.tables.iter().flat_map(|table| &table.notes);
    assert!(notes.clone().any(|note| note.contains("`m`")), "{report:?}");
}
