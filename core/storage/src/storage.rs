//! One folder or prefix, somewhere.

use std::fmt;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use tidegate_core::{Error, Result};

use crate::local::LocalStaging;
use crate::memory::{self, MemoryStaging};
use crate::read::FileMeta;
use crate::staged::{Staged, StagedToken, StagedWriter, Staging};
use crate::{Access, Location, Place, ReadAhead};

/// One folder or prefix, or one file, somewhere. All keys are relative to it, with `/` between
/// their parts. Cheap to clone.
#[derive(Clone)]
pub struct Storage(Arc<Inner>);

struct Inner {
    location: Location,
    root: ObjectPath,
    objects: Arc<dyn ObjectStore>,
    staging: Arc<dyn Staging>,
}

impl Storage {
    /// Opens the storage at a location, which need not exist yet.
    pub async fn open(location: &Location, access: &Access) -> Result<Self> {
        let parts = location.path().trim_matches('/');
        let root = ObjectPath::parse(parts).map_err(|error| {
            Error::config("this path can't be used")
                .with("path", location)
                .because(error)
        })?;
        let (objects, staging): (Arc<dyn ObjectStore>, Arc<dyn Staging>) = match location.place() {
            Place::Local => (
                Arc::new(LocalFileSystem::new()),
                Arc::new(LocalStaging::new(location.path())),
            ),
            #[cfg(feature = "s3")]
            Place::S3 => {
                let (bucket, objects) = crate::s3::Bucket::open(location, access).await?;
                let staging = crate::s3::S3Staging::new(bucket, location.clone());
                (objects, Arc::new(staging))
            }
            #[cfg(not(feature = "s3"))]
            Place::S3 => {
                let _ = access;
                return Err(
                    Error::unsupported("this program was built without S3").with("url", location)
                );
            }
            Place::Memory => {
                let objects = memory::store();
                let staging = MemoryStaging::new(Arc::clone(&objects), root.clone());
                (objects, Arc::new(staging))
            }
        };
        Ok(Self(Arc::new(Inner {
            location: location.clone(),
            root,
            objects,
            staging,
        })))
    }

    /// Where it is.
    pub fn location(&self) -> &Location {
        &self.0.location
    }

    /// The url of a key (empty: of the storage itself), as catalogs keep it and as
    /// [`Location::parse`] reads it again: `s3://bucket/prefix/key`, its characters as they are;
    /// `file:///folder/key`, percent-encoded.
    pub fn url(&self, key: &str) -> String {
        self.0.location.url(key)
    }

    /// How a stream reads from here at its best speed.
    pub fn read_ahead(&self) -> ReadAhead {
        match self.0.location.place() {
            Place::Local | Place::Memory => ReadAhead::default(),
            // One connection gives some 50 to 90 MB/s after tens of milliseconds.
            Place::S3 => ReadAhead {
                chunk: 8 << 20,
                ahead: 3,
            },
        }
    }

    /// What a key is called in messages.
    pub fn show(&self, key: &str) -> String {
        self.0.location.show(key)
    }

