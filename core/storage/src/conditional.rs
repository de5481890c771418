//! Objects that are replaced on condition: what a state on object storage stands on.

use bytes::Bytes;
use object_store::{Error as StoreError, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use tidegate_core::{Error, Result};

use crate::{Place, Storage};

/// Reading and replacing whole objects by their ETags.
///
/// S3 compares them with `If-Match` and `If-None-Match` (PutObject; 412 is a lost race, 409 is asked
/// again), and reads are strong.
impl Storage {
    /// Checks that this kind of place can replace objects on condition.
    ///
    /// Errors: `Unsupported` for a local directory.
    pub fn check_conditional(&self) -> Result<()> {
        match self.location().place() {
            Place::Memory | Place::S3 => Ok(()),
            Place::Local => Err(Error::unsupported(
                "files of a directory can't be replaced on condition",
            )
            .with("path", self.location())),
        }
    }

    /// The object and its ETag; `None` if there is none.
    pub async fn read_tagged(&self, key: &str) -> Result<Option<(Bytes, String)>> {
        let failed = |error| crate::error::object("read", &self.show(key), error);
        let found = match self.objects().get(&self.object_path(key)?).await {
            Ok(found) => found,
            Err(StoreError::NotFound { source, path }) => {
                // A missing bucket looks the same to `object_store`, and is another matter.
                self.check_bucket(key, StoreError::NotFound { source, path })?;
                return Ok(None);
            }
            Err(error) => return Err(failed(error)),
        };
        let Some(tag) = found.meta.e_tag.clone() else {
            return Err(self.untagged(key));
        };
        Ok(Some((found.bytes().await.map_err(failed)?, tag)))
    }

    /// Replaces the object if its ETag still is `expected` (`None`: makes it if there is none).
    /// Gives the new ETag; `None` if the object was another one.
    ///
    /// A request whose answer was lost is retried. So `None` may also mean that this very write
    /// took place: only its content tells.
    pub async fn replace(
        &self,
        key: &str,
        bytes: Bytes,
        expected: Option<&str>,
    ) -> Result<Option<String>> {
        self.check_conditional()?;
        let mode = match expected {
            None => PutMode::Create,
            Some(tag) => PutMode::Update(UpdateVersion {
                e_tag: Some(tag.to_owned()),
                version: None,
            }),
        };
        let path = self.object_path(key)?;
        let written = self
            .objects()
            .put_opts(&path, bytes.into(), PutOptions::from(mode))
            .await;
        match written {
            Ok(written) => written.e_tag.map(Some).ok_or_else(|| self.untagged(key)),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(None),
            Err(error) => Err(crate::error::object("write", &self.show(key), error)),
        }
    }

    fn check_bucket(&self, key: &str, error: StoreError) -> Result<()> {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text.push_str(&error.to_string());
            cause = error.source();
        }
        if text.contains("NoSuchBucket") {
            return Err(crate::error::object("read", &self.show(key), error));
        }
        Ok(())
    }

    fn untagged(&self, key: &str) -> Error {
        Error::unsupported("the server gives no ETags, by which objects are told apart")
            .with("path", self.show(key))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tidegate_core::ErrorKind;

    use super::*;
    use crate::{Access, Location};

    async fn open(url: &str) -> Storage {
        let location = Location::parse(url, Path::new("/")).unwrap();
        Storage::open(&location, &Access::default()).await.unwrap()
    }

    #[tokio::test]
    async fn an_object_is_replaced_only_by_who_knows_it() {
        let storage = open("memory://conditional/a").await;
        assert_eq!(storage.read_tagged("x").await.unwrap(), None);
        let replace = async |text: &'static str, expected: Option<&str>| {
            storage.replace("x", text.into(), expected).await.unwrap()
        };
        let first = replace("one", None).await.unwrap();
        assert_eq!(replace("two", None).await, None);
        let second = replace("two", Some(&first)).await.unwrap();
        assert_eq!(replace("three", Some(&first)).await, None);
        let (bytes, tag) = storage.read_tagged("x").await.unwrap().unwrap();
        assert_eq!((&bytes[..], &tag), (&b"two"[..], &second));
    }

    #[tokio::test]
    async fn a_directory_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let storage = open(&directory.path().display().to_string()).await;
        let error = storage.replace("x", "y".into(), None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
