//! The source: laws of reading, and what is asked of Athena for them.

use std::sync::Arc;

use futures::StreamExt;
use serde_json::json;
use tidegate_athena::AthenaConfig;
use tidegate_core::{
    Ask, ErrorKind, Event, Offset, Result, Rows, Scan, Source, SourceConfig, Split, StreamName,
};
use tidegate_testkit::suites::{TestContext, context, source_suite};

use crate::fake::Server;
use crate::query::aws;

async fn numbers(count: usize) -> Server {
    let texts: Vec<_> = (0..count).map(|n| n.to_string()).collect();
    let rows: Vec<_> = texts
        .iter()
        .map(|n| [Some(n.as_str()), Some("x"), None])
        .collect();
    let rows: Vec<&[Option<&str>]> = rows.iter().map(|row| row.as_slice()).collect();
    let server = Server::start(&[("n", "integer"), ("t", "varchar"), ("e", "date")], &rows).await;
    server.now().page = 7;
    server
}

fn config() -> AthenaConfig {
    let keys = json!({ "query": "SELECT n, t, e FROM numbers", "output": "s3://results" });
    serde_json::from_value(keys).unwrap()
}

fn site(server: &Server) -> TestContext {
    context().settings("aws", aws(server))
}

async fn split(source: &dyn Source) -> Split {
    let scans = [Scan::all("rows")];
    let ask = Ask {
        scans: &scans,
        state: None,
        finished: &[],
        first: true,
    };
    source.plan(&ask).await.unwrap().new.remove(0)
}

