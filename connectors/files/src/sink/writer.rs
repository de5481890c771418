//! One open end of the sink.

use std::sync::Arc;

use arrow_array::RecordBatch;
use tidegate_catalog::{Fit, Registrar};
use tidegate_core::{Metrics, Origin, Rejected, Result, Sealed, SinkWriter, async_trait};
use tidegate_formats::{Compressor, Encoder, Format, row_to_json};

use super::epoch::EpochFiles;
use super::prepared::{Values, folder_of};

/// How many plain bytes go into the file, and through the compressor, at once.
const BLOCK: usize = 1 << 20;

/// Encodes rows on its own thread, into files that it shares with the epoch's other writers.
#[derive(Debug)]
pub(super) struct FilesWriter {
    files: Arc<EpochFiles>,
    lanes: Vec<Lane>,
    registrar: Option<Arc<Registrar>>,
    metrics: Arc<Metrics>,
}

/// What the writer holds for one input.
#[derive(Debug)]
struct Lane {
    kind: Kind,
    fit: Option<Arc<Fit>>,
    plain: Vec<u8>,
}

#[derive(Debug)]
enum Kind {
    /// Encoded here.
    Loose(Encoder, Compressor),
    /// Encoded by the file.
    Bound,
    /// A file for each row.
    Raw(Encoder, Compressor),
}

impl FilesWriter {
    pub(super) fn new(
        files: Arc<EpochFiles>,
        inputs: usize,
        registrar: Option<Arc<Registrar>>,
        metrics: Arc<Metrics>,
    ) -> Result<Self> {
        let lane = |input| {
            let encoding = files.encoding(input)?;
            let compressor = || Compressor::new(encoding.compression);
            let kind = match encoding.format {
                Format::Raw => Kind::Raw(encoding.encoder()?, compressor()),
                _ if encoding.is_loose() => Kind::Loose(encoding.encoder()?, compressor()),
                _ => Kind::Bound,
            };
            Ok(Lane {
                kind,
                fit: encoding.fit.clone(),
                plain: Vec::new(),
            })
        };
        let lanes = (0..inputs).map(lane).collect::<Result<_>>()?;
        files.enter();
        Ok(Self {
            files,
            lanes,
            registrar,
            metrics,
        })
    }

    async fn flush(&mut self, input: usize) -> Result<()> {
        let lane = &mut self.lanes[input];
        let Kind::Loose(_, compressor) = &mut lane.kind else {
            return Ok(());
        };
        if lane.plain.is_empty() {
            return Ok(());
        }
        let mut packed = Vec::new();
        compressor.compress(&lane.plain, &mut packed)?;
        lane.plain.clear();
        self.files.append(input, packed).await
    }
}

#[async_trait]
impl SinkWriter for FilesWriter {
    async fn write(&mut self, input: usize, batch: RecordBatch) -> Result<Rejected> {
        let mut refused = Rejected::default();
        let batch = match &self.lanes[input].fit {
            None => batch,
            Some(fit) => {
                let fitted = fit.apply(&batch)?;
                for (row, reason) in fitted.rejected {
                    refused.push(row_to_json(&batch, row)?, reason, Origin::default());
                }
                fitted.batch
            }
        };
        if batch.num_rows() == 0 {
            return Ok(refused);
        }
        let lane = &mut self.lanes[input];
        refused.extend(match &mut lane.kind {
            Kind::Bound => self.files.encode(input, &batch).await?,
            Kind::Loose(encoder, _) => {
                let rejected = encoder.encode(&batch, &mut lane.plain)?;
                if lane.plain.len() >= BLOCK {
                    self.flush(input).await?;
                }
                rejected
            }
            Kind::Raw(encoder, compressor) => {
                let mut all = Rejected::default();
                for row in 0..batch.num_rows() {
                    let mut payload = Vec::new();
                    let rejected = encoder.encode(&batch.slice(row, 1), &mut payload)?;
                    if !rejected.is_empty() {
                        all.extend(rejected);
                        continue;
                    }
                    let mut packed = Vec::new();
                    compressor.member(&payload, &mut packed)?;
                    self.files.whole(input, packed).await?;
                }
                all
            }
        });
        Ok(refused)
    }

    async fn prepare(mut self: Box<Self>) -> Result<Sealed> {
        for input in 0..self.lanes.len() {
            self.flush(input).await?;
        }
        let files = self.files.prepare().await?;
        if files.is_empty() {
            return Ok(Sealed::default());
        }
        let register = match self.registrar.as_deref() {
            None => Vec::new(),
            Some(registrar) => {
                let folders = files.iter().map(|file| folder_of(&file.staged.token.key));
                vec![registrar.registration(folders)?]
            }
        };
        self.metrics
            .bytes(files.iter().map(|file| file.staged.bytes).sum());
        self.metrics.files(files.len() as u64);
        Ok(Sealed {
            prepared: Some(
                Values {
                    files,
                    register,
                    ..Values::default()
                }
                .encode()?,
            ),
            rejected: Rejected::default(),
        })
    }

    async fn abandon(self: Box<Self>) {
        self.files.abandon().await;
    }
}
