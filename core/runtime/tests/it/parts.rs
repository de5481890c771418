//! Large states: what a change of them writes; and on object storage what is deleted, and who reads
//! meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_core::{
    ComponentId, Epoch, ErrorKind, Next, Offset, PlanState, Split, SplitData, Token,
};
use tidegate_runtime::state::{Change, Checkpoint, Fence, PipelineState, SqliteStore, StateStore};
use tokio::runtime::Handle;

use crate::heads::{Bucket, Moment, Process};
use crate::state::{begun, id};

const LONG: Duration = Duration::from_secs(600);

fn splits(count: usize) -> Change {
    let split = |number| {
        let data = SplitData::encode(&"x".repeat(300)).unwrap();
        Split::new(format!("split {number}").as_str(), data)
    };
    Change::Planned {
        source: id("a"),
        plan: PlanState::encode(&1).unwrap(),
        next: Next::WhenFinished,
        new: (0..count).map(split).collect(),
        told: vec![],
        revoked: vec![],
    }
}

/// One split has come one step further.
fn step(epoch: u64) -> Change {
    let split = format!("split {}", epoch % 7).as_str().into();
    let offset = Offset::encode(&epoch).unwrap();
    Change::Checkpoint(Checkpoint {
        epoch: Epoch(epoch),
        last: false,
        offsets: vec![(id("a"), split, offset)],
        finished: vec![],
        schemas: vec![],
        prepared: vec![],
        kept: vec![],
    })
}

fn committed(epoch: u64) -> Change {
    Change::Committed {
        epoch: Epoch(epoch),
        settled: vec![],
        last: false,
    }
}

fn large(epoch: u64) -> Change {
    Change::Begun {
        sink: id("out"),
        epoch: Epoch(epoch),
        token: Token::encode(&format!("{epoch} {}", "x".repeat(70_000))).unwrap(),
    }
}

fn tokens(state: &PipelineState) -> Vec<u64> {
    let number = |token: &Token| {
        let text: String = token.decode().unwrap();
        text.split_once(' ').unwrap().0.parse().unwrap()
    };
    state
        .journal
        .iter()
        .map(|begun| number(&begun.token))
        .collect()
}

/// Waits until beside the head there is what it names, and nothing else.
async fn expect_tidy(bucket: &Bucket) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while bucket.parts("p") != bucket.named("p") {
        let (parts, named) = (bucket.parts("p"), bucket.named("p"));
        assert!(Instant::now() < deadline, "{parts:?}\n{named:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_change_costs_what_it_changes_however_large_the_state_is() {
    let bucket: Arc<Bucket> = Arc::default();
    let store = Process::new(&bucket).store(LONG);
    let hold = store.acquire("p").await.unwrap();
    store
        .apply("p", hold.fence(), splits(30_000))
        .await
        .unwrap();
    let written = || bucket.bytes.load(Ordering::Relaxed);
    let whole = written();
    assert!(whole > 10_000_000, "{whole}");
    let mut most = 0;
    for epoch in 1..400 {
        for change in [step(epoch), committed(epoch)] {
            let before = written();
            store.apply("p", hold.fence(), change).await.unwrap();
            most = most.max(written() - before);
        }
    }
    assert!(most < 200_000, "one change wrote {most} bytes");
    let more = (written() - whole) / 798;
    assert!(more < 60_000, "changes wrote {more} bytes each");
    let state = store.load("p").await.unwrap().unwrap();
    assert_eq!(state.sources[&id("a")].splits.len(), 30_000);
    assert_eq!(state.epoch, Epoch(399));
    expect_tidy(&bucket).await;
}

#[tokio::test]
async fn a_change_costs_what_it_changes_in_a_directory_too() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let hold = store.acquire("p").await.unwrap();
    store
        .apply("p", hold.fence(), splits(30_000))
        .await
        .unwrap();
    let outside = rusqlite::Connection::open(directory.path().join("state.db")).unwrap();
    let emptied = "PRAGMA wal_checkpoint(TRUNCATE)";
    let wal = || {
        std::fs::metadata(directory.path().join("state.db-wal"))
            .unwrap()
            .len()
    };
    for epoch in 1..10 {
        outside.query_row(emptied, [], |_| Ok(())).unwrap();
        assert_eq!(wal(), 0);
        for change in [step(epoch), committed(epoch)] {
            store.apply("p", hold.fence(), change).await.unwrap();
        }
        assert!(wal() < 100_000, "two changes wrote {} bytes", wal());
    }
}

