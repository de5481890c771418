//! Local files as objects, for readers that take a store.
//!
//! `object_store` has one, too. It hides names that end in `#` and digits, which it gives to its own
//! temporary files, and blocks until a pipe is opened.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path as ObjectPath;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};

use crate::unblock::aside;

/// The files of this machine. They are only read here: [`super::LocalLister`] lists them, and
/// [`super::LocalStaging`] writes them.
#[derive(Debug)]
pub(crate) struct LocalFiles;

/// What changes whenever a file's content does: its inode, time of change and size.
pub(super) fn etag(metadata: &Metadata) -> String {
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(metadata);
    #[cfg(not(unix))]
    let inode = 0;
    let modified = metadata.modified().ok();
    let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let micros = since.unwrap_or_default().as_micros();
    format!("{inode:x}-{micros:x}-{:x}", metadata.len())
}

fn path_of(location: &ObjectPath) -> PathBuf {
    PathBuf::from(format!("/{location}"))
}

fn failed(location: &ObjectPath, error: io::Error) -> Error {
    let path = location.to_string();
    match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound {
            path,
            source: error.into(),
        },
        io::ErrorKind::PermissionDenied => Error::PermissionDenied {
            path,
            source: error.into(),
        },
        _ => Error::Generic {
            store: "local",
            source: error.into(),
        },
    }
}

/// What is known of a file. A directory is none.
fn known(location: &ObjectPath, metadata: &Metadata) -> Result<ObjectMeta> {
    if metadata.is_dir() {
        return Err(failed(location, io::ErrorKind::NotFound.into()));
    }
    if !metadata.is_file() {
        return Err(Error::NotSupported {
            source: "it is no file but a pipe, a socket or a device".into(),
        });
    }
    let modified = metadata.modified();
    Ok(ObjectMeta {
        location: location.clone(),
        last_modified: modified.map_err(|error| failed(location, error))?.into(),
        size: metadata.len(),
        e_tag: Some(etag(metadata)),
        version: None,
    })
}

/// Refuses a file that says it is empty and isn't: with its size, nothing of it would be read.
fn check_empty(location: &ObjectPath) -> Result<()> {
    let path = path_of(location);
    // What can't be opened says so when it is read.
    let read = File::open(&path).and_then(|mut file| file.read(&mut [0]));
    // One that somebody has just written has a size now.
    if matches!(read, Ok(1..)) && fs::metadata(&path).is_ok_and(|now| now.len() == 0) {
        return Err(Error::NotSupported {
            source: "its size can't be told: what it holds is made when it is read".into(),
        });
    }
    Ok(())
}

/// Opens a file. What is known of it is of what was opened, which may have been put there after the
/// path was looked at.
fn open(location: &ObjectPath) -> Result<(File, ObjectMeta)> {
    let path = path_of(location);
    let opened = || {
        let file = File::open(&path)?;
        let metadata = file.metadata()?;
        Ok((file, metadata))
    };
    let (file, metadata) = opened().map_err(|error| failed(location, error))?;
    let meta = known(location, &metadata)?;
    Ok((file, meta))
}

fn get(location: &ObjectPath, options: &GetOptions) -> Result<GetResult> {
    let path = path_of(location);
    // Opening a pipe would wait for its other end.
    let metadata = fs::metadata(&path).map_err(|error| failed(location, error))?;
    let mut meta = known(location, &metadata)?;
    let mut file = None;
    if options.head && meta.size == 0 {
        check_empty(location)?;
    } else if !options.head {
        let (opened, its) = open(location)?;
        (file, meta) = (Some(opened), its);
    }
    options.check_preconditions(&meta)?;
    let range = match &options.range {
        None => 0..meta.size,
        Some(GetRange::Bounded(range)) => range.start.min(meta.size)..range.end.min(meta.size),
        Some(GetRange::Offset(from)) => *from.min(&meta.size)..meta.size,
        Some(GetRange::Suffix(length)) => meta.size.saturating_sub(*length)..meta.size,
    };
    let payload = match file.filter(|_| !range.is_empty()) {
        Some(file) => GetResultPayload::File(file, path),
        None => GetResultPayload::Stream(stream::empty().boxed()),
    };
    Ok(GetResult {
        payload,
        meta,
        range,
        attributes: Attributes::default(),
    })
}

fn read(location: &ObjectPath, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
    let read = || {
        let mut file = File::open(path_of(location))?;
        let ranges = ranges.iter().map(|range| {
            let length = usize::try_from(range.end.saturating_sub(range.start));
            let mut bytes = vec![0; length.map_err(io::Error::other)?];
            file.seek(SeekFrom::Start(range.start))?;
            file.read_exact(&mut bytes)?;
            Ok(Bytes::from(bytes))
        });
        ranges.collect::<io::Result<_>>()
    };
    read().map_err(|error| failed(location, error))
}

fn unused() -> Error {
    Error::NotSupported {
        source: "local files are only read here".into(),
    }
}

impl fmt::Display for LocalFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("local files")
    }
}

#[async_trait]
impl ObjectStore for LocalFiles {
    async fn get_opts(&self, location: &ObjectPath, options: GetOptions) -> Result<GetResult> {
        let location = location.clone();
        aside(move || get(&location, &options)).await?
    }

    async fn get_ranges(&self, location: &ObjectPath, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (location, ranges) = (location.clone(), ranges.to_vec());
        aside(move || read(&location, &ranges)).await?
    }

    fn list(&self, _: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
        stream::once(std::future::ready(Err(unused()))).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&ObjectPath>) -> Result<ListResult> {
        Err(unused())
    }

    async fn put_opts(&self, _: &ObjectPath, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(unused())
    }

    async fn put_multipart_opts(
        &self,
        _: &ObjectPath,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(unused())
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<ObjectPath>>,
    ) -> BoxStream<'static, Result<ObjectPath>> {
        stream::once(std::future::ready(Err(unused()))).boxed()
    }

    async fn copy_opts(&self, _: &ObjectPath, _: &ObjectPath, _: CopyOptions) -> Result<()> {
        Err(unused())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn what_is_read_is_what_was_asked_for_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["a", "b"] {
            fs::write(at(name), name.repeat(8)).unwrap();
        }
        fs::hard_link(at("a"), at("x")).unwrap();
        let wanted = etag(&fs::metadata(at("a")).unwrap());
        let location = ObjectPath::from_filesystem_path(at("x")).unwrap();
        let over = AtomicBool::new(false);
        let mut wrong = None;
        std::thread::scope(|scope| {
            // One file takes the other's place again and again.
            scope.spawn(|| {
                for name in ["b", "a"].into_iter().cycle().take(1_000_000) {
                    fs::hard_link(at(name), at("next")).unwrap();
                    fs::rename(at("next"), at("x")).unwrap();
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
            for _ in 0..20_000 {
                let options = GetOptions {
                    if_match: Some(wanted.clone()),
                    ..GetOptions::default()
                };
                let got = match get(&location, &options) {
                    Err(Error::Precondition { .. }) => continue,
                    got => got.unwrap(),
                };
                let GetResultPayload::File(mut file, _) = got.payload else {
                    panic!("no file");
                };
                let mut text = String::new();
                file.read_to_string(&mut text).unwrap();
                if text != "aaaaaaaa" {
                    wrong = Some(text);
                    break;
                }
            }
            over.store(true, Ordering::Relaxed);
        });
        assert_eq!(wrong, None);
    }
}
