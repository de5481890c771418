//! The sink that is open: what it promises, its epochs, and its commits.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use chrono::Utc;
use tidegate_core::{
    Commit, Delivery, Epoch, Prepared, Recovery, Result, Sink, SinkContext, SinkWriter, Visibility,
    WriterId, async_trait,
};
use tidegate_storage::{Access, Location, Staged, StagedToken, Storage};

use super::config::{FilesSinkConfig, Mode};
use super::encode::Encoding;
use super::epoch::{EpochFiles, Shared};
use super::prepared::{End, File, Old, Value, decode};
use super::template::Template;
use super::writer::FilesWriter;

#[derive(Debug)]
pub(super) struct FilesSink {
    config: FilesSinkConfig,
    cx: SinkContext,
    shared: Arc<Shared>,
    epochs: Mutex<HashMap<Epoch, Weak<EpochFiles>>>,
}

impl FilesSink {
    pub(super) async fn open(config: &FilesSinkConfig, cx: &SinkContext) -> Result<Self> {
        let template = Template::parse(config)?;
        let location = Location::parse(&template.root, &cx.common.base)?;
        let access = Access::of(&cx.common, config.aws.as_ref())?;
        let storage = Storage::open(&location, &access).await?;
        let mut inputs = Vec::with_capacity(cx.inputs.len());
        for input in &cx.inputs {
            let encoding = Encoding {
                format: config.format(),
                compression: config.compression(),
                csv: config.csv.clone(),
                schema: Arc::clone(&input.schema),
            };
            // Refuses types that the format can't hold.
            encoding.file()?;
            inputs.push((Arc::clone(&input.name), encoding));
        }
        if !inputs.is_empty() {
            storage.check_writable().await?;
        }
        let (lineage, run) = (cx.common.lineage.short(), cx.common.run.short());
        let shared = Shared {
            storage,
            journal: Arc::clone(&cx.journal),
            template,
            inputs,
            owner: format!("{lineage}-{run}-{}", cx.common.id),
            target: config.target_file_size.0,
            named: AtomicU64::new(0),
        };
        Ok(Self {
            config: config.clone(),
            cx: cx.clone(),
            shared: Arc::new(shared),
            epochs: Mutex::default(),
        })
    }

    /// The files that the writers of an epoch share.
    fn files(&self, epoch: Epoch) -> Arc<EpochFiles> {
        let mut epochs = self.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(files) = epochs.get(&epoch).and_then(Weak::upgrade) {
            return files;
        }
        epochs.retain(|_, files| files.strong_count() > 0);
        let files = Arc::new(EpochFiles::new(Arc::clone(&self.shared), epoch));
        epochs.insert(epoch, Arc::downgrade(&files));
        files
    }

    /// What was there before and is replaced by these files.
    async fn replaced(&self, files: &[File], kept: &HashSet<&str>) -> Result<Vec<Old>> {
        let now = Utc::now();
        let mut names = Vec::new();
        for (index, (stream, _)) in self.shared.inputs.iter().enumerate() {
            let written = files.iter().filter(|file| file.input == index);
            let times: BTreeSet<_> = written.map(|file| file.time).chain([now]).collect();
            for time in times {
                let name = self.shared.template.name(stream, time);
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        let exact = self.shared.template.exact;
        let ours = |key: &str| {
            let named = |name: &super::template::Name| {
                name.made(key, &self.cx.common.id) || (exact && name.plain() == key)
            };
            names.iter().any(named) && !kept.contains(key)
        };
        let folders: BTreeSet<_> = names.iter().map(|name| name.folder()).collect();
        let mut all = Vec::new();
        for folder in folders {
            all.extend(match folder {
                Some(folder) => self.shared.storage.list_folder(folder).await?,
                None => self.shared.storage.list().await?,
            });
        }
        Ok(all
            .into_iter()
            .filter(|file| ours(&file.key))
            .map(|file| Old {
                key: file.key,
                size: file.size,
                modified: file.modified,
            })
            .collect())
    }

    /// Deletes what still is what it was: by now, a later run may have a file of that name.
    async fn delete(&self, old: &[Old]) -> Result<()> {
        let mut keys = Vec::new();
        for old in old {
            if let Some(file) = self.shared.storage.file(&old.key).await?
                && (file.size, file.modified) == (old.size, old.modified)
            {
                keys.push(old.key.clone());
            }
        }
        self.shared.storage.delete(&keys).await
    }
}

/// The names that only one file of the run wants.
fn plain_names(files: &[File]) -> BTreeMap<String, String> {
    let mut wanted: HashMap<&str, usize> = HashMap::new();
    for file in files {
        if let Some(plain) = &file.plain {
            *wanted.entry(plain).or_default() += 1;
        }
    }
    let alone = files.iter().filter_map(|file| {
        let plain = file.plain.as_ref()?;
        (wanted.get(plain.as_str()) == Some(&1))
            .then(|| (file.staged.token.unique.clone(), plain.clone()))
    });
    alone.collect()
}

#[async_trait]
impl Sink for FilesSink {
    fn delivery(&self) -> Delivery {
        Delivery::TwoPhase
    }

    fn visibility(&self) -> Visibility {
        match self.config.mode {
            Mode::Append => Visibility::Epoch,
            Mode::Overwrite => Visibility::Run,
        }
    }

    /// Writers share their files, so more of them cost only buffers.
    fn writer_bytes(&self) -> u64 {
        self.config.target_file_size.0.min(32 << 20)
    }

    async fn writer(&self, id: WriterId) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(FilesWriter::new(
            self.files(id.epoch),
            self.shared.inputs.len(),
            Arc::clone(&self.cx.common.metrics),
        )?))
    }

    async fn conclude(&self, prepared: &[Prepared]) -> Result<Option<Prepared>> {
        let (files, _) = decode(prepared)?;
        let names = plain_names(&files);
        // A name that is taken over is replaced by the rename itself.
        let kept: HashSet<&str> = names
            .values()
            .map(String::as_str)
            .chain(files.iter().map(|file| file.staged.token.key.as_str()))
            .collect();
        let delete = self.replaced(&files, &kept).await?;
        Prepared::encode(&Value::End(End { names, delete })).map(Some)
    }

    async fn commit(&self, commit: &Commit<'_>) -> Result<()> {
        let (files, end) = decode(commit.prepared)?;
        let staged: Vec<Staged> = files
            .into_iter()
            .map(|file| Staged {
                renamed: end.names.get(&file.staged.token.unique).cloned(),
                ..file.staged
            })
            .collect();
        self.shared.storage.publish(&staged).await?;
        self.delete(&end.delete).await
    }

    async fn recover(&self, recovery: &Recovery<'_>) -> Result<()> {
        let (kept, _) = decode(recovery.keep)?;
        let kept: HashSet<_> = kept.into_iter().map(|file| file.staged.token).collect();
        let mut lost = Vec::new();
        for token in recovery.begun {
            let token: StagedToken = token.decode()?;
            if !kept.contains(&token) {
                lost.push(token);
            }
        }
        self.shared.storage.discard(&lost).await
    }
}
