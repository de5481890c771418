//! Tables found in directories of files.

use std::collections::BTreeMap;
use std::path::Path;

use arrow_schema::DataType;
use serde_json::{Value, json};
use tidegate_core::{ErrorKind, TableFormat, TableName};
use tidegate_files::crawl::{self, Change, CrawlOptions, CrawlReport, CrawledTable};

use crate::support::{self, write};
use crate::tables::{catalog, target};

async fn crawl(base: &Path, url: &str) -> CrawlReport {
    let options = CrawlOptions::new("d");
    crawl::crawl(url, &support::context(base), &options)
        .await
        .unwrap()
}

fn names(report: &CrawlReport) -> Vec<&str> {
    let tables = report.tables.iter();
    tables
        .map(|found| found.table.name.table.as_str())
        .collect()
}

fn found<'a>(report: &'a CrawlReport, name: &str) -> &'a CrawledTable {
    let mut tables = report.tables.iter();
    let found = tables.find(|found| found.table.name.table == name);
    found.unwrap_or_else(|| panic!("no `{name}` in {:?}", names(report)))
}

fn keys(table: &CrawledTable) -> Vec<(&str, DataType)> {
    let keys = table.table.partition_keys.iter();
    keys.map(|key| (key.name().as_str(), key.data_type().clone()))
        .collect()
}

fn columns(table: &CrawledTable) -> Vec<(&str, DataType)> {
    let fields = table.table.columns.fields().iter();
    fields
        .map(|field| (field.name().as_str(), field.data_type().clone()))
        .collect()
}

fn values(table: &CrawledTable) -> Vec<Vec<Option<&str>>> {
    let partitions = table.partitions.iter();
    partitions
        .map(|partition| partition.values.iter().map(Option::as_deref).collect())
        .collect()
}

/// Why files were skipped, by their path under `base`.
fn skipped(report: &CrawlReport, base: &Path) -> BTreeMap<String, String> {
    let base = format!("{}/", base.display());
    let skipped = report.skipped.iter();
    skipped
        .map(|file| {
            (
                file.path.trim_start_matches(&base).to_owned(),
                file.reason.clone(),
            )
        })
        .collect()
}

#[tokio::test]
async fn directories_of_all_formats_are_tables_and_junk_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    for year in [2023, 2024] {
        for month in ["01", "12"] {
            let name = format!("lake/Sales/year={year}/month={month}/part-0.parquet");
            write(base, &name, support::parquet(0..5, 5));
        }
    }
    write(
        base,
        "lake/events/2024-02-28/a.json.gz",
        support::gzip(support::ndjson(0..3).as_bytes()),
    );
    write(
        base,
        "lake/events/2024-02-29/b.json.gz",
        support::gzip(support::ndjson(3..5).as_bytes()),
    );
    write(
        base,
        "lake/shops.v1/shops.txt",
        "id;city;opened\n1;Kiel;2020-01-01\n2;;2021-05-04\n",
    );
    write(base, "lake/_temporary/x.parquet", "hidden");
    write(base, "lake/Sales/_SUCCESS", "hidden");
    write(base, "lake/junk/photo.png", [0x89, 0x50, 0xff, 0x00]);
    write(base, "lake/junk/array.json", "[{\"a\": 1}]");
    write(base, "lake/junk/pretty.json", "{\n  \"a\": 1\n}\n");
    write(base, "lake/mixed/a.ndjson", support::ndjson(0..2));
    write(base, "lake/mixed/b.parquet", support::parquet(0..2, 2));

    let report = crawl(base, "lake").await;
    assert_eq!(names(&report), ["events", "sales", "shops_v1"]);

    let sales = found(&report, "sales");
    assert_eq!(
        keys(sales),
        [("year", DataType::Int32), ("month", DataType::Utf8)]
    );
    assert_eq!(
        columns(sales),
        [("id", DataType::Int64), ("name", DataType::Utf8)]
    );
    assert_eq!(sales.partitions.len(), 4);
    assert_eq!(values(sales)[0], [Some("2023"), Some("01")]);
    assert!(
        sales.partitions[0]
            .location
            .ends_with("lake/Sales/year=2023/month=01")
    );
    assert_eq!(
        (sales.files, &sales.table.format),
        (4, &TableFormat::Parquet)
    );
    assert!(sales.table.location.ends_with("/lake/Sales"));

    let events = found(&report, "events");
    assert_eq!(keys(events), [("partition_0", DataType::Date32)]);
    assert_eq!(events.table.format, TableFormat::Ndjson);
    assert_eq!(events.table.properties["compressionType"], "gzip");

    let shops = found(&report, "shops_v1");
    let format = TableFormat::Csv {
        delimiter: ';',
        header: true,
        quoted: false,
    };
    assert_eq!(shops.table.format, format);
    assert_eq!(columns(shops)[2], ("opened", DataType::Date32));
    assert!(keys(shops).is_empty() && shops.partitions.is_empty());

    let skipped = skipped(&report, base);
    let reason = |path: &str| skipped.get(path).map_or("", String::as_str);
    assert!(
        reason("lake/junk/photo.png").contains("neither"),
        "{skipped:?}"
    );
    assert!(
        reason("lake/junk/array.json").contains("JSON array"),
        "{skipped:?}"
    );
    assert!(
        reason("lake/junk/pretty.json").contains("several lines"),
        "{skipped:?}"
    );
    assert!(
        reason("lake/mixed/a.ndjson").contains("several kinds"),
        "{skipped:?}"
    );
    assert_eq!(skipped.len(), 5);
}

