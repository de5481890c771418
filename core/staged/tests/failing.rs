//! Files that fail: nobody may wait for what never comes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a test may panic"
)]

use std::sync::Arc;
use std::time::Duration;

use tidegate_core::{
    CpuWriter, Epoch, Error, ErrorKind, Rejected, Result, SinkBatch, SinkEpoch, Writer, WriterId,
};
use tidegate_staged::{Destination, Files, Format, Outlet};
use tidegate_storage::{Access, Location, Storage};
use tidegate_testkit::suites::{TestContext, context};

/// More than are held open.
const MANY: usize = 500;

/// A file for each key of a batch; some keys can't be written.
#[derive(Debug)]
struct Keys;

impl Format for Keys {
    type Key = usize;
    type Encoder = ();
    type About = ();

    fn name(&self, key: &usize, unique: &str) -> String {
        format!("{key}-{unique}")
    }

    fn about(&self, _: &usize) {}

    fn begin(&self, _: &usize, _: &mut Outlet) -> Result<()> {
        Ok(())
    }

    fn end(&self, (): (), _: &mut Outlet) -> Result<()> {
        Ok(())
    }

    fn writer(files: &Arc<Files<Self>>) -> Result<Box<dyn CpuWriter>> {
        Ok(Box::new(KeyWriter(Arc::clone(files))))
    }
}

/// What happens with key 0.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Error,
    Panic,
}

struct KeyWriter(Arc<Files<Keys>>);

impl KeyWriter {
    fn add(&self, key: usize) -> Result<()> {
        self.0.append(&key, 0, |(), out| {
            out.send("bytes");
            Ok(())
        })
    }

    fn fail(&self, fault: Fault) -> Result<()> {
        self.0.append(&0, 0, |(), _| match fault {
            Fault::Error => Err(Error::internal("it can't be encoded")),
            Fault::Panic => panic!("the encoder is broken"),
        })
    }
}

impl CpuWriter for KeyWriter {
    fn write(&mut self, _: SinkBatch) -> Result<Rejected> {
        Ok(Rejected::default())
    }

    fn finish(self: Box<Self>) -> Result<Rejected> {
        Ok(Rejected::default())
    }
}

async fn destination(cx: &TestContext, target: u64) -> Arc<Destination> {
    let common = cx.common();
    let location = Location::parse("out", &common.base).unwrap();
    let access = Access::of(&common, None).unwrap();
    let storage = Storage::open(&location, &access).await.unwrap();
    Destination::new(storage, None, target, &cx.sink(Vec::new()))
}

/// Runs what mustn't wait forever.
async fn soon<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    let task = tokio::task::spawn_blocking(call);
    let done = tokio::time::timeout(Duration::from_secs(30), task).await;
    done.expect("it waits forever").expect("no panic")
}

fn files_under(cx: &TestContext) -> usize {
    tidegate_testkit::suites::files_under(&cx.path("out"))
        .unwrap()
        .len()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_writer_goes_on_after_an_append_failed() {
    for fault in [Fault::Error, Fault::Panic] {
        let cx = context();
        let destination = destination(&cx, 1 << 20).await;
        let epoch = destination.epoch(Epoch(1), Keys);
        let files = Arc::clone(epoch.files());
        soon(move || {
            let writer = KeyWriter(files);
            let failed =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| writer.fail(fault)));
            assert!(!matches!(failed, Ok(Ok(()))));
            // The slot that failed is the one that was idle longest.
            for key in 1..MANY {
                writer.add(key).unwrap();
            }
        })
        .await;
        epoch.abandon().await;
        assert_eq!(files_under(&cx), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_writer_and_the_seal_are_told_why_a_file_failed() {
    let cx = context();
    // A file stands where the directory is to be.
    std::fs::write(cx.path("out"), "").unwrap();
    let destination = destination(&cx, 1 << 20).await;
    let epoch = destination.epoch(Epoch(1), Keys);
    let files = Arc::clone(epoch.files());
    let error = soon(move || {
        let writer = KeyWriter(files);
        loop {
            if let Err(error) = writer.add(0) {
                break error;
            }
            std::thread::yield_now();
        }
    })
    .await;
    let sealed = epoch.seal().await.unwrap_err();
    epoch.abandon().await;
    for error in [error, sealed] {
        assert_ne!(error.kind(), ErrorKind::Transient);
        let told = format!("{error:?}");
        assert!(told.contains("out") && told.contains("caused by"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_files_are_ended_while_they_are_written() {
    let cx = context();
    let destination = destination(&cx, 4).await;
    let epoch = destination.epoch(Epoch(1), Keys);
    let files = Arc::clone(epoch.files());
    soon(move || {
        let writer = KeyWriter(files);
        for key in 0..3 * MANY {
            writer.add(key % 7).unwrap();
        }
    })
    .await;
    let id = WriterId {
        epoch: Epoch(1),
        executor: 0,
        index: 0,
    };
    let Writer::Cpu(writer) = epoch.writer(id).await.unwrap() else {
        panic!("another writer");
    };
    writer.finish().unwrap();
    assert_eq!(epoch.seal().await.unwrap().prepared.len(), 1);
    assert_eq!(files_under(&cx), 3 * MANY);
}
