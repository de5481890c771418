//! Making uploads appear, so that it may be done again.
//!
//! An upload is completed once. Whoever finds it gone looks at the object: every upload's id is in
//! its object's metadata, so the object says whether it is this one. If it isn't, or there is none,
//! someone aborted the upload, and its bytes can't be sent again, because the checkpoint that says
//! that they were read is there already: this is a `Conflict`, and the run stops.
//!
//! The same holds for S3's 409 on completion. Its manual says to upload all parts again; that is
//! for callers who still have them. The upload is still whole, which `ListParts` proves, so the
//! completion is tried again for a while, and if the upload is gone, see above.

use std::time::{Duration, Instant};

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use tidegate_core::{Error, ErrorKind, Result};

use super::Bucket;
use super::error::asking;
use super::pages::Pages;
use super::writer::{Part, Receipt};

/// The metadata that tells one upload's object from any other of its key.
pub(super) const ID: &str = "tidegate-id";

/// How often a completion is tried, and the first wait, which doubles: half a minute in all.
const TRIES: u32 = 8;
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// How long is waited for a completion. S3 begins its answer at once, and then sends spaces until it is
/// done, which may take minutes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Until the answer begins.
    begins: Duration,
    /// Until it has ended.
    ends: Duration,
    /// For a look at what became of it.
    look: Duration,
    /// After so long, it isn't tried again.
    tries: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            begins: Duration::from_secs(60),
            ends: Duration::from_secs(300),
            look: Duration::from_secs(60),
            tries: Duration::from_secs(100),
        }
    }
}

/// CopyObject takes 5 GiB at most.
const COPY_AT_ONCE: u64 = 5 << 30;
/// What is larger is copied in pieces: 5 TiB in 10,000 of them and a little more than half a GiB.
const COPY_PIECE: u64 = 1 << 30;

/// An upload that is to appear.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) key: String,
    /// What it is called in messages.
    pub(super) url: String,
    pub(super) unique: String,
    pub(super) bytes: u64,
    pub(super) receipt: Receipt,
    /// The key under which it appears instead.
    pub(super) renamed: Option<String>,
}

/// What became of an upload.
enum Completed {
    /// Its object is there.
    Yes,
    /// It is gone, and its object isn't there, or is another one.
    Gone,
}

impl Bucket {
    /// Makes the object appear under its last name.
    pub(super) async fn publish(&self, upload: &Upload) -> Result<()> {
        let completed = self.complete(upload).await?;
        let Some(renamed) = &upload.renamed else {
            return match completed {
                Completed::Yes => Ok(()),
                Completed::Gone => Err(gone()),
            };
        };
        if let Completed::Yes = completed
            && self
                .copy(&upload.key, upload.bytes, &upload.unique, renamed)
                .await?
        {
            return self.delete_one(&upload.key).await;
        }
        // The first name is free again once the copy is there.
        if self.is_ours(renamed, &upload.unique).await? {
            Ok(())
        } else {
            Err(gone())
        }
    }

