//! What is seen on the screen.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use arrow_array::{Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use tidegate_core::{Epoch, ErrorKind, Input, Sink, SinkConfig, WriterId};
use tidegate_sink_console::{ConsoleConfig, ConsoleSink, Format};
use tidegate_testkit::suites::{Hand, sink_suite};

#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Screen {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn batch(rows: i64) -> RecordBatch {
    let fields = vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
    ];
    let names: StringArray = (0..rows)
        .map(|id| (id > 0).then(|| format!("n{id}")))
        .collect();
    let columns: Vec<arrow_array::ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(0..rows)),
        Arc::new(names),
    ];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn sink(format: Format, rows: u32, out: impl Write + Send + 'static) -> ConsoleSink {
    let input = |name: &str| Input {
        name: name.into(),
        schema: batch(0).schema(),
    };
    let config = ConsoleConfig {
        format,
        rows: Some(rows),
    };
    ConsoleSink::new(&config, &[input("sales"), input("stores")], Box::new(out))
}

const ID: WriterId = WriterId {
    epoch: Epoch(1),
    executor: 0,
    index: 0,
};

#[tokio::test]
async fn a_table_of_the_first_rows_of_each_input() {
    let screen = Screen::default();
    let sink = sink(Format::Table, 2, screen.clone());
    let epoch = sink.epoch(ID.epoch).await.unwrap();
    let mut writer = Hand::open(&epoch, ID).await.unwrap();
    writer.write(1, batch(1)).await.unwrap();
    writer.write(0, batch(3)).await.unwrap();
    writer.write(0, batch(1235)).await.unwrap();
    writer.finish().await.unwrap();
    epoch.seal().await.unwrap();
    assert_eq!(screen.text(), "");
    sink.close().await.unwrap();
    sink.close().await.unwrap();
    let want = "\
sales
┌────┬──────┐
│ id ┆ name │
╞════╪══════╡
│  0 ┆ NULL │
│  1 ┆ n1   │
└────┴──────┘
… 1,236 more rows
stores
┌────┬──────┐
│ id ┆ name │
╞════╪══════╡
│  0 ┆ NULL │
└────┴──────┘
";
    assert_eq!(screen.text(), want);
}

#[tokio::test]
async fn every_row_a_line() {
    let screen = Screen::default();
    let sink = sink(Format::Ndjson, 1, screen.clone());
    let epoch = sink.epoch(ID.epoch).await.unwrap();
    let mut writer = Hand::open(&epoch, ID).await.unwrap();
    writer.write(0, batch(2)).await.unwrap();
    assert_eq!(
        screen.text(),
        "{\"id\":0,\"name\":null}\n{\"id\":1,\"name\":\"n1\"}\n"
    );
}

#[tokio::test]
async fn a_reader_that_has_ended_is_not_waited_for() {
    let sink = sink(Format::Ndjson, 1, Gone);
    let epoch = sink.epoch(ID.epoch).await.unwrap();
    let mut writer = Hand::open(&epoch, ID).await.unwrap();
    let error = writer.write(0, batch(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn it_keeps_the_contract() {
    sink_suite(
        |cx| async move { ConsoleConfig::default().open(&cx).await },
        |_| async { Ok(Vec::new()) },
    )
    .check()
    .await;
}
