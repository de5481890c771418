use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use futures::StreamExt;
use tidegate_core::{
    Acknowledged, Ask, Error, ErrorKind, Event, EventStream, Next, Offset, Plan, PlanState, Replay,
    Result, Rows, Scan, Source, Split, SplitData, Stream, async_trait,
};
use tidegate_testkit::suites::{SourceSuite, source_suite};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Defect {
    None,
    NamedRejected,
    StrangeKey,
    TwinIds,
    RevokesWhatItGives,
    RevokesStrangers,
    WaitsForItself,
    WaitsForNobody,
    PlansOnce,
    GivesRunningSplitsAgain,
    NeverCompletes,
    ForgetsToStartOver,
    OverlappingSplits,
    EachReadShorter,
    OtherSchema,
    ColumnsAsAsked,
    PlansUnaskedStreams,
    WildEstimate,
    EndStartsOver,
    RelativeOffsets,
    ForgetsTooMuch,
    ForgetsOthers,
    ShiftsPositions,
    LeavesTask,
    LeavesThread,
    LeavesBlocking,
    WrongKind,
}

const DOUBLES: &[(Defect, &str)] = &[
    (Defect::NamedRejected, "streams_are_named"),
    (Defect::StrangeKey, "keys_are_columns"),
    (Defect::TwinIds, "split_ids_are_unique"),
    (Defect::RevokesWhatItGives, "revoked_were_given"),
    (Defect::RevokesStrangers, "revoked_were_given"),
    (Defect::WaitsForItself, "after_is_kept"),
    (Defect::WaitsForNobody, "after_is_kept"),
    (Defect::PlansOnce, "plan_has_no_side_effects"),
    (Defect::GivesRunningSplitsAgain, "plan_gives_nothing_twice"),
    (Defect::NeverCompletes, "plan_completes"),
    (Defect::ForgetsToStartOver, "next_run"),
    (Defect::OverlappingSplits, "splits_cover_the_streams_once"),
    (Defect::EachReadShorter, "two_reads_are_alike"),
    (Defect::OtherSchema, "schema_told_is_schema_given"),
    (Defect::ColumnsAsAsked, "projection_is_exact"),
    (Defect::PlansUnaskedStreams, "only_asked_streams"),
    (Defect::WildEstimate, "estimates_are_sane"),
    (Defect::EndStartsOver, "resume_law"),
    (Defect::RelativeOffsets, "resume_after_resume"),
    (Defect::ForgetsTooMuch, "acknowledge_keeps_the_rest"),
    (Defect::ForgetsOthers, "acknowledge_keeps_the_rest"),
    (Defect::ShiftsPositions, "positions_stand_at_the_same_rows"),
    (Defect::LeavesTask, "cancellation_leaks_nothing"),
    (Defect::LeavesThread, "cancellation_leaks_nothing"),
    (Defect::LeavesBlocking, "cancellation_leaks_nothing"),
    (Defect::WrongKind, "errors_have_kinds"),
];

#[tokio::test]
async fn the_model_passes() {
    let report = suite(Defect::None).report().await;
    report.assert();
    assert_eq!(report.skipped, []);
}

#[tokio::test]
async fn an_incremental_source_that_reads_again_is_caught() {
    let report = suite(Defect::None).incremental().report().await;
    super::caught(&report, "next_run");
    let report = suite(Defect::ForgetsToStartOver).incremental();
    report.report().await.assert();
}

#[tokio::test]
async fn each_double_is_caught() {
    // All at once, because a leak is only sure after a while.
    let reports = DOUBLES.iter().map(|(defect, check)| async move {
        super::caught(&suite(*defect).report().await, check);
    });
    futures::future::join_all(reports).await;
}

#[test]
fn each_check_has_a_double() {
    super::all_have_doubles(
        SourceSuite::names(),
        DOUBLES.iter().map(|(_, check)| *check),
    );
}

