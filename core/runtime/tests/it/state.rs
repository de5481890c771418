//! The state stores by themselves: what is true of every one, and what of each.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow_schema::{DataType, Field, Schema};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tidegate_core::{
    ComponentId, Epoch, ErrorKind, Kind, Next, Offset, PlanState, Prepared, RunId, Split,
    SplitData, Token,
};
use tidegate_runtime::state::{
    Change, Checkpoint, PipelineState, RunState, SqliteStore, StateStore, StoredComponent,
};

use crate::heads::{Bucket, Process};

const LEASE: Duration = Duration::from_millis(200);

/// Two processes that share a store, and a way to take the first one's hold away from it.
struct Two {
    first: Arc<dyn StateStore>,
    second: Arc<dyn StateStore>,
    stop_first: Box<dyn Fn()>,
    resume_first: Box<dyn Fn()>,
}

fn in_a_directory() -> Two {
    let directory = tempfile::tempdir().unwrap();
    let open = || Arc::new(SqliteStore::open(directory.path()).unwrap());
    let (first, second) = (open(), open());
    Two {
        first,
        second,
        // As if the locks had been lost with their machine.
        stop_first: Box::new(move || {
            std::fs::remove_file(directory.path().join("locks/p")).unwrap();
            std::fs::remove_file(directory.path().join("p.lock")).unwrap();
        }),
        resume_first: Box::new(|| {}),
    }
}

fn on_object_storage() -> Two {
    let bucket = Arc::default();
    let (first, second) = (Process::new(&bucket), Process::new(&bucket));
    Two {
        first: first.store(LEASE),
        second: second.store(LEASE),
        stop_first: Box::new({
            let first = Arc::clone(&first);
            move || first.stop()
        }),
        resume_first: Box::new(move || first.resume()),
    }
}

fn every_store() -> [Two; 2] {
    [in_a_directory(), on_object_storage()]
}

pub fn id(name: &str) -> ComponentId {
    ComponentId::new(name).unwrap()
}

pub fn begun(epoch: u64) -> Change {
    Change::Begun {
        sink: id("out"),
        epoch: Epoch(epoch),
        token: Token::encode(&epoch).unwrap(),
    }
}

#[tokio::test]
async fn whoever_was_taken_over_from_changes_nothing_any_more() {
    for Two {
        first,
        second,
        stop_first,
        resume_first,
    } in every_store()
    {
        assert_eq!(first.load("p").await.unwrap(), None);
        let hold = first.acquire("p").await.unwrap();
        let old = hold.fence();
        first.apply("p", old, begun(1)).await.unwrap();

        let refused = second.acquire("p").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        let this = format!("process {}", std::process::id());
        assert!(refused.to_string().contains(&this), "{refused}");
        assert!(refused.hint_text().unwrap().contains("--state"));

        stop_first();
        let new_hold = second.acquire("p").await.unwrap();
        let new = new_hold.fence();
        assert!(new > old);
        resume_first();

        let conflicts = [
            first.apply("p", old, begun(2)).await,
            first.verify("p", old).await,
            first.apply("p", old, begun(2)).await,
        ];
        for conflict in conflicts {
            let error = conflict.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict);
            assert!(error.message().contains("taken over"), "{error}");
        }
        second.verify("p", new).await.unwrap();
        second.apply("p", new, begun(3)).await.unwrap();
        // Whoever was taken over from has nothing to give back.
        hold.release().await.unwrap();
        second.apply("p", new, begun(4)).await.unwrap();
        let state = second.load("p").await.unwrap().unwrap();
        assert_eq!(state.journal.len(), 3);
        assert_eq!(state.epoch, Epoch(4), "an epoch's number is used once");
    }
}

#[tokio::test]
async fn what_was_given_back_is_taken_at_once_and_keeps_its_lineage() {
    for Two { first, second, .. } in every_store() {
        let hold = first.acquire("p").await.unwrap();
        let fence = hold.fence();
        first.apply("p", fence, begun(1)).await.unwrap();
        let state = first.load("p").await.unwrap();
        hold.release().await.unwrap();

        let began = Instant::now();
        let next = second.acquire("p").await.unwrap();
        assert!(next.fence() > fence);
        assert!(began.elapsed() < LEASE, "{:?}", began.elapsed());
        assert_eq!(second.load("p").await.unwrap(), state);
        assert_eq!(second.load("another").await.unwrap(), None);
        // Another pipeline is another matter.
        first.acquire("another").await.unwrap();
    }
}

