//! Staged writes on a local disk: a hidden temporary file, and a rename.
//!
//! Before `finish` returns, the file's bytes and the directory's entry of it are on the disk; before
//! `publish` returns, the rename is. So a machine that loses power finds each file either hidden or
//! published, never half.

mod list;
mod objects;

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use serde_json::Value;
use tidegate_core::{Error, Result};
use uuid::Uuid;

pub(crate) use list::LocalLister;
pub(crate) use objects::LocalFiles;

use crate::Location;
use crate::error::local as failed;
use crate::staged::{Staged, StagedToken, StagedWriter, Staging};
use crate::unblock::unblock;

/// After so many bytes the disk is set to work, so that `finish` doesn't wait for all of them.
const SYNC_EVERY: u64 = 32 << 20;

/// The longest name that is certain to be allowed, in bytes.
const LONGEST_NAME: usize = 255;

/// The same, less what the temporary name adds.
const NAME_LIMIT: usize = LONGEST_NAME - 1 - 1 - 32 - SUFFIX.len();

const SUFFIX: &str = ".tidegate-tmp";

/// The key of the hidden file: `.name.<unique>.tidegate-tmp` beside the target.
pub(crate) fn hidden_key(token: &StagedToken) -> String {
    let (directory, name) = split(&token.key);
    let name = &name[..name.floor_char_boundary(NAME_LIMIT)];
    format!("{directory}.{name}.{}{SUFFIX}", token.unique)
}

/// The key under which a file appears whose own name is too long: its two ends, and between them what
/// tells it from all others.
fn shorter_key(staged: &Staged) -> String {
    let (directory, name) = split(staged.key());
    let begin = &name[..name.floor_char_boundary(100)];
    let end = &name[name.ceil_char_boundary(name.len().saturating_sub(40))..];
    format!("{directory}{begin}-{}-{end}", staged.token.unique)
}

/// A key's directory, with its `/`, and its name.
fn split(key: &str) -> (&str, &str) {
    key.split_at(key.rfind('/').map_or(0, |slash| slash + 1))
}

/// The outermost part of a key, below `root`, that is a link.
fn link_in<'a>(root: &Path, key: &'a str) -> Option<&'a str> {
    let ends = key.match_indices('/').map(|(end, _)| end);
    let mut parts = ends.chain([key.len()]).map(|end| &key[..end]);
    parts.find(|part| !part.is_empty() && root.join(part).is_symlink())
}

/// The outermost directory of a key, below `root`, that is a link.
pub(crate) fn link_above<'a>(root: &Path, key: &'a str) -> Option<&'a str> {
    let (directory, _) = split(key);
    link_in(root, directory.trim_end_matches('/'))
}

pub(crate) fn vanished(target: &dyn std::fmt::Display) -> Error {
    Error::conflict("a file that was written and not yet published is gone")
        .with("path", target)
        .hint(
            "someone removed hidden `.tidegate-tmp` files of an unfinished run, or its results; \
             put them back, or run again with --restart",
        )
}

#[derive(Debug)]
pub(crate) struct LocalStaging {
    root: PathBuf,
}

impl LocalStaging {
    pub(crate) fn new(root: &str) -> Self {
        Self {
            root: PathBuf::from(root),
        }
    }

    /// The path of a key; one that would lead out of the root is refused.
    fn path(&self, key: &str) -> Result<PathBuf> {
        let strange = |name: &str| matches!(name, "" | "." | "..") || name.contains('\0');
        if key.split('/').any(strange) {
            return Err(Error::config(format!("`{key}` can't name a file"))
                .with("directory", self.root.display()));
        }
        Ok(self.root.join(key))
    }

    /// The path of a key that is to be a file.
    fn new_path(&self, key: &str) -> Result<PathBuf> {
        let path = self.path(key)?;
        match key.split('/').find(|name| name.len() > LONGEST_NAME) {
            None => Ok(path),
            // Its hidden name is shorter: without this, only publishing would fail.
            Some(name) => Err(Error::config(format!(
                "a name of {} bytes can't be a file's",
                name.len()
            ))
            .with("path", path.display())
            .hint(
                "file systems take names of up to 255 bytes, with what tells a sink's files apart; \
                 choose a shorter one",
            )),
        }
    }
}

#[async_trait]
impl Staging for LocalStaging {
    fn check_name(&self, key: &str) -> Result<()> {
        self.new_path(key).map(drop)
    }

