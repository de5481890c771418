//! Opening a log: what is there, and whether it is whole.

use std::collections::VecDeque;
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Result};
use uuid::Uuid;

use super::Options;
use super::segment;

/// The log's identity, and how far it was trimmed.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) log: Uuid,
    pub(crate) trimmed: u64,
}

const MARK: &str = "mark";

impl Mark {
    fn read(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(MARK);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(segment::reading(error, &path)),
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            Error::data("the write-ahead log's mark can't be read")
                .with("path", path.display())
                .because(error)
        })
    }

    /// Replaces the mark, durably.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let (path, anew) = (directory.join(MARK), directory.join("mark.anew"));
        let text = serde_json::to_vec(self)
            .map_err(|error| Error::internal("a mark can't be written").because(error))?;
        let mut options = segment::private();
        let written = options.write(true).create(true).truncate(true).open(&anew);
        let written = written.and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&anew, &path)
        });
        written.map_err(|error| segment::writing(error, &path))?;
        segment::sync_directory(directory)
    }
}

/// What was found.
pub(crate) struct Opened {
    pub(crate) lock: File,
    pub(crate) mark: Mark,
    /// Where the segments begin that hold something.
    pub(crate) segments: VecDeque<u64>,
    /// Where the log ends.
    pub(crate) end: u64,
}

pub(crate) fn open(directory: &Path, options: Options) -> Result<Opened> {
    if options.max_bytes < 2 * options.segment() {
        return Err(Error::config(
            "a write-ahead log needs room for at least 2 MiB",
        ));
    }
    fs::create_dir_all(directory).map_err(|error| segment::writing(error, directory))?;
    let lock = lock(directory)?;
    let bases = segment::list(directory)?;
    let mark = match (Mark::read(directory)?, bases.first()) {
        (Some(mark), _) => mark,
        (None, first) => {
            let mark = Mark {
                log: Uuid::new_v4(),
                trimmed: first.copied().unwrap_or_default(),
            };
            mark.write(directory)?;
            mark
        }
    };
    let mut segments = VecDeque::new();
    let mut end = bases.first().copied().unwrap_or(mark.trimmed);
    for (number, base) in bases.iter().copied().enumerate() {
        let path = segment::path(directory, base);
        if base != end {
            return Err(segment::damaged(&path, end));
        }
        if number + 1 < bases.len() {
            let found = fs::metadata(&path).map_err(|error| segment::reading(error, &path))?;
            end += found.len();
        } else {
            end = segment::end(directory, base)?;
            segment::rewrite(directory, base, end)?;
        }
        // One that holds nothing is created again, by the same name.
        if end > base {
            segments.push_back(base);
        }
    }
    // The mark is stored before what lies before it is deleted, so what ends before it has lost some.
    if end < mark.trimmed {
        return Err(segment::damaged(directory, end));
    }
    Ok(Opened {
        lock,
        mark,
        segments,
        end,
    })
}

/// Takes the directory for this process.
fn lock(directory: &Path) -> Result<File> {
    let path = directory.join("lock");
    let mut options = segment::private();
    let file = options.write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(|error| segment::writing(error, &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::new(
            tidegate_core::ErrorKind::Conflict,
            "another process has the write-ahead log open",
        )
        .with("path", directory.display())),
        Err(TryLockError::Error(error)) => Err(segment::writing(error, &path)),
    }
}