#[tokio::test]
async fn most_directories_alike_are_one_table_and_the_odd_one_is_its_own() {
    let dir = tempfile::tempdir().unwrap();
    for shop in ["kiel", "bonn", "ulm"] {
        write(
            dir.path(),
            &format!("sales/{shop}/a.csv"),
            "id,price\n1,2.5\n",
        );
    }
    write(
        dir.path(),
        "sales/staff/a.csv",
        "person,since,phone\nAda,2020-01-01,7\n",
    );
    let report = crawl(dir.path(), "sales").await;
    assert_eq!(names(&report), ["sales", "staff"]);
    let sales = found(&report, "sales");
    assert_eq!(keys(sales), [("partition_0", DataType::Utf8)]);
    assert_eq!(
        values(sales),
        [[Some("bonn")], [Some("kiel")], [Some("ulm")]]
    );
    let options = CrawlOptions {
        table_level: Some(1),
        prefix: "raw_".into(),
        ..CrawlOptions::new("d")
    };
    let report = crawl::crawl("sales", &support::context(dir.path()), &options)
        .await
        .unwrap();
    assert_eq!(
        names(&report),
        ["raw_bonn", "raw_kiel", "raw_staff", "raw_ulm"]
    );
}

#[tokio::test]
async fn columns_of_all_partitions_are_there_and_null_is_a_value() {
    let dir = tempfile::tempdir().unwrap();
    let hive = "__HIVE_DEFAULT_PARTITION__";
    write(
        dir.path(),
        "t/k=a%2Fb/a.ndjson",
        "{\"a\":1,\"b\":2,\"c\":3}\n",
    );
    write(
        dir.path(),
        &format!("t/k={hive}/a.ndjson"),
        "{\"a\":1.5,\"b\":\"x\",\"c\":3,\"d\":4}\n",
    );
    write(dir.path(), "t/k=c/notes", "not a record\n");
    let report = crawl(dir.path(), "t").await;
    let table = found(&report, "t");
    let wanted = [
        ("a", DataType::Float64),
        ("b", DataType::Utf8),
        ("c", DataType::Int64),
        ("d", DataType::Int64),
    ];
    assert_eq!(columns(table), wanted);
    assert_eq!(values(table), [[None], [Some("a/b")]]);
    assert!(skipped(&report, dir.path()).contains_key("t/k=c/notes"));
}

#[tokio::test]
async fn columns_and_types_are_those_that_files_gives_them() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "in/named/a.csv", "id,name,name,\n1,x,y,\n");
    write(
        dir.path(),
        "in/wide/p=1/a.csv",
        "id,v\n1,9007199254740993\n",
    );
    write(dir.path(), "in/wide/p=2/a.csv", "id,v\n2,0.5\n");
    write(
        dir.path(),
        "in/long/a.ndjson",
        "{\"id\":1,\"v\":9007199254740993}\n",
    );
    write(dir.path(), "in/long/b.ndjson", "{\"id\":2,\"v\":0.5}\n");
    let report = crawl(dir.path(), "in").await;
    let (int, text) = (DataType::Int64, DataType::Utf8);
    let column = |name, data_type: &DataType| (name, data_type.clone());
    let named = [
        ("id", &int),
        ("name", &text),
        ("name_2", &text),
        ("column4", &text),
    ];
    let named = named.map(|(name, data_type)| column(name, data_type));
    assert_eq!(columns(found(&report, "named")), named);
    for table in ["wide", "long"] {
        let wanted = [column("id", &int), column("v", &text)];
        assert_eq!(columns(found(&report, table)), wanted, "{table}");
        let config = json!({ "url": format!("in/{table}") });
        let source = support::source(dir.path(), config).await.unwrap();
        let schema = &source.streams()[0].schema;
        let v = schema.field_with_name("v").unwrap();
        assert_eq!(v.data_type(), &text, "{table}");
    }
}

