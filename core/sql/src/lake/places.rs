//! The places that a query reads from: opened once, listed once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectMeta, ObjectStore};
use tidegate_core::{CatalogTable, Error, Result};
use tidegate_storage::{Access, FileMeta, Location, Names, Pattern, Place, Storage};
use url::Url;

use super::store::ReadStore;
use super::text::{TextFile, TextFiles};
use super::traffic::Traffic;

/// Where a query's files lie, and how they are reached.
#[derive(Debug)]
pub(crate) struct Places {
    base: PathBuf,
    access: Access,
    text: Option<Arc<dyn TextFiles>>,
    runtime: Arc<RuntimeEnv>,
    traffic: Arc<Traffic>,
    roots: Mutex<HashMap<ObjectStoreUrl, Arc<dyn ObjectStore>>>,
    listings: Mutex<HashMap<Location, Arc<Vec<Found>>>>,
}

/// A file that was found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// The file system or bucket that it is in.
    pub(crate) root: ObjectStoreUrl,
    /// What is known of it; its path is that in the root's store.
    pub(crate) object: ObjectMeta,
    /// Its path below the directory that was listed.
    pub(crate) key: String,
    /// Where it was listed; `None` for a file of a plan, which is only looked at.
    pub(crate) storage: Option<Storage>,
}

impl Found {
    /// The file as a text file, of a table or of a path.
    pub(crate) fn text(&self, table: Option<Arc<CatalogTable>>) -> Result<TextFile> {
        let storage = self.storage.clone();
        Ok(TextFile {
            storage: storage.ok_or_else(|| Error::internal("a text file without a place"))?,
            meta: FileMeta {
                key: self.key.clone(),
                size: self.object.size,
                modified: self.object.last_modified,
                etag: self.object.e_tag.clone(),
            },
            table,
        })
    }
}

impl Places {
    pub(crate) fn new(
        base: &Path,
        access: Access,
        text: Option<Arc<dyn TextFiles>>,
        runtime: Arc<RuntimeEnv>,
    ) -> Self {
        Self {
            base: base.to_owned(),
            access,
            text,
            runtime,
            traffic: Arc::default(),
            roots: Mutex::default(),
            listings: Mutex::default(),
        }
    }

    pub(crate) fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// What reads text files. Errors: `Unsupported` where nothing does.
    pub(crate) fn text(&self) -> Result<&Arc<dyn TextFiles>> {
        self.text
            .as_ref()
            .ok_or_else(|| Error::unsupported("no reader of text files was given to the lake"))
    }

    pub(crate) fn location(&self, text: &str) -> Result<Location> {
        Location::parse(text, &self.base)
    }

    /// All files under a directory, but for hidden names and empty files. None if there is no such
    /// directory.
    pub(crate) async fn files(&self, directory: &Location) -> Result<Arc<Vec<Found>>> {
        let known = lock(&self.listings).get(directory).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let storage = Storage::open(directory, &self.access).await?;
        self.traffic.listed();
        let listed = storage.list("", Names::Visible).await?;
        let found = Arc::new(self.found(&storage, listed)?);
        lock(&self.listings).insert(directory.clone(), Arc::clone(&found));
        Ok(found)
    }

    /// The files that a path, a directory or a pattern means; never none.
    pub(crate) async fn matching(&self, text: &str) -> Result<Vec<Found>> {
        let pattern = Pattern::parse(text, &self.base, &self.access).await?;
        self.traffic.listed();
        let listed = pattern.expect("the current directory").await?;
        let found = self.found(pattern.storage(), listed)?;
        if found.is_empty() {
            return Err(Error::not_found(format!(
                "the files of `{text}` are all empty"
            )));
        }
        Ok(found)
    }

    /// A file's path, without the directories that the current one lies in.
    pub(crate) fn below_base(&self, file: &Found) -> Result<String> {
        match &file.storage {
            Some(storage) => storage.below(&file.key, &self.base),
            None => Ok(file.object.location.to_string()),
        }
    }

    fn found(&self, storage: &Storage, listed: Vec<FileMeta>) -> Result<Vec<Found>> {
        let root = self.root(storage)?;
        listed
            .into_iter()
            .filter(|file| file.size > 0)
            .map(|file| {
                Ok(Found {
                    root: root.clone(),
                    object: ObjectMeta {
                        location: storage.object_path(&file.key)?,
                        last_modified: file.modified,
                        size: file.size,
                        e_tag: file.etag,
                        version: None,
                    },
                    key: file.key,
                    storage: Some(storage.clone()),
                })
            })
            .collect()
    }

    /// Makes the storage's file system or bucket known to DataFusion.
    fn root(&self, storage: &Storage) -> Result<ObjectStoreUrl> {
        let location = storage.location();
        let (text, remote) = match location.place() {
            Place::Local => ("file://".to_owned(), false),
            Place::Memory => ("memory://".to_owned(), false),
            Place::S3 => (format!("s3://{}", location.bucket()), true),
            _ => {
                return Err(
                    Error::unsupported("a query can't read from this place").with("url", location)
                );
            }
        };
        let unusable = |error: String| {
            Error::config("this url can't be used")
                .with("url", location)
                .because(error)
        };
        let root = ObjectStoreUrl::parse(&text).map_err(|error| unusable(error.to_string()))?;
        let mut roots = lock(&self.roots);
        if !roots.contains_key(&root) {
            let inner = Arc::clone(storage.objects());
            let traffic = Arc::clone(&self.traffic);
            let store: Arc<dyn ObjectStore> = Arc::new(ReadStore::new(inner, traffic, remote));
            let url = Url::parse(root.as_str()).map_err(|error| unusable(error.to_string()))?;
            self.runtime.register_object_store(&url, Arc::clone(&store));
            roots.insert(root.clone(), store);
        }
        Ok(root)
    }

    /// The store of a root that a file was found in.
    pub(crate) fn store(&self, root: &ObjectStoreUrl) -> Result<Arc<dyn ObjectStore>> {
        let store = lock(&self.roots).get(root).cloned();
        store.ok_or_else(|| Error::internal("a file of a place that was never opened"))
    }

    /// The metadata of files that were looked at, kept for the session.
    pub(crate) fn runtime(&self) -> &Arc<RuntimeEnv> {
        &self.runtime
    }
}

/// What a file is called in messages: its url, or its path.
pub(crate) fn show(root: &ObjectStoreUrl, path: &ObjectPath) -> String {
    match root.as_str() {
        "file:///" => format!("/{path}"),
        root => format!("{root}{path}"),
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What is in there is only a cache: whole after every statement.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
