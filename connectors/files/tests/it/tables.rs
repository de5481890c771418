//! Tables of a catalog, read as a source.

use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use tidegate_core::{
    Ask, Catalog, CatalogTable, Comparison, Decoded, ErrorKind, Literal, Predicate, Registry,
    Result, Scan, Source, TableFormat, TableName, TablePartition,
};
use tidegate_testkit::suites::{context, source_suite};

use crate::support;

pub(crate) async fn catalog(base: &Path) -> Arc<dyn Catalog> {
    let config = json!({ "path": base.join("catalog.db") });
    let config = Registry::linked()
        .unwrap()
        .catalog("local", config)
        .unwrap();
    config.open(&support::context(base)).await.unwrap()
}

pub(crate) fn target(base: &Path, table: &str) -> Value {
    json!({ "type": "local", "path": base.join("catalog.db"), "database": "d", "table": table })
}

pub(crate) fn field(name: &str, data_type: DataType) -> Arc<Field> {
    Arc::new(Field::new(name, data_type, true))
}

pub(crate) fn csv_format() -> TableFormat {
    TableFormat::Csv {
        delimiter: ',',
        header: true,
        quoted: true,
    }
}

/// A table `t` of `id` and `name`, with partitions of `year`.
pub(crate) fn table(location: &str, format: TableFormat, years: bool) -> CatalogTable {
    CatalogTable {
        name: TableName::new("d", "t"),
        location: location.to_owned(),
        format,
        columns: Arc::new(Schema::new(vec![
            field("id", DataType::Int64),
            field("name", DataType::Utf8),
        ])),
        partition_keys: match years {
            true => vec![field("year", DataType::Int32)],
            false => Vec::new(),
        },
        properties: Default::default(),
    }
}

pub(crate) fn year(location: &str, year: i32) -> TablePartition {
    TablePartition {
        values: vec![Some(year.to_string())],
        location: format!("{location}/year={year}"),
    }
}

async fn open(base: &Path, more: Value) -> Result<Arc<dyn Source>> {
    let mut config = json!({ "catalog": target(base, "t") });
    let more = more.as_object().cloned().unwrap_or_default();
    config.as_object_mut().unwrap().extend(more);
    support::open_source("table", &support::context(base), config).await
}

async fn rows(source: &Arc<dyn Source>, scan: &Scan) -> Result<Decoded> {
    let ask = Ask {
        scans: std::slice::from_ref(scan),
        state: None,
        finished: &[],
        first: true,
    };
    let mut all = Decoded::default();
    for split in source.plan(&ask).await?.new {
        for (decoded, _) in support::read(source, &split, scan, None).await? {
            all.batches.extend(decoded.batches);
            all.rejected.extend(decoded.rejected);
        }
    }
    Ok(all)
}

