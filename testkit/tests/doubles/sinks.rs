use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use arrow_array::RecordBatch;
use tidegate_core::{
    Commit, Delivery, Distribution, Epoch, Error, ErrorKind, IoWriter, Prepared, Recovery, Result,
    Sealed, Sink, SinkBatch, SinkContext, SinkEpoch, Spread, Token, Visibility, Writer, WriterId,
    Written, async_trait,
};
use tidegate_testkit::suites::{SinkSuite, sink_suite};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Defect {
    None,
    OpenLeavesProbe,
    StrangeColumn,
    CantClose,
    PreparesVisibly,
    LosesThirdEpoch,
    AppliesAgain,
    NeedsInputs,
    TruncatesToItsEpoch,
    DeletesByListing,
    WritersCollide,
    ExecutorsCollide,
    OneEpochAtOnce,
    RefusesEmpty,
    Appends,
    NothingChangesNothing,
    AbandonPublishes,
    RecoversNothing,
    KeepsNothing,
    BeginsBeforeJournal,
    WrongKind,
    SealsTwice,
    GoesOnAfterSeal,
    LosesOrder,
    MakesUpOrigins,
}

impl Defect {
    fn delivery(self) -> Delivery {
        match self {
            Self::MakesUpOrigins => Delivery::Idempotent,
            _ => Delivery::TwoPhase,
        }
    }
}

const DOUBLES: &[(Defect, Visibility, &str)] = {
    use Visibility::{Epoch, Run};
    &[
        (Defect::OpenLeavesProbe, Epoch, "open_leaves_nothing"),
        (Defect::StrangeColumn, Epoch, "distribution_names_columns"),
        (Defect::CantClose, Epoch, "takes_rows_and_closes"),
        (
            Defect::PreparesVisibly,
            Epoch,
            "nothing_visible_before_commit",
        ),
        (
            Defect::LosesThirdEpoch,
            Epoch,
            "commit_shows_exactly_the_rows",
        ),
        (Defect::AppliesAgain, Epoch, "commit_replayed_is_harmless"),
        (Defect::NeedsInputs, Epoch, "commit_by_a_successor"),
        (
            Defect::TruncatesToItsEpoch,
            Epoch,
            "commit_by_a_fenced_process",
        ),
        (Defect::DeletesByListing, Run, "commit_by_a_fenced_process"),
        (Defect::WritersCollide, Epoch, "writers_at_once"),
        (Defect::ExecutorsCollide, Epoch, "executors_at_once"),
        (Defect::OneEpochAtOnce, Epoch, "epochs_overlap"),
        (Defect::RefusesEmpty, Epoch, "empty_epoch"),
        (Defect::Appends, Run, "overwrite_keeps_all_epochs"),
        (Defect::NothingChangesNothing, Run, "overwrite_with_nothing"),
        (Defect::AbandonPublishes, Epoch, "abandoned_is_invisible"),
        (
            Defect::RecoversNothing,
            Epoch,
            "recovery_leaves_nothing_else",
        ),
        (Defect::KeepsNothing, Epoch, "recovery_leaves_what_is_kept"),
        (
            Defect::BeginsBeforeJournal,
            Epoch,
            "journalled_before_the_first_byte",
        ),
        (Defect::WrongKind, Epoch, "errors_have_kinds"),
        (Defect::SealsTwice, Epoch, "commit_shows_exactly_the_rows"),
        (
            Defect::GoesOnAfterSeal,
            Epoch,
            "recovery_leaves_what_is_kept",
        ),
        (Defect::LosesOrder, Epoch, "ordered_rows_stay_in_order"),
        (
            Defect::MakesUpOrigins,
            Epoch,
            "the_same_origins_are_the_same_rows",
        ),
    ]
};

#[tokio::test]
async fn the_model_passes() {
    let report = suite(Defect::None, Visibility::Epoch, Delivery::TwoPhase)
        .report()
        .await;
    report.assert();
    let skipped: Vec<_> = report.skipped.iter().map(|(check, _)| *check).collect();
    assert_eq!(
        skipped,
        [
            "overwrite_keeps_all_epochs",
            "overwrite_with_nothing",
            "the_same_origins_are_the_same_rows"
        ]
    );
    let report = suite(Defect::None, Visibility::Run, Delivery::TwoPhase)
        .report()
        .await;
    report.assert();
    let skipped: Vec<_> = report.skipped.iter().map(|(check, _)| *check).collect();
    assert_eq!(skipped, ["the_same_origins_are_the_same_rows"]);
    let report = suite(Defect::None, Visibility::Epoch, Delivery::Idempotent)
        .report()
        .await;
    report.assert();
    let check = "the_same_origins_are_the_same_rows";
    assert!(report.passed.contains(&check), "{:?}", report.skipped);
}

