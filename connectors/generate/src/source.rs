//! Rows by their numbers.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tidegate_core::{
    Ask, Decode, Decoded, Error, Event, EventStream, Next, Offset, Plan, PlanState, Rejected,
    Replay, Result, Rows, Scan, Source, Split, SplitData, Stream, async_trait,
};
use tokio::time::{Instant, sleep_until};

use crate::column::Column;
use crate::config::GenerateConfig;

const STREAM: &str = "rows";

/// The open source.
#[derive(Debug)]
pub struct GenerateSource {
    columns: Arc<[Column]>,
    schema: SchemaRef,
    rows: Option<u64>,
    rate: Option<f64>,
    batch_rows: u64,
    parallelism: u64,
}

/// The rows `from`, `from + step`, … below `to`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Range {
    from: u64,
    to: u64,
    step: u64,
}

impl Range {
    fn rows(self) -> impl Iterator<Item = u64> + Clone {
        let step = usize::try_from(self.step).unwrap_or(usize::MAX);
        (self.from..self.to).step_by(step)
    }

    fn len(self) -> u64 {
        self.to.saturating_sub(self.from).div_ceil(self.step)
    }

    /// The first `rows` of it, and where the others begin.
    fn take(self, rows: u64) -> (Self, u64) {
        let to = self
            .from
            .saturating_add(rows.saturating_mul(self.step))
            .min(self.to);
        (Self { to, ..self }, to)
    }
}

impl GenerateSource {
    pub(crate) fn new(config: &GenerateConfig, parallelism: usize) -> Result<Self> {
        let columns = config
            .columns
            .iter()
            .map(|column| column.build(config.seed));
        let columns: Arc<[Column]> = columns.collect::<Result<Vec<_>>>()?.into();
        let fields: Vec<_> = columns.iter().map(|column| column.field.clone()).collect();
        Ok(Self {
            columns,
            schema: Arc::new(Schema::new(fields)),
            rows: config.rows,
            rate: config.rate,
            batch_rows: config.batch_rows.into(),
            parallelism: parallelism.max(1) as u64,
        })
    }

    /// Ranges of rows where there is an end, else interleaved lanes. A rate is kept by one reader.
    fn splits(&self) -> Result<Vec<Split>> {
        let split = |id: String, range: Range, rows| {
            Ok(Split::new(id, SplitData::encode(&range)?).estimate(rows, None))
        };
        let Some(rows) = self.rows else {
            let lanes = if self.rate.is_some() {
                1
            } else {
                self.parallelism
            };
            return (0..lanes)
                .map(|from| {
                    let range = Range {
                        from,
                        to: u64::MAX,
                        step: lanes,
                    };
                    split(format!("lane-{from}-of-{lanes}"), range, None)
                })
                .collect();
        };
        let most = if self.rate.is_some() {
            1
        } else {
            self.parallelism * 4
        };
        let each = rows
            .div_ceil(most)
            .next_multiple_of(self.batch_rows.min(rows.max(1)))
            .max(1);
        (0..rows.div_ceil(each))
            .map(|at| {
                let range = Range {
                    from: at * each,
                    to: rows.min((at + 1) * each),
                    step: 1,
                };
                let id = format!("rows-{}-{}", range.from, range.to);
                split(id, range, Some(range.len()))
            })
            .collect()
    }
}

#[async_trait]
impl Source for GenerateSource {
    fn streams(&self) -> Vec<Stream> {
        vec![Stream {
            name: STREAM.into(),
            schema: self.schema.clone(),
            key: Vec::new(),
            bounded: self.rows.is_some(),
            replay: Replay::Offset,
        }]
    }

    async fn plan(&self, ask: &Ask<'_>) -> Result<Plan> {
        let new = if ask.first && !ask.scans.is_empty() {
            self.splits()?
        } else {
            Vec::new()
        };
        Ok(Plan {
            new,
            revoked: Vec::new(),
            state: PlanState::encode(&())?,
            next: Next::Complete,
        })
    }

    async fn read(
        &self,
        split: &Split,
        scans: &[Scan],
        resume: Option<&Offset>,
    ) -> Result<EventStream> {
        let whole: Range = split.data.decode()?;
        let from = resume.map_or(Ok(whole.from), Offset::decode)?;
        let scan = scans.iter().find(|scan| scan.stream.as_str() == STREAM);
        let scan =
            scan.ok_or_else(|| Error::internal("`rows` is read, but nobody asked for it"))?;
        let indices = scan.indices(&self.schema)?;
        let schema: SchemaRef = Arc::new(self.schema.project(&indices)?);
        let columns: Arc<[Column]> = indices.iter().map(|at| self.columns[*at].clone()).collect();
        let rate = self.rate;
        // At a rate, about ten batches a second, so that rows come evenly.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it saturates"
        )]
        let batch = rate.map_or(self.batch_rows, |rate| {
            ((rate / 10.0) as u64).clamp(1, self.batch_rows)
        });
        let start = Instant::now();
        let events = futures::stream::unfold((from, 0_u64), move |(from, done)| {
            let (schema, columns) = (schema.clone(), columns.clone());
            async move {
                let (range, next) = Range { from, ..whole }.take(batch);
                if range.len() == 0 {
                    return None;
                }
                let done = done + range.len();
                if let Some(rate) = rate {
                    // Always from the start: what one batch is late, the next one makes up for.
                    #[expect(clippy::cast_precision_loss, reason = "microseconds matter less")]
                    let due = done as f64 / rate;
                    let due = Duration::try_from_secs_f64(due).unwrap_or(Duration::MAX);
                    match start.checked_add(due) {
                        Some(due) => sleep_until(due).await,
                        None => std::future::pending().await,
                    }
                }
                let event = Offset::encode(&next).map(|resume| Event::Rows {
                    stream: STREAM.into(),
                    rows: Rows::Encoded(Box::new(Recipe {
                        schema,
                        columns,
                        range,
                    })),
                    rejected: None,
                    resume: Some(resume),
                });
                Some((event, (next, done)))
            }
        });
        Ok(events.boxed())
    }
}

/// Rows still to be made, on a worker.
struct Recipe {
    schema: SchemaRef,
    columns: Arc<[Column]>,
    range: Range,
}

impl Decode for Recipe {
    fn size(&self) -> usize {
        // What they will take: some 16 bytes a value.
        usize::try_from(self.range.len()).unwrap_or(usize::MAX / 16)
            * 16
            * self.columns.len().max(1)
    }

    fn decode(self: Box<Self>) -> Result<Decoded> {
        let arrays = self
            .columns
            .iter()
            .map(|column| column.make(self.range.rows()));
        let rows = usize::try_from(self.range.len()).ok();
        let batch = RecordBatch::try_new_with_options(
            self.schema.clone(),
            arrays.collect::<Result<Vec<_>>>()?,
            &RecordBatchOptions::new().with_row_count(rows),
        )?;
        Ok(Decoded {
            batches: vec![batch],
            rejected: Rejected::default(),
            ..Decoded::default()
        })
    }
}
