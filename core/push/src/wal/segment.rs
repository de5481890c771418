//! The files of a log.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tidegate_core::{Error, Result};

use super::frame;

/// The end of a segment's name.
const ENDING: &str = ".log";

/// A segment's path.
pub(crate) fn path(directory: &Path, base: u64) -> PathBuf {
    directory.join(format!("{base:020}{ENDING}"))
}

/// The positions at which segments begin, in order.
pub(crate) fn list(directory: &Path) -> Result<Vec<u64>> {
    let failed = |error| reading(error, directory);
    let mut bases = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let base = name.to_str().and_then(|name| name.strip_suffix(ENDING));
        bases.extend(base.and_then(|base| base.parse::<u64>().ok()));
    }
    bases.sort_unstable();
    Ok(bases)
}

/// A file of the log that only its owner reads: bodies of requests are nobody else's business.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Makes a segment's file, with room for `room` bytes, so that a sync needn't write where the file
/// ends as well.
pub(crate) fn create(directory: &Path, base: u64, room: u64) -> Result<File> {
    let path = path(directory, base);
    let file = private()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path);
    let file = file.map_err(|error| writing(error, &path))?;
    reserve(&file, room).map_err(|error| writing(error, &path))?;
    file.sync_all().map_err(|error| writing(error, &path))?;
    sync_directory(directory)?;
    Ok(file)
}

/// Reserves room where the file system can.
fn reserve(file: &File, room: u64) -> io::Result<()> {
    use rustix::io::Errno;
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, room) {
        // Some file systems have no such thing; then the file grows with what is written.
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Makes a change of the directory's names durable.
pub(crate) fn sync_directory(directory: &Path) -> Result<()> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| writing(error, directory))
}

/// Where the frames of the last segment end.
///
/// What follows was written after the last sync, and was promised to nobody. Should a frame of a later
/// group follow, it was promised: then this is damage.
pub(crate) fn end(directory: &Path, base: u64) -> Result<u64> {
    let path = path(directory, base);
    let bytes = fs::read(&path).map_err(|error| reading(error, &path))?;
    let mut at = 0;
    while let Some((header, _)) = frame::record(&bytes[at..], base + at as u64) {
        at += header.frame();
    }
    let end = base + at as u64;
    let rest = &bytes[at..];
    let is_later = |skipped: usize| {
        let here = end + skipped as u64;
        let found = frame::record(&rest[skipped..], here);
        found.is_some_and(|(header, _)| here - u64::from(header.back) > end)
    };
    // Almost always only the zeros follow that were reserved.
    let last = rest.iter().rposition(|byte| *byte != 0).unwrap_or(0);
    match (1..last).find(|skipped| is_later(*skipped)) {
        None => Ok(end),
        Some(_) => Err(damaged(&path, end)),
    }
}

/// Writes the first bytes of a segment anew, up to `end`, and makes them durable.
///
/// They may have been read from memory only: a kernel that failed to write a page may show it as
/// written. So nothing is built on it.
pub(crate) fn rewrite(directory: &Path, base: u64, end: u64) -> Result<()> {
    let path = path(directory, base);
    let anew = directory.join("anew");
    let mut bytes = fs::read(&path).map_err(|error| reading(error, &path))?;
    bytes.truncate(usize::try_from(end - base).unwrap_or(usize::MAX));
    let failed = |error| writing(error, &anew);
    let file = private()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&anew);
    let file = file.map_err(failed)?;
    file.write_all_at(&bytes, 0).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    fs::rename(&anew, &path).map_err(failed)?;
    sync_directory(directory)
}

/// A frame can't be read that was durable.
pub(crate) fn damaged(path: &Path, at: u64) -> Error {
    Error::data("the write-ahead log is damaged: a record can't be read that was stored")
        .with("path", path.display())
        .with("position", at)
        .hint("check the disk; what follows this record is still in the directory, so keep a copy before you remove it")
}

pub(crate) fn reading(error: io::Error, path: &Path) -> Error {
    Error::io("the write-ahead log can't be read", error).with("path", path.display())
}

pub(crate) fn writing(error: io::Error, path: &Path) -> Error {
    Error::io("the write-ahead log can't be written", error).with("path", path.display())
}
