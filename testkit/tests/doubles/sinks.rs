use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use arrow_array::RecordBatch;
use tidegate_core::{
    Commit, Delivery, Distribution, Error, ErrorKind, Prepared, Recovery, Rejected, Result, Sealed,
    Sink, SinkContext, SinkWriter, Spread, Token, Visibility, WriterId, async_trait,
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
    OneEpochAtOnce,
    RefusesEmpty,
    Appends,
    NothingChangesNothing,
    AbandonPublishes,
    RecoversNothing,
    KeepsNothing,
    BeginsBeforeJournal,
    WrongKind,
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
        ["overwrite_keeps_all_epochs", "overwrite_with_nothing"]
    );
    let report = suite(Defect::None, Visibility::Run, Delivery::TwoPhase)
        .report()
        .await;
    report.assert();
    assert_eq!(report.skipped, []);
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
        let report = suite(*defect, *visibility, Delivery::TwoPhase)
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
            Ok(place.visible.values().flatten().cloned().collect())
        },
    )
    .objects(|cx| async move {
        let place = place(&cx.pipeline);
        let place = place.lock().unwrap();
        let staged = place.staged.keys().map(|key| format!("staged/{key}"));
        Ok(staged.chain(place.visible.keys().cloned()).collect())
    })
    .refuses("no such folder", ErrorKind::NotFound, move || async move {
        Err(match defect {
            Defect::WrongKind => Error::internal("no such folder"),
            _ => Error::not_found("no such folder"),
        })
    })
}

/// A destination, shared by all processes.
#[derive(Debug, Default)]
struct Place {
    staged: BTreeMap<String, Vec<RecordBatch>>,
    visible: BTreeMap<String, Vec<RecordBatch>>,
    last: u64,
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
            ordered: false,
        }
    }

    async fn writer(&self, id: WriterId) -> Result<Box<dyn SinkWriter>> {
        self.epoch.store(id.epoch.0, Ordering::Relaxed);
        let index = match self.defect {
            Defect::WritersCollide => id.index.min(2),
            _ => id.index,
        };
        Ok(Box::new(Writer {
            defect: self.defect,
            place: Arc::clone(&self.place),
            epoch: Arc::clone(&self.epoch),
            id: WriterId { index, ..id },
            cx: self.cx.clone(),
            rows: Vec::new(),
            begun: false,
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

#[derive(Debug)]
struct Writer {
    defect: Defect,
    place: Arc<Mutex<Place>>,
    epoch: Arc<AtomicU64>,
    id: WriterId,
    cx: SinkContext,
    rows: Vec<RecordBatch>,
    begun: bool,
}

impl Writer {
    fn key(&self) -> String {
        self.id.to_string()
    }

    fn stage(&self, key: String) {
        let mut place = self.place.lock().unwrap();
        place.staged.insert(key, self.rows.clone());
    }
}

#[async_trait]
impl SinkWriter for Writer {
    async fn write(&mut self, _: usize, batch: RecordBatch) -> Result<Rejected> {
        self.rows.push(batch);
        if self.defect == Defect::BeginsBeforeJournal {
            self.stage(self.key());
        }
        if !self.begun {
            let token = Token::encode(&self.key())?;
            self.cx.journal.begin(self.id.epoch, token).await?;
            self.begun = true;
        }
        self.stage(self.key());
        Ok(Rejected::default())
    }

    async fn prepare(self: Box<Self>) -> Result<Sealed> {
        if self.rows.is_empty() {
            return match self.defect {
                Defect::RefusesEmpty => Err(Error::internal("no rows")),
                _ => Ok(Sealed::default()),
            };
        }
        let mut key = self.key();
        if self.defect == Defect::OneEpochAtOnce {
            let epoch = self.epoch.load(Ordering::Relaxed);
            key = format!("{epoch}-{}", self.id.index);
        }
        self.stage(key.clone());
        if self.defect == Defect::PreparesVisibly {
            self.place.lock().unwrap().publish(&key);
        }
        Ok(Sealed {
            prepared: Some(Prepared::encode(&(vec![key], Vec::<String>::new()))?),
            rejected: Rejected::default(),
        })
    }

    async fn abandon(self: Box<Self>) {
        let mut place = self.place.lock().unwrap();
        if self.defect == Defect::AbandonPublishes {
            place.publish(&self.key());
        } else if self.begun {
            place.staged.remove(&self.key());
        }
    }
}