#[tokio::test]
async fn a_sink_is_only_held_to_what_it_promises() {
    let at_least_once = suite(
        Defect::PreparesVisibly,
        Visibility::Epoch,
        Delivery::AtLeastOnce,
    );
    at_least_once.report().await.assert();
    let observer = suite(
        Defect::LosesThirdEpoch,
        Visibility::Epoch,
        Delivery::Observer,
    );
    observer.report().await.assert();
}

#[tokio::test]
async fn a_sink_that_replaces_what_it_touches_keeps_the_rest() {
    let touching = suite(
        Defect::NothingChangesNothing,
        Visibility::Run,
        Delivery::TwoPhase,
    );
    touching.overwrites_only_touched().report().await.assert();
}

#[tokio::test]
async fn each_double_is_caught() {
    for (defect, visibility, check) in DOUBLES {
        let report = suite(*defect, *visibility, defect.delivery())
            .report()
            .await;
        super::caught(&report, check);
    }
}

#[test]
fn each_check_has_a_double() {
    super::all_have_doubles(SinkSuite::names(), DOUBLES.iter().map(|(.., check)| *check));
}

fn suite(defect: Defect, visibility: Visibility, delivery: Delivery) -> SinkSuite {
    sink_suite(
        move |cx| async move {
            let sink = Model {
                defect,
                visibility,
                delivery,
                place: place(&cx.common.pipeline),
                epoch: Arc::default(),
                process: rand::random(),
                cx,
            };
            if defect == Defect::OpenLeavesProbe {
                sink.place
                    .lock()
                    .unwrap()
                    .staged
                    .insert("probe".into(), Vec::new());
            }
            Ok(Arc::new(sink) as Arc<dyn Sink>)
        },
        |cx| async move {
            let place = place(&cx.pipeline);
            let place = place.lock().unwrap();
            let rows = place.visible.values().flatten();
            Ok(rows.chain(place.by_origin.values()).cloned().collect())
        },
    )
    .objects(|cx| async move {
        let place = place(&cx.pipeline);
        let place = place.lock().unwrap();
        let staged = place.staged.keys().map(|key| format!("staged/{key}"));
        Ok(staged.chain(place.visible.keys().cloned()).collect())
    })
    .in_order()
    .refuses(
        "no such directory",
        ErrorKind::NotFound,
        move || async move {
            Err(match defect {
                Defect::WrongKind => Error::internal("no such directory"),
                _ => Error::not_found("no such directory"),
            })
        },
    )
}

/// A destination, shared by all processes.
#[derive(Debug, Default)]
struct Place {
    staged: BTreeMap<String, Vec<RecordBatch>>,
    visible: BTreeMap<String, Vec<RecordBatch>>,
    last: u64,
    /// Rows that an idempotent sink has written.
    by_origin: BTreeMap<String, RecordBatch>,
    /// What a process has in memory only, by process.
    forgotten: Vec<(u32, String, RecordBatch)>,
}

impl Place {
    fn publish(&mut self, key: &str) {
        if let Some(rows) = self.staged.remove(key) {
            self.visible.insert(key.to_owned(), rows);
        }
    }
}

fn place(name: &str) -> Arc<Mutex<Place>> {
    static PLACES: LazyLock<Mutex<HashMap<String, Arc<Mutex<Place>>>>> =
        LazyLock::new(Mutex::default);
    PLACES
        .lock()
        .unwrap()
        .entry(name.to_owned())
        .or_default()
        .clone()
}

#[derive(Debug)]
struct Model {
    defect: Defect,
    visibility: Visibility,
    delivery: Delivery,
    place: Arc<Mutex<Place>>,
    epoch: Arc<AtomicU64>,
    process: u32,
    cx: SinkContext,
}

/// `(publish, delete)`: one of them is empty.
type Keys = (Vec<String>, Vec<String>);

