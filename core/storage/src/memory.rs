//! Staged writes in memory: what tests and embedders stand on.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use serde_json::Value;
use tidegate_core::{Error, Result};
use uuid::Uuid;

use crate::staged::{Staged, StagedToken, StagedWriter, Staging};

static STORE: LazyLock<Arc<InMemory>> = LazyLock::new(Arc::default);

/// The one store of this process: `memory://name/…` is the same place wherever it is opened.
pub(crate) fn store() -> Arc<dyn ObjectStore> {
    Arc::clone(&*STORE) as _
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
        // As `Storage::object_path`: joining part by part would encode some characters.
        let whole = format!("{}/{key}", self.root);
        ObjectPath::parse(&whole).unwrap_or_else(|_| ObjectPath::from(whole))
    }

    fn hidden(&self, token: &StagedToken) -> ObjectPath {
        self.path(&crate::local::hidden_key(token))
    }
}

fn failed(error: object_store::Error) -> Error {
    crate::error::object("write", "memory", error)
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
            folders: 0,
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
