//! The sink that is open: what it promises, its epochs, and its commits.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arrow_schema::{Field, Schema, SchemaRef};
use tidegate_catalog::{Fit, Registrar, Wanted, portable};
use tidegate_core::{
    Commit, Delivery, Distribution, Epoch, Error, Input, Prepared, Recovery, Result, Sink,
    SinkContext, SinkWriter, Spread, TableFormat, Visibility, WriterId, async_trait,
};
use tidegate_storage::{Access, Location, Names, Place, StagedToken, Storage};

use crate::config::{Mode, ParquetConfig, Types};
use crate::epoch::{EpochFiles, Sizes};
use crate::partition::{Partitioner, Partitioning, positions};
use crate::prepared::Values;
use crate::properties::Layout;
use crate::writer::{Bounds, ParquetWriter};

/// The most bytes of an encoded row group: large enough to be read in one go, small enough that
/// every core can hold one.
const ROW_GROUP_BYTES: u64 = 24 << 20;

/// The least memory that a writer needs to make row groups worth reading.
const LEAST_MEMORY: u64 = 8 << 20;

#[derive(Debug)]
pub(crate) struct ParquetSink {
    config: ParquetConfig,
    cx: SinkContext,
    storage: Storage,
    /// `None` where there are no inputs: commits of an earlier process are replayed.
    plan: Option<Plan>,
    registrar: Option<Arc<Registrar>>,
    epochs: Mutex<HashMap<Epoch, Weak<EpochFiles>>>,
    named: Arc<AtomicU64>,
}

/// How rows become files.
#[derive(Debug)]
struct Plan {
    fit: Arc<Fit>,
    partitioning: Arc<Partitioning>,
    layout: Arc<Layout>,
}

impl Plan {
    fn new(config: &ParquetConfig, fit: Fit, partition_by: &[String]) -> Result<Self> {
        let partitioning = Partitioning::new(fit.schema(), partition_by)?;
        let layout = Layout::new(config, Arc::clone(partitioning.schema()))?;
        Ok(Self {
            fit: Arc::new(fit),
            partitioning: Arc::new(partitioning),
            layout: Arc::new(layout),
        })
    }
}

impl ParquetSink {
    pub(crate) async fn open(config: &ParquetConfig, cx: &SinkContext) -> Result<Self> {
        let location = Location::parse(&config.url, &cx.common.base)?;
        let access = Access::of(&cx.common, config.aws.as_ref())?;
        let storage = Storage::open(&location, &access).await?;
        let input = common_schema(&cx.inputs)?;
        if input.is_some() {
            storage.check_writable().await?;
        }
        let (mut plan, mut registrar) = (None, None);
        match (&config.catalog, input) {
            (None, None) => {}
            (Some(target), None) => {
                registrar = Some(Registrar::replay(target, &cx.common).await?);
            }
            (None, Some(input)) => {
                positions(&input, &config.partition_by)?;
                let fit = Fit::new(&input, &*columns(config, &input)?, |name| {
                    Ok(config.names.of()(name))
                })?;
                let keys = config.partition_by.iter();
                let keys: Vec<_> = keys.map(|key| config.names.of()(key)).collect();
                plan = Some(Plan::new(config, fit, &keys)?);
            }
            (Some(target), Some(input)) => {
                positions(&input, &config.partition_by)?;
                let wanted = Wanted {
                    location: location.to_string(),
                    format: TableFormat::Parquet,
                    stream: &input,
                    rename: config.names.of(),
                    columns: &*columns(config, &input)?,
                    partition_by: &config.partition_by,
                    folders: &[],
                    positional: false,
                };
                let (table, fit) = Registrar::open(target, &cx.common, &wanted).await?;
                plan = Some(Plan::new(config, fit, &table.keys())?);
                registrar = Some(table);
            }
        }
        Ok(Self {
            config: config.clone(),
            cx: cx.clone(),
            storage,
            plan,
            registrar: registrar.map(Arc::new),
            epochs: Mutex::default(),
            named: Arc::default(),
        })
    }

    /// The files that the writers of an epoch share.
    fn files(&self, epoch: Epoch, plan: &Plan) -> Arc<EpochFiles> {
        let mut epochs = self.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(files) = epochs.get(&epoch).and_then(Weak::upgrade) {
            return files;
        }
        epochs.retain(|_, files| files.strong_count() > 0);
        let (lineage, run) = (self.cx.common.lineage.short(), self.cx.common.run.short());
        let files = Arc::new(EpochFiles::new(
            Arc::clone(&plan.layout),
            self.storage.clone(),
            Arc::clone(&self.cx.journal),
            epoch,
            format!("part-{lineage}-{run}-{}-{epoch}", self.cx.common.id),
            Sizes {
                target: self.config.target_file_size.0,
                room: match self.storage.location().place() {
                    Place::Local => u64::MAX,
                    _ => self.cx.common.memory.max(LEAST_MEMORY),
                },
            },
            Arc::clone(&self.named),
        ));
        epochs.insert(epoch, Arc::downgrade(&files));
        files
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
            if !folder.is_empty() && self.storage.list_folder(folder).await?.is_empty() {
                empty.push(partition.clone());
            }
        }
        registrar.forget(&one.table.name, &empty).await
    }

    fn bounds(&self) -> Bounds {
        let writers = self.cx.common.parallelism.max(1) as u64;
        let memory = (self.cx.common.memory / writers).max(LEAST_MEMORY);
        let bytes = memory
            .min(ROW_GROUP_BYTES)
            .min(self.config.target_file_size.0);
        let size = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        Bounds {
            rows: self.config.row_group_rows,
            bytes: size(bytes),
            memory: size(memory),
        }
    }
}

