//! Finding files by a path, a directory or a glob.

use std::path::Path;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use tidegate_core::{Error, Result};

use crate::glob::{self, Step};
use crate::listing::{Found, Kind, Listing, Names, Wanted, is_hidden};
use crate::read::FileMeta;
use crate::{Access, Location, Place, Storage};

/// At most about `most` of many files, from all over, the first and the last among them: what is
/// looked at to know them all.
pub fn spread<T: Clone>(files: &[T], most: usize) -> Vec<T> {
    let step = files.len().div_ceil(most.max(1)).max(1);
    let last = files
        .last()
        .filter(|_| !(files.len() - 1).is_multiple_of(step));
    files.iter().step_by(step).chain(last).cloned().collect()
}

/// Files named by a path, a directory or a glob.
///
/// A name that is there is taken as it is, whatever its characters: `sales[1].csv` is that file, and
/// a pattern only if there is none. A directory means all files under it but hidden ones
/// ([`is_hidden`](crate::is_hidden)), and so do the directories of `**`. A wildcard within a name finds names
/// that begin with `.` (with them the temporary files of staged writes) only if it begins with `.`.
#[derive(Debug, Clone)]
pub struct Pattern {
    storage: Storage,
    steps: Arc<[Step]>,
    text: String,
}

impl Pattern {
    /// Reads a url or path that may have `*`, `**`, `?` and `[..]`; relative paths are relative to
    /// `base`, which is never a pattern. Characters that a `file://` url has percent-encoded are no
    /// wildcards. Looks whether names with wildcards are there.
    pub async fn parse(text: &str, base: &Path, access: &Access) -> Result<Self> {
        let location = Location::parse(text, base)?;
        let pattern = Location::parse(&glob::escape(text), base)?;
        let base = Location::parse(".", base)?;
        let names = names(&location).zip(names(&pattern));
        let names: Vec<(&str, &str)> = names.collect();
        let (mut root, mut literal) = (String::new(), 0);
        for (index, (name, pattern)) in names.iter().enumerate() {
            let here = location.at(&format!("{root}/{name}"));
            let plain = !glob::is_wild(pattern) || here.key_of(&base).is_some();
            if plain || is_there(&here, index + 1 < names.len(), access).await? {
                if !plain {
                    warn_of_others(&location.at(&root), name, pattern, access).await?;
                }
                root = format!("{root}/{name}");
            } else if let Some(name) = glob::literal(pattern) {
                root = format!("{root}/{name}");
            } else {
                break;
            }
            literal = index + 1;
        }
        let steps = names[literal..]
            .iter()
            .map(|(_, pattern)| glob::step(pattern));
        let root = if root.is_empty() { "/" } else { &root };
        Ok(Self {
            storage: Storage::open(&location.at(root), access).await?,
            steps: steps.collect::<Result<_>>()?,
            text: text.to_owned(),
        })
    }

    /// The storage that the found files' keys are relative to: the directory before the first
    /// wildcard, or the file named.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Whether files below a directory may match.
    pub fn covers(&self, directory: &Location) -> bool {
        let Some(key) = self.storage.location().key_of(directory) else {
            return false;
        };
        let names: Vec<_> = key.split('/').filter(|name| !name.is_empty()).collect();
        match self.steps.is_empty() {
            true => !names.iter().any(|name| is_hidden(name)),
            false => glob::may_hold(&self.steps, &names),
        }
    }

    /// All files that match, sorted by key. Empty if there are none. What matches and can't be read
    /// is left out with a warning.
    pub async fn list(&self) -> Result<Vec<FileMeta>> {
        Ok(self.storage.warned(self.listing().await?))
    }

