//! Files of the sink that are a table of a catalog.

use std::sync::Arc;

use arrow_array::RecordBatch;
use serde_json::{Value, json};
use tidegate_catalog::CatalogTarget;
use tidegate_core::{
    Catalog, CatalogTable, Commit, ErrorKind, Input, Registry, SinkContext, TableFormat, TableName,
};

use crate::support::{Bench, batch, prepare, source};

fn bench(config: Value) -> Bench {
    let mut config = config;
    config["catalog"] = json!({
        "type": "local", "path": "catalog.db", "database": "shop", "table": "clicks",
    });
    Bench::new(config, batch(0..1).schema())
}

async fn catalog(bench: &Bench) -> Arc<dyn Catalog> {
    let target = json!({
        "type": "local", "path": "catalog.db", "database": "shop", "table": "clicks",
    });
    let target: CatalogTarget = serde_json::from_value(target).unwrap();
    target.open(&bench.cx.common).await.unwrap()
}

async fn table(bench: &Bench) -> Option<CatalogTable> {
    let name = TableName::new("shop", "clicks");
    catalog(bench).await.table(&name).await.unwrap()
}

async fn partitions(bench: &Bench) -> Vec<(Vec<Option<String>>, String)> {
    let table = table(bench).await.unwrap();
    let found = catalog(bench).await.partitions(&table, &[]).await.unwrap();
    found
        .into_iter()
        .map(|one| (one.values, one.location))
        .collect()
}

async fn write(bench: &Bench, batches: Vec<RecordBatch>) {
    let sink = bench.open().await.unwrap();
    let prepared = prepare(&sink, 1, vec![batches]).await;
    assert!(table(bench).await.is_none(), "registered before the commit");
    sink.commit(&bench.commit(&prepared)).await.unwrap();
}

fn refused(config: Value) -> tidegate_core::Error {
    let mut config = config;
    config["catalog"] = json!({
        "type": "local", "path": "catalog.db", "database": "shop", "table": "clicks",
    });
    let config = Registry::linked().unwrap().sink("files", config).unwrap();
    config.validate().unwrap_err()
}

#[tokio::test]
async fn each_format_becomes_a_table_that_is_read_back() {
    let csv = TableFormat::Csv {
        delimiter: ',',
        header: true,
        quoted: true,
    };
    for (url, format) in [
        ("out/part.ndjson", TableFormat::Ndjson),
        ("out/part.csv.gz", csv),
        ("out/part.parquet", TableFormat::Parquet),
    ] {
        let bench = bench(json!({ "url": url }));
        write(&bench, vec![batch(0..10)]).await;
        let table = table(&bench).await.unwrap();
        assert_eq!(table.format, format);
        assert_eq!(
            table.location,
            bench.dir.path().join("out").to_str().unwrap()
        );
        let names: Vec<_> = table
            .columns
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect();
        assert_eq!(names, ["id", "name"]);
        assert!(table.partition_keys.is_empty());
        let files = source(bench.dir.path(), json!({ "url": "out" })).await;
        assert!(files.is_ok(), "{url}");
    }
}

#[tokio::test]
async fn directories_with_placeholders_become_partitions() {
    let bench = bench(json!({ "url": "out/of={stream}/year={%Y}", "format": "ndjson" }));
    write(&bench, vec![batch(0..10)]).await;
    let table = table(&bench).await.unwrap();
    let keys: Vec<_> = table
        .partition_keys
        .iter()
        .map(|key| key.name().clone())
        .collect();
    assert_eq!(keys, ["of", "year"]);
    let [(values, location)] = &partitions(&bench).await[..] else {
        panic!("one partition");
    };
    assert_eq!(values[0].as_deref(), Some("shop.sales"));
    let year = values[1].as_deref().unwrap();
    assert_eq!(
        *location,
        format!("{}/of=shop.sales/year={year}", table.location)
    );
}

#[tokio::test]
async fn a_replay_with_the_stored_configuration_registers_the_same() {
    let bench = bench(json!({ "url": "out/of={stream}", "format": "parquet" }));
    let sink = bench.open().await.unwrap();
    let prepared = prepare(&sink, 1, vec![vec![batch(0..10)]]).await;
    drop(sink);
    let config = json!({
        "url": "out/of={stream}", "format": "parquet",
        "catalog": {
            "type": "local", "path": "catalog.db", "database": "shop", "table": "clicks",
        },
    });
    let config = Registry::linked().unwrap().sink("files", config).unwrap();
    let cx = SinkContext {
        inputs: Vec::new(),
        ..bench.cx.clone()
    };
    let sink = config.open(&cx).await.unwrap();
    for _ in 0..2 {
        sink.commit(&bench.commit(&prepared)).await.unwrap();
    }
    assert_eq!(partitions(&bench).await.len(), 1);
}

#[tokio::test]
async fn a_run_without_rows_makes_the_table() {
    let bench = bench(json!({ "url": "out", "mode": "overwrite" }));
    let sink = bench.open().await.unwrap();
    let end: Vec<_> = sink.conclude(&[]).await.unwrap().into_iter().collect();
    let commit = Commit {
        last: true,
        ..bench.commit(&end)
    };
    sink.commit(&commit).await.unwrap();
    assert!(table(&bench).await.is_some());
}

#[tokio::test]
async fn an_overwrite_forgets_a_partition_that_it_empties() {
    let mut bench = bench(json!({
        "url": "out/of={stream}/part.ndjson", "mode": "overwrite",
    }));
    let run = async |bench: &Bench, batches: Vec<RecordBatch>| {
        let sink = bench.open().await.unwrap();
        let mut prepared = prepare(&sink, 1, vec![batches]).await;
        prepared.extend(sink.conclude(&prepared).await.unwrap());
        sink.commit(&bench.commit(&prepared)).await.unwrap();
    };
    run(&bench, vec![batch(0..5)]).await;
    assert_eq!(partitions(&bench).await.len(), 1);
    bench.cx.inputs = vec![Input {
        name: "shop.sales".into(),
        schema: batch(0..1).schema(),
    }];
    run(&bench, Vec::new()).await;
    assert_eq!(partitions(&bench).await, []);
}

#[tokio::test]
async fn inputs_of_one_table_have_one_schema() {
    let mut bench = bench(json!({ "url": "out/of={stream}" }));
    let other = batch(0..1).project(&[0]).unwrap().schema();
    bench.cx.inputs.push(Input {
        name: "other".into(),
        schema: other,
    });
    let error = bench.open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(error.message().contains("`other`"), "{error}");
}

#[test]
fn what_no_table_can_be_made_of_is_refused_without_looking() {
    for (config, key) in [
        (json!({ "url": "out/{date}/part.ndjson" }), Some("url")),
        (json!({ "url": "out/d={%Y/%m}" }), Some("url")),
        (json!({ "url": "out", "format": "json" }), Some("format")),
        (json!({ "url": "out", "format": "raw" }), Some("format")),
        (
            json!({ "url": "out", "format": "csv", "csv": { "null": "NA" } }),
            None,
        ),
    ] {
        let error = refused(config);
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.hint_text().is_some(), "{error}");
        let blamed = error.context().iter().find(|(name, _)| *name == "key");
        assert_eq!(blamed.map(|(_, value)| value.as_str()), key, "{error}");
    }
}
