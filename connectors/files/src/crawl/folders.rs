//! The folders of a place, with their files.

use std::collections::BTreeMap;

use tidegate_catalog::same_name;
use tidegate_storage::FileMeta;

use super::keys::key;

/// A folder.
#[derive(Debug, Default)]
pub(super) struct Folder {
    /// Its path from the crawl's location; empty for that itself.
    pub(super) path: String,
    pub(super) files: Vec<FileMeta>,
    /// By name.
    pub(super) folders: BTreeMap<String, Folder>,
}

impl Folder {
    /// The tree of these files. Empty ones are left out, as readers do.
    pub(super) fn tree(files: Vec<FileMeta>) -> Self {
        let mut root = Self::default();
        for file in files.into_iter().filter(|file| file.size > 0) {
            let mut folder = &mut root;
            if let Some((parents, _)) = file.key.rsplit_once('/') {
                for name in parents.split('/') {
                    let path = join(&folder.path, name);
                    folder = folder.folders.entry(name.to_owned()).or_default();
                    folder.path = path;
                }
            }
            folder.files.push(file);
        }
        root
    }

    /// The folder of this path within it.
    pub(super) fn find(&self, path: &str) -> Option<&Folder> {
        let mut names = path.split('/').filter(|name| !name.is_empty());
        names.try_fold(self, |folder, name| folder.folders.get(name))
    }

    /// Adds the keys that the folders in it name, each once.
    pub(super) fn keys(&self, keys: &mut Vec<String>) {
        for (name, folder) in &self.folders {
            let key = key(name);
            keys.extend(key.filter(|key| !keys.iter().any(|known| same_name(known, key))));
            folder.keys(keys);
        }
    }

    /// Adds the files in it, however deep.
    pub(super) fn all<'a>(&'a self, files: &mut Vec<&'a FileMeta>) {
        files.extend(&self.files);
        for folder in self.folders.values() {
            folder.all(files);
        }
    }
}

/// The path of a name within a folder.
pub(super) fn join(folder: &str, name: &str) -> String {
    match (folder.is_empty(), name.is_empty()) {
        (true, _) => name.to_owned(),
        (_, true) => folder.to_owned(),
        _ => format!("{folder}/{name}"),
    }
}
