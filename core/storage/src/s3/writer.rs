//! One multipart upload, being written.

use async_trait::async_trait;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumAlgorithm;
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_core::{Error, Result};
use tokio::task::JoinSet;

use super::Bucket;
use super::error::asking;
use super::parts;
use crate::staged::{Staged, StagedToken, StagedWriter};

/// What completes an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Receipt {
    pub(super) upload_id: String,
    pub(super) parts: Vec<Part>,
}

/// A part that the server has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) number: i32,
    pub(super) etag: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) crc32: Option<String>,
}

pub(super) struct S3Writer {
    pub(super) bucket: Bucket,
    /// The object's whole key.
    pub(super) key: String,
    /// What it is called in messages.
    pub(super) url: String,
    pub(super) token: StagedToken,
    pub(super) upload_id: String,
    /// Whether there may be other uploads of this key.
    pub(super) twins: bool,
    pub(super) bytes: u64,
    /// What isn't yet a whole part.
    pub(super) tail: BytesMut,
    /// How many parts were sent off.
    pub(super) sent: usize,
    pub(super) sending: JoinSet<Result<Part>>,
    pub(super) done: Vec<Part>,
}

impl std::fmt::Debug for S3Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "S3Writer({}, {} bytes)", self.url, self.bytes)
    }
}

impl S3Writer {
    /// Sends a part on its way, once there is room for it.
    async fn send(&mut self, body: Bytes) -> Result<()> {
        while let Some(part) = self.sending.try_join_next() {
            self.done.push(joined(part)?);
        }
        while self.sending.len() >= parts::AT_ONCE {
            self.wait().await?;
        }
        let room = parts::room(body.len()).await?;
        self.sent += 1;
        let number = i32::try_from(self.sent)
            .map_err(|error| Error::internal("too many parts").because(error))?;
        let (bucket, key) = (self.bucket.clone(), self.key.clone());
        let (upload_id, url) = (self.upload_id.clone(), self.url.clone());
        let upload = async move {
            let part = bucket.upload(&key, &upload_id, number, body).await;
            drop(room);
            part.map_err(|error| error.with("path", url))
        };
        self.sending.spawn_on(upload, &self.bucket.runtime);
        Ok(())
    }

    async fn wait(&mut self) -> Result<()> {
        if let Some(part) = self.sending.join_next().await {
            self.done.push(joined(part)?);
        }
        Ok(())
    }

    fn part_size(&self) -> Result<usize> {
        parts::size(self.sent).ok_or_else(|| {
            Error::config("the file is larger than S3 can hold")
                .with("path", &self.url)
                .hint("an object has at most 5 TiB; write smaller files (`target_file_size`)")
        })
    }
}

fn joined(part: Result<Result<Part>, tokio::task::JoinError>) -> Result<Part> {
    part.unwrap_or_else(|error| Err(Error::internal("an upload did not end").because(error)))
}

impl Bucket {
    async fn upload(&self, key: &str, upload_id: &str, number: i32, body: Bytes) -> Result<Part> {
        let request = self
            .carrier
            .upload_part()
            .bucket(&self.name)
            .key(key)
            .upload_id(upload_id)
            .part_number(number)
            .set_checksum_algorithm(self.checksums.then_some(ChecksumAlgorithm::Crc32))
            .body(ByteStream::from(body))
            .customize();
        let request = match self.tls {
            true => request.disable_payload_signing(),
            false => request,
        };
        let answer = request.send().await.map_err(|error| {
            if error.code() == Some("NoSuchUpload") {
                return Error::conflict("an upload was aborted while it was being written")
                    .hint(
                        "another process took over this pipeline, or a rule of the bucket aborts \
                         uploads that are younger than a run is long",
                    )
                    .because(error);
            }
            asking("upload a part of a file", error)
        })?;
        let Some(etag) = answer.e_tag() else {
            return Err(Error::internal("the server gave a part no ETag"));
        };
        Ok(Part {
            number,
            etag: etag.to_owned(),
            crc32: answer.checksum_crc32().map(str::to_owned),
        })
    }
}

#[async_trait]
impl StagedWriter for S3Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.bytes += bytes.len() as u64;
        let mut rest = bytes;
        loop {
            let size = self.part_size()?;
            let missing = size - self.tail.len();
            if rest.len() < missing {
                // A first part grows with what comes, because most files are small.
                if self.tail.is_empty() && self.sent > 0 {
                    self.tail.reserve(size);
                }
                self.tail.extend_from_slice(&rest);
                return Ok(());
            }
            let more = rest.split_to(missing);
            let part = if self.tail.is_empty() {
                more
            } else {
                self.tail.extend_from_slice(&more);
                std::mem::take(&mut self.tail).freeze()
            };
            self.send(part).await?;
        }
    }

    async fn finish(mut self: Box<Self>) -> Result<Staged> {
        // An empty file has one empty part: an upload without any can't be completed.
        if !self.tail.is_empty() || self.sent == 0 {
            self.part_size()?;
            let tail = std::mem::take(&mut self.tail).freeze();
            self.send(tail).await?;
        }
        while !self.sending.is_empty() {
            self.wait().await?;
        }
        // By now, a request whose answer was lost has long been served.
        if self.twins {
            self.bucket.abort_twins(&self.key, &self.upload_id).await?;
        }
        self.done.sort_by_key(|part| part.number);
        let receipt = Receipt {
            upload_id: self.upload_id,
            parts: self.done,
        };
        Ok(Staged {
            token: self.token,
            bytes: self.bytes,
            receipt: encode(&receipt)?,
            renamed: None,
        })
    }
}

fn encode(receipt: &Receipt) -> Result<Value> {
    serde_json::to_value(receipt)
        .map_err(|error| Error::internal("an upload's receipt can't be stored").because(error))
}
