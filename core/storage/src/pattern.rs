//! Finding files by a path, a folder or a glob.

use std::path::Path;

use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStore};
use tidegate_core::{Error, Result};

use crate::glob::{self, Step};
use crate::read::FileMeta;
use crate::{Access, Location, Storage};

/// At most about `most` of many files, from all over, the first and the last among them: what is
/// looked at to know them all.
pub fn spread<T: Clone>(files: &[T], most: usize) -> Vec<T> {
    let step = files.len().div_ceil(most.max(1)).max(1);
    let last = files
        .last()
        .filter(|_| !(files.len() - 1).is_multiple_of(step));
    files.iter().step_by(step).chain(last).cloned().collect()
}

/// Files named by a path, a folder or a glob.
///
/// A folder means all files under it, but for names that begin with `.` or `_`. Hidden files
/// (with them the temporary ones of staged writes) are only found by a pattern that says so.
#[derive(Debug, Clone)]
pub struct Pattern {
    storage: Storage,
    steps: Vec<Step>,
    text: String,
}

impl Pattern {
    /// Reads a url or path that may have `*`, `**`, `?` and `[..]`; relative paths are relative to
    /// `base`. No I/O but opening the storage.
    pub async fn parse(text: &str, base: &Path, access: &Access) -> Result<Self> {
        let location = Location::parse(text, base)?;
        let (root, steps) = glob::parse(location.path())?;
        Ok(Self {
            storage: Storage::open(&location.at(&root), access).await?,
            steps,
            text: text.to_owned(),
        })
    }

    /// The storage that the found files' keys are relative to: the folder before the first
    /// wildcard, or the parent of the file named.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// All files that match, sorted by key. Empty if there are none.
    pub async fn list(&self) -> Result<Vec<FileMeta>> {
        let mut found = if self.steps.is_empty() {
            match self.storage.file("").await? {
                Some(file) => vec![file],
                None => self.folder().await?,
            }
        } else if self.steps.iter().any(|step| matches!(step, Step::Deep)) {
            self.walk_all().await?
        } else {
            self.walk_steps().await?
        };
        found.sort_by(|a, b| a.key.cmp(&b.key));
        self.storage.without_markers(found).await
    }

    /// The same, and an error that says what was looked for if there are none.
    pub async fn expect(&self) -> Result<Vec<FileMeta>> {
        let found = self.list().await?;
        if !found.is_empty() {
            return Ok(found);
        }
        let root = self.storage.location();
        let error = Error::not_found(format!("no file matches `{}`", self.text));
        Err(if self.storage.exists().await? {
            error.with("folder", root)
        } else {
            error.with("missing", root)
        }
        .hint("paths are relative to the pipeline file's folder"))
    }

    async fn folder(&self) -> Result<Vec<FileMeta>> {
        let plain = |name: &str| !name.starts_with(['.', '_']);
        self.under(&|key| key.split('/').all(plain)).await
    }

    async fn walk_all(&self) -> Result<Vec<FileMeta>> {
        let matches = |key: &str| {
            let names: Vec<_> = key.split('/').collect();
            glob::matches(&self.steps, &names)
        };
        self.under(&matches).await
    }

    async fn under(&self, keep: &(dyn Fn(&str) -> bool + Sync)) -> Result<Vec<FileMeta>> {
        let root = self.storage.object_path("")?;
        let mut objects = self.storage.objects().list(Some(&root));
        let mut found = Vec::new();
        while let Some(object) = objects.next().await {
            let object = object.map_err(|error| self.unlisted(error))?;
            found.extend(self.file(&object).filter(|file| keep(&file.key)));
        }
        Ok(found)
    }

    /// Goes down folder by folder, so that what can't match is never listed.
    async fn walk_steps(&self) -> Result<Vec<FileMeta>> {
        let mut folders = vec![String::new()];
        let mut found = Vec::new();
        let mut steps = self.steps.as_slice();
        while let [step, rest @ ..] = steps {
            let mut next = Vec::new();
            let list = |folder: String| async move {
                let prefix = self.storage.object_path(&folder)?;
                let listing = self.storage.objects().list_with_delimiter(Some(&prefix));
                listing.await.map_err(|error| self.unlisted(error))
            };
            let mut listings = futures::stream::iter(folders).map(list).buffered(8);
            while let Some(listing) = listings.try_next().await? {
                if rest.is_empty() {
                    found.extend(
                        listing
                            .objects
                            .iter()
                            .filter_map(|object| self.file(object))
                            .filter(|file| step.matches(file.name())),
                    );
                } else {
                    next.extend(
                        listing
                            .common_prefixes
                            .iter()
                            .filter_map(|prefix| self.storage.key(prefix))
                            .filter(|key| step.matches(key.rsplit('/').next().unwrap_or(key))),
                    );
                }
            }
            drop(listings);
            folders = next;
            steps = rest;
        }
        Ok(found)
    }

    fn file(&self, object: &ObjectMeta) -> Option<FileMeta> {
        Some(FileMeta::new(self.storage.key(&object.location)?, object))
    }

    fn unlisted(&self, error: object_store::Error) -> Error {
        crate::error::object("list files", &self.storage.location().to_string(), error)
    }
}
