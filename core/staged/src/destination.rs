//! Where a sink's files go, and how they appear there.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{StreamExt, TryStreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidegate_catalog::Registrar;
use tidegate_core::{
    Commit, Context, Epoch, Error, Journal, Metrics, Prepared, Recovery, Result, SinkContext, Token,
};
use tidegate_storage::{Place, Staged, StagedToken, Storage};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::files::{FilesEpoch, Format};
use crate::prepared::{File, Old, Values, directory_of};
use crate::room::Room;

/// How many files an epoch holds open: well below the usual limit of 1024 a process.
const OPEN_FILES: usize = 200;

/// The least memory for what open uploads hold back.
const LEAST_HELD: u64 = 8 << 20;

/// How many requests go to the place at once.
const AT_ONCE: usize = 16;

/// Where the files of a sink go.
#[derive(Debug)]
pub struct Destination {
    pub(crate) storage: Storage,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) registrar: Option<Registrar>,
    pub(crate) metrics: Arc<Metrics>,
    owner: String,
    executor: u32,
    /// Counts the files of all epochs, so that no two writers can ever make one name.
    named: AtomicU64,
    pub(crate) target: u64,
    pub(crate) most_open: usize,
    /// What open uploads of an epoch may hold back, together.
    pub(crate) most_held: u64,
    pub(crate) room: Arc<Room>,
    /// Files that are open or being ended, of all epochs.
    pub(crate) handles: Arc<Semaphore>,
    pub(crate) runtime: Handle,
    replaces: bool,
}

/// `<lineage>-<run>-<sink>`: no two sinks of a pipeline share it.
fn owner(common: &Context) -> String {
    let (lineage, run) = (common.lineage.short(), common.run.short());
    format!("{lineage}-{run}-{}", common.id)
}

impl Destination {
    /// `target`: about how large a file gets before the next one is begun. With a `registrar` the
    /// files are a table.
    ///
    /// To be called on the I/O runtime, where the files are written.
    pub fn new(
        storage: Storage,
        registrar: Option<Registrar>,
        target: u64,
        cx: &SinkContext,
    ) -> Arc<Self> {
        Self::open(storage, registrar, target, false, cx)
    }

    /// The same for files that replace others. None may lie behind a link, where nothing is deleted.
    pub fn replacing(
        storage: Storage,
        registrar: Option<Registrar>,
        target: u64,
        cx: &SinkContext,
    ) -> Arc<Self> {
        Self::open(storage, registrar, target, true, cx)
    }

    fn open(
        storage: Storage,
        registrar: Option<Registrar>,
        target: u64,
        replaces: bool,
        cx: &SinkContext,
    ) -> Arc<Self> {
        let common = &cx.common;
        Arc::new(Self {
            journal: Arc::clone(&cx.journal),
            registrar,
            metrics: Arc::clone(&common.metrics),
            owner: owner(common),
            executor: common.executor,
            named: AtomicU64::new(0),
            target,
            most_open: OPEN_FILES,
            most_held: match storage.location().place() {
                Place::Local => u64::MAX,
                _ => common.memory.max(LEAST_HELD),
            },
            room: Room::new((common.memory / 16).clamp(4 << 20, 16 << 20)),
            handles: Arc::new(Semaphore::new(2 * OPEN_FILES)),
            runtime: Handle::current(),
            storage,
            replaces,
        })
    }

    /// What tells a file from all others where that is longest, for a check of names.
    pub fn longest_unique(cx: &SinkContext) -> String {
        let (owner, most) = (owner(&cx.common), u32::MAX);
        format!("{owner}-{most}-{}-{most}", u16::MAX)
    }

    /// The directory.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// An epoch's files, of this format.
    pub fn epoch<F: Format>(self: &Arc<Self>, epoch: Epoch, format: F) -> FilesEpoch<F> {
        FilesEpoch::new(Arc::clone(self), epoch, format)
    }

    /// What tells a file from all others: `<lineage>-<run>-<sink>-<epoch>-<number>`, with the executor
    /// before the number unless it is the first one.
    pub(crate) fn unique(&self, epoch: Epoch) -> String {
        let number = self.named.fetch_add(1, Ordering::Relaxed);
        match self.executor {
            0 => format!("{}-{epoch}-{number}", self.owner),
            executor => format!("{}-{epoch}-{executor}-{number}", self.owner),
        }
    }

