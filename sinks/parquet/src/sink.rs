//! The sink that is open: what it promises, its epochs, and its commits.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arrow_schema::{Field, Schema, SchemaRef};
use tidegate_core::{
    Commit, Delivery, Distribution, Epoch, Error, Input, Prepared, Recovery, Result, Sink,
    SinkContext, SinkWriter, Spread, Visibility, WriterId, async_trait,
};
use tidegate_storage::{Access, Location, StagedToken, Storage};

use crate::config::{Mode, ParquetConfig};
use crate::epoch::EpochFiles;
use crate::partition::{Partitioner, Partitioning};
use crate::prepared::{Value, Values};
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
    epochs: Mutex<HashMap<Epoch, Weak<EpochFiles>>>,
    named: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Plan {
    input: SchemaRef,
    partitioning: Arc<Partitioning>,
    layout: Arc<Layout>,
}

impl ParquetSink {
    pub(crate) async fn open(config: &ParquetConfig, cx: &SinkContext) -> Result<Self> {
        let location = Location::parse(&config.url, &cx.common.base)?;
        let access = Access::of(&cx.common, config.aws.as_ref())?;
        let storage = Storage::open(&location, &access).await?;
        let plan = match common_schema(&cx.inputs)? {
            None => None,
            Some(input) => {
                storage.check_writable().await?;
                let partitioning = Partitioning::new(&input, &config.partition_by)?;
                let layout = Layout::new(config, Arc::clone(partitioning.schema()))?;
                Some(Plan {
                    input,
                    partitioning: Arc::new(partitioning),
                    layout: Arc::new(layout),
                })
            }
        };
        Ok(Self {
            config: config.clone(),
            cx: cx.clone(),
            storage,
            plan,
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
            self.config.target_file_size.0,
            Arc::clone(&self.named),
        ));
        epochs.insert(epoch, Arc::downgrade(&files));
        files
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
        let partitioner = Partitioner::new(Arc::clone(&plan.partitioning), &plan.input)?;
        Ok(Box::new(ParquetWriter::new(
            self.files(id.epoch, plan),
            partitioner,
            self.bounds(),
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
        let keys: Vec<_> = self
            .storage
            .list()
            .await?
            .into_iter()
            .map(|file| file.key)
            .filter(|key| is_parquet(key) && !ours.contains(key.as_str()) && replaced(key))
            .collect();
        Prepared::encode(&Value::Delete(keys)).map(Some)
    }

    async fn commit(&self, commit: &Commit<'_>) -> Result<()> {
        let values = Values::decode(commit.prepared)?;
        self.storage.publish(&values.files).await?;
        self.storage.delete(&values.delete).await
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

fn folder_of(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(folder, _)| folder)
}
