//! Listing of keys.
//!
//! By the SDK, because a page of `object_store` is lost as a whole for one key that its paths can't be
//! (`a//b`, control characters), and gives the key `directory/` as `directory`.

use async_trait::async_trait;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::{CommonPrefix, EncodingType, Object};
use chrono::DateTime;
use percent_encoding::percent_decode_str;
use tidegate_core::Result;

use super::Bucket;
use super::error::{asking, misbehaved};
use super::pages::Pages;
use crate::Location;
use crate::listing::{Found, Kind, Lister, Wanted, unreadable};
use crate::read::{FileMeta, possible};

/// Lists the keys under a prefix.
#[derive(Debug)]
pub(crate) struct S3Lister {
    bucket: Bucket,
    location: Location,
}

impl S3Lister {
    pub(crate) fn new(bucket: Bucket, location: Location) -> Self {
        Self { bucket, location }
    }

    /// What all keys below a directory begin with, and how much of it is the storage's own.
    fn prefix(&self, key: &str) -> (String, usize) {
        let root = self.location.path().trim_matches('/');
        let own = if root.is_empty() { 0 } else { root.len() + 1 };
        let parts = [root, key].into_iter().filter(|part| !part.is_empty());
        (parts.map(|part| format!("{part}/")).collect(), own)
    }

    async fn page(
        &self,
        prefix: &str,
        right_here: bool,
        token: Option<String>,
        most: Option<i32>,
    ) -> Result<ListObjectsV2Output> {
        let request = self.bucket.client.list_objects_v2();
        let request = request.bucket(&self.bucket.name).prefix(prefix);
        let request = request
            .set_delimiter(right_here.then(|| "/".to_owned()))
            .set_continuation_token(token)
            .set_max_keys(most)
            // XML can't hold every character that a key may have.
            .encoding_type(EncodingType::Url);
        let page = request.send().await;
        page.map_err(|error| asking("list files", error))
    }

    async fn list(&self, key: &str, wanted: &Wanted, right_here: bool) -> Result<Found> {
        let listed = self.pages(key, wanted, right_here).await;
        listed.map_err(|error| error.with("path", self.location.show(key)))
    }

    async fn pages(&self, key: &str, wanted: &Wanted, right_here: bool) -> Result<Found> {
        let (prefix, own) = self.prefix(key);
        let (mut found, mut token) = (Found::default(), None);
        let mut pages = Pages::default();
        loop {
            let page = self.page(&prefix, right_here, token, None).await?;
            let encoded = page.encoding_type() == Some(&EncodingType::Url);
            let key_of = |text: &str| {
                let text = match encoded {
                    true => decoded(text),
                    false => text.to_owned(),
                };
                text.get(own..).map(str::to_owned)
            };
            for object in page.contents() {
                let Some(key) = object.key().and_then(key_of) else {
                    continue;
                };
                // What the consoles make for an empty directory, and so what makes it none.
                let empty = object.size().is_none_or(|size| size == 0);
                let marker = key.is_empty() || (key.ends_with('/') && empty);
                if marker || !wanted(Kind::File, &key) {
                    continue;
                }
                let reason = match key.ends_with('/') {
                    true => Some("its name ends in `/`, as a directory's"),
                    false => unreadable(&key),
                };
                let etag = object.e_tag();
                pages.keep(size_of::<FileMeta>() + key.len() + etag.map_or(0, str::len))?;
                if let Some(reason) = reason {
                    found.leave_out(key, reason);
                    continue;
                }
                let modified = object.last_modified();
                let modified = modified
                    .and_then(|time| DateTime::from_timestamp(time.secs(), time.subsec_nanos()));
                found.files.push(FileMeta {
                    size: size(object).map_err(|error| error.with("key", &key))?,
                    key,
                    modified: modified.unwrap_or_default(),
                    etag: etag.map(str::to_owned),
                });
            }
            for directory in page.common_prefixes() {
                let Some(key) = directory.prefix().and_then(key_of) else {
                    continue;
                };
                let key = key.strip_suffix('/').unwrap_or(&key).to_owned();
                if !wanted(Kind::Directory, &key) {
                    continue;
                }
                pages.keep(size_of::<String>() + key.len())?;
                match unreadable(&key) {
                    None => found.directories.push(key),
                    Some(reason) => found.leave_out(format!("{key}/"), reason),
                }
            }
            let next = page.next_continuation_token();
            let Some(next) = next.filter(|next| !next.is_empty()) else {
                return Ok(found);
            };
            let objects = page.contents().iter().filter_map(Object::key);
            let directories = page.common_prefixes().iter();
            pages.turn(
                next,
                objects.chain(directories.filter_map(CommonPrefix::prefix)),
            )?;
            token = page.next_continuation_token;
        }
    }
}

/// The bytes of an object.
fn size(object: &Object) -> Result<u64> {
    let size = object.size().and_then(|size| u64::try_from(size).ok());
    possible(size.ok_or_else(|| misbehaved("the server lists a file without its size"))?)
}

/// A key as `encoding-type=url` gives it: percent-encoded, a space as `+`.
fn decoded(text: &str) -> String {
    let spaces = text.replace('+', " ");
    percent_decode_str(&spaces).decode_utf8_lossy().into_owned()
}

#[async_trait]
impl Lister for S3Lister {
    async fn directory(&self, key: &str, wanted: &Wanted) -> Result<Found> {
        self.list(key, wanted, true).await
    }

    async fn below(&self, key: &str, wanted: &Wanted) -> Result<Found> {
        self.list(key, wanted, false).await
    }

    async fn is_directory(&self, key: &str) -> Result<bool> {
        let (prefix, _) = self.prefix(key);
        let page = self.page(&prefix, false, None, Some(1)).await;
        let page = page.map_err(|error| error.with("path", self.location.show(key)))?;
        Ok(!page.contents().is_empty())
    }
}