    /// What the end of an overwriting run fixes: which files take the names in `values`, and which
    /// old ones go. `files`: all that the run prepared.
    pub fn conclude<A: Serialize + DeserializeOwned>(
        &self,
        files: &[File<A>],
        mut values: Values<A>,
    ) -> Result<Option<Prepared>> {
        if let Some(registrar) = &self.registrar {
            // Without rows there still is a table.
            values.register = vec![registrar.registration([])?];
            let filled: BTreeSet<_> = files.iter().map(|file| directory_of(file.key())).collect();
            let emptied: BTreeSet<_> = values
                .delete
                .iter()
                .map(|old| directory_of(&old.key))
                .collect();
            values.forget = registrar.partitions(emptied.difference(&filled).copied());
        }
        values.encode().map(Some)
    }

    /// Makes files appear, tells the catalog, deletes what they replace; see
    /// [`Sink::commit`](tidegate_core::Sink::commit).
    pub async fn commit<A: Serialize + DeserializeOwned>(&self, commit: &Commit<'_>) -> Result<()> {
        let mut values = Values::<A>::decode(commit.prepared)?;
        let staged: Vec<_> = std::mem::take(&mut values.files)
            .into_iter()
            .map(|File { staged, .. }| Staged {
                renamed: values.names.get(&staged.token.unique).cloned(),
                ..staged
            })
            .collect();
        self.storage.publish(&staged).await?;
        if let Some(registrar) = &self.registrar {
            for registration in &values.register {
                registrar.register(registration).await?;
            }
            // The end of a run without rows, which left nothing in the checkpoint: the table is
            // made all the same, so that a query finds it. A replay has nothing to make it of.
            if commit.last && values.register.is_empty() && registrar.table().is_some() {
                registrar.register(&registrar.registration([])?).await?;
            }
        }
        self.delete(&values.delete).await?;
        self.forget(&values).await
    }

    /// Refuses a file behind a link if files are replaced: those there before would stay beside it.
    pub(crate) async fn check_links(&self, key: &str) -> Result<()> {
        if !self.replaces {
            return Ok(());
        }
        match self.storage.link_above(key).await? {
            None => Ok(()),
            Some(directory) => Err(Error::config(
                "a directory that is to be overwritten is a link",
            )
            .with("path", self.storage.show(&directory))
            .hint(
                "nothing behind links is overwritten: put the directory itself where the link is, \
                     or choose `mode = \"append\"`",
            )),
        }
    }

    /// Deletes what still is what it was: by now, somebody may have written a file of that name.
    async fn delete(&self, old: &[Old]) -> Result<()> {
        let same = async |old: &Old| {
            let now = self.storage.file(&old.key).await?;
            let same = now.is_some_and(|now| old.is(&now));
            Ok::<_, Error>(same.then(|| old.key.clone()))
        };
        let keys: Vec<Option<String>> = futures::stream::iter(old)
            .map(same)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let keys: Vec<_> = keys.into_iter().flatten().collect();
        self.storage.delete(&keys).await
    }

    /// Takes the partitions out of the catalog that this commit has emptied. A replay may come
    /// after a successor has filled one of them again, so the directories are looked at.
    async fn forget<A>(&self, values: &Values<A>) -> Result<()> {
        let (Some(registrar), [one, ..]) = (&self.registrar, &*values.register) else {
            return Ok(());
        };
        let mut empty = Vec::new();
        for partition in &values.forget {
            let directory = partition.location.strip_prefix(&one.table.location);
            let directory = directory.unwrap_or_default().trim_start_matches('/');
            if !directory.is_empty() && self.storage.list_directory(directory).await?.is_empty() {
                empty.push(partition.clone());
            }
        }
        registrar.forget(&one.table.name, &empty).await
    }

    /// Discards what was begun and isn't kept; see
    /// [`Sink::recover`](tidegate_core::Sink::recover).
    pub async fn recover<A: Serialize + DeserializeOwned>(
        &self,
        recovery: &Recovery<'_>,
    ) -> Result<()> {
        let kept = Values::<A>::decode(recovery.keep)?.files.into_iter();
        let kept: HashSet<_> = kept.map(|file| file.staged.token).collect();
        let begun = recovery.begun.iter().map(Token::decode);
        let mut lost = begun.collect::<Result<Vec<StagedToken>>>()?;
        lost.retain(|token| !kept.contains(token));
        self.storage.discard(&lost).await
    }
}