fn parquet(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

/// A directory with a catalog and a table whose files are these.
async fn site(format: TableFormat, years: &[i32], files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let location = dir.path().join("t").to_str().unwrap().to_owned();
    for (name, bytes) in files {
        support::write(dir.path(), &format!("t/{name}"), bytes);
    }
    let catalog = catalog(dir.path()).await;
    let table = table(&location, format, !years.is_empty());
    catalog.merge(&table).await.unwrap();
    let partitions: Vec<_> = years.iter().map(|y| year(&location, *y)).collect();
    if !partitions.is_empty() {
        catalog
            .add_partitions(&table.name, &partitions)
            .await
            .unwrap();
    }
    dir
}

async fn check_suite(format: TableFormat, files: &[(&str, Vec<u8>)], more: Value) {
    let dir = site(format, &[2023, 2024], files).await;
    let base = dir.path().to_owned();
    let elsewhere = base.clone();
    let incremental = more["incremental"] == true;
    let mut suite = source_suite(move || {
        let (base, more) = (base.clone(), more.clone());
        async move {
            let mut config = json!({ "catalog": target(&base, "t"), "stream": "rows" });
            let more = more.as_object().cloned().unwrap_or_default();
            config.as_object_mut().unwrap().extend(more);
            support::open_source("table", &context().base(&base).source(), config).await
        }
    })
    .rows("rows", 600)
    .resumes(12)
    .refuses("no such table", ErrorKind::NotFound, move || {
        let base = elsewhere.clone();
        async move {
            let config = json!({ "catalog": target(&base, "x") });
            let opened = support::open_source("table", &support::context(&base), config).await;
            opened.map(drop)
        }
    });
    if incremental {
        suite = suite.incremental();
    }
    suite.check().await;
}

#[tokio::test]
async fn a_table_keeps_the_contract_in_every_format() {
    let parquet = [
        ("year=2023/a.parquet", support::parquet(0..300, 50)),
        ("year=2024/b.parquet", support::parquet(300..600, 50)),
    ];
    check_suite(
        TableFormat::Parquet,
        &parquet,
        json!({ "piece_size": 1_000 }),
    )
    .await;
    let ndjson = [
        ("year=2023/a.json", support::ndjson(0..250).into_bytes()),
        (
            "year=2024/b.ndjson.gz",
            support::gzip(support::ndjson(250..600).as_bytes()),
        ),
    ];
    check_suite(TableFormat::Ndjson, &ndjson, json!({ "piece_size": 4_000 })).await;
    let csv = [
        ("year=2023/a.csv", support::csv(0..300).into_bytes()),
        ("year=2024/deep/b.csv", support::csv(300..600).into_bytes()),
    ];
    check_suite(csv_format(), &csv, json!({ "incremental": true })).await;
}

fn year_is(op: Comparison, year: i64) -> Predicate {
    Predicate::Compare {
        column: "year".into(),
        op,
        value: Literal::Int(year),
    }
}

#[tokio::test]
async fn partitions_that_nobody_wants_are_not_looked_at() {
    let years: Vec<i32> = (2010..2025).collect();
    let files: Vec<_> = years
        .iter()
        .map(|y| {
            (
                format!("year={y}/a.ndjson"),
                support::ndjson(0..2).into_bytes(),
            )
        })
        .collect();
    let files: Vec<_> = files
        .iter()
        .map(|(name, b)| (name.as_str(), b.clone()))
        .collect();
    let dir = site(TableFormat::Ndjson, &years, &files).await;
    let source = open(dir.path(), json!({})).await.unwrap();
    let all = rows(&source, &Scan::all("t")).await.unwrap();
    assert_eq!(
        all.batches.iter().map(RecordBatch::num_rows).sum::<usize>(),
        30
    );
    // From here on, whoever looks finds a file that has no records.
    for y in &years[..13] {
        let directory = dir.path().join(format!("t/year={y}"));
        std::fs::remove_dir_all(&directory).unwrap();
        std::fs::write(&directory, "not a directory").unwrap();
    }
    let scan = Scan {
        columns: Some(vec!["year".into(), "id".into()]),
        predicates: vec![year_is(Comparison::GtEq, 2023)],
        ..Scan::all("t")
    };
    let some = rows(&source, &scan).await.unwrap();
    assert!(some.rejected.is_empty(), "{:?}", some.rejected);
    let mut seen = Vec::new();
    for batch in &some.batches {
        assert_eq!(batch.schema().field(1).name(), "year");
        seen.extend(
            batch
                .column(1)
                .as_primitive::<Int32Type>()
                .values()
                .to_vec(),
        );
    }
    assert_eq!(seen, [2023, 2023, 2024, 2024]);
}

#[tokio::test]
async fn columns_are_found_by_name_and_types_made_the_tables() {
    let ids: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.5, 3.0]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["7", "x", "9"]));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![10]));
    let files = [
        // A column too many, in another order, in another case, and of other types.
        (
            "a.parquet",
            parquet(vec![("NAME", texts.clone()), ("x", texts), ("ID", ids)]),
        ),
        ("b.parquet", parquet(vec![("name", numbers)])),
        ("_SUCCESS", b"hidden".to_vec()),
        ("_temporary/c.parquet", b"hidden".to_vec()),
        (".d.parquet.crc", b"hidden".to_vec()),
        ("empty.parquet", Vec::new()),
    ];
    let dir = site(TableFormat::Parquet, &[], &files).await;
    let source = open(dir.path(), json!({})).await.unwrap();
    let read = rows(&source, &Scan::all("t")).await.unwrap();
    let got: Vec<_> = read
        .batches
        .iter()
        .flat_map(|batch| {
            let ids = batch.column(0).as_primitive::<Int64Type>().iter();
            let names = batch.column(1).as_string::<i32>().iter();
            let names = names.map(|name| name.map(str::to_owned));
            ids.zip(names).collect::<Vec<_>>()
        })
        .collect();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        got,
        [
            (Some(1), text("7")),
            (Some(3), text("9")),
            (None, text("10"))
        ]
    );
    let [row] = &read.rejected.rows[..] else {
        panic!("{:?}", read.rejected);
    };
    assert!(
        row.reason.contains("`2.5` doesn't fit into int64"),
        "{row:?}"
    );
    assert!(row.row.contains("\"NAME\":\"x\""), "{row:?}");
    assert_eq!(row.origin.offset, Some(1));
    assert!(row.origin.file.as_ref().unwrap().ends_with("a.parquet"));
}

#[tokio::test]
async fn text_files_may_lack_columns_and_name_them_in_another_case() {
    let files = [
        ("year=2023/a.csv", b"Name,extra,ID\nx,1,7\ny,2,z\n".to_vec()),
        ("year=2024/b.csv", b"id\n8\n".to_vec()),
    ];
    let dir = site(csv_format(), &[2023, 2024], &files).await;
    let source = open(dir.path(), json!({ "stream": "s" })).await.unwrap();
    let read = rows(&source, &Scan::all("s")).await.unwrap();
    assert_eq!(support::ids(&read.batches), [7, 8]);
    assert_eq!(read.batches[0].column(1).as_string::<i32>().value(0), "x");
    assert!(read.batches[1].column(1).is_null(0));
    let row = &read.rejected.rows[0];
    assert_eq!((row.origin.line, row.row.trim()), (Some(3), "y,2,z"));

    let files = [(
        "a.json",
        b"{\"Id\":1,\"NAME\":\"x\"}\n{\"id\":2}\n".to_vec(),
    )];
    let dir = site(TableFormat::Ndjson, &[], &files).await;
    let source = open(dir.path(), json!({})).await.unwrap();
    let read = rows(&source, &Scan::all("t")).await.unwrap();
    assert_eq!(support::ids(&read.batches), [1, 2]);
    assert_eq!(read.batches[0].column(1).as_string::<i32>().value(0), "x");
}