    /// The same, and an error that says what was looked for if there are none; `base` says what
    /// relative paths are relative to.
    pub async fn expect(&self, base: &str) -> Result<Vec<FileMeta>> {
        let listing = self.listing().await?;
        if !listing.files.is_empty() {
            return Ok(self.storage.warned(listing));
        }
        let root = self.storage.location();
        if let Some(target) = self.storage.leads_nowhere().await? {
            return Err(Error::not_found("it is a link to nothing")
                .with("path", root)
                .with("target", target.display()));
        }
        let mut error = Error::not_found(format!("no file matches `{}`", self.text));
        error = match self.storage.exists().await? {
            true => error.with("directory", root),
            false => error.with("missing", root),
        };
        for left_out in &listing.left_out {
            let because = format!("{:?}, because {}", left_out.path, left_out.reason);
            error = error.with("left out", because);
        }
        let literally = self.text.contains(['[', '?']) && !self.steps.is_empty();
        Err(error.hint(if self.text.starts_with("~/") {
            "`~` is a directory of this name here: write the whole path, or `${HOME}/…`".to_owned()
        } else if let Some(name) = shell_variable(&self.text) {
            format!("`${name}` is taken as it stands: a variable is written `${{{name}}}`")
        } else if self.text.contains('{') && self.text.contains(',') {
            "`{a,b}` is taken as it stands: a pattern has `*`, `**`, `?` and `[..]`".to_owned()
        } else if literally {
            format!(
                "nothing has exactly this name, so `*`, `?` and `[..]` are wildcards; `[[]` and `[?]` \
                 stand for the characters themselves. Paths are relative to {base}"
            )
        } else {
            format!("paths are relative to {base}")
        }))
    }

    async fn listing(&self) -> Result<Listing> {
        if self.steps.is_empty() {
            return match self.storage.file("").await? {
                Some(file) => Ok(Listing {
                    files: vec![file],
                    ..Listing::default()
                }),
                None => self.storage.listing("", Names::Visible).await,
            };
        }
        let deep = self.steps.iter().any(|step| matches!(step, Step::Deep));
        let found = if deep || self.storage.location().place() == Place::Local {
            let steps = Arc::clone(&self.steps);
            let wanted: Wanted = Arc::new(move |kind, key| {
                let names: Vec<_> = key.split('/').collect();
                match kind {
                    Kind::File => glob::matches(&steps, &names),
                    Kind::Directory => glob::may_hold(&steps, &names),
                }
            });
            self.storage.lister().below("", &wanted).await?
        } else {
            self.walk().await?
        };
        Ok(self.storage.listed(found))
    }

    /// Goes down directory by directory, so that what can't match is never listed.
    async fn walk(&self) -> Result<Found> {
        let mut directories = vec![String::new()];
        let mut found = Found::default();
        for (index, step) in self.steps.iter().enumerate() {
            let (step, last) = (step.clone(), index + 1 == self.steps.len());
            let wanted: Wanted = Arc::new(move |kind, key| {
                let name = key.rsplit('/').next().unwrap_or(key);
                (kind == Kind::File) == last && step.matches(name)
            });
            let list = |directory: String| {
                let wanted = &wanted;
                async move { self.storage.lister().directory(&directory, wanted).await }
            };
            let mut listings = futures::stream::iter(std::mem::take(&mut directories))
                .map(list)
                .buffered(8);
            while let Some(mut listing) = listings.try_next().await? {
                directories.append(&mut listing.directories);
                found.extend(listing);
            }
        }
        Ok(found)
    }
}

fn names(location: &Location) -> impl Iterator<Item = &str> {
    location.path().split('/').filter(|name| !name.is_empty())
}

/// Whether there is a file or directory of exactly this name.
async fn is_there(location: &Location, directory: bool, access: &Access) -> Result<bool> {
    let storage = Storage::open(location, access).await?;
    match directory {
        true => storage.is_directory("").await,
        false => storage.exists().await,
    }
}

/// Says that a name is taken as it is where others would match it as a pattern.
async fn warn_of_others(
    directory: &Location,
    name: &str,
    pattern: &str,
    access: &Access,
) -> Result<()> {
    let Ok(step) = glob::step(pattern) else {
        return Ok(());
    };
    let storage = Storage::open(directory, access).await?;
    let itself = name.to_owned();
    let wanted: Wanted = Arc::new(move |_, key| key != itself && step.matches(key));
    let found = storage.lister().directory("", &wanted).await?;
    let files = found.files.iter().map(|file| &file.key);
    if let Some(other) = files.chain(&found.directories).next() {
        tracing::warn!(
            "`{name}` is there and is taken as it is, not as the pattern that `{other}` would match too"
        );
    }
    Ok(())
}
/// The name of a variable that is written as a shell has it: `$DATA_DIR/orders.csv`.
fn shell_variable(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('$')?;
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let name = &rest[..end.unwrap_or(rest.len())];
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        .then_some(name)
}