fn suite(defect: Defect) -> SourceSuite {
    let upstream = Arc::new(AtomicBool::new(true));
    let suite = source_suite(move || {
        let upstream = Arc::clone(&upstream);
        async move { Ok(Arc::new(Model::new(defect, upstream)) as Arc<dyn Source>) }
    })
    .rows("a", 10)
    .exactly(
        "a",
        (0..10)
            .map(|id| format!("even={}, id={id}, name=n{id}", id % 2))
            .collect(),
    )
    .refuses("no such table", ErrorKind::NotFound, move || async move {
        Err(match defect {
            Defect::WrongKind => Error::config("no such table"),
            _ => Error::not_found("no such table"),
        })
    });
    match defect {
        // Positions that mean something else after a resume break this law too.
        Defect::RelativeOffsets => suite,
        _ => suite.same_positions(),
    }
}

/// Stream `a` has two splits, the second after the first; stream `b` is planned when they finished.
#[derive(Debug)]
struct Model {
    defect: Defect,
    /// Whether the upstream still has the rows of the first split; shared by all processes.
    upstream: Arc<AtomicBool>,
    planned: AtomicBool,
    reads: AtomicUsize,
    tasks: Mutex<Vec<tokio::task::JoinHandle<()>>>,
}

impl Model {
    fn new(defect: Defect, upstream: Arc<AtomicBool>) -> Self {
        Self {
            defect,
            upstream,
            planned: AtomicBool::new(false),
            reads: AtomicUsize::new(0),
            tasks: Mutex::default(),
        }
    }

    fn is(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    fn second(&self) -> &'static str {
        if self.is(Defect::NamedRejected) {
            "rejected"
        } else {
            "b"
        }
    }

    fn split(&self, id: &str, stream: &str, from: i64, to: i64) -> Split {
        let data = SplitData::encode(&(stream, from, to)).unwrap();
        let rows = if self.is(Defect::WildEstimate) {
            10_000_000
        } else {
            5
        };
        Split::new(id, data).estimate(Some(rows), None)
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("even", DataType::Int32, true),
    ]))
}

fn batch(from: i64, to: i64) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(from..to)),
        Arc::new(
            (from..to)
                .map(|id| Some(format!("n{id}")))
                .collect::<StringArray>(),
        ),
        Arc::new(
            (from..to)
                .map(|id| i32::try_from(id % 2).ok())
                .collect::<Int32Array>(),
        ),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

#[async_trait]
impl Source for Model {
    fn streams(&self) -> Vec<Stream> {
        let key = if self.is(Defect::StrangeKey) {
            "nr"
        } else {
            "id"
        };
        let stream = |name: &str| Stream {
            name: name.into(),
            schema: schema(),
            key: vec![key.to_owned()],
            bounded: true,
            replay: Replay::Offset,
        };
        vec![stream("a"), stream(self.second())]
    }

    async fn plan(&self, ask: &Ask<'_>) -> Result<Plan> {
        let asked = |name: &str| {
            self.is(Defect::PlansUnaskedStreams)
                || ask.scans.iter().any(|s| s.stream.as_str() == name)
        };
        let mut new = Vec::new();
        let over = self.is(Defect::ForgetsToStartOver) && ask.state.is_some();
        let once = self.is(Defect::PlansOnce) && self.planned.swap(true, Ordering::Relaxed);
        let mut stage: u8 = 1;
        if ask.first {
            if asked("a") && !over && !once {
                let from = if self.is(Defect::OverlappingSplits) {
                    4
                } else {
                    5
                };
                let mut second = self.split("a-1", "a", from, 10);
                second.after.push(match self.defect {
                    Defect::WaitsForItself => "a-1".into(),
                    Defect::WaitsForNobody => "a-2".into(),
                    _ => "a-0".into(),
                });
                new.extend([self.split("a-0", "a", 0, 5), second]);
            }
            if over {
                stage = 2;
            }
        } else {
            stage = ask.state.map_or(Ok(1), PlanState::decode)?;
            let told = !ask.finished.is_empty() || !asked("a");
            if stage == 1 && told {
                stage = 2;
                if asked(self.second()) {
                    let twins = if self.is(Defect::TwinIds) { 2 } else { 1 };
                    new.extend((0..twins).map(|_| self.split("b", self.second(), 0, 4)));
                }
            } else if stage == 1 && self.is(Defect::GivesRunningSplitsAgain) {
                new.push(self.split("a-0", "a", 0, 5));
            }
        }
        let next = match stage {
            2 if self.is(Defect::NeverCompletes) => Next::AskAgain(Duration::from_secs(1)),
            2 => Next::Complete,
            _ => Next::WhenFinished,
        };
        Ok(Plan {
            new,
            revoked: match self.defect {
                Defect::RevokesWhatItGives if ask.first && asked("a") => vec!["a-0".into()],
                Defect::RevokesStrangers if !ask.first => vec!["c".into()],
                _ => Vec::new(),
            },
            state: PlanState::encode(&stage)?,
            next,
        })
    }