/// The columns of the files, with those that make folders: as the input has them, renamed, in the
/// types that are asked for.
fn columns(config: &ParquetConfig, input: &Schema) -> Result<SchemaRef> {
    let typed = match config.types {
        Types::Exact => Arc::new(input.clone()),
        Types::Portable => portable(input).map_err(|error| match &config.catalog {
            Some(_) => error,
            None => error.with("key", "types"),
        })?,
    };
    let fields = typed.fields().iter().map(|field| {
        let name = config.names.of()(field.name());
        field.as_ref().clone().with_name(name)
    });
    let metadata = typed.metadata().clone();
    Ok(Arc::new(Schema::new_with_metadata(
        fields.collect::<Vec<_>>(),
        metadata,
    )))
}

/// The one schema of all inputs, nullable where one of them is.
fn common_schema(inputs: &[Input]) -> Result<Option<SchemaRef>> {
    let Some((first, others)) = inputs.split_first() else {
        return Ok(None);
    };
    let mut fields: Vec<Field> = first
        .schema
        .fields()
        .iter()
        .map(|f| (**f).clone())
        .collect();
    for other in others {
        let theirs = other.schema.fields();
        let alike = |(mine, theirs): (&Field, &Arc<Field>)| {
            mine.name() == theirs.name() && mine.data_type() == theirs.data_type()
        };
        if theirs.len() != fields.len() || !fields.iter().zip(theirs).all(alike) {
            return Err(Error::schema(format!(
                "the inputs `{}` and `{}` have different columns",
                first.name, other.name
            ))
            .hint("give each its own sink, or bring them to one schema with a `sql` transform"));
        }
        for (mine, theirs) in fields.iter_mut().zip(theirs) {
            let nullable = mine.is_nullable() || theirs.is_nullable();
            mine.set_nullable(nullable);
        }
    }
    let mut names = HashSet::new();
    if let Some(twice) = fields.iter().find(|field| !names.insert(field.name())) {
        return Err(
            Error::schema(format!("there are two columns `{}`", twice.name()))
                .hint("name one of them otherwise: SELECT … AS …"),
        );
    }
    Ok(Some(Arc::new(Schema::new(fields))))
}

#[async_trait]
impl Sink for ParquetSink {
    fn delivery(&self) -> Delivery {
        Delivery::TwoPhase
    }

    fn visibility(&self) -> Visibility {
        match self.config.mode {
            Mode::Append => Visibility::Epoch,
            Mode::Overwrite | Mode::OverwritePartitions => Visibility::Run,
        }
    }

    fn distribution(&self, _input: usize) -> Distribution {
        let spread = match self.config.partition_by.is_empty() {
            true => Spread::Any,
            false => Spread::Hash(self.config.partition_by.clone()),
        };
        Distribution {
            spread,
            ordered: false,
        }
    }

    /// Writers share their files, so more of them cost only row groups.
    fn writer_bytes(&self) -> u64 {
        32 << 20
    }

    async fn writer(&self, id: WriterId) -> Result<Box<dyn SinkWriter>> {
        let plan = self.plan.as_ref().ok_or_else(|| {
            Error::internal("a sink that was opened to replay commits was asked for a writer")
        })?;
        let partitioner = Partitioner::new(Arc::clone(&plan.partitioning), plan.fit.schema())?;
        Ok(Box::new(ParquetWriter::new(
            self.files(id.epoch, plan),
            Arc::clone(&plan.fit),
            partitioner,
            self.bounds(),
            self.registrar.clone(),
            Arc::clone(&self.cx.common.metrics),
        )))
    }

    async fn conclude(&self, prepared: &[Prepared]) -> Result<Option<Prepared>> {
        let files = Values::decode(prepared)?.files;
        let ours: HashSet<_> = files.iter().map(|file| file.token.key.as_str()).collect();
        let folders: BTreeSet<_> = ours.iter().map(|key| folder_of(key)).collect();
        let replaced = |key: &str| match self.config.mode {
            Mode::Append => false,
            Mode::Overwrite => true,
            Mode::OverwritePartitions => folders.contains(folder_of(key)),
        };
        let delete: Vec<_> = self
            .storage
            .list("", Names::NoDotfiles)
            .await?
            .into_iter()
            .map(|file| file.key)
            .filter(|key| is_parquet(key) && !ours.contains(key.as_str()) && replaced(key))
            .collect();
        let mut values = Values::default();
        if let Some(registrar) = self.registrar.as_deref() {
            // Without rows there still is a table.
            values.register = vec![registrar.registration([])?];
            let emptied: BTreeSet<_> = delete.iter().map(|key| folder_of(key)).collect();
            let emptied = emptied.difference(&folders).copied();
            values.forget = registrar.partitions(emptied);
        }
        values.delete = delete;
        values.encode().map(Some)
    }

    async fn commit(&self, commit: &Commit<'_>) -> Result<()> {
        let values = Values::decode(commit.prepared)?;
        self.storage.publish(&values.files).await?;
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
        self.storage.delete(&values.delete).await?;
        self.forget(&values).await
    }

    async fn recover(&self, recovery: &Recovery<'_>) -> Result<()> {
        let kept = Values::decode(recovery.keep)?.files;
        let kept: HashSet<_> = kept.into_iter().map(|file| file.token).collect();
        let mut lost = Vec::new();
        for token in recovery.begun {
            let token: StagedToken = token.decode()?;
            if !kept.contains(&token) {
                lost.push(token);
            }
        }
        self.storage.discard(&lost).await
    }
}

fn is_parquet(key: &str) -> bool {
    let extension = Path::new(key).extension();
    extension.is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

/// The folder of a key; empty if it lies right under `url`.
pub(crate) fn folder_of(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(folder, _)| folder)
}