#[tokio::test]
async fn a_state_may_have_any_size() {
    let bucket: Arc<Bucket> = Arc::default();
    let store = Process::new(&bucket).store(LONG);
    let hold = store.acquire("p").await.unwrap();
    let huge = Change::Begun {
        sink: id("out"),
        epoch: Epoch(1),
        token: Token::encode(&"x".repeat(70 << 20)).unwrap(),
    };
    store.apply("p", hold.fence(), huge).await.unwrap();
    store
        .apply("p", hold.fence(), splits(30_000))
        .await
        .unwrap();
    let state = store.load("p").await.unwrap().unwrap();
    assert_eq!(state.journal.len(), 1);
    assert_eq!(state.sources[&id("a")].splits.len(), 30_000);
    assert!(bucket.get("p").unwrap().len() < 10_000);
    expect_tidy(&bucket).await;
}

#[tokio::test]
async fn parts_that_nothing_needs_are_deleted_also_those_that_a_crash_left() {
    let bucket: Arc<Bucket> = Arc::default();
    let (first, second) = (Process::new(&bucket), Process::new(&bucket));
    let store = first.store(LONG);
    let hold = store.acquire("p").await.unwrap();
    for epoch in 1..20 {
        store.apply("p", hold.fence(), large(epoch)).await.unwrap();
    }
    expect_tidy(&bucket).await;
    assert!(bucket.parts("p").len() > 1);
    first.die();
    drop(hold);
    bucket.put_part("p", "0-left-by-a-crash", b"half of it");

    let store = second.store(LONG);
    let _hold = store.acquire("p").await.unwrap();
    expect_tidy(&bucket).await;
    let state = store.load("p").await.unwrap().unwrap();
    assert_eq!(tokens(&state), Vec::from_iter(1..20));
}

