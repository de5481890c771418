//! The sink that is open: what it promises, its epochs, and its commits.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arrow_schema::Schema;
use chrono::Utc;
use tidegate_catalog::{Fit, Registrar, Wanted, portable};
use tidegate_core::{
    Commit, Delivery, Epoch, Error, Input, Prepared, Recovery, Result, Sink, SinkContext,
    SinkWriter, TableFormat, Visibility, WriterId, async_trait,
};
use tidegate_formats::Format;
use tidegate_storage::{Access, Location, Names, Staged, StagedToken, Storage};

use super::config::{FilesSinkConfig, Mode};
use super::encode::Encoding;
use super::epoch::{EpochFiles, Shared};
use super::prepared::{File, Old, Values, folder_of};
use super::template::Template;
use super::writer::FilesWriter;

#[derive(Debug)]
pub(super) struct FilesSink {
    config: FilesSinkConfig,
    cx: SinkContext,
    shared: Arc<Shared>,
    registrar: Option<Arc<Registrar>>,
    epochs: Mutex<HashMap<Epoch, Weak<EpochFiles>>>,
}

impl FilesSink {
    pub(super) async fn open(config: &FilesSinkConfig, cx: &SinkContext) -> Result<Self> {
        let template = Template::parse(config)?;
        let location = Location::parse(&template.root, &cx.common.base)?;
        let access = Access::of(&cx.common, config.aws.as_ref())?;
        let storage = Storage::open(&location, &access).await?;
        let (mut fits, mut registrar) = (Vec::new(), None);
        match &config.catalog {
            None => fits = fits_of(config, &cx.inputs)?,
            Some(target) if cx.inputs.is_empty() => {
                registrar = Some(Registrar::replay(target, &cx.common).await?);
            }
            Some(target) => {
                let stream = one_schema(&cx.inputs)?;
                let format = config.table_format()?;
                let wanted = Wanted {
                    location: location.to_string(),
                    positional: matches!(format, TableFormat::Csv { .. }),
                    format,
                    stream,
                    rename: str::to_owned,
                    columns: &*portable(stream)?,
                    partition_by: &[],
                    folders: &keys(&template, &cx.inputs)?,
                };
                let (table, fit) = Registrar::open(target, &cx.common, &wanted).await?;
                fits = vec![Some(Arc::new(fit)); cx.inputs.len()];
                registrar = Some(table);
            }
        }
        let mut inputs = Vec::with_capacity(cx.inputs.len());
        for (input, fit) in cx.inputs.iter().zip(fits) {
            let schema = fit.as_ref().map_or(&input.schema, |fit| fit.schema());
            let encoding = Encoding {
                format: config.format(),
                compression: config.compression(),
                csv: config.csv.named(&config.url),
                schema: Arc::clone(schema),
                fit,
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
            registrar: registrar.map(Arc::new),
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
                None => self.shared.storage.list("", Names::NoDotfiles).await?,
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

    /// Takes the partitions out of the catalog that this commit has emptied. A replay may come
    /// after a successor has filled one of them again, so the folders are looked at.
    async fn forget(&self, values: &Values) -> Result<()> {
        let (Some(registrar), [one, ..]) = (self.registrar.as_deref(), &*values.register) else {
            return Ok(());
        };
        let mut empty = Vec::new();
        for partition in &values.forget {
            let folder = partition.location.strip_prefix(&one.table.location);
            let folder = folder.unwrap_or_default().trim_start_matches('/');
            let storage = &self.shared.storage;
            if !folder.is_empty() && storage.list_folder(folder).await?.is_empty() {
                empty.push(partition.clone());
            }
        }
        registrar.forget(&one.table.name, &empty).await
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

/// The rows of Parquet files without a table have types that every engine reads, too.
fn fits_of(config: &FilesSinkConfig, inputs: &[Input]) -> Result<Vec<Option<Arc<Fit>>>> {
    let fit = |input: &Input| match config.format() {
        Format::Parquet => {
            let columns = portable(&input.schema)?;
            let fit = Fit::new(&input.schema, &columns, |name| Ok(name.to_owned()))?;
            Ok(Some(Arc::new(fit)))
        }
        _ => Ok(None),
    };
    inputs.iter().map(fit).collect()
}

/// The columns of all inputs of a table.
fn one_schema(inputs: &[Input]) -> Result<&Schema> {
    let (first, others) = inputs
        .split_first()
        .ok_or_else(|| Error::internal("a sink without inputs"))?;
    let columns = |input: &Input| {
        let fields = input.schema.fields().iter();
        let columns = fields.map(|field| (field.name().clone(), field.data_type().clone()));
        columns.collect::<Vec<_>>()
    };
    match others.iter().find(|other| columns(other) != columns(first)) {
        None => Ok(&first.schema),
        Some(other) => Err(Error::schema(format!(
            "the inputs `{}` and `{}` have different columns, and `catalog` names one table",
            first.name, other.name
        ))
        .hint("give each its own sink, or bring them to one schema with a `sql` transform")),
    }
}

/// The partition keys that the folders of all inputs name.
fn keys(template: &Template, inputs: &[Input]) -> Result<Vec<String>> {
    let mut all = inputs.iter().map(|input| template.keys(&input.name));
    let first = all.next().transpose()?.unwrap_or_default();
    for keys in all {
        if keys? != first {
            return Err(Error::config("the inputs' folders have different keys")
                .with("key", "url")
                .hint("write key={stream}, so that only values differ"));
        }
    }
    Ok(first)
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
            self.registrar.clone(),
            Arc::clone(&self.cx.common.metrics),
        )?))
    }

    async fn conclude(&self, prepared: &[Prepared]) -> Result<Option<Prepared>> {
        let files = Values::decode(prepared)?.files;
        let names = plain_names(&files);
        // A name that is taken over is replaced by the rename itself.
        let kept: HashSet<&str> = names
            .values()
            .map(String::as_str)
            .chain(files.iter().map(|file| file.staged.token.key.as_str()))
            .collect();
        let delete = self.replaced(&files, &kept).await?;
        let (mut register, mut forget) = (Vec::new(), Vec::new());
        if let Some(registrar) = self.registrar.as_deref() {
            // Without rows there still is a table.
            register = vec![registrar.registration([])?];
            let filled: BTreeSet<_> = kept.iter().map(|key| folder_of(key)).collect();
            let emptied: BTreeSet<_> = delete.iter().map(|old| folder_of(&old.key)).collect();
            forget = registrar.partitions(emptied.difference(&filled).copied());
        }
        let values = Values {
            files: Vec::new(),
            names,
            delete,
            register,
            forget,
        };
        values.encode().map(Some)
    }

    async fn commit(&self, commit: &Commit<'_>) -> Result<()> {
        let mut values = Values::decode(commit.prepared)?;
        let staged: Vec<Staged> = std::mem::take(&mut values.files)
            .into_iter()
            .map(|file| Staged {
                renamed: values.names.get(&file.staged.token.unique).cloned(),
                ..file.staged
            })
            .collect();
        self.shared.storage.publish(&staged).await?;
        if let Some(registrar) = self.registrar.as_deref() {
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

    async fn recover(&self, recovery: &Recovery<'_>) -> Result<()> {
        let kept = Values::decode(recovery.keep)?.files;
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