#[tokio::test]
async fn a_partition_may_lie_elsewhere_or_be_null_or_gone() {
    let here = [("year=2023/a.ndjson", support::ndjson(0..2).into_bytes())];
    let dir = site(TableFormat::Ndjson, &[2023, 1999], &here).await;
    support::write(dir.path(), "other/x/a.ndjson", support::ndjson(2..4));
    let catalog = catalog(dir.path()).await;
    let partition = TablePartition {
        values: vec![None],
        location: dir.path().join("other/x").to_str().unwrap().to_owned(),
    };
    let name = TableName::new("d", "t");
    catalog.add_partitions(&name, &[partition]).await.unwrap();
    let source = open(dir.path(), json!({})).await.unwrap();
    let read = rows(&source, &Scan::all("t")).await.unwrap();
    let mut got = Vec::new();
    for batch in &read.batches {
        let years = batch.column(2).as_primitive::<Int32Type>().iter();
        got.extend(support::ids([batch]).into_iter().zip(years));
    }
    got.sort_unstable();
    assert_eq!(
        got,
        [(0, Some(2023)), (1, Some(2023)), (2, None), (3, None)]
    );
    let scan = Scan {
        predicates: vec![Predicate::IsNull("year".into())],
        ..Scan::all("t")
    };
    let read = rows(&source, &scan).await.unwrap();
    assert_eq!(support::ids(&read.batches), [2, 3]);
}

#[tokio::test]
async fn a_file_that_contradicts_its_table_is_named() {
    let truths: ArrayRef = Arc::new(arrow_array::BooleanArray::from(vec![true]));
    let files = [("a.parquet", parquet(vec![("id", truths)]))];
    let dir = site(TableFormat::Parquet, &[], &files).await;
    let source = open(dir.path(), json!({})).await.unwrap();
    let error = rows(&source, &Scan::all("t")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(
        error.message().contains("`id` is Boolean in the file"),
        "{error}"
    );
    assert!(error.to_string().contains("a.parquet"), "{error}");
}

#[tokio::test]
async fn an_unknown_table_is_told_from_those_that_are_there() {
    let dir = site(TableFormat::Ndjson, &[], &[]).await;
    let config = json!({ "catalog": target(dir.path(), "tt") });
    let error = support::open_source("table", &support::context(dir.path()), config).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.hint_text().unwrap().contains("`t`"), "{error:?}");
    // A table without files has no rows.
    let source = open(dir.path(), json!({})).await.unwrap();
    assert!(
        rows(&source, &Scan::all("t"))
            .await
            .unwrap()
            .batches
            .is_empty()
    );
}

#[tokio::test]
async fn partitions_that_begin_with_an_underscore_are_read() {
    let years: Vec<i32> = (2010..2022).collect();
    let dir = site(TableFormat::Ndjson, &[], &[]).await;
    let catalog = catalog(dir.path()).await;
    let mut table = table(
        &dir.path().join("u").display().to_string(),
        TableFormat::Ndjson,
        true,
    );
    table.name = TableName::new("d", "u");
    table.partition_keys = vec![field("_op", DataType::Int32)];
    catalog.merge(&table).await.unwrap();
    let mut partitions = Vec::new();
    for year in &years {
        let directory = format!("_op={year}");
        support::write(
            dir.path(),
            &format!("u/{directory}/a.ndjson"),
            support::ndjson(0..2),
        );
        let location = format!("{}/{directory}", table.location);
        partitions.push(TablePartition {
            values: vec![Some(year.to_string())],
            location,
        });
    }
    // Two of one directory, one in a directory that listings pass over.
    let both = TablePartition {
        values: vec![Some("1".to_owned())],
        location: partitions[0].location.clone(),
    };
    support::write(dir.path(), "u/_staged/a.ndjson", support::ndjson(0..2));
    let staged = TablePartition {
        values: vec![Some("2".to_owned())],
        location: format!("{}/_staged", table.location),
    };
    partitions.extend([both, staged]);
    catalog
        .add_partitions(&table.name, &partitions)
        .await
        .unwrap();
    let config = json!({ "catalog": target(dir.path(), "u"), "stream": "t" });
    let cx = support::context(dir.path());
    let source = support::open_source("table", &cx, config).await.unwrap();
    let all = rows(&source, &Scan::all("t")).await.unwrap();
    let count: usize = all.batches.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(count, 2 * (years.len() + 2));
}
