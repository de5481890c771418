//! The files of an epoch: what they are called, and how they begin and end.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tidegate_core::{CpuWriter, Error, Result};
use tidegate_staged::{Files, Format, Outlet};

use super::encode::{Encoding, FileEncoder};
use super::template::{Name, Template};
use super::writer::FilesWriter;

/// What becomes files.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) template: Template,
    /// By input: its name, and how its rows become bytes.
    pub(super) inputs: Vec<(Arc<str>, Encoding)>,
}

/// The files of one epoch: one open file for each input.
#[derive(Debug)]
pub(super) struct EpochFormat {
    pub(super) inputs: Arc<Inputs>,
    /// When it began.
    pub(super) time: DateTime<Utc>,
}

/// What is to be known of a file at the run's end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct About {
    /// The name that it has if no other file of the run has the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) plain: Option<String>,
    pub(super) input: usize,
    pub(super) time: DateTime<Utc>,
}

impl EpochFormat {
    pub(super) fn encoding(&self, input: usize) -> Result<&Encoding> {
        let found = self.inputs.inputs.get(input).map(|(_, encoding)| encoding);
        found.ok_or_else(|| Error::internal(format!("there is no input {input}")))
    }

    fn name_of(&self, input: usize) -> Name {
        let stream = self.inputs.inputs.get(input).map_or("", |(name, _)| name);
        self.inputs.template.name(stream, self.time)
    }
}

impl Format for EpochFormat {
    type Key = usize;
    /// None where each row is a file.
    type Encoder = Option<FileEncoder>;
    type About = About;

    fn name(&self, input: &usize, unique: &str) -> String {
        self.name_of(*input).unique(unique)
    }

    fn about(&self, input: &usize) -> About {
        let exact = self.inputs.template.exact;
        About {
            plain: exact.then(|| self.name_of(*input).plain()),
            input: *input,
            time: self.time,
        }
    }

    fn begin(&self, input: &usize, out: &mut Outlet) -> Result<Option<FileEncoder>> {
        let encoding = self.encoding(*input)?;
        if encoding.is_file_each() {
            return Ok(None);
        }
        let mut encoder = encoding.file()?;
        out.send(encoder.start()?);
        Ok(Some(encoder))
    }

    fn end(&self, encoder: Option<FileEncoder>, out: &mut Outlet) -> Result<()> {
        if let Some(encoder) = encoder {
            out.send(encoder.finish()?);
        }
        Ok(())
    }

    fn writer(files: &Arc<Files<Self>>) -> Result<Box<dyn CpuWriter>> {
        Ok(Box::new(FilesWriter::new(Arc::clone(files))?))
    }
}