    async fn begin(&self, key: &str) -> Result<StagedToken> {
        let path = self.new_path(key)?;
        let key = key.to_owned();
        unblock(move || {
            if path.is_dir() {
                let error = io::Error::from(io::ErrorKind::IsADirectory);
                return Err(failed("write a file", &path, error));
            }
            let missing = path
                .ancestors()
                .skip(1)
                .take_while(|directory| !directory.exists());
            Ok(StagedToken {
                key,
                unique: Uuid::new_v4().simple().to_string(),
                directories: u32::try_from(missing.count()).unwrap_or(u32::MAX),
            })
        })
        .await
    }

    async fn create(&self, token: &StagedToken) -> Result<Box<dyn StagedWriter>> {
        let hidden = self.path(&hidden_key(token))?;
        let token = token.clone();
        unblock(move || {
            let file = create_file(&hidden)?;
            Ok(Box::new(LocalWriter {
                token,
                hidden,
                file: Arc::new(file),
                bytes: 0,
                synced: 0,
                syncing: Vec::new(),
            }) as _)
        })
        .await
    }

    async fn publish(&self, staged: &[Staged]) -> Result<()> {
        let mut moves = Vec::with_capacity(staged.len());
        for file in staged {
            moves.push(Move {
                hidden: self.path(&hidden_key(&file.token))?,
                target: self.path(file.key())?,
                shorter: self.path(&shorter_key(file))?,
            });
        }
        let directories = unblock(move || {
            let mut directories = BTreeSet::new();
            for file in moves {
                file.publish()?;
                directories.extend(file.target.parent().map(Path::to_path_buf));
            }
            Ok(directories)
        })
        .await?;
        // A directory's fsync waits for the disk, not for us: several wait together.
        futures::stream::iter(directories)
            .map(|directory| unblock(move || sync_directory(&directory)))
            .buffer_unordered(8)
            .try_collect()
            .await
    }

    async fn discard(&self, tokens: &[StagedToken]) -> Result<()> {
        let mut hidden = Vec::with_capacity(tokens.len());
        for token in tokens {
            hidden.push((self.path(&hidden_key(token))?, token.directories));
        }
        unblock(move || {
            // Deepest first, and after all files: several writes may have made one directory.
            let mut made = BTreeSet::new();
            for (path, directories) in &hidden {
                remove_file(path)?;
                made.extend(path.ancestors().skip(1).take(*directories as usize));
            }
            for directory in made.into_iter().rev() {
                remove_empty(std::iter::once(directory), 1);
            }
            Ok(())
        })
        .await
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        let mut paths = Vec::with_capacity(keys.len());
        for key in keys {
            paths.push((key.clone(), self.path(key)?));
        }
        let root = self.root.clone();
        unblock(move || {
            let mut links = HashMap::new();
            for (key, path) in &paths {
                // Who listed what is to go has left out what lies behind links, but that may have
                // been before a directory became one.
                let link = links
                    .entry(split(key).0)
                    .or_insert_with(|| link_above(&root, key));
                if let Some(link) = link {
                    let link = root.join(link);
                    tracing::warn!("not deleted, because {link:?} is a link: {path:?}");
                    continue;
                }
                remove_file(path)?;
                remove_empty(path.ancestors().skip(1), key.matches('/').count());
            }
            if root.is_dir() {
                sync_directory(&root)?;
            }
            Ok(())
        })
        .await
    }

    async fn rename(&self, key: &str, _bytes: u64, to: &Location) -> Result<bool> {
        let from = match key {
            "" => self.root.clone(),
            key => self.path(key)?,
        };
        let to = PathBuf::from(to.path());
        unblock(move || {
            let directory = to.parent();
            directory.map_or(Ok(()), create_directory)?;
            match fs::rename(&from, &to) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                    let error = failed("move a file to another file system", &to, error);
                    return Err(error.hint("name a directory of the same file system"));
                }
                Err(error) => return Err(failed("move a file", &from, error)),
            }
            directory.map_or(Ok(()), sync_directory)?;
            Ok(true)
        })
        .await
    }

    async fn check_writable(&self) -> Result<()> {
        let root = self.root.clone();
        unblock(move || {
            let Some(existing) = root.ancestors().find(|directory| directory.exists()) else {
                return Ok(());
            };
            if !existing.is_dir() {
                let error = io::Error::from(io::ErrorKind::NotADirectory);
                return Err(failed("write in this directory", existing, error));
            }
            // Only trying says the truth: permissions may come from groups, mounts or quotas. A file
            // without a name, where the system has such: a process killed here leaves nothing.
            tempfile::tempfile_in(existing)
                .map(drop)
                .map_err(|error| failed("write in this directory", existing, error))
        })
        .await
    }
}

