//! The sink that is open: what it promises, its epochs, and its commits.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow_schema::Schema;
use chrono::Utc;
use tidegate_catalog::{Fit, Registrar, Wanted, portable};
use tidegate_core::{
    Commit, ComponentId, Delivery, Epoch, Error, Input, Prepared, Recovery, Result, Sink,
    SinkContext, SinkEpoch, TableFormat, Visibility, async_trait,
};
use tidegate_formats::Format;
use tidegate_staged::{Destination, File, Old, Values};
use tidegate_storage::{Access, Location, Storage};

use super::config::{FilesSinkConfig, Mode};
use super::encode::Encoding;
use super::file::{About, EpochFormat, Inputs};
use super::template::{Name, Template};

#[derive(Debug)]
pub(super) struct FilesSink {
    config: FilesSinkConfig,
    id: ComponentId,
    inputs: Arc<Inputs>,
    destination: Arc<Destination>,
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
                    directories: &keys(&template, &cx.inputs)?,
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
                lines: config.newline,
                compression: config.compression(),
                csv: config.csv.named(&config.url),
                schema: Arc::clone(schema),
                fit,
            };
            // Refuses types that the format can't hold.
            encoding.file()?;
            inputs.push((Arc::clone(&input.name), encoding));
        }
        for (stream, _) in &inputs {
            let name = template.name(stream, Utc::now());
            let longest = name.unique(&Destination::longest_unique(cx));
            let checked = storage.check_name(&longest);
            checked.map_err(|error| error.with("key", "url"))?;
        }
        if !inputs.is_empty() {
            storage.check_writable().await?;
        }
        let destination = match config.mode {
            Mode::Append => Destination::new,
            Mode::Overwrite => Destination::replacing,
        };
        Ok(Self {
            destination: destination(storage, registrar, config.target_file_size.0, cx),
            config: config.clone(),
            id: cx.common.id.clone(),
            inputs: Arc::new(Inputs { template, inputs }),
        })
    }

    /// What was there before and is replaced by these files.
    async fn replaced(&self, files: &[File<About>], kept: &HashSet<&str>) -> Result<Vec<Old>> {
        let now = Utc::now();
        let mut names = Vec::new();
        for (index, (stream, _)) in self.inputs.inputs.iter().enumerate() {
            let written = files.iter().filter(|file| file.about.input == index);
            let times: BTreeSet<_> = written.map(|file| file.about.time).chain([now]).collect();
            for time in times {
                let name = self.inputs.template.name(stream, time);
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        let exact = self.inputs.template.exact;
        let names: Arc<[Name]> = names.into();
        let directories: BTreeSet<_> = names.iter().map(|name| name.directory()).collect();
        let mut all = Vec::new();
        for directory in directories {
            let (names, id) = (Arc::clone(&names), self.id.clone());
            let ours = move |key: &str| {
                let named = |name: &Name| name.made(key, &id) || (exact && name.plain() == key);
                names.iter().any(named)
            };
            let (from, deep) = (directory.unwrap_or_default(), directory.is_none());
            let own = self.destination.storage().list_own(from, deep, ours);
            all.extend(own.await?);
        }
        let all = all.into_iter();
        let all = all.filter(|file| !kept.contains(file.key.as_str()));
        Ok(all.map(Old::from).collect())
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

/// The partition keys that the directories of all inputs name.
fn keys(template: &Template, inputs: &[Input]) -> Result<Vec<String>> {
    let mut all = inputs.iter().map(|input| template.keys(&input.name));
    let first = all.next().transpose()?.unwrap_or_default();
    for keys in all {
        if keys? != first {
            return Err(Error::config("the inputs' directories have different keys")
                .with("key", "url")
                .hint("write key={stream}, so that only values differ"));
        }
    }
    Ok(first)
}

/// The names that only one file of the run wants.
fn plain_names(files: &[File<About>]) -> BTreeMap<String, String> {
    let mut wanted: HashMap<&str, usize> = HashMap::new();
    for file in files {
        if let Some(plain) = &file.about.plain {
            *wanted.entry(plain).or_default() += 1;
        }
    }
    let alone = files.iter().filter_map(|file| {
        let plain = file.about.plain.as_ref()?;
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

    async fn epoch(&self, id: Epoch) -> Result<Arc<dyn SinkEpoch>> {
        let format = EpochFormat {
            inputs: Arc::clone(&self.inputs),
            time: Utc::now(),
        };
        Ok(Arc::new(self.destination.epoch(id, format)))
    }

    async fn conclude(&self, prepared: &[Prepared]) -> Result<Option<Prepared>> {
        let files = Values::<About>::decode(prepared)?.files;
        // Not by how many of several inputs had rows this time.
        let told_apart = ["{stream}", "{table}"]
            .iter()
            .any(|part| self.config.url.contains(part));
        let names = match self.inputs.inputs.len() == 1 || told_apart {
            true => plain_names(&files),
            false => BTreeMap::new(),
        };
        // A name that is taken over is replaced by the rename itself.
        let taken = names.values().map(String::as_str);
        let kept: HashSet<&str> = taken.chain(files.iter().map(File::key)).collect();
        let delete = self.replaced(&files, &kept).await?;
        let values = Values {
            names,
            delete,
            ..Values::default()
        };
        self.destination.conclude(&files, values)
    }

    async fn commit(&self, commit: &Commit<'_>) -> Result<()> {
        self.destination.commit::<About>(commit).await
    }

    async fn recover(&self, recovery: &Recovery<'_>) -> Result<()> {
        self.destination.recover::<About>(recovery).await
    }
}