/// Does something on a thread and a runtime of its own, and waits for it.
fn elsewhere<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let thread = std::thread::spawn(move || runtime().block_on(work));
    thread.join().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_about_to_be_named_is_never_deleted_for_nothing() {
    // Whoever sets a large value needs no hold, so that nobody fences it off.
    let bucket: Arc<Bucket> = Arc::default();
    let setting = Process::new(&bucket);
    let mut interrupted = false;
    let of_others = Arc::clone(&bucket);
    setting.before_each(move |moment| {
        if moment == Moment::WritesHead && !std::mem::replace(&mut interrupted, true) {
            // The value's part is there, and the head doesn't name it yet.
            assert_eq!(of_others.parts("p").len(), 1);
            let store = Process::new(&of_others).store(LONG);
            elsewhere(async move {
                let hold = store.acquire("p").await.unwrap();
                hold.release().await.unwrap();
            });
        }
    });
    let store = setting.store(LONG);
    let value = json!("x".repeat(100_000));
    let set = store.compare_and_set_value("p", "c", "k", None, &value);
    assert!(set.await.unwrap());
    assert_eq!(store.get_value("p", "c", "k").await.unwrap(), Some(value));
    expect_tidy(&bucket).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deleted_before_the_head_that_makes_it_needless() {
    let bucket: Arc<Bucket> = Arc::default();
    let (setting, taking) = (Process::new(&bucket), Process::new(&bucket));
    let store = setting.store(LONG);
    assert!(
        store
            .compare_and_set_value("p", "c", "small", None, &json!(1))
            .await
            .unwrap()
    );

    // The value's part is there. Whoever takes the pipeline sees it, and is about to write a head
    // that doesn't name it; but the head that does comes first.
    let (come, came) = std::sync::mpsc::channel();
    let (of_setting, of_taking) = (Arc::clone(&bucket), Arc::clone(&bucket));
    let mut first = true;
    taking.before_each(move |moment| {
        if moment == Moment::WritesHead && std::mem::replace(&mut first, false) {
            come.send(()).unwrap();
            while of_taking.named("p").is_empty() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    let taken = Arc::new(std::sync::Mutex::new(None));
    let mut first = Some((taking.store(LONG), came, Arc::clone(&taken)));
    setting.before_each(move |moment| {
        if moment == Moment::WritesHead
            && let Some((store, came, taken)) = first.take()
        {
            assert_eq!(of_setting.parts("p").len(), 1);
            let take = move || elsewhere(async move { store.acquire("p").await.map(drop) });
            *taken.lock().unwrap() = Some(std::thread::spawn(take));
            came.recv().unwrap();
        }
    });
    let value = json!("x".repeat(100_000));
    let set = store.compare_and_set_value("p", "c", "k", None, &value);
    assert!(set.await.unwrap());
    let take = taken.lock().unwrap().take().unwrap();
    take.join().unwrap().unwrap();
    assert_eq!(store.get_value("p", "c", "k").await.unwrap(), Some(value));
    expect_tidy(&bucket).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_whose_parts_are_replaced_under_it_reads_again() {
    let bucket: Arc<Bucket> = Arc::default();
    let writer = Process::new(&bucket).store(LONG);
    let hold = writer.acquire("p").await.unwrap();
    let fence = hold.fence();
    let epoch = Arc::new(AtomicU64::new(0));
    let write = {
        let (writer, epoch) = (Arc::clone(&writer), Arc::clone(&epoch));
        async move || {
            // So much that the whole state is written anew.
            for _ in 0..8 {
                let epoch = epoch.fetch_add(1, Ordering::Relaxed) + 1;
                writer.apply("p", fence, large(epoch)).await.unwrap();
            }
        }
    };
    write().await;
    let reader = Process::new(&bucket);
    let mut left = 5;
    let (runtime, of_writer) = (Handle::current(), Arc::clone(&bucket));
    reader.before_each(move |moment| {
        if moment == Moment::ReadsPart && left > 0 {
            left -= 1;
            tokio::task::block_in_place(|| {
                runtime.block_on(async {
                    let before = of_writer.named("p");
                    while of_writer
                        .parts("p")
                        .iter()
                        .any(|part| before.contains(part))
                    {
                        write().await;
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                });
            });
        }
    });
    let state = reader.store(LONG).load("p").await.unwrap().unwrap();
    assert_eq!(
        tokens(&state),
        Vec::from_iter(1..=epoch.load(Ordering::Relaxed))
    );
}

#[tokio::test]
async fn a_part_that_is_gone_or_cut_off_is_told() {
    let bucket: Arc<Bucket> = Arc::default();
    let store = Process::new(&bucket).store(LONG);
    let hold = store.acquire("p").await.unwrap();
    store.apply("p", hold.fence(), large(1)).await.unwrap();
    hold.release().await.unwrap();
    let part = bucket.named("p").remove(0);
    bucket.put_part("p", &part, b"half");
    let cut_off = store.load("p").await.unwrap_err();
    bucket.delete_part("p", &part);
    let gone = store.load("p").await.unwrap_err();
    for error in [cut_off, gone] {
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains("bucket/p"), "{error}");
        assert!(error.hint_text().unwrap().contains("--state"));
    }
}

/// What version 0.1 wrote.
fn earlier_document(splits: usize) -> Value {
    let split = |number: usize| {
        let split = json!({
            "id": format!("split {number}"), "data": {"file": "x".repeat(200)}, "after": [],
            "replay": "Offset", "estimate": {},
        });
        match number % 2 {
            0 => json!({"split": split, "finished": false}),
            _ => json!({"split": split, "offset": number, "finished": true}),
        }
    };
    let uuid = || uuid_text(rand::random());
    json!({
        "layout": 1, "pipeline": "p", "write": uuid(), "beat": 9, "fence": 4,
        "lineage": uuid(), "epoch": 7,
        "run": {
            "id": uuid(), "finished": false, "checkpointed": true,
            "components": [{
                "id": "out", "kind": "sink", "inputs": ["a"], "config": {}, "fingerprint": {},
            }],
        },
        "sources": {
            "a": {
                "plan": {"seen": 3}, "plan_before": {"seen": 2}, "next": "WhenFinished",
                "splits": (0..splits).map(split).collect::<Vec<_>>(),
            },
        },
        "epochs": [{"epoch": 7, "last": false, "prepared": [["out", {"file": 7}]]}],
        "kept": [["other", {"file": 5}]],
        "journal": [{"sink": "out", "epoch": 7, "token": 70}],
        "value_write": uuid(),
        "values": {"c": {"k": {"left": 5}}},
    })
}

fn uuid_text(number: u128) -> String {
    let hex = format!("{number:032x}");
    let (a, b, c, d, e) = (
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    );
    format!("{a}-{b}-{c}-{d}-{e}")
}

#[tokio::test]
async fn a_state_of_the_earlier_layout_is_read_and_becomes_one_of_this() {
    for count in [3, 2000] {
        let bucket: Arc<Bucket> = Arc::default();
        let earlier = earlier_document(count);
        bucket.put("p", earlier.to_string().as_bytes());
        let store = Process::new(&bucket).store(LONG);
        let before = store.load("p").await.unwrap().unwrap();
        assert_eq!(bucket.get("p").unwrap(), earlier.to_string().as_bytes());

        let hold = store.acquire("p").await.unwrap();
        assert_eq!(hold.fence(), Fence(5));
        assert_eq!(store.load("p").await.unwrap().unwrap(), before);
        store.apply("p", hold.fence(), begun(8)).await.unwrap();
        let state = store.load("p").await.unwrap().unwrap();
        let source = &state.sources[&ComponentId::new("a").unwrap()];
        assert_eq!(source.splits.len(), count);
        let second = source.splits.iter().nth(1).unwrap();
        assert!(second.finished && second.offset == Some(Offset::encode(&1).unwrap()));
        assert_eq!(
            source.plan,
            Some(PlanState::encode(&json!({"seen": 3})).unwrap())
        );
        assert_eq!(
            source.plan_before,
            Some(PlanState::encode(&json!({"seen": 2})).unwrap())
        );
        assert!(state.run.as_ref().unwrap().checkpointed);
        assert_eq!(state.lineage, before.lineage);
        assert_eq!((state.epochs.len(), state.kept.len()), (1, 1));
        assert_eq!(state.journal.len(), 2);
        assert_eq!(state.journal[0].epoch, Epoch(7));
        let value = store.get_value("p", "c", "k").await.unwrap();
        assert_eq!(value, Some(json!({"left": 5})));
        let head: Value = serde_json::from_slice(&bucket.get("p").unwrap()).unwrap();
        assert_eq!(head["layout"], 2);
        assert!(head.to_string().len() < 70_000);
        assert_eq!(bucket.named("p").len(), usize::from(count > 1000));
    }
}

#[tokio::test]
async fn large_values_move_out_of_the_head_and_back() {
    let bucket: Arc<Bucket> = Arc::default();
    let store = Process::new(&bucket).store(LONG);
    let hold = store.acquire("p").await.unwrap();
    let values: Vec<Value> = [1, 90_000, 120_000, 2]
        .iter()
        .map(|&length| json!("v".repeat(length)))
        .collect();
    let mut before = None;
    for value in &values {
        let set = store.compare_and_set_value("p", "c", "k", before, value);
        assert!(set.await.unwrap());
        assert!(bucket.get("p").unwrap().len() < 70_000);
        store.apply("p", hold.fence(), begun(1)).await.unwrap();
        let found = store.get_value("p", "c", "k").await.unwrap();
        assert_eq!(found.as_ref(), Some(value));
        before = Some(value);
    }
    expect_tidy(&bucket).await;
    assert!(bucket.parts("p").is_empty());
}
