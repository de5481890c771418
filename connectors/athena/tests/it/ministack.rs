//! Against ministack, which runs the SQL (in DuckDB) over the Parquet in its own S3.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch, StringArray};
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::ArrowWriter;
use serde_json::json;
use tidegate_athena::{Athena, AthenaConfig, AthenaSettings};
use tidegate_core::{Ask, Cancel, ErrorKind, Event, Rows, Scan, SourceConfig};
use tidegate_testkit::servers::{AwsServer, ministack};
use tidegate_testkit::suites::{TestContext, context};

fn site(server: &AwsServer) -> TestContext {
    let athena = json!({ "output": "s3://results", "database": "shop", "reuse": "60m" });
    context()
        .settings("aws", server.settings())
        .settings("athena", athena)
}

fn orders(from: i64, count: i64) -> Vec<u8> {
    let ids = Int64Array::from_iter_values(from..from + count);
    let names = (from..from + count).map(|id| (id % 3 != 0).then(|| format!("name {id}")));
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(ids) as _, true),
        ("name", Arc::new(names.collect::<StringArray>()) as _, true),
    ])
    .unwrap();
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    file
}

/// A table `shop.orders` of 2,500 rows in two partitions.
async fn table(server: &AwsServer, athena: &Athena) {
    server.bucket("lake");
    server.bucket("results");
    server.put("lake", "orders/year=2023/a.parquet", orders(0, 1_000));
    server.put("lake", "orders/year=2024/b.parquet", orders(1_000, 1_500));
    server.glue(
        "CreateDatabase",
        &json!({ "DatabaseInput": { "Name": "shop" } }),
    );
    let create = "CREATE EXTERNAL TABLE orders (id bigint, name string)
        PARTITIONED BY (year int) STORED AS PARQUET LOCATION 's3://lake/orders/'";
    let made = athena.run(create, &Cancel::never()).await.unwrap().unwrap();
    assert_eq!(made.schema.fields().len(), 0);
}

#[tokio::test]
async fn a_table_on_s3_is_queried_by_athena_and_read_by_the_source() {
    let server = ministack();
    let cx = site(&server);
    let settings = AthenaSettings::of(&cx.common(), AthenaSettings::default()).unwrap();
    let athena = Athena::open(&cx.common(), settings).await.unwrap();
    table(&server, &athena).await;

    // As a query.
    let sql = "SELECT year, count(*) AS n, sum(id) AS ids FROM orders GROUP BY year ORDER BY year";
    let result = athena.run(sql, &Cancel::never()).await.unwrap().unwrap();
    assert!(result.statistics.bytes_scanned > 0);
    let batches: Vec<_> = result.batches.try_collect().await.unwrap();
    let counts = batches[0]
        .column_by_name("n")
        .unwrap()
        .as_primitive::<Int64Type>();
    assert_eq!(counts.values(), &[1_000, 1_500]);
    let types = "SELECT true AS b, CAST(1 AS tinyint) AS t, CAST(2 AS smallint) AS s, 3 AS i, \
                 CAST(4 AS bigint) AS l, CAST(1.5 AS double) AS d, '' AS v, \
                 DATE '2024-02-29' AS day, TIMESTAMP '2024-02-29 12:34:56' AS ts, \
                 CAST(NULL AS varchar) AS nothing";
    let result = athena.run(types, &Cancel::never()).await.unwrap().unwrap();
    let batches: Vec<_> = result.batches.try_collect().await.unwrap();
    let row = &batches[0];
    let types: Vec<_> = row
        .schema()
        .fields()
        .iter()
        .map(|f| f.data_type().to_string())
        .collect();
    let expected = [
        "Boolean",
        "Int8",
        "Int16",
        "Int32",
        "Int64",
        "Float64",
        "Utf8",
        "Date32",
        "Timestamp(µs)",
        "Utf8",
    ];
    assert_eq!(types, expected);
    assert_eq!(row.column(6).null_count(), 0, "the empty text");
    assert_eq!(row.column(9).null_count(), 1);

    // As a source, over three pages.
    let keys = json!({ "query": "SELECT id, name FROM orders ORDER BY id" });
    let config: AthenaConfig = serde_json::from_value(keys).unwrap();
    let source = config.open(&cx.source()).await.unwrap();
    let scans = [Scan::all("rows")];
    let ask = Ask {
        scans: &scans,
        state: None,
        finished: &[],
        first: true,
    };
    let plan = source.plan(&ask).await.unwrap();
    let read = async |resume| {
        let mut events = source.read(&plan.new[0], &scans, resume).await.unwrap();
        let (mut ids, mut positions) = (Vec::new(), Vec::new());
        while let Some(event) = events.next().await {
            match event.unwrap() {
                Event::Rows {
                    rows: Rows::Encoded(page),
                    resume,
                    ..
                } => {
                    for batch in page.decode().unwrap().batches {
                        let column = batch.column(0).as_primitive::<Int64Type>();
                        ids.extend(column.values().iter().copied());
                    }
                    positions.extend(resume);
                }
                Event::Progress(position) => positions.push(position),
                other => panic!("{other:?}"),
            }
        }
        (ids, positions)
    };
    let (ids, positions) = read(None).await;
    assert_eq!(ids, (0..2_500).collect::<Vec<_>>());
    assert!(positions.len() >= 4, "the start and three pages");
    let (rest, _) = read(Some(&positions[1])).await;
    assert_eq!(ids[ids.len() - rest.len()..], rest);
    assert!(!rest.is_empty() && rest.len() < ids.len());

    // What is wrong is told in the server's words.
    let error = athena
        .run("SELECT nothing FROM orders", &Cancel::never())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(
        text.contains("nothing") && text.contains("execution: "),
        "{text}"
    );
    let keys = json!({ "query": "SELECT id FROM missing" });
    let config: AthenaConfig = serde_json::from_value(keys).unwrap();
    let error = config.open(&cx.source()).await.unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
}