#[async_trait]
impl Sink for Model {
    fn delivery(&self) -> Delivery {
        self.delivery
    }

    fn visibility(&self) -> Visibility {
        self.visibility
    }

    fn distribution(&self, _: usize) -> Distribution {
        Distribution {
            spread: match self.defect {
                Defect::StrangeColumn => Spread::Hash(vec!["colour".into()]),
                _ => Spread::Any,
            },
            ordered: true,
        }
    }

    fn wants_origins(&self) -> bool {
        self.delivery == Delivery::Idempotent
    }

    async fn epoch(&self, id: Epoch) -> Result<Arc<dyn SinkEpoch>> {
        self.epoch.store(id.0, Ordering::Relaxed);
        Ok(Arc::new(ModelEpoch {
            defect: self.defect,
            delivery: self.delivery,
            place: Arc::clone(&self.place),
            last: Arc::clone(&self.epoch),
            process: self.process,
            id,
            cx: self.cx.clone(),
            keys: Arc::default(),
        }))
    }

    async fn conclude(&self, prepared: &[Prepared]) -> Result<Option<Prepared>> {
        let skip = match self.defect {
            Defect::Appends => !prepared.is_empty(),
            Defect::NothingChangesNothing => prepared.is_empty(),
            _ => false,
        };
        let place = self.place.lock().unwrap();
        let old: Vec<String> = place.visible.keys().filter(|_| !skip).cloned().collect();
        Ok(Some(Prepared::encode(&(Vec::<String>::new(), old))?))
    }

    async fn commit(&self, commit: &Commit<'_>) -> Result<()> {
        let mut place = self.place.lock().unwrap();
        for (process, key, rows) in std::mem::take(&mut place.forgotten) {
            if process == self.process
                && let Some(staged) = place.staged.get_mut(&key)
            {
                staged.push(rows);
            }
        }
        let mut mine = Vec::new();
        for prepared in commit.prepared {
            let (publish, delete): Keys = prepared.decode()?;
            for key in publish {
                let waits = place.staged.contains_key(&key);
                match self.defect {
                    Defect::NeedsInputs if waits && self.cx.inputs.is_empty() => {
                        return Err(Error::internal("no inputs"));
                    }
                    Defect::LosesThirdEpoch if commit.epoch.0 == 3 => {}
                    Defect::AppliesAgain if !waits && place.last == commit.epoch.0 => {
                        let rows = place.visible[&key].clone();
                        place.visible.insert(format!("{key}-again"), rows);
                    }
                    _ => place.publish(&key),
                }
                mine.push(key);
            }
            for key in delete {
                place.visible.remove(&key);
            }
        }
        match self.defect {
            Defect::TruncatesToItsEpoch => place.visible.retain(|key, _| {
                let epoch = key
                    .split('-')
                    .next()
                    .and_then(|epoch| epoch.parse::<u64>().ok());
                epoch <= Some(commit.epoch.0)
            }),
            Defect::DeletesByListing => place.visible.retain(|key, _| mine.contains(key)),
            _ => {}
        }
        place.last = place.last.max(commit.epoch.0);
        Ok(())
    }

    async fn recover(&self, recovery: &Recovery<'_>) -> Result<()> {
        let mut keep = Vec::new();
        for prepared in recovery.keep {
            keep.extend(prepared.decode::<Keys>()?.0);
        }
        let mut place = self.place.lock().unwrap();
        for token in recovery.begun {
            let key: String = token.decode()?;
            let kept = keep.contains(&key) && self.defect != Defect::KeepsNothing;
            if !kept && self.defect != Defect::RecoversNothing {
                place.staged.remove(&key);
                place.visible.remove(&key);
            }
        }
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        match self.defect {
            Defect::CantClose => Err(Error::internal("it is stuck")),
            _ => Ok(()),
        }
    }
}