#[tokio::test]
async fn values_are_set_only_by_who_knows_the_old_one() {
    for Two { first, second, .. } in every_store() {
        let (one, two) = (json!({"left": 1}), json!({"left": 2}));
        let set = async |store: &Arc<dyn StateStore>, expected, value| {
            let set = store.compare_and_set_value("p", "c", "k", expected, value);
            set.await.unwrap()
        };
        assert!(set(&first, None, &one).await);
        assert!(!set(&second, None, &two).await);
        // With or without a holder.
        let hold = first.acquire("p").await.unwrap();
        let fence = hold.fence();
        assert!(set(&second, Some(&one), &two).await);
        first.apply("p", fence, begun(1)).await.unwrap();
        assert!(set(&first, Some(&two), &one).await);
        assert!(set(&second, Some(&one), &two).await);
        first.apply("p", fence, begun(2)).await.unwrap();
        let state = first.load("p").await.unwrap().unwrap();
        assert_eq!(state.journal.len(), 2);
        assert_eq!(first.get_value("p", "c", "k").await.unwrap(), Some(two));
        assert_eq!(first.get_value("p", "other", "k").await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_count_at_once_each_counts_once() {
    for Two { first, second, .. } in every_store() {
        let count = |store: Arc<dyn StateStore>| {
            tokio::spawn(async move {
                for _ in 0..20 {
                    loop {
                        let found = store.get_value("p", "c", "n").await.unwrap();
                        let next = json!(found.as_ref().map_or(0, |n| n.as_u64().unwrap()) + 1);
                        let set = store.compare_and_set_value("p", "c", "n", found.as_ref(), &next);
                        if set.await.unwrap() {
                            break;
                        }
                    }
                }
            })
        };
        for task in [count(Arc::clone(&first)), count(Arc::clone(&second))] {
            task.await.unwrap();
        }
        let counted = first.get_value("p", "c", "n").await.unwrap();
        assert_eq!(counted, Some(json!(40)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_at_once_is_known_to_every_change_that_follows() {
    for Two { first, .. } in every_store() {
        let hold = first.acquire("p").await.unwrap();
        let fence = hold.fence();
        for round in 1..=40 {
            let plans = (0..3).map(|source| {
                let planned = Change::Planned {
                    source: id(&format!("s{source}")),
                    plan: PlanState::encode(&round).unwrap(),
                    next: Next::WhenFinished,
                    new: vec![Split::new(
                        round.to_string(),
                        SplitData::encode(&round).unwrap(),
                    )],
                    told: Vec::new(),
                    revoked: Vec::new(),
                };
                let store = Arc::clone(&first);
                tokio::spawn(async move { store.apply("p", fence, planned).await })
            });
            for plan in plans.collect::<Vec<_>>() {
                plan.await.unwrap().unwrap();
            }
            let split = || round.to_string().into();
            let offset = || Offset::encode(&round).unwrap();
            let checkpoint = Checkpoint {
                epoch: Epoch(round),
                last: false,
                offsets: (0..3)
                    .map(|source| (id(&format!("s{source}")), split(), offset()))
                    .collect(),
                finished: Vec::new(),
                schemas: Vec::new(),
                prepared: Vec::new(),
                kept: Vec::new(),
            };
            let stored = Change::Checkpoint(checkpoint);
            first.apply("p", fence, stored).await.unwrap();
            let state = first.load("p").await.unwrap().unwrap();
            for (source, known) in &state.sources {
                let split = known.splits.get(&split()).unwrap();
                assert_eq!(split.offset, Some(offset()), "{source} in round {round}");
            }
        }
        hold.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_state_of_another_version_or_no_state_at_all_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("state.db"),
        "this is no database, whatever its name says",
    )
    .unwrap();
    let error = SqliteStore::open(directory.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.hint_text().unwrap().contains("--state"));

    let bucket: Arc<Bucket> = Arc::default();
    let store = Process::new(&bucket).store(LEASE);
    let others = [
        ("this is no document", "can't be read"),
        (r#"{"layout": 1, "fence": 7}"#, "can't be read"),
        (r#"{"layout": 3, "all": "is new"}"#, "another version"),
    ];
    for (text, said) in others {
        bucket.put("p", text.as_bytes());
        let errors = [
            store.acquire("p").await.unwrap_err(),
            store.load("p").await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Conflict);
            assert!(error.message().contains(said), "{error}");
            assert!(error.to_string().contains("bucket/p"), "{error}");
            assert!(error.hint_text().unwrap().contains("--state"));
        }
        let left = bucket.get("p").unwrap();
        assert_eq!(left, text.as_bytes(), "it is left as it was");
    }
}

/// Changes as a run might make them, and some that it never would.
fn changes(seed: u64, count: usize) -> Vec<Change> {
    let mut random = SmallRng::seed_from_u64(seed);
    let sources = [id("a"), id("b")];
    let sinks = [id("x"), id("y")];
    // Half of the states outgrow their heads.
    let long = if seed.is_multiple_of(2) { 0 } else { 15_000 };
    let text = |random: &mut SmallRng| {
        let length = random.random_range(0..=long);
        format!("{}{}", random.random::<u32>(), "x".repeat(length))
    };
    let (mut epoch, mut split) = (0_u64, 0_u64);
    let mut splits: Vec<(ComponentId, tidegate_core::SplitId)> = Vec::new();
    let mut stored: BTreeSet<u64> = BTreeSet::new();
    let run = |random: &mut SmallRng| RunState {
        id: RunId::new(),
        finished: false,
        checkpointed: false,
        components: vec![StoredComponent {
            id: sinks[0].clone(),
            kind: Kind::Sink,
            inputs: vec!["a.numbers".to_owned()],
            config: json!({"type": "place", "n": random.random::<u32>()}),
            fingerprint: json!({"type": "place"}),
        }],
        file: random
            .random_bool(0.5)
            .then(|| "/pipelines/a.toml".to_owned()),
        refreshed: sources
            .iter()
            .filter(|_| random.random_ratio(1, 4))
            .cloned()
            .collect(),
    };
    let mut all = vec![];
    for source in &sources {
        all.push(Change::Planned {
            source: source.clone(),
            plan: PlanState::encode(&0).unwrap(),
            next: Next::Complete,
            new: vec![],
            told: vec![],
            revoked: vec![],
        });
    }
    while all.len() < count {
        let source = sources[random.random_range(0..2)].clone();
        let sink = sinks[random.random_range(0..2)].clone();
        let value = |random: &mut SmallRng| Prepared::encode(&text(random)).unwrap();
        let change = match random.random_range(0..14) {
            0 => Change::BeginRun {
                run: run(&mut random),
            },
            1 => Change::Reconfigure {
                run: run(&mut random),
            },
            2..=4 => {
                let new: Vec<Split> = (0..random.random_range(0..4))
                    .map(|_| {
                        // One that is there already is refused.
                        split += u64::from(!random.random_ratio(1, 30));
                        let id = format!("split {split}");
                        Split::new(id.as_str(), SplitData::encode(&text(&mut random)).unwrap())
                    })
                    .collect();
                splits.extend(new.iter().map(|split| (source.clone(), split.id.clone())));
                let told = splits.iter().filter(|(of, _)| *of == source);
                let told: Vec<_> = told.filter(|_| random.random_ratio(1, 3)).collect();
                let revoked = told.iter().filter(|_| random.random_ratio(1, 4));
                Change::Planned {
                    revoked: revoked.map(|(_, split)| split.clone()).collect(),
                    told: told.iter().map(|(_, split)| split.clone()).collect(),
                    plan: PlanState::encode(&text(&mut random)).unwrap(),
                    next: Next::AskAgain(Duration::from_millis(random.random_range(0..99))),
                    source,
                    new,
                }
            }
            5 => Change::Replan { source },
            6 | 7 => Change::Begun {
                sink,
                epoch: Epoch(epoch + random.random_range(1..3)),
                token: Token::encode(&text(&mut random)).unwrap(),
            },
            8 | 9 => {
                // So is an epoch that is stored.
                epoch += u64::from(!random.random_ratio(1, 10));
                stored.insert(epoch);
                let some: Vec<_> = splits
                    .iter()
                    .filter(|_| random.random_ratio(1, 2))
                    .cloned()
                    .collect();
                let field = Field::new(format!("c{epoch}"), DataType::Int64, true);
                Change::Checkpoint(Checkpoint {
                    epoch: Epoch(epoch),
                    last: random.random_ratio(1, 5),
                    offsets: some
                        .iter()
                        .map(|(source, split)| {
                            let offset = Offset::encode(&text(&mut random)).unwrap();
                            (source.clone(), split.clone(), offset)
                        })
                        .collect(),
                    finished: some
                        .into_iter()
                        .step_by(2)
                        .map(|(source, split)| {
                            let offset = random
                                .random_bool(0.5)
                                .then(|| Offset::encode(&random.random::<u32>()));
                            (source, split, offset.transpose().unwrap())
                        })
                        .collect(),
                    schemas: vec![(source, "numbers".into(), Schema::new(vec![field]))],
                    prepared: vec![(sink.clone(), value(&mut random))],
                    kept: vec![(sink, value(&mut random))],
                })
            }
            10 | 11 => {
                let Some(epoch) = stored.pop_first() else {
                    continue;
                };
                Change::Committed {
                    epoch: Epoch(epoch),
                    settled: vec![sink],
                    last: random.random_ratio(1, 4),
                }
            }
            12 => Change::Recovered { sink },
            _ => Change::Forsake { sink },
        };
        all.push(change);
    }
    all
}

#[tokio::test]
async fn all_stores_make_the_same_of_the_same_changes() {
    let (mut refused, mut parts) = (0, 0);
    for seed in 0..16 {
        let directory = tempfile::tempdir().unwrap();
        let bucket: Arc<Bucket> = Arc::default();
        let stores = || -> [Arc<dyn StateStore>; 2] {
            let sqlite = SqliteStore::open(directory.path()).unwrap();
            [Arc::new(sqlite), Process::new(&bucket).store(LEASE)]
        };
        let mut held = [None, None];
        let mut model = None;
        for (step, change) in changes(seed, 80).into_iter().enumerate() {
            // Now and then another process continues.
            if step % 23 == 0 {
                held = [None, None];
                for (held, store) in held.iter_mut().zip(stores()) {
                    let hold = store.acquire("p").await.unwrap();
                    *held = Some((store, hold));
                }
            }
            let mut results = Vec::new();
            let mut found = Vec::new();
            for (store, hold) in held.iter().flatten() {
                if model.is_none() {
                    model = store.load("p").await.unwrap();
                }
                let result = store.apply("p", hold.fence(), change.clone()).await;
                results.push(result.map_err(|error| error.message().to_owned()));
                found.push(store.load("p").await.unwrap().unwrap());
            }
            let model = model.as_mut().unwrap();
            let result = model.apply(&change).map_err(|e| e.message().to_owned());
            refused += usize::from(result.is_err());
            for (mut found, of) in found.into_iter().zip(results) {
                assert_eq!(of, result, "seed {seed}, step {step}, {change:#?}");
                found.lineage = model.lineage;
                assert!(
                    found == *model,
                    "seed {seed}, step {step}, {change:#?}:\n{found:#?}\n{model:#?}"
                );
            }
            parts += bucket.named("p").len();
        }
    }
    assert!(refused > 10, "{refused} changes were refused");
    assert!(parts > 300, "{parts} parts in all");
}

/// Makes changes over a way on which a third of the writes goes wrong; says how many of them came
/// back as errors.
async fn change_in_spite_of_faults(seed: u64) -> u32 {
    let bucket = Arc::default();
    let store = Process::faulty(&bucket, seed).store(Duration::from_secs(60));
    let Ok(hold) = store.acquire("p").await else {
        return 0;
    };
    let fence = hold.fence();
    let load = async || loop {
        match store.load("p").await {
            Ok(state) => break state.unwrap(),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Transient, "{error:?}"),
        }
    };
    // Half of the states outgrow their heads.
    let long = "x".repeat(if seed.is_multiple_of(2) { 0 } else { 5000 });
    let (mut errors, mut epochs, mut set) = (0, Vec::new(), Vec::new());
    for epoch in 1..30_u64 {
        let token = Token::encode(&(epoch, &long)).unwrap();
        let change = Change::Begun {
            sink: id("out"),
            epoch: Epoch(epoch),
            token: token.clone(),
        };
        match store.apply("p", fence, change).await {
            Ok(()) => epochs.push(epoch),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Transient, "{error:?}");
                errors += 1;
                // What the state says now is what is true from now on.
                let journal = load().await.journal;
                if journal.iter().any(|begun| begun.token == token) {
                    epochs.push(epoch);
                }
            }
        }
        let key = format!("k{epoch}");
        let value = json!([epoch, long]);
        let was_set = store.compare_and_set_value("p", "c", &key, None, &value);
        if let Ok(was_set) = was_set.await {
            assert!(was_set);
            set.push((key, value));
        }
    }
    let expect = |state: PipelineState| {
        let tokens = state
            .journal
            .iter()
            .map(|begun| begun.token.decode().unwrap());
        let found: Vec<(u64, String)> = tokens.collect();
        let found = found.into_iter().map(|(epoch, _)| epoch);
        assert_eq!(Vec::from_iter(found), epochs, "seed {seed}");
    };
    expect(load().await);
    // So does another one find it, over a way on which nothing goes wrong.
    drop(hold);
    let next = Process::new(&bucket).store(Duration::from_secs(60));
    let hold = next.acquire("p").await.unwrap();
    next.apply("p", hold.fence(), Change::Recovered { sink: id("other") })
        .await
        .unwrap();
    expect(next.load("p").await.unwrap().unwrap());
    for (key, value) in set {
        let found = next.get_value("p", "c", &key).await.unwrap();
        assert_eq!(found, Some(value), "seed {seed}, {key}");
    }
    errors
}

#[tokio::test]
async fn a_change_takes_place_once_whatever_becomes_of_answers() {
    let all = (0..60).map(change_in_spite_of_faults);
    let errors: u32 = futures::future::join_all(all).await.into_iter().sum();
    assert!(errors > 10, "{errors} changes went wrong for good");
}

#[tokio::test]
async fn a_holder_that_lives_keeps_its_hold_and_one_that_is_dead_loses_it() {
    let bucket: Arc<Bucket> = Arc::default();
    let (first, second) = (Process::new(&bucket), Process::new(&bucket));
    let (one, other) = (first.store(LEASE), second.store(LEASE));
    let hold = one.acquire("p").await.unwrap();
    // It does nothing but live, for longer than its lease.
    let began = Instant::now();
    while began.elapsed() < LEASE * 3 {
        let refused = other.acquire("p").await.unwrap_err();
        assert!(refused.message().contains("already running"), "{refused}");
    }
    one.verify("p", hold.fence()).await.unwrap();

    first.die();
    let began = Instant::now();
    other.acquire("p").await.unwrap();
    assert!(
        began.elapsed() >= LEASE,
        "it watched for {:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn of_two_that_take_over_at_once_one_gets_it() {
    let bucket: Arc<Bucket> = Arc::default();
    let dead = Process::new(&bucket);
    let _hold = dead.store(LEASE).acquire("p").await.unwrap();
    dead.die();
    let (one, other) = (
        Process::new(&bucket).store(LEASE),
        Process::new(&bucket).store(LEASE),
    );
    let taken = tokio::join!(one.acquire("p"), other.acquire("p"));
    let won = [&taken.0, &taken.1].map(|taken| taken.as_ref().map_err(|error| error.kind()));
    let lost = won.iter().filter_map(|taken| taken.as_ref().err());
    assert_eq!(Vec::from_iter(lost), [&ErrorKind::Conflict], "{won:?}");
}

#[tokio::test]
async fn changes_that_come_together_are_written_together() {
    let bucket: Arc<Bucket> = Arc::default();
    let slow = Process::slow(&bucket, Duration::from_millis(20));
    let store = slow.store(Duration::from_secs(600));
    let hold = store.acquire("p").await.unwrap();
    let fence = hold.fence();
    let before = bucket.writes.load(Ordering::Relaxed);
    let changes = (1..=50).map(|epoch| store.apply("p", fence, begun(epoch)));
    for result in futures::future::join_all(changes).await {
        result.unwrap();
    }
    let writes = bucket.writes.load(Ordering::Relaxed) - before;
    assert!(writes <= 3, "{writes} writes");
    let state = store.load("p").await.unwrap().unwrap();
    let tokens = state
        .journal
        .iter()
        .map(|begun| begun.token.decode::<u64>().unwrap());
    assert!(tokens.eq(1..=50), "in the order in which they came");
}

#[test]
fn many_open_a_new_store_at_once() {
    for _ in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        let start = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    SqliteStore::open(directory.path()).unwrap();
                });
            }
        });
    }
}
