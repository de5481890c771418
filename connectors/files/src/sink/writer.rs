//! One open end of the sink.

use std::sync::Arc;

use tidegate_catalog::Fit;
use tidegate_core::{CpuWriter, Error, Origin, Rejected, Result, SinkBatch};
use tidegate_formats::{Compressor, Encoder, row_to_json};
use tidegate_staged::Files;

use super::file::EpochFormat;

/// How many plain bytes go into the file, and through the compressor, at once.
const BLOCK: usize = 1 << 20;

/// Encodes rows on its own thread, into files that it shares with the epoch's other writers.
#[derive(Debug)]
pub(super) struct FilesWriter {
    files: Arc<Files<EpochFormat>>,
    lanes: Vec<Lane>,
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
    pub(super) fn new(files: Arc<Files<EpochFormat>>) -> Result<Self> {
        let format = files.format();
        let lane = |input| {
            let encoding = format.encoding(input)?;
            let compressor = || Compressor::new(encoding.compression);
            let kind = match encoding.is_file_each() {
                true => Kind::Raw(encoding.encoder()?, compressor()),
                _ if encoding.is_loose() => Kind::Loose(encoding.encoder()?, compressor()),
                _ => Kind::Bound,
            };
            Ok(Lane {
                kind,
                fit: encoding.fit.clone(),
                plain: Vec::new(),
            })
        };
        let inputs = 0..format.inputs.inputs.len();
        let lanes = inputs.map(lane).collect::<Result<_>>()?;
        Ok(Self { files, lanes })
    }

    fn flush(&mut self, input: usize) -> Result<()> {
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
        self.files.append(&input, 0, |_, out| {
            out.send(packed);
            Ok(())
        })
    }
}

impl CpuWriter for FilesWriter {
    fn write(&mut self, batch: SinkBatch) -> Result<Rejected> {
        let SinkBatch {
            input, rows: batch, ..
        } = batch;
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
            Kind::Bound => self.files.append(&input, 0, |encoder, out| {
                let encoder = encoder.as_mut();
                let encoder = encoder.ok_or_else(|| Error::internal("a file has no encoder"))?;
                let (bytes, rejected) = encoder.encode(&batch)?;
                out.send(bytes);
                Ok(rejected)
            })?,
            Kind::Loose(encoder, _) => {
                let rejected = encoder.encode(&batch, &mut lane.plain)?;
                if lane.plain.len() >= BLOCK {
                    self.flush(input)?;
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
                    self.files.whole(&input, packed)?;
                }
                all
            }
        });
        Ok(refused)
    }

    fn finish(mut self: Box<Self>) -> Result<Rejected> {
        for input in 0..self.lanes.len() {
            self.flush(input)?;
        }
        Ok(Rejected::default())
    }
}
