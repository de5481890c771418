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

/// What is known of a file. A folder is none.
fn look(location: &ObjectPath) -> Result<ObjectMeta> {
    let look = || {
        let metadata = fs::metadata(path_of(location))?;
        let modified = metadata.modified()?;
        Ok((metadata, modified))
    };
    let (metadata, modified) = look().map_err(|error| failed(location, error))?;
    if metadata.is_dir() {
        return Err(failed(location, io::ErrorKind::NotFound.into()));
    }
    if !metadata.is_file() {
        return Err(Error::NotSupported {
            source: "it is no file but a pipe, a socket or a device".into(),
        });
    }
    Ok(ObjectMeta {
        location: location.clone(),
        last_modified: modified.into(),
        size: metadata.len(),
        e_tag: Some(etag(&metadata)),
        version: None,
    })
}

fn get(location: &ObjectPath, options: &GetOptions) -> Result<GetResult> {
    let meta = look(location)?;
    options.check_preconditions(&meta)?;
    let range = match &options.range {
        None => 0..meta.size,
        Some(GetRange::Bounded(range)) => range.start.min(meta.size)..range.end.min(meta.size),
        Some(GetRange::Offset(from)) => *from.min(&meta.size)..meta.size,
        Some(GetRange::Suffix(length)) => meta.size.saturating_sub(*length)..meta.size,
    };
    let payload = if options.head || range.is_empty() {
        GetResultPayload::Stream(stream::empty().boxed())
    } else {
        let path = path_of(location);
        let file = File::open(&path).map_err(|error| failed(location, error))?;
        GetResultPayload::File(file, path)
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
