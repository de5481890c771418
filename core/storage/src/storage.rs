//! One directory or prefix, somewhere.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use object_store::ObjectStore;
use object_store::path::Path as ObjectPath;
use tidegate_core::{Error, Result};

use crate::listing::{Found, Kind, LeftOut, Lister, Listing, Names, Wanted, join};
use crate::local::{LocalFiles, LocalLister, LocalStaging, link_above};
use crate::memory::{self, MemoryLister, MemoryStaging};
use crate::read::FileMeta;
use crate::staged::{Staged, StagedToken, StagedWriter, Staging};
use crate::{Access, Location, Place, ReadAhead};

/// One directory or prefix, or one file, somewhere. All keys are relative to it, with `/` between
/// their parts. Cheap to clone.
#[derive(Clone)]
pub struct Storage(Arc<Inner>);

struct Inner {
    location: Location,
    root: ObjectPath,
    objects: Arc<dyn ObjectStore>,
    lister: Arc<dyn Lister>,
    staging: Arc<dyn Staging>,
    /// What was warned of.
    left_out: Mutex<BTreeSet<LeftOut>>,
}

impl Storage {
    /// Opens the storage at a location, which need not exist yet.
    pub async fn open(location: &Location, access: &Access) -> Result<Self> {
        let parts = location.path().trim_matches('/');
        let root = ObjectPath::parse(parts).map_err(|error| {
            let error = Error::config("this path can't be used").because(error);
            let error = error.with("path", location);
            error.hint("names with control characters can't be read; rename the file")
        })?;
        let (objects, lister, staging): (Arc<dyn ObjectStore>, Arc<dyn Lister>, Arc<dyn Staging>) =
            match location.place() {
                Place::Local => (
                    Arc::new(LocalFiles),
                    Arc::new(LocalLister::new(location.path())),
                    Arc::new(LocalStaging::new(location.path())),
                ),
                #[cfg(feature = "s3")]
                Place::S3 => {
                    let (bucket, objects) = crate::s3::Bucket::open(location, access).await?;
                    let lister = crate::s3::S3Lister::new(bucket.clone(), location.clone());
                    let staging = crate::s3::S3Staging::new(bucket, location.clone());
                    (objects, Arc::new(lister), Arc::new(staging))
                }
                #[cfg(not(feature = "s3"))]
                Place::S3 => {
                    let _ = access;
                    return Err(Error::unsupported("this program was built without S3")
                        .with("url", location));
                }
                Place::Memory => {
                    let objects = memory::store();
                    let lister = MemoryLister::new(Arc::clone(&objects), root.clone());
                    let staging = MemoryStaging::new(Arc::clone(&objects), root.clone());
                    (objects, Arc::new(lister), Arc::new(staging))
                }
            };
        Ok(Self(Arc::new(Inner {
            location: location.clone(),
            root,
            objects,
            lister,
            staging,
            left_out: Mutex::default(),
        })))
    }

    /// Where it is.
    pub fn location(&self) -> &Location {
        &self.0.location
    }

    /// The url of a key (empty: of the storage itself), as catalogs keep it and as
    /// [`Location::parse`] reads it again: `s3://bucket/prefix/key`, its characters as they are;
    /// `file:///directory/key`, percent-encoded.
    pub fn url(&self, key: &str) -> String {
        self.0.location.url(key)
    }

    /// How a stream reads from here at its best speed.
    pub fn read_ahead(&self) -> ReadAhead {
        match self.0.location.place() {
            Place::Local | Place::Memory => ReadAhead::default(),
            // One connection gives some 50 to 90 MB/s after tens of milliseconds.
            Place::S3 => ReadAhead {
                chunk: 8 << 20,
                ahead: 3,
            },
        }
    }

    /// What a key is called in messages.
    pub fn show(&self, key: &str) -> String {
        self.0.location.show(key)
    }