    /// Tries again by itself rather than by the SDK, because before each time the object and the
    /// upload are looked at: what failed may have been done, and may never be done.
    async fn complete(&self, upload: &Upload) -> Result<Completed> {
        let begun = Instant::now();
        let mut wait = FIRST_WAIT;
        for again in (0..TRIES).rev() {
            let error = match self.try_complete(upload).await {
                Ok(()) => return Ok(Completed::Yes),
                Err(error) => error,
            };
            let code = error.code().unwrap_or_default();
            if matches!(code, "NoSuchUpload" | "NotFound") {
                return self.completed_before(upload).await;
            }
            // Some servers say this of an upload that was completed; it may also be true.
            let parts = matches!(code, "InvalidPart" | "InvalidPartOrder" | "NoSuchKey");
            let error = asking("publish a file", error);
            let passing = matches!(
                error.kind(),
                ErrorKind::Transient | ErrorKind::RateLimited { .. }
            );
            if !parts && !passing {
                return Err(error);
            }
            self.metrics.retries(1);
            let look = tokio::time::timeout(self.patience.look, self.look(upload));
            match look.await {
                Ok(Ok(None)) => {}
                Ok(Ok(Some(completed))) => return Ok(completed),
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(error),
            }
            if parts || again == 0 || begun.elapsed() >= self.patience.tries {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            wait = LONGEST_WAIT.min(wait * 2);
        }
        Err(Error::transient("an upload can't be completed yet"))
    }

    /// What became of an upload; `None` if it waits with all its parts.
    async fn look(&self, upload: &Upload) -> Result<Option<Completed>> {
        if let Completed::Yes = self.completed_before(upload).await? {
            return Ok(Some(Completed::Yes));
        }
        if self.has_parts(upload).await? {
            return Ok(None);
        }
        // It may have been completed between these two looks.
        self.completed_before(upload).await.map(Some)
    }

    async fn try_complete(&self, upload: &Upload) -> Result<(), CompleteError> {
        let parts = upload.receipt.parts.iter().map(completed).collect();
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts));
        let ends = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(self.patience.begins)
            .operation_attempt_timeout(self.patience.ends)
            .operation_timeout(self.patience.ends);
        let once = aws_sdk_s3::config::Builder::new()
            .retry_config(RetryConfig::disabled())
            .timeout_config(ends.build());
        self.client
            .complete_multipart_upload()
            .bucket(&self.name)
            .key(&upload.key)
            .upload_id(&upload.receipt.upload_id)
            .multipart_upload(parts.build())
            // The total guards against a part that was lost on the way.
            .set_mpu_object_size(i64::try_from(upload.bytes).ok())
            .customize()
            .config_override(once)
            .send()
            .await
            .map(drop)
    }

    async fn completed_before(&self, upload: &Upload) -> Result<Completed> {
        Ok(match self.is_ours(&upload.key, &upload.unique).await? {
            true => Completed::Yes,
            false => Completed::Gone,
        })
    }

    /// Whether the upload waits with all its parts.
    async fn has_parts(&self, upload: &Upload) -> Result<bool> {
        let mut pages = self
            .client
            .list_parts()
            .bucket(&self.name)
            .key(&upload.key)
            .upload_id(&upload.receipt.upload_id)
            .into_paginator()
            .send();
        let mut found = Vec::new();
        let mut turned = Pages::default();
        while let Some(page) = pages.next().await {
            match page {
                Ok(page) => {
                    let mut numbers = Vec::new();
                    for part in page.parts() {
                        if let (Some(number), Some(etag)) = (part.part_number(), part.e_tag()) {
                            turned.keep(size_of::<(i32, String)>() + etag.len())?;
                            numbers.push(number.to_string());
                            found.push((number, bare(etag).to_owned()));
                        }
                    }
                    if page.is_truncated() == Some(true) {
                        let next = page.next_part_number_marker().unwrap_or_default();
                        turned.turn(next, numbers.iter().map(String::as_str))?;
                    }
                }
                Err(error) if error.code() == Some("NoSuchUpload") => return Ok(false),
                Err(error) => return Err(asking("list an upload's parts", error)),
            }
        }
        let ours = &upload.receipt.parts;
        Ok(ours.iter().all(|part| {
            let wanted = (part.number, bare(&part.etag).to_owned());
            found.contains(&wanted)
        }))
    }

    /// Whether the object of this key was made by the upload of this id.
    async fn is_ours(&self, key: &str, unique: &str) -> Result<bool> {
        let object = self.head(key).await?;
        Ok(object.is_some_and(|object| {
            let metadata = object.metadata();
            let id = metadata.and_then(|metadata| metadata.get(ID));
            id.is_some_and(|id| id == unique)
        }))
    }

    async fn head(&self, key: &str) -> Result<Option<HeadObjectOutput>> {
        let request = self.client.head_object().bucket(&self.name).key(key);
        match request.send().await {
            Ok(object) => Ok(Some(object)),
            Err(error)
                if error
                    .raw_response()
                    .is_some_and(|raw| raw.status().as_u16() == 404) =>
            {
                Ok(None)
            }
            Err(error) => Err(asking("look at a file", error)),
        }
    }

    /// Copies an object of so many bytes to another key; `false` if it isn't there any more: someone else
    /// has renamed it. Its metadata goes with it; where it is too large for that, the copy says
    /// `unique` alone.
    pub(super) async fn copy(&self, key: &str, bytes: u64, unique: &str, to: &str) -> Result<bool> {
        if bytes > COPY_AT_ONCE {
            return self.copy_in_pieces(key, bytes, unique, to).await;
        }
        let request = self
            .carrier
            .copy_object()
            .bucket(&self.name)
            .key(to)
            .copy_source(self.source(key));
        match request.send().await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("NoSuchKey") => Ok(false),
            Err(error) => Err(asking("rename a file", error)),
        }
    }

    async fn copy_in_pieces(&self, key: &str, bytes: u64, unique: &str, to: &str) -> Result<bool> {
        let created = self.create(to, unique).await?;
        let copied = self.copy_pieces(key, bytes, to, &created.id).await;
        if !matches!(copied, Ok(true)) {
            // The first error says more than that of tidying up.
            let _ = self.abort(to, &created.id).await;
        }
        copied
    }

    async fn copy_pieces(&self, key: &str, bytes: u64, to: &str, upload_id: &str) -> Result<bool> {
        let begins = (0..bytes).step_by(usize::try_from(COPY_PIECE).unwrap_or(usize::MAX));
        let mut parts = Vec::new();
        for (number, begin) in (1..).zip(begins) {
            let end = bytes.min(begin + COPY_PIECE) - 1;
            let request = self
                .carrier
                .upload_part_copy()
                .bucket(&self.name)
                .key(to)
                .upload_id(upload_id)
                .part_number(number)
                .copy_source(self.source(key))
                .copy_source_range(format!("bytes={begin}-{end}"));
            let copied = match request.send().await {
                Ok(copied) => copied.copy_part_result,
                Err(error) if error.code() == Some("NoSuchKey") => return Ok(false),
                Err(error) => return Err(asking("rename a file", error)),
            };
            let etag = copied.and_then(|part| part.e_tag);
            parts.push(
                CompletedPart::builder()
                    .part_number(number)
                    .set_e_tag(etag)
                    .build(),
            );
        }
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts));
        self.carrier
            .complete_multipart_upload()
            .bucket(&self.name)
            .key(to)
            .upload_id(upload_id)
            .multipart_upload(parts.build())
            .send()
            .await
            .map_err(|error| asking("rename a file", error))?;
        Ok(true)
    }

    fn source(&self, key: &str) -> String {
        use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
        const KEPT: &AsciiSet = &NON_ALPHANUMERIC
            .remove(b'/')
            .remove(b'-')
            .remove(b'_')
            .remove(b'.')
            .remove(b'~');
        format!("{}/{}", self.name, utf8_percent_encode(key, KEPT))
    }
}

