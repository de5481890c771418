//! Which files a table has.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt, TryStreamExt};
use tidegate_catalog::folder;
use tidegate_core::{CatalogTable, Result, TablePartition};
use tidegate_formats::{Compression, Format};
use tidegate_storage::{Access, FileMeta, Location, Storage};

use crate::read::Found;

/// Folders listed at once.
const LISTINGS: usize = 16;

/// With more folders than this, all of a table's are found by one listing of its location.
const FEW: usize = 8;

/// Where a table's files lie.
#[derive(Debug)]
pub(super) struct Finder {
    table: CatalogTable,
    format: Format,
    storage: Storage,
    access: Access,
    base: Arc<Path>,
    /// Of partitions that lie elsewhere.
    others: Mutex<HashMap<String, Storage>>,
}

impl Finder {
    pub(super) async fn open(
        table: &CatalogTable,
        format: Format,
        base: &Arc<Path>,
        access: Access,
    ) -> Result<Self> {
        let location = Location::parse(&table.location, base)?;
        Ok(Self {
            table: table.clone(),
            format,
            storage: Storage::open(&location, &access).await?,
            access,
            base: Arc::clone(base),
            others: Mutex::default(),
        })
    }

    /// A partition's storage, and its folder there.
    async fn place(&self, partition: &TablePartition) -> Result<(Storage, String)> {
        let location = Location::parse(&partition.location, &self.base)?;
        let (text, root) = (location.to_string(), self.storage.location().to_string());
        if let Some(rest) = text.strip_prefix(&root)
            && let Some(key) = rest.strip_prefix('/').or(rest.is_empty().then_some(""))
        {
            return Ok((self.storage.clone(), key.to_owned()));
        }
        let known = {
            let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
            others.get(&text).cloned()
        };
        if let Some(storage) = known {
            return Ok((storage, String::new()));
        }
        let storage = Storage::open(&location, &self.access).await?;
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.insert(text, storage.clone());
        Ok((storage, String::new()))
    }

    /// A file that was found once, of a partition or of a table without any.
    pub(super) async fn again(
        &self,
        file: FileMeta,
        partition: Option<TablePartition>,
    ) -> Result<Found> {
        let storage = match &partition {
            Some(partition) => self.place(partition).await?.0,
            None => self.storage.clone(),
        };
        Ok(self.found(storage, file, partition))
    }

    fn found(&self, storage: Storage, file: FileMeta, partition: Option<TablePartition>) -> Found {
        let path = storage.show(&file.key);
        let here = storage.location() == self.storage.location();
        Found {
            name: match here && !file.key.is_empty() {
                true => file.key.clone(),
                false => path.clone(),
            },
            storage,
            format: self.format,
            compression: match self.format {
                Format::Parquet => Compression::None,
                _ => Compression::from_path(&path),
            },
            partition,
            file,
        }
    }

    /// All files of a table without partitions.
    pub(super) async fn everything(&self) -> Result<Vec<Found>> {
        let mut files = self.storage.list_under("").await?;
        files.retain(|file| visible(&file.key) && file.size > 0);
        files.sort_by(|a, b| a.key.cmp(&b.key));
        let found = files.into_iter();
        Ok(found
            .map(|file| self.found(self.storage.clone(), file, None))
            .collect())
    }

    /// The files of these partitions; `all` says that there are no others.
    pub(super) async fn files(
        &self,
        partitions: Vec<TablePartition>,
        all: bool,
    ) -> Result<Vec<Found>> {
        let mut places = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let (storage, folder) = self.place(&partition).await?;
            places.push((partition, storage, folder));
        }
        // Many small listings cost more than one large one, unless it finds much that isn't asked for.
        let mut by_folder: HashMap<String, Vec<FileMeta>> = HashMap::new();
        let at_once = all && places.len() > FEW;
        if at_once {
            let here = |storage: &Storage| storage.location() == self.storage.location();
            let folders: HashSet<&str> = places
                .iter()
                .filter(|(_, storage, _)| here(storage))
                .map(|(_, _, folder)| folder.as_str())
                .collect();
            for file in self.storage.list_under("").await? {
                let mut parents = file.key.as_str();
                while let Some((parent, _)) = parents.rsplit_once('/') {
                    if folders.contains(parent) {
                        by_folder.entry(parent.to_owned()).or_default().push(file);
                        break;
                    }
                    parents = parent;
                }
            }
        }
        let listings = places.into_iter().map(|(partition, storage, folder)| {
            let here = storage.location() == self.storage.location();
            let known = match at_once && here {
                true => Some(by_folder.remove(&folder).unwrap_or_default()),
                false => None,
            };
            async move {
                let mut files = match known {
                    Some(files) => files,
                    None => storage.list_under(&folder).await?,
                };
                // What is hidden counts from the partition's folder on.
                let within = |key: &str| key.get(folder.len()..).is_some_and(visible);
                files.retain(|file| within(&file.key) && file.size > 0);
                files.sort_by(|a, b| a.key.cmp(&b.key));
                let found = files
                    .into_iter()
                    .map(|file| self.found(storage.clone(), file, Some(partition.clone())));
                Ok::<Vec<Found>, tidegate_core::Error>(found.collect())
            }
        });
        let found: Vec<Vec<Found>> = futures::stream::iter(listings)
            .buffered(LISTINGS)
            .try_collect()
            .await?;
        let mut found: Vec<_> = found.into_iter().flatten().collect();
        self.tell_apart(&mut found);
        Ok(found)
    }

    /// Two partitions may lie in one folder, whose files are then read for both.
    fn tell_apart(&self, found: &mut [Found]) {
        let mut names = HashSet::new();
        let keys: Vec<_> = self
            .table
            .partition_keys
            .iter()
            .map(|key| key.name())
            .collect();
        for file in found {
            if !names.insert(file.name.clone()) {
                let values = file.partition.as_ref().map_or(&[][..], |p| &p.values);
                file.name = format!("{} as {}", file.name, folder(&keys, values));
                names.insert(file.name.clone());
            }
        }
    }
}

/// Whether no part of a path is hidden.
fn visible(key: &str) -> bool {
    key.split('/').all(|name| !name.starts_with(['.', '_']))
}
