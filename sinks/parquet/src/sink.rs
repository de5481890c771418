//! The sink that is open: what it promises, its epochs, and its commits.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;

use arrow_schema::{Field, Schema, SchemaRef};
use tidegate_catalog::{Fit, Registrar, Wanted, portable};
use tidegate_core::{
    Commit, Delivery, Distribution, Epoch, Error, Input, Prepared, Recovery, Result, Sink,
    SinkContext, SinkEpoch, Spread, TableFormat, Visibility, async_trait,
};
use tidegate_staged::{Destination, Old, Values, directory_of};
use tidegate_storage::{Access, Location, Storage};

use crate::config::{Mode, ParquetConfig, Types};
use crate::file::{ParquetFiles, file_name};
use crate::partition::{Partitioning, positions};
use crate::properties::Layout;
use crate::writer::Bounds;

/// The most bytes of an encoded row group: large enough to be read in one go, small enough that
/// every core can hold one.
const ROW_GROUP_BYTES: u64 = 16 << 20;

/// The least memory that a writer needs to make row groups worth reading.
const LEAST_MEMORY: u64 = 8 << 20;

#[derive(Debug)]
pub(crate) struct ParquetSink {
    config: ParquetConfig,
    destination: Arc<Destination>,
    /// `None` where there are no inputs: commits of an earlier process are replayed.
    files: Option<ParquetFiles>,
}

/// How rows become files.
fn files(
    config: &ParquetConfig,
    cx: &SinkContext,
    fit: Fit,
    partition_by: &[String],
) -> Result<ParquetFiles> {
    let partitioning = Partitioning::new(fit.schema(), partition_by)?;
    let layout = Layout::new(config, Arc::clone(partitioning.schema()))?;
    Ok(ParquetFiles {
        fit: Arc::new(fit),
        partitioning: Arc::new(partitioning),
        layout: Arc::new(layout),
        bounds: bounds(config, cx),
    })
}

fn bounds(config: &ParquetConfig, cx: &SinkContext) -> Bounds {
    let writers = cx.common.parallelism.max(1) as u64;
    let memory = (cx.common.memory / writers).max(LEAST_MEMORY);
    let bytes = memory.min(ROW_GROUP_BYTES).min(config.target_file_size.0);
    let size = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
    Bounds {
        rows: config.row_group_rows,
        bytes: size(bytes),
        memory: size(memory),
    }
}

impl ParquetSink {
    pub(crate) async fn open(config: &ParquetConfig, cx: &SinkContext) -> Result<Self> {
        let location = Location::parse(&config.url, &cx.common.base)?;
        let access = Access::of(&cx.common, config.aws.as_ref())?;
        let storage = Storage::open(&location, &access).await?;
        let input = common_schema(&cx.inputs)?;
        if input.is_some() {
            storage.check_name(&file_name(&Destination::longest_unique(cx)))?;
            storage.check_writable().await?;
        }
        let (mut made, mut registrar) = (None, None);
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
                made = Some(files(config, cx, fit, &keys)?);
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
                    directories: &[],
                    positional: false,
                };
                let (table, fit) = Registrar::open(target, &cx.common, &wanted).await?;
                made = Some(files(config, cx, fit, &table.keys())?);
                registrar = Some(table);
            }
        }
        let destination = match config.mode {
            Mode::Append => Destination::new,
            Mode::Overwrite | Mode::OverwritePartitions => Destination::replacing,
        };
        Ok(Self {
            destination: destination(storage, registrar, config.target_file_size.0, cx),
            config: config.clone(),
            files: made,
        })
    }
}

/// The columns of the files, with those that make directories: as the input has them, renamed, in the
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

    async fn epoch(&self, id: Epoch) -> Result<Arc<dyn SinkEpoch>> {
        let files = self.files.clone().ok_or_else(|| {
            Error::internal("a sink that was opened to replay commits was asked for an epoch")
        })?;
        Ok(Arc::new(self.destination.epoch(id, files)))
    }

    async fn conclude(&self, prepared: &[Prepared]) -> Result<Option<Prepared>> {
        let files = Values::<()>::decode(prepared)?.files;
        let ours: HashSet<_> = files.iter().map(|file| file.key()).collect();
        let directories: BTreeSet<_> = ours.iter().map(|key| directory_of(key)).collect();
        let replaced = |key: &str| match self.config.mode {
            Mode::Append => false,
            Mode::Overwrite => true,
            Mode::OverwritePartitions => directories.contains(directory_of(key)),
        };
        let there = self.destination.storage().list_own("", true, is_parquet);
        let there = there.await?.into_iter();
        let delete = there.filter(|file| !ours.contains(file.key.as_str()) && replaced(&file.key));
        let values = Values {
            delete: delete.map(Old::from).collect(),
            ..Values::default()
        };
        self.destination.conclude(&files, values)
    }

    async fn commit(&self, commit: &Commit<'_>) -> Result<()> {
        self.destination.commit::<()>(commit).await
    }

    async fn recover(&self, recovery: &Recovery<'_>) -> Result<()> {
        self.destination.recover::<()>(recovery).await
    }
}

fn is_parquet(key: &str) -> bool {
    let extension = Path::new(key).extension();
    extension.is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}
