//! Staged writes on S3: a multipart upload, invisible until it is completed.
//!
//! The token's id stands in the metadata of the object that the upload becomes. The upload's own
//! id isn't known when the token is journalled, so `discard` finds uploads by their key, which is
//! no guess: whoever stages files here gives each a key that no other file has (lineage, run, epoch
//! and number stand in it, and epochs never repeat within a lineage). So an upload of exactly a
//! journalled key is the one that was journalled. Uploads of any other key are left alone.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{ChecksumAlgorithm, Delete, MultipartUpload, ObjectIdentifier};
use bytes::BytesMut;
use futures::{StreamExt, TryStreamExt};
use tidegate_aws::{Refusal, RetryCounter};
use tidegate_core::{Error, Metrics, Result};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::Bucket;
use super::complete::{ID, Upload};
use super::error::asking;
use super::pages::Pages;
use super::writer::{Receipt, S3Writer};
use crate::Location;
use crate::staged::{Staged, StagedToken, StagedWriter, Staging};

/// Requests of one call that are on their way at once.
const AT_ONCE: usize = 16;

/// DeleteObjects takes 1,000 keys.
const DELETE_AT_ONCE: usize = 1_000;

/// How often keys are deleted again that the service could not delete for now.
const DELETE_TRIES: u32 = 5;

/// S3 takes keys of up to 1,024 bytes.
const KEY_LIMIT: usize = 1_024;

#[derive(Debug)]
pub(crate) struct S3Staging {
    bucket: Bucket,
    location: Location,
}

impl S3Staging {
    pub(crate) fn new(bucket: Bucket, location: Location) -> Self {
        Self { bucket, location }
    }

    /// The object's key of a key that is relative to the location.
    fn whole(&self, key: &str) -> Result<String> {
        let strange = |name: &str| matches!(name, "" | "." | "..");
        let root = self.location.path().trim_matches('/');
        let whole = match root {
            "" => key.to_owned(),
            root => format!("{root}/{key}"),
        };
        let refused = if key.split('/').any(strange) {
            "a name has no empty parts, and none that is `.` or `..`"
        } else if whole.len() > KEY_LIMIT {
            "S3 takes names of up to 1,024 bytes, with their prefix"
        } else if whole.chars().any(|c| c.is_ascii_control()) {
            "a name has no control characters"
        } else {
            return Ok(whole);
        };
        let error = Error::config(format!("`{key}` can't name a file"));
        Err(error.with("url", &self.location).hint(refused))
    }
}

#[async_trait]
impl Staging for S3Staging {
    async fn begin(&self, key: &str) -> Result<StagedToken> {
        self.whole(key)?;
        Ok(StagedToken {
            key: key.to_owned(),
            unique: Uuid::new_v4().simple().to_string(),
            directories: 0,
        })
    }

    async fn create(&self, token: &StagedToken) -> Result<Box<dyn StagedWriter>> {
        let key = self.whole(&token.key)?;
        let url = self.location.show(&token.key);
        let created = self.bucket.create(&key, &token.unique).await;
        let created = created.map_err(|error| error.with("path", &url))?;
        Ok(Box::new(S3Writer {
            bucket: self.bucket.clone(),
            upload_id: created.id,
            twins: created.twins,
            key,
            url,
            token: token.clone(),
            bytes: 0,
            tail: BytesMut::new(),
            sent: 0,
            sending: JoinSet::new(),
            done: Vec::new(),
        }))
    }