type CompleteError = aws_sdk_s3::error::SdkError<
    aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadError,
>;

fn completed(part: &Part) -> CompletedPart {
    CompletedPart::builder()
        .part_number(part.number)
        .e_tag(&part.etag)
        .set_checksum_crc32(part.crc32.clone())
        .build()
}

/// An ETag without its quotes, which not every answer of every server has.
fn bare(etag: &str) -> &str {
    etag.trim_matches('"')
}

fn gone() -> Error {
    Error::conflict("a file that was uploaded and not yet published is gone").hint(
        "someone aborted the upload, or a rule of the bucket (AbortIncompleteMultipartUpload) \
             did; or the file was removed after it was published. Its rows are counted as read: \
             run again with --restart, and let the rule wait longer than a run takes",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use std::path::Path;
    use std::sync::Arc;

    use serde_json::json;
    use tidegate_testkit::servers::{Proxy, Reply};

    use super::*;
    use crate::{Access, Location};

    const SOON: Duration = Duration::from_millis(300);

    /// A bucket at a server whose completions are waited for no longer than a moment.
    async fn impatient(server: &Proxy, secret: &Path) -> Bucket {
        let settings = json!({
            "endpoint_url": server.url(),
            "credentials": {
                "access_key_id": "name",
                "secret_access_key": { "file": secret },
            },
        });
        let access = Access {
            aws: serde_json::from_value(settings).unwrap(),
            metrics: Arc::default(),
        };
        let location = Location::parse("s3://lake/out", Path::new("/")).unwrap();
        let (mut bucket, _) = Bucket::open(&location, &access).await.unwrap();
        bucket.patience = Patience {
            begins: SOON,
            ends: SOON,
            look: 10 * SOON,
            tries: SOON,
        };
        bucket
    }

    #[tokio::test]
    async fn a_completion_that_is_never_answered_is_an_error_that_may_pass() {
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), "secret").unwrap();
        let server = Proxy::that_answers(|request| match request.method.as_str() {
            "GET" => Reply {
                status: 200,
                headers: Vec::new(),
                body: "<ListPartsResult><IsTruncated>false</IsTruncated><Part>\
                       <PartNumber>1</PartNumber><ETag>e</ETag></Part></ListPartsResult>"
                    .into(),
            },
            _ => Reply::s3_error(404, "NoSuchKey", "it isn't there"),
        });
        let bucket = impatient(&server, secret.path()).await;
        let upload = Upload {
            key: "out/a".into(),
            url: "s3://lake/out/a".into(),
            unique: "1".into(),
            bytes: 1,
            receipt: Receipt {
                upload_id: "id".into(),
                parts: vec![Part {
                    number: 1,
                    etag: "e".into(),
                    crc32: None,
                }],
            },
            renamed: None,
        };
        let completions = server.hold(|request| request.method == "POST");
        let unanswered = bucket.publish(&upload).await.unwrap_err();
        assert!(completions.waiting() > 0);
        // Nor is any other request answered.
        let _all = server.hold(|request| request.method != "POST");
        let dead = bucket.publish(&upload).await.unwrap_err();
        for error in [unanswered, dead] {
            assert_eq!(error.kind(), ErrorKind::Transient, "{error:?}");
            let text = error.to_string();
            assert!(text.contains("publish a file"), "{error:?}");
            assert!(text.contains("no answer"), "{error:?}");
        }
    }
}
