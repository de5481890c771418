//! What lies in a directory or under a prefix, and what of it can't be read.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use tidegate_core::Result;

use crate::read::FileMeta;

/// Whether directories are read without what has this name: it begins with `.`, or with `_` and is no
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

/// Which names of a directory count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Those that aren't hidden ([`is_hidden`]): what a directory means to readers.
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
    Directory,
}

/// Whether a key is looked for: as a file, or as a directory that may have such files below it.
pub(crate) type Wanted = Arc<dyn Fn(Kind, &str) -> bool + Send + Sync>;

/// What a place found. Keys are relative to the storage.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) files: Vec<FileMeta>,
    pub(crate) directories: Vec<String>,
    /// Keys, with the reasons.
    pub(crate) left_out: Vec<(String, String)>,
}

impl Found {
    pub(crate) fn leave_out(&mut self, key: String, reason: impl Into<String>) {
        self.left_out.push((key, reason.into()));
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.files.extend(other.files);
        self.directories.extend(other.directories);
        self.left_out.extend(other.left_out);
    }
}

/// How a kind of place is listed. What is in the way of nobody (a key that isn't wanted) is passed
/// over; what is wanted and can't be read is left out with its reason.
#[async_trait]
pub(crate) trait Lister: Debug + Send + Sync {
    /// The files and directories right in the directory `key`; none if it isn't there.
    async fn directory(&self, key: &str, wanted: &Wanted) -> Result<Found>;

    /// The files in the directory `key` and below; none if it isn't there.
    async fn below(&self, key: &str, wanted: &Wanted) -> Result<Found>;

    /// Of the files in the directory `key`, and below it if `deep`, those that a writer may have put
    /// there itself: where a place has links, none that is a link or lies behind one.
    async fn own(&self, key: &str, wanted: &Wanted, deep: bool) -> Result<Found> {
        match deep {
            true => self.below(key, wanted).await,
            false => self.directory(key, wanted).await,
        }
    }

    /// Whether `key` is a directory. Where there are no directories, it is one if a key is under it.
    async fn is_directory(&self, key: &str) -> Result<bool>;
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

/// The key of a name in a directory.
pub(crate) fn join(directory: &str, name: &str) -> String {
    match directory {
        "" => name.to_owned(),
        directory => format!("{directory}/{name}"),
    }
}

/// The directories that a key lies in, the innermost first; the last is the storage itself, an empty key.
///
/// ```
/// let directories: Vec<_> = tidegate_storage::directories("a/b/c.csv").collect();
/// assert_eq!(directories, ["a/b", "a", ""]);
/// ```
pub fn directories(key: &str) -> impl Iterator<Item = &str> {
    let parent = |key: &str| key.rfind('/').unwrap_or(0);
    std::iter::successors(Some(&key[..parent(key)]), move |directory| {
        (!directory.is_empty()).then(|| &directory[..parent(directory)])
    })
}