/// The numbers that are read, and the positions that were given.
async fn read(
    source: &dyn Source,
    scan: &Scan,
    resume: Option<&Offset>,
) -> Result<(usize, Vec<Offset>)> {
    let split = split(source).await;
    let mut events = source
        .read(&split, std::slice::from_ref(scan), resume)
        .await?;
    let (mut rows, mut positions) = (0, Vec::new());
    while let Some(event) = events.next().await {
        match event? {
            Event::Rows {
                rows: Rows::Encoded(page),
                resume,
                ..
            } => {
                let decoded = page.decode()?;
                assert!(decoded.rejected.is_empty());
                rows += decoded
                    .batches
                    .iter()
                    .map(|batch| batch.num_rows())
                    .sum::<usize>();
                positions.extend(resume);
            }
            Event::Progress(position) => positions.push(position),
            other => panic!("{other:?}"),
        }
    }
    Ok((rows, positions))
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_laws_of_sources() {
    let server = Arc::new(numbers(40).await);
    let cx = Arc::new(site(&server));
    let open = move || {
        let cx = Arc::clone(&cx);
        async move { config().open(&cx.source()).await }
    };
    source_suite(open).rows("rows", 40).check().await;
    drop(server);
}

#[tokio::test]
async fn columns_are_known_without_running_the_query() {
    let server = numbers(3).await;
    let source = config().open(&site(&server).source()).await.unwrap();
    let [stream] = <[_; 1]>::try_from(source.streams()).unwrap();
    assert_eq!(stream.name, StreamName::from("rows"));
    let names: Vec<_> = stream
        .schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(names, ["n", "t", "e"]);
    assert!(server.starts().is_empty());
    let probe = &server.asked("StartQueryExecution")[0];
    let text = probe["QueryString"].as_str().unwrap();
    assert!(
        text.starts_with("SELECT * FROM (\nSELECT n, t, e FROM numbers\n)"),
        "{text}"
    );
}

#[tokio::test]
async fn a_process_that_takes_over_finds_the_same_execution() {
    let server = numbers(3).await;
    let cx = site(&server);
    let all = Scan::all("rows");
    for _ in 0..2 {
        let source = config().open(&cx.source()).await.unwrap();
        assert_eq!(read(source.as_ref(), &all, None).await.unwrap().0, 3);
    }
    let other = config().open(&site(&server).source()).await.unwrap();
    read(other.as_ref(), &all, None).await.unwrap();
    let tokens: Vec<_> = server
        .starts()
        .iter()
        .map(|s| s["ClientRequestToken"].clone())
        .collect();
    assert_eq!(tokens[0], tokens[1]);
    assert_ne!(tokens[1], tokens[2], "another run");
}

#[tokio::test]
async fn after_a_failure_the_query_is_started_anew() {
    let server = numbers(3).await;
    server.now().failure = Some(json!({
        "State": "FAILED",
        "AthenaError": { "ErrorCategory": 1, "Retryable": true, "ErrorMessage": "busy" },
    }));
    let cx = site(&server);
    let all = Scan::all("rows");
    let source = config().open(&cx.source()).await.unwrap();
    let error = read(source.as_ref(), &all, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert!(error.to_string().contains("busy"), "{error}");
    server.now().failure = None;
    assert_eq!(read(source.as_ref(), &all, None).await.unwrap().0, 3);
}

#[tokio::test]
async fn a_reading_that_is_dropped_stops_the_query_and_the_next_one_starts_another() {
    let server = numbers(3).await;
    server.now().patience = u32::MAX;
    let cx = site(&server);
    let source = config().open(&cx.source()).await.unwrap();
    let split = split(source.as_ref()).await;
    let all = Scan::all("rows");
    let mut events = source
        .read(&split, std::slice::from_ref(&all), None)
        .await
        .unwrap();
    let running = async {
        while server.starts().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        event = events.next() => panic!("{event:?}"),
        () = running => {}
    }
    drop(events);
    source.close().await.unwrap();
    assert_eq!(server.asked("StopQueryExecution").len(), 1);
    server.now().patience = 0;
    let source = config().open(&cx.source()).await.unwrap();
    assert_eq!(read(source.as_ref(), &all, None).await.unwrap().0, 3);
}

#[tokio::test]
async fn a_page_whose_token_has_died_is_found_by_counting() {
    let server = numbers(40).await;
    let cx = site(&server);
    let all = Scan::all("rows");
    let source = config().open(&cx.source()).await.unwrap();
    let (_, positions) = read(source.as_ref(), &all, None).await.unwrap();
    // The header, then 6, 13 and 20 rows: the third page is behind us.
    let third = &positions[3];
    let again = read(source.as_ref(), &all, Some(third)).await.unwrap().0;
    assert_eq!(again, 20);
    let runs = server.starts().len();
    server.now().tokens_live = false;
    // Without tokens even counting ends at the first page: nothing is given twice, and it is said.
    let error = read(source.as_ref(), &all, Some(third)).await.unwrap_err();
    assert!(
        error.hint_text().unwrap().contains("--restart"),
        "{error:?}"
    );
    server.now().page = 1_000;
    let again = read(source.as_ref(), &all, Some(third)).await.unwrap().0;
    assert_eq!(again, 20);
    assert_eq!(server.starts().len(), runs, "nothing is run again");
}

#[tokio::test]
async fn no_more_pages_are_read_than_anyone_needs() {
    let server = numbers(40).await;
    let source = config().open(&site(&server).source()).await.unwrap();
    let few = Scan {
        limit: Some(10),
        ..Scan::all("rows")
    };
    let before = server.asked("GetQueryResults").len();
    assert_eq!(read(source.as_ref(), &few, None).await.unwrap().0, 13);
    assert_eq!(server.asked("GetQueryResults").len(), before + 2);
}

#[tokio::test]
async fn columns_that_changed_since_are_refused() {
    let server = numbers(3).await;
    let source = config().open(&site(&server).source()).await.unwrap();
    server.now().columns[0]["Type"] = json!("bigint");
    let error = read(source.as_ref(), &Scan::all("rows"), None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
}

#[tokio::test]
async fn two_columns_of_one_name_are_refused() {
    let server = Server::start(&[("a", "integer"), ("a", "integer")], &[]).await;
    let error = config().open(&site(&server).source()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(
        error.to_string().contains("two columns named `a`"),
        "{error}"
    );
}

#[tokio::test]
async fn the_place_of_a_mistake_is_that_of_the_users_text() {
    let server = numbers(3).await;
    // Athena counts the line that stands before the query when it is asked for its columns.
    server.now().refusal = Some("line 2:8: mismatched input 'FORM'");
    let error = config().open(&site(&server).source()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(text.contains("key: query, line: 1, column: 8"), "{text}");
}
