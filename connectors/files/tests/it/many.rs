//! Many files at once: none of them holds a thread while it waits.

use std::path::Path;
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::{Value, json};
use tidegate_core::{
    ComponentId, ComponentSpec, Event, Kind, PipelineOptions, PipelineSpec, Registry, Rows, Scan,
    Span,
};
use tidegate_runtime::{Pipeline, RunOptions, Status};

use crate::support::{gzip, ndjson, plan, source, write};

/// More than tokio has threads for what blocks.
const FILES: i64 = 640;

#[test]
fn open_files_that_wait_hold_no_threads() {
    // Fewer than there are files.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(3)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let text = ndjson(0..200_000);
        for file in 0..4 {
            write(directory.path(), &format!("{file}.ndjson"), &text);
            write(
                directory.path(),
                &format!("{file}.ndjson.gz"),
                gzip(text.as_bytes()),
            );
        }
        let source = source(directory.path(), json!({"url": "."})).await.unwrap();
        let planned = plan(&source, None, true).await.unwrap();
        let scans = [Scan::all("rows")];
        let mut open = Vec::new();
        for split in &planned.new {
            let mut events = source.read(split, &scans, None).await.unwrap();
            let first = events.next().await.unwrap().unwrap();
            // Nobody takes the rest yet, and there is more than is read ahead.
            open.push((events, first));
        }
        assert_eq!(open.len(), 8);
        for (events, first) in open.into_iter().rev() {
            let events: Vec<_> = events.collect().await;
            let events = [Ok(first)].into_iter().chain(events);
            let count = events.map(|event| match event.unwrap() {
                Event::Rows {
                    rows: Rows::Encoded(rows),
                    ..
                } => {
                    let batches = rows.decode().unwrap().batches;
                    batches.iter().map(|batch| batch.num_rows()).sum::<usize>()
                }
                other => panic!("{other:?}"),
            });
            assert_eq!(count.sum::<usize>(), 200_000);
        }
    });
}

fn component(kind: Kind, id: &str, inputs: &[&str], config: &Value) -> ComponentSpec {
    ComponentSpec {
        id: ComponentId::new(id).unwrap(),
        kind,
        tag: "files".into(),
        inputs: inputs.iter().map(|&input| input.to_owned()).collect(),
        guarantee: None,
        config: config.as_object().unwrap().clone(),
    }
}

fn lines(directory: &Path) -> usize {
    let Ok(files) = std::fs::read_dir(directory) else {
        return 0;
    };
    let texts = files.map(|file| file.unwrap()).filter(|file| {
        let name = file.file_name();
        !name.to_string_lossy().starts_with('.')
    });
    texts
        .map(|file| {
            std::fs::read_to_string(file.path())
                .unwrap()
                .lines()
                .count()
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_under_watch_with_more_files_than_threads_is_read() {
    let directory = tempfile::tempdir().unwrap();
    for file in 0..FILES {
        let rows = ndjson(file * 10..file * 10 + 10);
        write(directory.path(), &format!("in/{file}.ndjson"), rows);
    }
    let mut options = PipelineOptions::default();
    options.checkpoint.interval = Some(Span(Duration::from_millis(200)));
    let spec = PipelineSpec {
        name: "watched".into(),
        base: directory.path().to_owned(),
        options,
        components: vec![
            component(
                Kind::Source,
                "in",
                &[],
                &json!({"url": "in", "watch": true, "poll": "50ms"}),
            ),
            component(
                Kind::Sink,
                "out",
                &["in"],
                &json!({"url": "out/", "format": "ndjson"}),
            ),
        ],
    };
    let pipeline =
        Pipeline::new(spec, Registry::linked().unwrap(), serde_json::Map::new()).unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let options = RunOptions {
        state: directory.path().join("state").into(),
        stop: stopped,
        ..RunOptions::default()
    };
    let run = tokio::spawn(async move { pipeline.run(options).await });
    let out = directory.path().join("out");
    let deadline = Instant::now() + Duration::from_secs(60);
    while lines(&out) < 6400 {
        assert!(Instant::now() < deadline, "{} of 6400 rows", lines(&out));
        assert!(!run.is_finished(), "{:?}", run.await.unwrap().1);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.send(true).unwrap();
    let (report, result) = run.await.unwrap();
    result.unwrap();
    assert_eq!(report.status, Status::Stopped);
    assert_eq!(lines(&out), 6400);
}