    /// The path of a key, without the directories that `base` lies in: what those are called says nothing
    /// of the file. Elsewhere than below `base`, the whole path.
    pub fn below(&self, key: &str, base: &Path) -> Result<String> {
        let location = &self.0.location;
        let path = match key {
            "" => location.path().to_owned(),
            key => join(location.path().trim_end_matches('/'), key),
        };
        let base = Location::parse(".", base)?;
        let below = base.key_of(&location.at(&path)).map(str::to_owned);
        Ok(below.unwrap_or(path))
    }

    /// The store behind it, for readers that take one (DataFusion, Parquet). Its paths are those
    /// of [`Storage::object_path`].
    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.0.objects
    }

    /// The path of `key` in [`Storage::objects`].
    pub fn object_path(&self, key: &str) -> Result<ObjectPath> {
        let path = match (self.0.root.as_ref().is_empty(), key.is_empty()) {
            (_, true) => return Ok(self.0.root.clone()),
            (true, _) => ObjectPath::parse(key),
            (false, _) => ObjectPath::parse(format!("{}/{key}", self.0.root)),
        };
        path.map_err(|error| {
            Error::config("this name can't be used")
                .with("path", self.show(key))
                .because(error)
        })
    }

    /// The files in the directory `key` and below that `names` takes, from that directory on, sorted by
    /// key; none if there is no such directory. What can't be read is left out with a warning.
    pub async fn list(&self, key: &str, names: Names) -> Result<Vec<FileMeta>> {
        Ok(self.warned(self.listing(key, names).await?))
    }

    /// The same, and what is left out of it.
    pub async fn listing(&self, key: &str, names: Names) -> Result<Listing> {
        let from = if key.is_empty() { 0 } else { key.len() + 1 };
        let takes = move |key: &str| {
            let mut below = key.get(from..).unwrap_or_default().split('/');
            below.all(|name| names.take(name))
        };
        let wanted: Wanted = Arc::new(move |_, key| takes(key));
        Ok(self.listed(self.0.lister.below(key, &wanted).await?))
    }

    /// The files right in the directory `key` that don't begin with `.`, sorted by key; none if there
    /// is no such directory. What can't be read is left out with a warning.
    pub async fn list_directory(&self, key: &str) -> Result<Vec<FileMeta>> {
        let wanted: Wanted = Arc::new(|kind, key| {
            let name = key.rsplit('/').next().unwrap_or(key);
            kind == Kind::File && Names::NoDotfiles.take(name)
        });
        let found = self.0.lister.directory(key, &wanted).await?;
        Ok(self.warned(self.listed(found)))
    }

    /// The files in the directory `key`, and below it if `deep`, that `takes` takes by their keys,
    /// sorted by key: what a sink may have written here itself and replaces. So none that begins with
    /// `.`, or in a directory below `key` that does, and none that is a link or lies behind one below
    /// here: that is left out with a warning.
    pub async fn list_own(
        &self,
        key: &str,
        deep: bool,
        takes: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Result<Vec<FileMeta>> {
        let from = if key.is_empty() { 0 } else { key.len() + 1 };
        let wanted: Wanted = Arc::new(move |kind, key| {
            let mut below = key.get(from..).unwrap_or_default().split('/');
            let goes = match kind {
                Kind::File => takes(key),
                Kind::Directory => deep,
            };
            goes && below.all(|name| Names::NoDotfiles.take(name))
        });
        let found = self.0.lister.own(key, &wanted, deep).await?;
        Ok(self.warned(self.listed(found)))
    }

    /// The outermost directory of a key, below here, that is a link; `None` where there are no links.
    pub async fn link_above(&self, key: &str) -> Result<Option<String>> {
        if self.0.location.place() != Place::Local {
            return Ok(None);
        }
        let (root, key) = (self.0.location.path().to_owned(), key.to_owned());
        let link = move || Ok(link_above(Path::new(&root), &key).map(str::to_owned));
        crate::unblock::unblock(link).await
    }

    pub(crate) fn lister(&self) -> &dyn Lister {
        self.0.lister.as_ref()
    }

    /// What was found, in order and by its full names.
    pub(crate) fn listed(&self, found: Found) -> Listing {
        let Found {
            mut files,
            left_out,
            ..
        } = found;
        files.sort_by(|a, b| a.key.cmp(&b.key));
        let left_out = left_out.into_iter().map(|(key, reason)| LeftOut {
            path: self.show(&key),
            reason,
        });
        Listing {
            files,
            left_out: left_out.collect(),
        }
    }

    /// The files of a listing; warns of what it left out, once.
    pub(crate) fn warned(&self, listing: Listing) -> Vec<FileMeta> {
        if !listing.left_out.is_empty() {
            let mut known = self
                .0
                .left_out
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            for left_out in listing.left_out {
                if !known.contains(&left_out) {
                    let LeftOut { path, reason } = &left_out;
                    tracing::warn!("left out, because {reason}: {path:?}");
                    known.insert(left_out);
                }
            }
        }
        listing.files
    }

    /// Whether there is anything here: a file, or a directory.
    pub async fn exists(&self) -> Result<bool> {
        if self.0.location.place() == Place::Local {
            let path = self.0.location.path().to_owned();
            // A link to nothing is something, and so is what may only be seen.
            let there = move || Ok(std::path::Path::new(&path).symlink_metadata().is_ok());
            return crate::unblock::unblock(there).await;
        }
        Ok(self.is_directory("").await? || self.file("").await?.is_some())
    }

    /// What a link leads to that there isn't.
    pub(crate) async fn leads_nowhere(&self) -> Result<Option<PathBuf>> {
        if self.0.location.place() != Place::Local {
            return Ok(None);
        }
        let path = PathBuf::from(self.0.location.path());
        let target = move || Ok(path.read_link().ok().filter(|_| !path.exists()));
        crate::unblock::unblock(target).await
    }

    pub(crate) async fn is_directory(&self, key: &str) -> Result<bool> {
        self.0.lister.is_directory(key).await
    }
}

