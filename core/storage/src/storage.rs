//! One folder or prefix, somewhere.

use std::fmt;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use tidegate_core::{Error, Result};

use crate::local::LocalStaging;
use crate::memory::{self, MemoryStaging};
use crate::read::FileMeta;
use crate::staged::{Staged, StagedToken, StagedWriter, Staging};
use crate::{Access, Location, Place};

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
        Ok(found)
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
        Ok(found)
    }

    /// Whether there is anything here: a file, or a folder.
    pub async fn exists(&self) -> Result<bool> {
        Ok(self.is_folder("").await || self.0.objects.head(&self.0.root).await.is_ok())
    }

    pub(crate) async fn is_folder(&self, key: &str) -> bool {
        match self.0.location.place() {
            Place::Local => {
                let path = self.show(key);
                crate::unblock::unblock(move || Ok(std::path::Path::new(&path).is_dir()))
                    .await
                    .unwrap_or(false)
            }
            Place::Memory | Place::S3 => false,
        }
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
