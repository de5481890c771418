//! Columns whose values the directories of files name: `year=2024/a.csv`.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::ArrayRef;
use arrow_schema::{FieldRef, Fields, Schema, SchemaRef};
use tidegate_catalog::{DirectoryKeys, DirectoryValues, not_all, parse_row};
use tidegate_core::{Error, ErrorKind, NewColumns, Result};
use tidegate_storage::{FileMeta, Storage};

use super::config::FilesSourceConfig;

/// What the directories say, as far as it was known when the source was opened.
#[derive(Debug)]
pub(super) struct Directories {
    base: Arc<Path>,
    /// The last columns of the stream.
    keys: Vec<FieldRef>,
    /// Columns of the files that are keys too, and have the directories' values.
    shadowed: Arc<[String]>,
    /// Keys that were told to be no columns.
    told: Mutex<BTreeSet<String>>,
}

/// What the directories of the files name, found before their columns are.
pub(super) struct Named {
    found: DirectoryKeys,
    files: Vec<FileMeta>,
}

impl Named {
    /// Errors: `Schema` where the directories of a file name a key twice.
    pub(super) fn of(
        config: &FilesSourceConfig,
        storage: &Storage,
        files: &[FileMeta],
        base: &Path,
    ) -> Result<Self> {
        let files = files.iter().filter(|file| config.has_rows(storage, file));
        let files: Vec<_> = files.cloned().collect();
        let paths = files.iter().map(|file| storage.below(&file.key, base));
        let paths = paths.collect::<Result<Vec<_>>>()?;
        let found = DirectoryKeys::of(paths.iter().map(String::as_str))?;
        Ok(Self { found, files })
    }

    /// Tells the files' own columns, which come first, from those that the directories name. `columns`
    /// are those that the files have, or those of the `schema` that is given: then a key that it
    /// doesn't have is no column.
    ///
    /// Errors: `Schema` where the directories of only some files name one of `columns`.
    pub(super) fn split(
        self,
        config: &FilesSourceConfig,
        storage: &Storage,
        columns: &Fields,
        base: &Arc<Path>,
    ) -> Result<(SchemaRef, Directories)> {
        let mut directories = Directories {
            base: Arc::clone(base),
            keys: Vec::new(),
            shadowed: Arc::default(),
            told: Mutex::default(),
        };
        let all = |columns: &Fields| Arc::new(Schema::new(columns.clone()));
        if config.by_position() {
            let names = self.found.keys.iter().map(|key| key.name().as_str());
            directories.tell(
                names,
                "the columns of `schema` are told by their places in the file",
            );
            return Ok((all(columns), directories));
        }
        let show = |at: usize| storage.show(&self.files[at].key);
        let stored = self.found.stored(columns, show)?;
        let named = columns.iter().filter_map(|field| {
            let key = self.found.position(field.name())?;
            Some((field, &self.found.keys[key]))
        });
        let named: Vec<_> = named.collect();
        directories.keys = match config.schema.is_empty() {
            true => self.found.keys.clone(),
            false => named.iter().map(|(field, _)| Arc::clone(field)).collect(),
        };
        directories.shadowed = named
            .iter()
            .map(|(field, _)| field.name().clone())
            .collect();
        if config.schema.is_empty() {
            for name in directories.shadowed.iter() {
                tracing::warn!(
                    "the files have `{name}` too, which their directories name: the directory's value counts"
                );
            }
        }
        let stored = stored.iter().chain(&directories.keys);
        let columns = Schema::new(stored.cloned().collect::<Vec<_>>());
        Ok((Arc::new(columns), directories))
    }
}

impl Directories {
    /// Those of files that aren't there any more.
    pub(super) fn known(keys: &[FieldRef], base: &Arc<Path>) -> Self {
        Self {
            base: Arc::clone(base),
            keys: keys.to_vec(),
            shadowed: Arc::default(),
            told: Mutex::default(),
        }
    }

    /// The last columns of the stream.
    pub(super) fn keys(&self) -> &[FieldRef] {
        &self.keys
    }

    /// Columns of the files that aren't read, because their directories' values count.
    pub(super) fn shadowed(&self) -> Arc<[String]> {
        Arc::clone(&self.shadowed)
    }

    /// The values of the last columns in a file, one row each. Errors: `Schema` for a value that a
    /// column's type can't be read from.
    pub(super) fn values(
        &self,
        config: &FilesSourceConfig,
        storage: &Storage,
        file: &FileMeta,
    ) -> Result<Arc<[ArrayRef]>> {
        let path = storage.below(&file.key, &self.base)?;
        let found = DirectoryValues::of(&path, &self.keys)?.values;
        let mut values: Vec<_> = found.into_iter().map(Option::flatten).collect();
        if !config.has_rows(storage, file) {
            values.clear();
        }
        let row = parse_row(&values, &self.keys);
        let row = row.map_err(|error| error.with("file", storage.show(&file.key)))?;
        Ok(row.into())
    }

    /// Looks at a file that may be a new one: whether its directories name what those of the others did.
    /// Gives what they name, as far as there are rows that would have it.
    ///
    /// Errors: `Schema` where they don't and its values would be lost by that; `SchemaChanged` where
    /// they name a column that comes with opening the source again.
    pub(super) fn check(
        &self,
        config: &FilesSourceConfig,
        storage: &Storage,
        file: &FileMeta,
        stored: &[FieldRef],
    ) -> Result<Vec<Option<String>>> {
        if config.by_position() || !config.has_rows(storage, file) {
            return Ok(Vec::new());
        }
        let place = |error: Error| error.with("file", storage.show(&file.key));
        let path = storage.below(&file.key, &self.base)?;
        let found = DirectoryValues::of(&path, &self.keys)?;
        for (key, value) in self.keys.iter().zip(&found.values) {
            let shadowed = |name: &String| tidegate_catalog::same_name(name, key.name());
            if value.is_none() && self.shadowed.iter().any(shadowed) {
                return Err(place(not_all(key.name())));
            }
        }
        let policy = config.on_new();
        for name in &found.others {
            let is_column = |field: &FieldRef| tidegate_catalog::same_name(field.name(), name);
            if stored.iter().any(is_column) || policy == Some(NewColumns::Add) {
                let message = format!("the column `{name}` came up in the name of a directory");
                return Err(place(Error::new(ErrorKind::SchemaChanged, message)));
            }
            if matches!(policy, Some(NewColumns::Fail | NewColumns::Reject)) {
                let message = format!("a directory names `{name}`, which the stream doesn't have");
                return Err(place(
                    Error::schema(message).hint("let `on_new_columns` say \"ignore\" or \"add\""),
                ));
            }
        }
        if policy.is_some() {
            self.tell(
                found.others.iter().map(String::as_str),
                "the files that were there when the run began have no such directory",
            );
        }
        Ok(found.values.into_iter().map(Option::flatten).collect())
    }

    /// Says once that these are no columns.
    fn tell<'a>(&self, names: impl Iterator<Item = &'a str>, why: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            if told.insert(name.to_owned()) {
                tracing::warn!("directories name `{name}`, which is no column here: {why}");
            }
        }
    }
}
