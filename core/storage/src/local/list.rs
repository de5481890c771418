//! Listing of directories.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tidegate_core::Result;

use super::link_in;
use super::objects::etag;
use crate::listing::{Found, Kind, Lister, Wanted, join, unreadable};
use crate::read::FileMeta;
use crate::unblock::unblock;

/// Why a writer leaves a link alone.
const NOT_OWN: &str = "it is a link, and an overwrite replaces nothing behind links";

/// How far a listing goes.
#[derive(Debug, Clone, Copy)]
struct Reach {
    /// Into the directories below.
    deep: bool,
    /// Where links lead.
    links: bool,
}

/// Lists what lies under a directory. Links are followed, but not in circles.
#[derive(Debug)]
pub(crate) struct LocalLister {
    root: PathBuf,
}

impl LocalLister {
    pub(crate) fn new(root: &str) -> Self {
        Self {
            root: PathBuf::from(root),
        }
    }

    async fn walk(&self, key: &str, wanted: &Wanted, reach: Reach) -> Result<Found> {
        let (root, key, wanted) = (self.root.clone(), key.to_owned(), Arc::clone(wanted));
        unblock(move || walk(&root, &key, &wanted, reach)).await
    }
}

#[async_trait]
impl Lister for LocalLister {
    async fn directory(&self, key: &str, wanted: &Wanted) -> Result<Found> {
        let (deep, links) = (false, true);
        self.walk(key, wanted, Reach { deep, links }).await
    }

    async fn below(&self, key: &str, wanted: &Wanted) -> Result<Found> {
        let (deep, links) = (true, true);
        self.walk(key, wanted, Reach { deep, links }).await
    }

    async fn own(&self, key: &str, wanted: &Wanted, deep: bool) -> Result<Found> {
        let links = false;
        self.walk(key, wanted, Reach { deep, links }).await
    }

    async fn is_directory(&self, key: &str) -> Result<bool> {
        let path = self.root.join(key);
        unblock(move || Ok(path.is_dir())).await
    }
}

/// A directory that is still to be read.
struct Directory {
    key: String,
    /// The real paths of the directories that the way here went through by links.
    links: Arc<Vec<PathBuf>>,
}

fn walk(root: &Path, from: &str, wanted: &Wanted, reach: Reach) -> Result<Found> {
    let mut found = Found::default();
    if !reach.links
        && let Some(link) = link_in(root, from)
    {
        found.leave_out(link.to_owned(), NOT_OWN);
        return Ok(found);
    }
    let mut directories = vec![Directory {
        key: from.to_owned(),
        links: Arc::default(),
    }];
    while let Some(directory) = directories.pop() {
        let path = root.join(&directory.key);
        let failed = |error| crate::error::local("list files", &path, error);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            // There is no directory, or none any more.
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                continue;
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied && directory.key != from => {
                found.leave_out(directory.key, "its content may not be listed");
                continue;
            }
            // Its neighbours can still be read.
            Err(error) if directory.key != from && !is_passing(&error) => {
                found.leave_out(directory.key, format!("it can't be listed: {error}"));
                continue;
            }
            Err(error) => return Err(failed(error)),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if directory.key != from && !is_passing(&error) => {
                    found.leave_out(directory.key, format!("it can't be listed: {error}"));
                    break;
                }
                Err(error) => return Err(failed(error)),
            };
            let name = entry.file_name();
            let key = join(&directory.key, &name.to_string_lossy());
            let (file, below) = (wanted(Kind::File, &key), wanted(Kind::Directory, &key));
            if !file && !below {
                continue;
            }
            let link = entry.file_type().map_err(failed)?.is_symlink();
            let metadata = match look(&entry.path(), link) {
                Ok(Some(metadata)) => metadata,
                Ok(None) => continue,
                Err(reason) => {
                    found.leave_out(key, reason);
                    continue;
                }
            };
            let is_directory = metadata.is_dir();
            let is_wanted = if is_directory { below } else { file };
            if !is_wanted {
                continue;
            }
            if link && !reach.links {
                found.leave_out(key, NOT_OWN);
                continue;
            }
            let odd = match name.to_str() {
                None => Some("its name is not UTF-8"),
                Some(name) => unreadable(name),
            };
            if let Some(reason) = odd {
                found.leave_out(key, reason);
            } else if is_directory && !reach.deep {
                found.directories.push(key);
            } else if is_directory {
                match links(&directory, &path, &entry.path(), link) {
                    Some(links) => directories.push(Directory { key, links }),
                    None => found.leave_out(key, "it is a link to a directory that it lies in"),
                }
            } else if metadata.is_file() {
                found.files.push(FileMeta {
                    key,
                    size: metadata.len(),
                    modified: metadata.modified().map_err(failed)?.into(),
                    etag: Some(etag(&metadata)),
                });
            } else {
                found.leave_out(key, "it is no file but a pipe, a socket or a device");
            }
        }
    }
    Ok(found)
}

/// Whether an error says something of this moment rather than of the directory: then it is no reason to
/// go on without it.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::OutOfMemory
            | ErrorKind::Interrupted
            | ErrorKind::TimedOut
            | ErrorKind::StaleNetworkFileHandle
    ) || crate::error::out_of_files(error)
}

/// What an entry of a directory is; `None` if it has gone meanwhile, an error why nobody can tell.
fn look(path: &Path, link: bool) -> std::result::Result<Option<Metadata>, String> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.to_string()),
        Err(_) if link && path.is_symlink() => Err("it is a link to nothing".to_owned()),
        Err(_) => Ok(None),
    }
}

/// The way into a directory of `directory`; `None` if it leads in a circle.
fn links(
    directory: &Directory,
    path: &Path,
    entry: &Path,
    link: bool,
) -> Option<Arc<Vec<PathBuf>>> {
    if !link {
        return Some(Arc::clone(&directory.links));
    }
    // Without its real path a circle can't be told; such a directory can't be listed either.
    let (here, there) = (fs::canonicalize(path).ok()?, fs::canonicalize(entry).ok()?);
    let mut links = directory.links.as_ref().clone();
    links.push(here);
    let circle = links.iter().any(|before| before.starts_with(&there));
    (!circle).then(|| Arc::new(links))
}
