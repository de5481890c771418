//! The directories of a place, with their files.

use std::collections::BTreeMap;

use tidegate_catalog::same_name;
use tidegate_storage::FileMeta;

use super::keys::key;

/// A directory.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// Its path from the crawl's location; empty for that itself.
    pub(super) path: String,
    pub(super) files: Vec<FileMeta>,
    /// By name.
    pub(super) directories: BTreeMap<String, Directory>,
}

impl Directory {
    /// The tree of these files. Empty ones are left out, as readers do.
    pub(super) fn tree(files: Vec<FileMeta>) -> Self {
        let mut root = Self::default();
        for file in files.into_iter().filter(|file| file.size > 0) {
            let mut directory = &mut root;
            if let Some((parents, _)) = file.key.rsplit_once('/') {
                for name in parents.split('/') {
                    let path = join(&directory.path, name);
                    directory = directory.directories.entry(name.to_owned()).or_default();
                    directory.path = path;
                }
            }
            directory.files.push(file);
        }
        root
    }

    /// The directory of this path within it.
    pub(super) fn find(&self, path: &str) -> Option<&Directory> {
        let mut names = path.split('/').filter(|name| !name.is_empty());
        names.try_fold(self, |directory, name| directory.directories.get(name))
    }

    /// Adds the keys that the directories in it name, each once.
    pub(super) fn keys(&self, keys: &mut Vec<String>) {
        for (name, directory) in &self.directories {
            let key = key(name);
            keys.extend(key.filter(|key| !keys.iter().any(|known| same_name(known, key))));
            directory.keys(keys);
        }
    }

    /// Adds the files in it, however deep.
    pub(super) fn all<'a>(&'a self, files: &mut Vec<&'a FileMeta>) {
        files.extend(&self.files);
        for directory in self.directories.values() {
            directory.all(files);
        }
    }
}

/// The path of a name within a directory.
pub(super) fn join(directory: &str, name: &str) -> String {
    match (directory.is_empty(), name.is_empty()) {
        (true, _) => name.to_owned(),
        (_, true) => directory.to_owned(),
        _ => format!("{directory}/{name}"),
    }
}