    /// The store behind it, for readers that take one (DataFusion, Parquet). Its paths are those
    /// of [`Storage::object_path`].
    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.0.objects
    }

    /// The path of `key` in [`Storage::objects`].
    pub fn object_path(&self, key: &str) -> Result<ObjectPath> {
        let path = match (self.0.root.as_ref().is_empty(), key.is_empty()) {
            (_, true) => return Ok(self.0.root.clone()),
            (true, _) => ObjectPath::parse(key),
            (false, _) => ObjectPath::parse(format!("{}/{key}", self.0.root)),
        };
        path.map_err(|error| {
            Error::config("this name can't be used")
                .with("path", self.show(key))
                .because(error)
        })
    }

    /// The key of a path in [`Storage::objects`], if it is in here.
    pub fn key(&self, path: &ObjectPath) -> Option<String> {
        let rest = path.as_ref().strip_prefix(self.0.root.as_ref())?;
        let key = rest.trim_start_matches('/');
        (self.0.root.as_ref().is_empty() || rest.is_empty() || rest.len() > key.len())
            .then(|| key.to_owned())
    }

    /// All files under here but hidden ones, sorted by key.
    pub async fn list(&self) -> Result<Vec<FileMeta>> {
        let failed =
            |error| crate::error::object("list files", &self.0.location.to_string(), error);
        let mut found: Vec<_> = self
            .0
            .objects
            .list(Some(&self.0.root))
            .map_err(failed)
            .try_filter_map(|object| async move {
                Ok(self
                    .key(&object.location)
                    .filter(|key| key.split('/').all(|name| !name.starts_with('.')))
                    .map(|key| FileMeta::new(key, &object)))
            })
            .try_collect()
            .await?;
        found.sort_by(|a, b| a.key.cmp(&b.key));
        self.without_markers(found).await
    }

    /// The files right in the folder `key` but hidden ones, sorted by key.
    pub async fn list_folder(&self, key: &str) -> Result<Vec<FileMeta>> {
        let prefix = self.object_path(key)?;
        let listing = self.0.objects.list_with_delimiter(Some(&prefix)).await;
        let mut found: Vec<_> = match listing {
            Ok(listing) => {
                let files = listing.objects.iter();
                files
                    .filter_map(|object| Some(FileMeta::new(self.key(&object.location)?, object)))
                    .filter(|file| !file.name().starts_with('.'))
                    .collect()
            }
            Err(object_store::Error::NotFound { .. }) => Vec::new(),
            Err(error) => {
                return Err(crate::error::object("list files", &self.show(key), error));
            }
        };
        found.sort_by(|a, b| a.key.cmp(&b.key));
        self.without_markers(found).await
    }

    /// Whether there is anything here: a file, or a folder.
    pub async fn exists(&self) -> Result<bool> {
        Ok(self.is_folder("").await? || self.file("").await?.is_some())
    }

    /// Whether `key` is a folder. Where there are no folders, it is one if a key is under it.
    pub(crate) async fn is_folder(&self, key: &str) -> Result<bool> {
        match self.0.location.place() {
            Place::Local => {
                let path = self.show(key);
                crate::unblock::unblock(move || Ok(std::path::Path::new(&path).is_dir())).await
            }
            Place::Memory | Place::S3 => {
                let path = self.object_path(key)?;
                let mut under = self.0.objects.list(Some(&path));
                let found = under
                    .try_next()
                    .await
                    .map_err(|error| crate::error::object("list files", &self.show(key), error))?;
                Ok(found.is_some())
            }
        }
    }

    /// Leaves out what the consoles of S3 make for an empty folder: an empty object whose key ends
    /// in `/`, which listings give without it. Under the name as it is listed there is nothing.
    pub(crate) async fn without_markers(&self, files: Vec<FileMeta>) -> Result<Vec<FileMeta>> {
        if self.0.location.place() != Place::S3 || files.iter().all(|file| file.size > 0) {
            return Ok(files);
        }
        futures::stream::iter(files)
            .map(|file| async move {
                let real = file.size > 0 || self.file(&file.key).await?.is_some();
                Ok(real.then_some(file))
            })
            .buffered(16)
            .try_filter_map(|file| async move { Ok(file) })
            .try_collect()
            .await
    }
}

/// Staged writes: see [`Staging`].
impl Storage {
    /// See [`Staging::begin`].
    pub async fn begin(&self, key: &str) -> Result<StagedToken> {
        self.0.staging.begin(key).await
    }

    /// See [`Staging::create`].
    pub async fn create(&self, token: &StagedToken) -> Result<Box<dyn StagedWriter>> {
        self.0.staging.create(token).await
    }

    /// See [`Staging::publish`].
    pub async fn publish(&self, staged: &[Staged]) -> Result<()> {
        self.0.staging.publish(staged).await
    }

    /// See [`Staging::discard`].
    pub async fn discard(&self, tokens: &[StagedToken]) -> Result<()> {
        self.0.staging.discard(tokens).await
    }

    /// See [`Staging::delete`].
    pub async fn delete(&self, keys: &[String]) -> Result<()> {
        self.0.staging.delete(keys).await
    }

    /// See [`Staging::check_writable`].
    pub async fn check_writable(&self) -> Result<()> {
        self.0.staging.check_writable().await
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Storage({})", self.0.location)
    }
}
