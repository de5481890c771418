//! Files that a source passed over, because they can't be read.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use arrow_array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::Result;

/// A file that a source passed over: what can't be read of it is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedFile {
    /// Its path or url.
    pub path: String,
    /// Its bytes.
    pub size: u64,
    /// When it was changed last.
    pub modified: DateTime<Utc>,
    /// Why it can't be read.
    pub error: String,
    /// How many of its rows come before that place, and are committed; `None` where that can't be
    /// counted any more.
    pub rows_committed: Option<u64>,
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let time = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("path", DataType::Utf8, false),
        Field::new("size", DataType::UInt64, false),
        Field::new("modified", time(), false),
        Field::new("error", DataType::Utf8, false),
        Field::new("rows_committed", DataType::UInt64, true),
        Field::new("at", time(), false),
    ]))
});

impl FailedFile {
    /// The one schema of all streams of such files: `path`, `size`, `modified`, `error`,
    /// `rows_committed`, `at`.
    pub fn schema() -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    /// The file as a row of [`FailedFile::schema`], passed over now.
    pub fn to_batch(&self) -> Result<RecordBatch> {
        let time = |time: DateTime<Utc>| {
            let times = TimestampMicrosecondArray::from_value(time.timestamp_micros(), 1);
            Arc::new(times.with_timezone("UTC"))
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values([&self.path])),
            Arc::new(UInt64Array::from_value(self.size, 1)),
            time(self.modified),
            Arc::new(StringArray::from_iter_values([&self.error])),
            Arc::new(UInt64Array::from(vec![self.rows_committed])),
            time(Utc::now()),
        ];
        Ok(RecordBatch::try_new(Self::schema(), columns)?)
    }
}

/// How many files are listed. Of a directory that is watched for months there may be any number.
const LISTED: usize = 100;

/// The files that a source passed over, as the report tells them.
#[derive(Debug, Default)]
pub struct FailedFiles(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    count: u64,
    listed: Vec<(FailedFile, Option<String>)>,
}

impl FailedFiles {
    /// Takes note of a file whose passing over is committed, and where it was moved to. What was told
    /// before, as it is again after a new attempt, isn't counted twice. Says whether it is new.
    pub fn add(&self, file: FailedFile, moved_to: Option<String>) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.listed.iter().any(|(known, _)| *known == file) {
            return false;
        }
        told.count += 1;
        if told.listed.len() < LISTED {
            told.listed.push((file, moved_to));
        }
        true
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    /// The first hundred of them, each with where it was moved to.
    pub fn listed(&self) -> Vec<(FailedFile, Option<String>)> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.listed.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_told_again_is_counted_once() {
        let file = |path: &str| FailedFile {
            path: path.to_owned(),
            size: 1,
            modified: DateTime::UNIX_EPOCH,
            error: "truncated".to_owned(),
            rows_committed: Some(0),
        };
        let files = FailedFiles::default();
        assert!(files.add(file("a"), None));
        assert!(files.add(file("b"), Some("bad/b".to_owned())));
        assert!(!files.add(file("a"), None));
        assert_eq!((files.count(), files.listed().len()), (2, 2));
        let batch = file("a").to_batch().unwrap();
        assert_eq!((batch.num_rows(), batch.num_columns()), (1, 6));
    }
}