/// Staged writes: see [`Staging`].
impl Storage {
    /// See [`Staging::check_name`].
    pub fn check_name(&self, key: &str) -> Result<()> {
        self.0.staging.check_name(key)
    }

    /// See [`Staging::begin`].
    pub async fn begin(&self, key: &str) -> Result<StagedToken> {
        self.0.staging.begin(key).await
    }

    /// See [`Staging::create`].
    pub async fn create(&self, token: &StagedToken) -> Result<Box<dyn StagedWriter>> {
        self.0.staging.create(token).await
    }

    /// See [`Staging::publish`].
    pub async fn publish(&self, staged: &[Staged]) -> Result<()> {
        self.0.staging.publish(staged).await
    }

    /// See [`Staging::discard`].
    pub async fn discard(&self, tokens: &[StagedToken]) -> Result<()> {
        self.0.staging.discard(tokens).await
    }

    /// See [`Staging::delete`].
    pub async fn delete(&self, keys: &[String]) -> Result<()> {
        self.0.staging.delete(keys).await
    }

    /// Moves a file to another directory of the same place, under its own name there, or another one
    /// if that is taken by another file. Says where it lies then; `None` if it isn't what `file` knows
    /// any more.
    ///
    /// Errors: `Config` where that isn't the same file system.
    pub async fn move_to(
        &self,
        file: &FileMeta,
        directory: &Self,
        name: &str,
    ) -> Result<Option<String>> {
        let is_it = |found: &FileMeta| (found.size, found.modified) == (file.size, file.modified);
        if !self.file(&file.key).await?.as_ref().is_some_and(is_it) {
            return Ok(None);
        }
        let mut name = name.to_owned();
        if directory.file(&name).await?.is_some() {
            name = format!("{name}.{}", file.modified.timestamp_micros());
        }
        let to = directory.location();
        let to = to.at(&join(to.path().trim_end_matches('/'), &name));
        let moved = self.0.staging.rename(&file.key, file.size, &to).await?;
        Ok(moved.then(|| directory.show(&name)))
    }

    /// See [`Staging::check_writable`].
    pub async fn check_writable(&self) -> Result<()> {
        self.0.staging.check_writable().await
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Storage({})", self.0.location)
    }
}