    async fn publish(&self, staged: &[Staged]) -> Result<()> {
        let mut uploads = Vec::with_capacity(staged.len());
        for staged in staged {
            let receipt: Receipt =
                serde_json::from_value(staged.receipt.clone()).map_err(|error| {
                    Error::internal("what was staged isn't an upload").because(error)
                })?;
            let renamed = match &staged.renamed {
                Some(key) if *key != staged.token.key => Some(self.whole(key)?),
                _ => None,
            };
            uploads.push(Upload {
                key: self.whole(&staged.token.key)?,
                url: self.location.show(staged.key()),
                unique: staged.token.unique.clone(),
                bytes: staged.bytes,
                receipt,
                renamed,
            });
        }
        futures::stream::iter(uploads)
            .map(|upload| async move {
                let published = self.bucket.publish(&upload).await;
                published.map_err(|error| error.with("path", &upload.url))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn discard(&self, tokens: &[StagedToken]) -> Result<()> {
        let mut keys = tokens
            .iter()
            .map(|token| self.whole(&token.key))
            .collect::<Result<Vec<_>>>()?;
        keys.sort();
        let here = |error: Error| error.with("url", &self.location);
        let uploads = self.bucket.uploads_of(&keys).await.map_err(here)?;
        futures::stream::iter(uploads)
            .map(|(key, id)| async move { self.bucket.abort(&key, &id).await })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await
            .map_err(here)
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        let keys = keys
            .iter()
            .map(|key| self.whole(key))
            .collect::<Result<Vec<_>>>()?;
        let batches: Vec<_> = keys.chunks(DELETE_AT_ONCE).map(<[_]>::to_vec).collect();
        futures::stream::iter(batches)
            .map(|keys| async move { self.bucket.delete_all(keys).await })
            .buffer_unordered(4)
            .try_collect::<()>()
            .await
            .map_err(|error| error.with("url", &self.location))
    }

    async fn rename(&self, key: &str, bytes: u64, to: &Location) -> Result<bool> {
        let from = match key {
            "" => self.location.path().trim_matches('/').to_owned(),
            key => self.whole(key)?,
        };
        let here = |error: Error| error.with("path", self.location.show(key));
        let to = to.path().trim_matches('/');
        // A copy that is made again replaces itself.
        let unique = Uuid::new_v4().simple().to_string();
        let copied = self.bucket.copy(&from, bytes, &unique, to).await;
        if !copied.map_err(here)? {
            return Ok(false);
        }
        self.bucket.delete_all(vec![from]).await.map_err(here)?;
        Ok(true)
    }

    async fn check_writable(&self) -> Result<()> {
        // Only trying says the truth: permissions come from several policies. Nothing appears. The name is
        // always the same, so that what a process killed right here leaves is found by the next one.
        let key = self.whole(".tidegate-check")?;
        let check = async {
            let created = self.bucket.create(&key, "check").await?;
            self.bucket.abort_twins(&key, &created.id).await?;
            self.bucket.abort(&key, &created.id).await
        };
        check
            .await
            .map_err(|error: Error| error.with("url", &self.location))
    }
}

/// An upload that was begun.
#[derive(Debug)]
pub(super) struct Created {
    pub(super) id: String,
    /// Whether there may be others of its key, because an answer was lost and the request made
    /// again.
    pub(super) twins: bool,
}

impl Bucket {
    /// Begins an upload whose object will say `unique`.
    pub(super) async fn create(&self, key: &str, unique: &str) -> Result<Created> {
        let retries = Arc::new(Metrics::default());
        let created = self
            .client
            .create_multipart_upload()
            .bucket(&self.name)
            .key(key)
            .metadata(ID, unique)
            .set_checksum_algorithm(self.checksums.then_some(ChecksumAlgorithm::Crc32))
            .customize()
            .interceptor(RetryCounter::new(&retries))
            .send()
            .await
            .map_err(|error| asking("write here", error))?;
        match created.upload_id {
            Some(id) if !id.is_empty() => Ok(Created {
                id,
                twins: retries.total_retries() > 0,
            }),
            _ => Err(Error::internal("the server gave an upload no id")),
        }
    }

    /// Aborts the uploads of a key but this one.
    pub(super) async fn abort_twins(&self, key: &str, id: &str) -> Result<()> {
        for (key, twin) in self.uploads_of(&[key.to_owned()]).await? {
            if twin != id {
                self.abort(&key, &twin).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn abort(&self, key: &str, id: &str) -> Result<()> {
        let request = self
            .client
            .abort_multipart_upload()
            .bucket(&self.name)
            .key(key)
            .upload_id(id);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("NoSuchUpload") => Ok(()),
            Err(error) => Err(asking("abort an upload", error)),
        }
    }

    /// The open uploads of exactly these keys, which are sorted.
    async fn uploads_of(&self, keys: &[String]) -> Result<Vec<(String, String)>> {
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else {
            return Ok(Vec::new());
        };
        let common = common_prefix(first, last);
        let mut found = Vec::new();
        let mut pages = Pages::default();
        let (mut after_key, mut after_id) = (None, None);
        loop {
            let page = self
                .client
                .list_multipart_uploads()
                .bucket(&self.name)
                .prefix(common)
                .set_key_marker(after_key)
                .set_upload_id_marker(after_id)
                .send()
                .await
                .map_err(|error| asking("list uploads", error))?;
            for upload in page.uploads() {
                if let (Some(key), Some(id)) = (upload.key(), upload.upload_id())
                    && keys
                        .binary_search_by(|known| known.as_str().cmp(key))
                        .is_ok()
                {
                    pages.keep(2 * size_of::<String>() + key.len() + id.len())?;
                    found.push((key.to_owned(), id.to_owned()));
                }
            }
            if page.is_truncated() != Some(true) || page.next_key_marker.is_none() {
                return Ok(found);
            }
            // An id stands for its upload, of whatever key.
            let ids = page.uploads().iter().filter_map(MultipartUpload::upload_id);
            let next = (page.next_key_marker(), page.next_upload_id_marker());
            pages.turn(&format!("{next:?}"), ids)?;
            (after_key, after_id) = (page.next_key_marker, page.next_upload_id_marker);
        }
    }

    pub(super) async fn delete_one(&self, key: &str) -> Result<()> {
        let request = self.client.delete_object().bucket(&self.name).key(key);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("NoSuchKey") => Ok(()),
            Err(error) => Err(asking("delete a file", error)),
        }
    }

    /// Deletes up to a thousand keys. The service answers 200 and says in the body which it could
    /// not delete.
    async fn delete_all(&self, mut left: Vec<String>) -> Result<()> {
        let mut wait = Duration::from_millis(200);
        for again in (0..DELETE_TRIES).rev() {
            let objects = left.iter().map(|key| {
                ObjectIdentifier::builder()
                    .key(key)
                    .build()
                    .map_err(|error| Error::internal("a key can't be sent").because(error))
            });
            let delete = Delete::builder()
                .set_objects(Some(objects.collect::<Result<_>>()?))
                .quiet(true)
                .build()
                .map_err(|error| Error::internal("keys can't be sent").because(error))?;
            let request = self.client.delete_objects().bucket(&self.name);
            let answer = request.delete(delete).send().await;
            let answer = answer.map_err(|error| asking("delete files", error))?;
            let mut refused = None;
            left.clear();
            for error in answer.errors() {
                let code = error.code().unwrap_or_default();
                if matches!(code, "NoSuchKey" | "NoSuchVersion") {
                    continue;
                }
                left.extend(error.key().map(str::to_owned));
                refused.get_or_insert(Refusal {
                    code: error.code().map(str::to_owned),
                    message: error.message().map(str::to_owned),
                    ..Refusal::default()
                });
            }
            let Some(refused) = refused else {
                return Ok(());
            };
            let passing = ["InternalError", "SlowDown", "ServiceUnavailable"];
            let code = refused.code.as_deref().unwrap_or_default();
            if again == 0 || !passing.contains(&code) {
                let error = refused.into_error("delete files");
                return Err(match left.first() {
                    Some(key) => error.with("key", key),
                    None => error,
                });
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        Ok(())
    }
}

/// What two keys begin with; of sorted keys, what all between them begin with.
fn common_prefix<'a>(first: &'a str, last: &str) -> &'a str {
    let same = first.bytes().zip(last.bytes()).take_while(|(a, b)| a == b);
    &first[..first.floor_char_boundary(same.count())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_prefix_ends_between_characters() {
        assert_eq!(common_prefix("a/ü", "a/ü"), "a/ü");
        assert_eq!(common_prefix("a/ü", "a/ö"), "a/");
        assert_eq!(common_prefix("a", "b"), "");
    }
}
