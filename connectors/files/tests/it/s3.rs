//! Files and tables on a real S3 server.

use std::sync::Arc;

use arrow_array::RecordBatch;
use serde_json::{Value, json};
use tidegate_core::{
    Comparison, Context, ErrorKind, Literal, Predicate, Registry, Scan, TableFormat,
};
use tidegate_files::crawl::{self, CrawlOptions};
use tidegate_testkit::servers::{AwsServer, seaweedfs};
use tidegate_testkit::suites::source_suite;

use crate::support::{self, context, open_source};
use crate::tables::{catalog, target};

fn cx(base: &std::path::Path, server: &AwsServer) -> Context {
    let mut settings = serde_json::Map::new();
    settings.insert("aws".into(), server.settings());
    Context {
        settings: Arc::new(settings),
        registry: Arc::new(Registry::linked().unwrap()),
        ..context(base)
    }
}

fn fill(server: &AwsServer) {
    server.bucket("lake");
    server.put(
        "lake",
        "raw/year=2023/a.parquet",
        support::parquet(0..300, 50),
    );
    server.put(
        "lake",
        "raw/year=2024/b c+ü.parquet",
        support::parquet(300..600, 50),
    );
    server.put("lake", "raw/_SUCCESS", "");
    server.put("lake", "text/a.ndjson", support::ndjson(0..250));
    let zipped = support::gzip(support::ndjson(250..600).as_bytes());
    server.put("lake", "text/deep/b.ndjson.gz", zipped);
}

async fn check(cx: &Context, tag: &'static str, config: Value) {
    let cx = cx.clone();
    let report = source_suite(move || {
        let (cx, config) = (cx.clone(), config.clone());
        async move { open_source(tag, &cx, config).await }
    })
    .rows("rows", 600)
    .resumes(6)
    .report()
    .await;
    // The connections belong to the process's one pool, which outlives the source. That no dropped
    // stream keeps one of its own, the same check has counted before.
    let idle = "the source was closed and dropped, and ";
    let failed = report.failed.iter();
    let failed = failed.filter(|failure| !failure.why.starts_with(idle));
    assert_eq!(failed.count(), 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_tables_keep_the_contract_and_are_crawled() {
    let server = seaweedfs();
    fill(&server);
    let dir = tempfile::tempdir().unwrap();
    let cx = cx(dir.path(), &server);
    check(
        &cx,
        "files",
        json!({ "url": "s3://lake/text", "piece_size": 4_000 }),
    )
    .await;
    check(
        &cx,
        "files",
        json!({ "url": "s3://lake/text/**/*.ndjson*" }),
    )
    .await;
    check(
        &cx,
        "files",
        json!({ "url": "s3://lake/raw/*/*.parquet", "piece_size": 1_000 }),
    )
    .await;

    let catalog = catalog(dir.path()).await;
    let options = CrawlOptions::new("d");
    let report = crawl::crawl("s3://lake", &cx, &options).await.unwrap();
    let names: Vec<_> = report
        .tables
        .iter()
        .map(|t| t.table.name.table.as_str())
        .collect();
    assert_eq!(names, ["raw", "text"]);
    assert_eq!(report.tables[0].table.format, TableFormat::Parquet);
    assert_eq!(report.tables[0].table.location, "s3://lake/raw");
    crawl::apply(&report, catalog.as_ref()).await.unwrap();
    let config = json!({ "catalog": target(dir.path(), "raw"), "stream": "rows" });
    check(&cx, "table", config.clone()).await;

    let source = open_source("table", &cx, config).await.unwrap();
    let scan = Scan {
        predicates: vec![Predicate::Compare {
            column: "year".into(),
            op: Comparison::Eq,
            value: Literal::Int(2024),
        }],
        ..Scan::all("rows")
    };
    let ask = tidegate_core::Ask {
        scans: std::slice::from_ref(&scan),
        state: None,
        finished: &[],
        first: true,
    };
    let mut batches = Vec::<RecordBatch>::new();
    for split in source.plan(&ask).await.unwrap().new {
        for (decoded, _) in support::read(&source, &split, &scan, None).await.unwrap() {
            batches.extend(decoded.batches);
        }
    }
    assert_eq!(support::ids(&batches), (300..600).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_replaced_is_not_read_and_new_to_the_next_run() {
    let server = seaweedfs();
    server.bucket("lake");
    server.put("lake", "in/a.ndjson", support::ndjson(0..3));
    let dir = tempfile::tempdir().unwrap();
    let cx = cx(dir.path(), &server);
    let config = json!({ "url": "s3://lake/in/*.ndjson", "incremental": true });
    let source = open_source("files", &cx, config).await.unwrap();
    let first = support::plan(&source, None, true).await.unwrap();
    // As long as before, and perhaps within the same second.
    server.put("lake", "in/a.ndjson", support::ndjson(3..6));
    let error = match support::read(&source, &first.new[0], &Scan::all("rows"), None).await {
        Err(error) => error,
        Ok(_) => panic!("it was read"),
    };
    // The next attempt looks at what there is now.
    assert_eq!(error.kind(), ErrorKind::Transient, "{error:?}");
    let next = support::plan(&source, Some(&first.state), true)
        .await
        .unwrap();
    assert_eq!(next.new.len(), 1);
    assert_ne!(next.new[0].id, first.new[0].id);
    let read = support::read(&source, &next.new[0], &Scan::all("rows"), None)
        .await
        .unwrap();
    assert_eq!(
        support::ids(read.iter().flat_map(|(d, _)| &d.batches)),
        [3, 4, 5]
    );
    let after = support::plan(&source, Some(&next.state), true)
        .await
        .unwrap();
    assert!(after.new.is_empty());
}