fn create_file(path: &Path) -> Result<File> {
    let mut attempts = 0;
    loop {
        if let Some(directory) = path.parent() {
            create_directory(directory)?;
        }
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(file) => return Ok(file),
            // Someone's `discard` or `delete` has just removed the empty directory.
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempts < 16 => attempts += 1,
            Err(error) => return Err(failed("make a file", path, error)),
        }
    }
}

/// Makes a directory and those above it, each entry durable before this returns.
fn create_directory(directory: &Path) -> Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = directory.parent();
    if let Some(parent) = parent {
        create_directory(parent)?;
    }
    match fs::create_dir(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
        Err(error) => return Err(failed("make a directory", directory, error)),
    }
    match parent {
        Some(parent) => sync_directory(parent),
        None => Ok(()),
    }
}

/// What makes a file appear.
struct Move {
    hidden: PathBuf,
    target: PathBuf,
    /// Where it appears if the file system refuses the target's name.
    shorter: PathBuf,
}

impl Move {
    fn publish(&self) -> Result<()> {
        let Self {
            hidden,
            target,
            shorter,
        } = self;
        match fs::rename(hidden, target) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if target.is_file() || shorter.is_file() {
                    Ok(())
                } else {
                    Err(vanished(&target.display()))
                }
            }
            // It wasn't there when the file was begun, so the pipeline file isn't to blame.
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => Err(Error::conflict(
                "a directory stands where a file is to appear",
            )
            .with("path", target.display())
            .hint("move it away and run the same command again: nothing is lost")
            .because(error)),
            // `begin` refuses such a name, but what an earlier version has begun, or what another
            // file system was to take, is in a checkpoint: its rows are read from nowhere else.
            Err(error) if error.kind() == io::ErrorKind::InvalidFilename => {
                match fs::rename(hidden, shorter) {
                    Ok(()) => {
                        tracing::warn!(
                            "published under a shorter name, because the file system refuses \
                             {target:?}: {shorter:?}"
                        );
                        Ok(())
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        match shorter.is_file() {
                            true => Ok(()),
                            false => Err(vanished(&target.display())),
                        }
                    }
                    Err(error) => Err(failed("publish a file", shorter, error)),
                }
            }
            Err(error) => Err(failed("publish a file", target, error)),
        }
    }
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(())
        }
        Err(error) => Err(failed("remove a file", path, error)),
    }
}

/// Removes up to `count` of these directories, innermost first, until one isn't empty.
fn remove_empty<'a>(directories: impl Iterator<Item = &'a Path>, count: usize) {
    for directory in directories.take(count) {
        match fs::remove_dir(directory) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => return,
        }
    }
}

fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| failed("make a directory durable", directory, error))
}

#[derive(Debug)]
struct LocalWriter {
    token: StagedToken,
    hidden: PathBuf,
    file: Arc<File>,
    bytes: u64,
    synced: u64,
    /// All of them, because the kernel tells an error of writing back only once.
    syncing: Vec<tokio::task::JoinHandle<io::Result<()>>>,
}

impl LocalWriter {
    /// Sets the disk to work on what was written so far, without waiting, one call at a time.
    fn sync_behind(&mut self) {
        let busy = self.syncing.last().is_some_and(|task| !task.is_finished());
        if busy || self.bytes - self.synced < SYNC_EVERY {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let file = Arc::clone(&self.file);
            self.syncing
                .push(runtime.spawn_blocking(move || file.sync_data()));
            self.synced = self.bytes;
        }
    }
}

#[async_trait]
impl StagedWriter for LocalWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.bytes += bytes.len() as u64;
        let (file, hidden) = (Arc::clone(&self.file), self.hidden.clone());
        unblock(move || {
            (&*file)
                .write_all(&bytes)
                .map_err(|error| failed("write a file", &hidden, error))
        })
        .await?;
        self.sync_behind();
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Staged> {
        let mut behind = Ok(());
        for task in self.syncing {
            behind = behind.and(
                task.await
                    .unwrap_or_else(|error| Err(io::Error::other(error))),
            );
        }
        let (file, hidden) = (self.file, self.hidden);
        unblock(move || {
            behind
                .and_then(|()| file.sync_all())
                .map_err(|error| failed("make a file durable", &hidden, error))?;
            hidden.parent().map_or(Ok(()), sync_directory)
        })
        .await?;
        Ok(Staged {
            token: self.token,
            bytes: self.bytes,
            receipt: Value::Null,
            renamed: None,
        })
    }
}