#[tokio::test]
async fn what_would_change_is_what_changes_and_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path();
    write(base, "t/year=2023/a.parquet", support::parquet(0..3, 3));
    write(base, "u/a.csv", "id,name\n7,x\n");
    let catalog = catalog(base).await;
    let report = crawl(base, ".").await;
    let change = |changes: &[Change]| -> Vec<Value> {
        let kinds = changes
            .iter()
            .map(|change| serde_json::to_value(change).unwrap());
        kinds.map(|change| change["change"].clone()).collect()
    };
    let planned = crawl::diff(&report, catalog.as_ref()).await.unwrap();
    assert_eq!(change(&planned), ["new_table", "new_table"]);
    assert!(catalog.tables("d").await.unwrap().is_empty());
    assert_eq!(
        crawl::apply(&report, catalog.as_ref()).await.unwrap(),
        planned
    );
    assert!(
        crawl::apply(&report, catalog.as_ref())
            .await
            .unwrap()
            .is_empty()
    );

    // It is read as it was crawled.
    let config = json!({ "catalog": target(base, "t"), "stream": "rows" });
    let cx = support::context(base);
    let source = support::open_source("table", &cx, config).await.unwrap();
    let (batches, _) = support::read_all(&source).await.unwrap();
    assert_eq!(support::ids(&batches), [0, 1, 2]);
    assert_eq!(batches[0].schema().field(2).name(), "year");

    // A partition more, one gone, a column more.
    write(base, "t/year=2024/a.parquet", support::parquet(3..5, 3));
    std::fs::remove_dir_all(base.join("t/year=2023")).unwrap();
    write(base, "u/a.csv", "id,name,more\n7,x,1\n");
    let report = crawl(base, ".").await;
    let planned = crawl::diff(&report, catalog.as_ref()).await.unwrap();
    assert_eq!(
        change(&planned),
        ["new_partitions", "gone_partitions", "new_columns"]
    );
    assert_eq!(
        crawl::apply(&report, catalog.as_ref()).await.unwrap(),
        planned
    );
    let table = catalog
        .table(&TableName::new("d", "t"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(catalog.partitions(&table, &[]).await.unwrap().len(), 2);
    let again = crawl::diff(&report, catalog.as_ref()).await.unwrap();
    assert_eq!(change(&again), ["gone_partitions"]);
}

#[tokio::test]
async fn a_table_that_contradicts_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a/t/x.parquet", support::parquet(0..3, 3));
    write(dir.path(), "b/t/x.csv", "id,name\n7,x\n");
    let catalog = catalog(dir.path()).await;
    let first = crawl(dir.path(), "a").await;
    crawl::apply(&first, catalog.as_ref()).await.unwrap();
    let second = crawl(dir.path(), "b").await;
    let changes = crawl::apply(&second, catalog.as_ref()).await.unwrap();
    let [Change::Refused { reason, .. }] = &changes[..] else {
        panic!("{changes:?}");
    };
    assert!(
        reason.contains("lies at") && reason.contains("a/t"),
        "{reason}"
    );
}

#[tokio::test]
async fn partitions_that_begin_with_an_underscore_are_found_beside_odd_names() {
    let dir = tempfile::tempdir().unwrap();
    for op in ["insert", "delete"] {
        let file = format!("l[1]/t/_op={op}/a#1");
        write(dir.path(), &file, support::ndjson(0..3));
    }
    write(dir.path(), "l[1]/t/_op=insert/Icon\r", "x");
    write(dir.path(), "l[1]/t/_tmp/x.csv", "a\n1\n");
    let report = crawl(dir.path(), "l[1]").await;
    assert_eq!(report.tables.len(), 1, "{report:?}");
    assert_eq!(report.tables[0].partitions.len(), 2, "{report:?}");
    assert_eq!(report.tables[0].table.partition_keys[0].name(), "_op");
    assert_eq!(report.skipped.len(), 1, "{report:?}");
    assert!(report.skipped[0].reason.contains("control"), "{report:?}");
}

#[tokio::test]
async fn nothing_to_find_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let cx = support::context(dir.path());
    let options = CrawlOptions::new("d");
    let error = crawl::crawl("nowhere", &cx, &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = crawl::crawl("a/*", &cx, &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}
