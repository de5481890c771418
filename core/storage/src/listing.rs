//! What lies in a folder or under a prefix, and what of it can't be read.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use tidegate_core::Result;

use crate::read::FileMeta;

/// Whether folders are read without what has this name: it begins with `.`, or with `_` and is no
/// `_key=value`. That is the rule of Spark (`HadoopFSUtils.shouldFilterOutPathName`).
///
/// ```
/// use tidegate_storage::is_hidden;
///
/// assert!(is_hidden("_SUCCESS") && is_hidden(".x=1"));
/// assert!(!is_hidden("_op=insert"));
/// ```
pub fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || (name.starts_with('_') && !name.contains('='))
}

/// Which names of a folder count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Those that aren't hidden ([`is_hidden`]): what a folder means to readers.
    Visible,
    /// All but those that begin with `.`: whatever a sink may have written.
    NoDotfiles,
}

impl Names {
    pub(crate) fn take(self, name: &str) -> bool {
        match self {
            Self::Visible => !is_hidden(name),
            Self::NoDotfiles => !name.starts_with('.'),
        }
    }
}

/// What a listing gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The files that can be read, sorted by key.
    pub files: Vec<FileMeta>,
    /// What was looked for and can't be read.
    pub left_out: Vec<LeftOut>,
}

/// Something that a listing left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// Its path or url; what isn't UTF-8 in it is replaced.
    pub path: String,
    /// Why, as the rest of a sentence about it: "its name is not UTF-8".
    pub reason: String,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
}

/// Whether a key is looked for: as a file, or as a folder that may have such files below it.
pub(crate) type Wanted = Arc<dyn Fn(Kind, &str) -> bool + Send + Sync>;

/// What a place found. Keys are relative to the storage.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) files: Vec<FileMeta>,
    pub(crate) folders: Vec<String>,
    /// Keys, with the reasons.
    pub(crate) left_out: Vec<(String, String)>,
}

impl Found {
    pub(crate) fn leave_out(&mut self, key: String, reason: impl Into<String>) {
        self.left_out.push((key, reason.into()));
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.files.extend(other.files);
        self.folders.extend(other.folders);
        self.left_out.extend(other.left_out);
    }
}

/// How a kind of place is listed. What is in the way of nobody (a key that isn't wanted) is passed
/// over; what is wanted and can't be read is left out with its reason.
#[async_trait]
pub(crate) trait Lister: Debug + Send + Sync {
    /// The files and folders right in the folder `key`; none if it isn't there.
    async fn folder(&self, key: &str, wanted: &Wanted) -> Result<Found>;

    /// The files in the folder `key` and below; none if it isn't there.
    async fn below(&self, key: &str, wanted: &Wanted) -> Result<Found>;

    /// Of the files in the folder `key`, and below it if `deep`, those that a writer may have put
    /// there itself: where a place has links, none that is a link or lies behind one.
    async fn own(&self, key: &str, wanted: &Wanted, deep: bool) -> Result<Found> {
        match deep {
            true => self.below(key, wanted).await,
            false => self.folder(key, wanted).await,
        }
    }

    /// Whether `key` is a folder. Where there are no folders, it is one if a key is under it.
    async fn is_folder(&self, key: &str) -> Result<bool>;
}

/// Why a file of this name can't be read, if it can't: what `object_store`'s paths can't be.
pub(crate) fn unreadable(key: &str) -> Option<&'static str> {
    if key.chars().any(|c| c.is_ascii_control()) {
        return Some("its name has a control character");
    }
    key.split('/').find_map(|name| match name {
        "" => Some("a part of its name is empty (`//`)"),
        "." | ".." => Some("a part of its name is `.` or `..`"),
        _ => None,
    })
}

/// The key of a name in a folder.
pub(crate) fn join(folder: &str, name: &str) -> String {
    match folder {
        "" => name.to_owned(),
        folder => format!("{folder}/{name}"),
    }
}

/// The folders that a key lies in, the innermost first; the last is the storage itself, an empty key.
///
/// ```
/// let folders: Vec<_> = tidegate_storage::folders("a/b/c.csv").collect();
/// assert_eq!(folders, ["a/b", "a", ""]);
/// ```
pub fn folders(key: &str) -> impl Iterator<Item = &str> {
    let parent = |key: &str| key.rfind('/').unwrap_or(0);
    std::iter::successors(Some(&key[..parent(key)]), move |folder| {
        (!folder.is_empty()).then(|| &folder[..parent(folder)])
    })
}