#[derive(Debug, Clone)]
struct ModelEpoch {
    defect: Defect,
    delivery: Delivery,
    place: Arc<Mutex<Place>>,
    /// The last epoch that the sink opened.
    last: Arc<AtomicU64>,
    process: u32,
    id: Epoch,
    cx: SinkContext,
    /// What the writers have begun.
    keys: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl SinkEpoch for ModelEpoch {
    async fn writer(&self, id: WriterId) -> Result<Writer> {
        let index = match self.defect {
            Defect::WritersCollide => id.index.min(2),
            _ => id.index,
        };
        let executor = match self.defect {
            Defect::ExecutorsCollide => 0,
            _ => id.executor,
        };
        Ok(Writer::Io(Box::new(ModelWriter {
            epoch: self.clone(),
            key: WriterId {
                index,
                executor,
                ..id
            }
            .to_string(),
            rows: Vec::new(),
        })))
    }

    async fn seal(&self) -> Result<Sealed> {
        let mut keys = self.keys.lock().unwrap().clone();
        if keys.is_empty() && self.defect == Defect::RefusesEmpty {
            return Err(Error::internal("no rows"));
        }
        let mut place = self.place.lock().unwrap();
        match self.defect {
            Defect::OneEpochAtOnce => {
                let epoch = self.last.load(Ordering::Relaxed);
                for key in &mut keys {
                    let rows = place.staged.remove(key).unwrap_or_default();
                    *key = format!("{epoch}-{}", key.split_once('-').unwrap().1);
                    place.staged.insert(key.clone(), rows);
                }
            }
            Defect::SealsTwice if self.id.0 == 3 && keys.len() > 1 => {
                for key in keys.clone() {
                    let rows = place.staged[&key].clone();
                    keys.push(format!("{key}-again"));
                    place.staged.insert(format!("{key}-again"), rows);
                }
            }
            Defect::PreparesVisibly => keys.iter().for_each(|key| place.publish(key)),
            _ => {}
        }
        let mut sealed = Sealed::default();
        for key in keys {
            let value: Keys = (vec![key], Vec::new());
            sealed.prepared.push(Prepared::encode(&value)?);
        }
        Ok(sealed)
    }

    async fn abandon(&self) {
        let mut place = self.place.lock().unwrap();
        for key in self.keys.lock().unwrap().iter() {
            if self.defect == Defect::AbandonPublishes {
                place.publish(key);
            } else {
                place.staged.remove(key);
            }
        }
    }
}

#[derive(Debug)]
struct ModelWriter {
    epoch: ModelEpoch,
    key: String,
    rows: Vec<RecordBatch>,
}

impl ModelWriter {
    fn stage(&self) {
        let mut place = self.epoch.place.lock().unwrap();
        place.staged.insert(self.key.clone(), self.rows.clone());
    }

    fn write_by_origin(&self, batch: &SinkBatch) {
        let mut place = self.epoch.place.lock().unwrap();
        for row in 0..batch.rows.num_rows() {
            let origins = batch.origins.as_ref().expect("origins, which it wants");
            let key = match self.epoch.defect {
                Defect::MakesUpOrigins => format!("{:09}", place.by_origin.len()),
                _ => {
                    let origin = origins.get(row).expect("one for each row");
                    let before = format!("{:09}", origin.number);
                    format!("{}{before}", origin.position.split)
                }
            };
            place.by_origin.insert(key, batch.rows.slice(row, 1));
        }
    }
}

#[async_trait]
impl IoWriter for ModelWriter {
    async fn write(&mut self, batch: SinkBatch) -> Result<Written> {
        if self.epoch.delivery == Delivery::Idempotent {
            self.write_by_origin(&batch);
            return Ok(Written::default());
        }
        let begins = self.rows.is_empty();
        match self.epoch.defect {
            Defect::LosesOrder => self.rows.insert(0, batch.rows),
            // What comes to other writers than the first is written after the seal, if at all.
            Defect::GoesOnAfterSeal if !begins && !self.key.ends_with("-0") => {
                let late = (self.epoch.process, self.key.clone(), batch.rows);
                self.epoch.place.lock().unwrap().forgotten.push(late);
                return Ok(Written::default());
            }
            _ => self.rows.push(batch.rows),
        }
        if self.epoch.defect == Defect::BeginsBeforeJournal {
            self.stage();
        }
        if begins {
            let token = Token::encode(&self.key)?;
            self.epoch.cx.journal.begin(self.epoch.id, token).await?;
            self.epoch.keys.lock().unwrap().push(self.key.clone());
        }
        self.stage();
        Ok(Written::default())
    }

    async fn finish(self: Box<Self>) -> Result<Written> {
        Ok(Written::default())
    }
}