    async fn read(
        &self,
        split: &Split,
        scans: &[Scan],
        resume: Option<&Offset>,
    ) -> Result<EventStream> {
        let (stream, from, mut to): (String, i64, i64) = split.data.decode()?;
        let mut at = resume.map_or(Ok(from), Offset::decode)?;
        if self.is(Defect::EndStartsOver) && at == to {
            at = from;
        }
        if self.is(Defect::EachReadShorter) && self.reads.fetch_add(1, Ordering::Relaxed) > 2 {
            to -= 1;
        }
        if !self.upstream.load(Ordering::Relaxed) {
            to = at;
        }
        let nap = || std::thread::sleep(Duration::from_secs(10));
        match self.defect {
            Defect::LeavesTask => {
                let task = tokio::spawn(futures::future::pending());
                self.tasks.lock().unwrap().push(task);
            }
            Defect::LeavesThread => drop(std::thread::spawn(nap)),
            Defect::LeavesBlocking => drop(tokio::task::spawn_blocking(nap)),
            _ => {}
        }
        let zero = if self.is(Defect::RelativeOffsets) {
            at - from
        } else {
            0
        };
        let scan = scans.iter().find(|scan| scan.stream.as_str() == stream);
        let scan = scan.cloned().unwrap_or_else(|| Scan::all(stream.as_str()));
        let defect = self.defect;
        let step = match resume {
            Some(_) if self.is(Defect::ShiftsPositions) => 1,
            _ => 2,
        };
        let steps = usize::try_from(step).unwrap_or(1);
        let events = (at..to).step_by(steps).map(move |start| {
            let end = (start + step).min(to);
            let mut rows = batch(start, end);
            match (&scan.columns, defect) {
                (Some(columns), Defect::ColumnsAsAsked) => {
                    let at = columns.iter().map(|c| rows.schema().index_of(c).unwrap());
                    rows = rows.project(&at.collect::<Vec<_>>())?;
                }
                (None, Defect::OtherSchema) => {
                    let mut fields = schema().fields().to_vec();
                    fields[0] = Arc::new(Field::new("id", DataType::Int64, true));
                    let schema = Arc::new(Schema::new(fields));
                    rows = RecordBatch::try_new(schema, rows.columns().to_vec())?;
                }
                _ => rows = scan.project(rows)?,
            }
            Ok(Event::Rows {
                stream: stream.as_str().into(),
                rows: Rows::Batch(rows),
                rejected: None,
                resume: Some(Offset::encode(&(end - zero))?),
            })
        });
        Ok(futures::stream::iter(events.collect::<Vec<_>>()).boxed())
    }

    async fn acknowledge(&self, upto: &[Acknowledged]) -> Result<()> {
        let finished = upto.iter().any(|split| split.finished);
        if self.is(Defect::ForgetsTooMuch) || (self.is(Defect::ForgetsOthers) && finished) {
            self.upstream.store(false, Ordering::Relaxed);
        }
        Ok(())
    }
}
