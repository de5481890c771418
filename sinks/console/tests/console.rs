//! What is seen on the screen.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arrow_array::{Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use tidegate_core::{Commit, Epoch, Input, Lineage, RunId, Sink, SinkConfig, WriterId};
use tidegate_sink_console::{ConsoleConfig, ConsoleSink, Format, Look, draw, when_closed};
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
async fn an_input_without_rows_is_shown_at_the_end_of_the_run() {
    for format in [Format::Table, Format::Ndjson] {
        let screen = Screen::default();
        let sink = sink(format, 2, screen.clone());
        let epoch = sink.epoch(ID.epoch).await.unwrap();
        let mut writer = Hand::open(&epoch, ID).await.unwrap();
        writer.write(0, batch(1)).await.unwrap();
        writer.finish().await.unwrap();
        let prepared = epoch.seal().await.unwrap().prepared;
        let commit = |last| Commit {
            pipeline: "test",
            lineage: Lineage::new(),
            run: RunId::new(),
            epoch: ID.epoch,
            last,
            prepared: &prepared,
        };
        let empty = "\
stores
┌────┬──────┐
│ id ┆ name │
╞════╪══════╡
└────┴──────┘
0 rows
";
        sink.commit(&commit(false)).await.unwrap();
        assert!(!screen.text().contains("stores"));
        for _again in 0..2 {
            sink.commit(&commit(true)).await.unwrap();
            let is_table = format == Format::Table;
            assert_eq!(
                screen.text().ends_with(empty),
                is_table,
                "{}",
                screen.text()
            );
            assert_eq!(
                screen.text().matches("0 rows").count(),
                usize::from(is_table)
            );
        }
    }
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
    let told = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&told);
    when_closed(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    // The run continues for its other sinks.
    writer.write(0, batch(2)).await.unwrap();
    writer.write(0, batch(2)).await.unwrap();
    assert_eq!(told.load(Ordering::SeqCst), 1);
}

#[test]
fn a_table_is_never_wider_than_the_terminal_and_cuts_no_number() {
    let numbers = |at: i64| Arc::new(Int64Array::from(vec![at * 1_234_567; 2])) as _;
    let mut fields = vec![Field::new("note", DataType::Utf8, false)];
    let mut columns: Vec<arrow_array::ArrayRef> = vec![Arc::new(StringArray::from(vec![
        "a text of forty characters, or about so",
        "",
    ]))];
    for at in 1..=12 {
        fields.push(Field::new(
            format!("measure_number_{at}"),
            DataType::Int64,
            false,
        ));
        columns.push(numbers(at));
    }
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let mut fewest = usize::MAX;
    for width in 20..250 {
        let look = Look {
            width: Some(width),
            bold: false,
        };
        let (text, hidden) = draw(&schema, std::slice::from_ref(&batch), 9, look).unwrap();
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= width, "{width}:\n{text}");
        assert!(hidden <= fewest, "{width}");
        fewest = hidden;
        for at in 1..=i64::try_from(12 - hidden).unwrap() {
            assert!(
                text.contains(&format!(" {} ", at * 1_234_567)),
                "{width}:\n{text}"
            );
        }
    }
    assert_eq!(fewest, 0);
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
