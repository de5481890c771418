//! Files in memory: what tests and embedders stand on.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};
use serde_json::Value;
use tidegate_core::{Error, Result};
use uuid::Uuid;

use crate::Location;
use crate::listing::{Found, Kind, Lister, Wanted};
use crate::read::FileMeta;
use crate::staged::{Staged, StagedToken, StagedWriter, Staging};

static STORE: LazyLock<Arc<InMemory>> = LazyLock::new(Arc::default);

/// The one store of this process: `memory://name/…` is the same place wherever it is opened.
pub(crate) fn store() -> Arc<dyn ObjectStore> {
    Arc::clone(&*STORE) as _
}

/// Lists what lies in memory.
#[derive(Debug)]
pub(crate) struct MemoryLister {
    objects: Arc<dyn ObjectStore>,
    root: ObjectPath,
}

impl MemoryLister {
    pub(crate) fn new(objects: Arc<dyn ObjectStore>, root: ObjectPath) -> Self {
        Self { objects, root }
    }

    fn key(&self, path: &ObjectPath) -> Option<String> {
        let key = path.as_ref().strip_prefix(self.root.as_ref())?;
        Some(key.trim_start_matches('/').to_owned())
    }

    fn directory_path(&self, key: &str) -> ObjectPath {
        path(&self.root, key)
    }

    fn file(&self, object: &ObjectMeta, wanted: &Wanted) -> Option<FileMeta> {
        let key = self.key(&object.location)?;
        wanted(Kind::File, &key).then(|| FileMeta::new(key, object))
    }
}

#[async_trait]
impl Lister for MemoryLister {
    async fn directory(&self, key: &str, wanted: &Wanted) -> Result<Found> {
        let prefix = self.directory_path(key);
        let listing = self.objects.list_with_delimiter(Some(&prefix)).await;
        let listing = listing.map_err(failed)?;
        let directories = listing.common_prefixes.iter();
        let directories = directories.filter_map(|directory| self.key(directory));
        Ok(Found {
            files: listing
                .objects
                .iter()
                .filter_map(|object| self.file(object, wanted))
                .collect(),
            directories: directories
                .filter(|key| wanted(Kind::Directory, key))
                .collect(),
            left_out: Vec::new(),
        })
    }

    async fn below(&self, key: &str, wanted: &Wanted) -> Result<Found> {
        let objects: Vec<_> = self
            .objects
            .list(Some(&self.directory_path(key)))
            .try_collect()
            .await
            .map_err(failed)?;
        let files = objects.iter();
        Ok(Found {
            files: files
                .filter_map(|object| self.file(object, wanted))
                .collect(),
            ..Found::default()
        })
    }

    async fn is_directory(&self, key: &str) -> Result<bool> {
        let prefix = self.directory_path(key);
        let mut under = self.objects.list(Some(&prefix));
        Ok(under.try_next().await.map_err(failed)?.is_some())
    }
}

#[derive(Debug)]
pub(crate) struct MemoryStaging {
    objects: Arc<dyn ObjectStore>,
    root: ObjectPath,
}

impl MemoryStaging {
    pub(crate) fn new(objects: Arc<dyn ObjectStore>, root: ObjectPath) -> Self {
        Self { objects, root }
    }

    fn path(&self, key: &str) -> ObjectPath {
        path(&self.root, key)
    }

    fn hidden(&self, token: &StagedToken) -> ObjectPath {
        self.path(&crate::local::hidden_key(token))
    }
}

fn path(root: &ObjectPath, key: &str) -> ObjectPath {
    // As `Storage::object_path`: joining part by part would encode some characters.
    let whole = format!("{root}/{key}");
    ObjectPath::parse(&whole).unwrap_or_else(|_| ObjectPath::from(whole))
}

fn failed(error: object_store::Error) -> Error {
    crate::error::object("use", "memory", error)
}

fn absent(result: object_store::Result<()>) -> Result<()> {
    match result {
        Err(object_store::Error::NotFound { .. }) => Ok(()),
        other => other.map_err(failed),
    }
}

#[async_trait]
impl Staging for MemoryStaging {
    async fn begin(&self, key: &str) -> Result<StagedToken> {
        Ok(StagedToken {
            key: key.to_owned(),
            unique: Uuid::new_v4().simple().to_string(),
            directories: 0,
        })
    }

    async fn create(&self, token: &StagedToken) -> Result<Box<dyn StagedWriter>> {
        Ok(Box::new(MemoryWriter {
            objects: Arc::clone(&self.objects),
            hidden: self.hidden(token),
            token: token.clone(),
            bytes: Vec::new(),
        }))
    }

    async fn publish(&self, staged: &[Staged]) -> Result<()> {
        for file in staged {
            let target = self.path(file.key());
            match self
                .objects
                .rename(&self.hidden(&file.token), &target)
                .await
            {
                Ok(()) => {}
                Err(object_store::Error::NotFound { .. }) => {
                    if self.objects.head(&target).await.is_err() {
                        return Err(crate::local::vanished(&target));
                    }
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }

    async fn discard(&self, tokens: &[StagedToken]) -> Result<()> {
        for token in tokens {
            absent(self.objects.delete(&self.hidden(token)).await)?;
        }
        Ok(())
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        for key in keys {
            absent(self.objects.delete(&self.path(key)).await)?;
        }
        Ok(())
    }

    async fn rename(&self, key: &str, _bytes: u64, to: &Location) -> Result<bool> {
        let to = path(&ObjectPath::default(), to.path().trim_matches('/'));
        match self.objects.rename(&self.path(key), &to).await {
            Ok(()) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    async fn check_writable(&self) -> Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryWriter {
    objects: Arc<dyn ObjectStore>,
    hidden: ObjectPath,
    token: StagedToken,
    bytes: Vec<u8>,
}

#[async_trait]
impl StagedWriter for MemoryWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Staged> {
        let bytes = self.bytes.len() as u64;
        let payload = PutPayload::from(self.bytes);
        self.objects
            .put(&self.hidden, payload)
            .await
            .map_err(failed)?;
        Ok(Staged {
            token: self.token,
            bytes,
            receipt: Value::Null,
            renamed: None,
        })
    }
}
