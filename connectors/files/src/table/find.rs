//! Which files a table has.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt, TryStreamExt};
use tidegate_catalog::directory;
use tidegate_core::{CatalogTable, Result, TablePartition};
use tidegate_formats::{Compression, Format};
use tidegate_storage::{Access, FileMeta, Location, Names, Storage, directories, is_hidden};

use crate::read::Found;

/// Directories listed at once.
const LISTINGS: usize = 16;

/// With more directories than this, all of a table's are found by one listing of its location.
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

    /// A partition's storage, and its directory there.
    async fn place(&self, partition: &TablePartition) -> Result<(Storage, String)> {
        let location = Location::parse(&partition.location, &self.base)?;
        if let Some(key) = self.storage.location().key_of(&location) {
            return Ok((self.storage.clone(), key.to_owned()));
        }
        let text = location.to_string();
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

    fn is_here(&self, storage: &Storage) -> bool {
        storage.location() == self.storage.location()
    }

    fn found(&self, storage: Storage, file: FileMeta, partition: Option<TablePartition>) -> Found {
        let path = storage.show(&file.key);
        let here = self.is_here(&storage);
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
        let found = list(&self.storage, "").await?.into_iter();
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
            let (storage, directory) = self.place(&partition).await?;
            places.push((partition, storage, directory));
        }
        // Many small listings cost more than one large one, unless it finds much that isn't asked for.
        let mut by_directory: HashMap<String, Vec<FileMeta>> = HashMap::new();
        if all && places.len() > FEW {
            // That listing has no hidden directories, which may be partitions all the same.
            by_directory = places
                .iter()
                .filter(|(_, storage, directory)| {
                    self.is_here(storage) && !directory.split('/').any(is_hidden)
                })
                .map(|(_, _, directory)| (directory.clone(), Vec::new()))
                .collect();
            for file in list(&self.storage, "").await? {
                for directory in directories(&file.key) {
                    if let Some(files) = by_directory.get_mut(directory) {
                        files.push(file.clone());
                    }
                }
            }
        }
        let listings = places.into_iter().map(|(partition, storage, directory)| {
            let known = by_directory
                .get(&directory)
                .filter(|_| self.is_here(&storage));
            let known = known.cloned();
            async move {
                let files = match known {
                    Some(files) => files,
                    None => list(&storage, &directory).await?,
                };
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

    /// Two partitions may lie in one directory, whose files are then read for both.
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
                file.name = format!("{} as {}", file.name, directory(&keys, values));
                names.insert(file.name.clone());
            }
        }
    }
}

/// The files of a table in a directory and below.
async fn list(storage: &Storage, directory: &str) -> Result<Vec<FileMeta>> {
    let mut files = storage.list(directory, Names::Visible).await?;
    files.retain(|file| file.size > 0);
    Ok(files)
}
