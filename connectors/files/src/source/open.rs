//! The source that is open.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::{FieldRef, Schema, SchemaRef};
use futures::{StreamExt, TryStreamExt};
use tidegate_catalog::may_match_all;
use tidegate_core::{
    Ask, Error, EventStream, NewColumns, Next, Offset, Plan, PlanState, Replay, Result, Revision,
    Scan, Source, SourceContext, Split, Stream, StreamName, async_trait,
};
use tidegate_formats::{Decoder, Format, OnNewColumns};
use tidegate_storage::{Access, FileMeta, Pattern, Storage};

use super::config::FilesSourceConfig;
use super::directories::{Directories, Named};
use super::{added, schema};
use crate::read::{By, Columns, Found, Mark, Piece, Reader, Revised, State};

/// What relative paths are relative to.
const BASE: &str = "the pipeline file's directory";

#[derive(Debug)]
pub(super) struct FilesSource {
    config: FilesSourceConfig,
    pattern: Pattern,
    /// The files' columns, then those that their directories name.
    schema: SchemaRef,
    directories: Directories,
    on_new: Option<Arc<OnNewColumns>>,
    reader: Reader,
    /// Files that `watch` saw and did not take yet.
    waiting: Mutex<BTreeMap<String, Mark>>,
}

impl FilesSource {
    pub(super) async fn open(config: &FilesSourceConfig, cx: &SourceContext) -> Result<Self> {
        let access = Access::of(cx, config.aws.as_ref())?;
        let pattern = Pattern::parse(&config.url, &cx.base, &access).await?;
        let files = match config.watch {
            true => pattern.list().await?,
            false => pattern.expect(BASE).await?,
        };
        let storage = pattern.storage();
        if config.format.is_none() {
            same_format(config, storage, &files)?;
        }
        let named = Named::of(config, storage, &files, &cx.base)?;
        let found = schema::find(config, storage, &files).await?;
        let columns = match config.on_new_columns {
            Some(NewColumns::Add) => added::with(cx, config, found).await?,
            _ => found,
        };
        let (schema, directories) = named.split(config, storage, columns.fields(), &cx.base)?;
        let stored = &schema.fields()[..schema.fields().len() - directories.keys().len()];
        if !config.schema.is_empty() {
            schema::check_given(config, storage, &files, stored).await?;
        }
        if let Some(file) = files.first() {
            let format = config.format_of(&storage.show(&file.key))?;
            if format != Format::Parquet {
                Decoder::new(
                    format,
                    &config.csv,
                    Arc::new(Schema::new(stored)),
                    &Scan::all(&config.stream),
                )?;
            }
        }
        Ok(Self {
            config: config.clone(),
            pattern,
            schema,
            directories,
            on_new: config
                .on_new()
                .map(|policy| match config.schema.is_empty() {
                    true => Arc::new(OnNewColumns::new(policy)),
                    false => Arc::new(OnNewColumns::fixed(policy)),
                }),
            reader: Reader::new(
                cx,
                StreamName::from(&config.stream),
                &config.csv,
                config.piece_size.0,
            ),
            waiting: Mutex::default(),
        })
    }

    fn storage(&self) -> &Storage {
        self.pattern.storage()
    }

    /// The columns that the files have themselves.
    fn stored(&self) -> &[FieldRef] {
        let fields = self.schema.fields();
        &fields[..fields.len() - self.directories.keys().len()]
    }

    fn found(&self, file: FileMeta) -> Result<Found> {
        let path = self.storage().show(&file.key);
        // A source of one file has no key for it.
        let name = match file.key.as_str() {
            "" => path.rsplit('/').next().unwrap_or(&path),
            key => key,
        };
        Ok(Found {
            name: name.to_owned(),
            storage: self.storage().clone(),
            format: self.config.format_of(&path)?,
            compression: self.config.compression_of(&path),
            partition: None,
            file,
        })
    }

    fn next(&self) -> Next {
        match self.config.watch {
            true => Next::AskAgain(self.config.poll.0),
            false => Next::Complete,
        }
    }

    /// Whether a file under watch stands still: for the time of a poll, or since the last one.
    fn settled(&self, file: &FileMeta) -> bool {
        let mark = Mark::of(self.storage(), file);
        let age = chrono::Utc::now().signed_duration_since(file.modified);
        let still = age.to_std().is_ok_and(|age| age >= self.config.poll.0);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if still || waiting.get(&file.key) == Some(&mark) {
            waiting.remove(&file.key);
            return true;
        }
        waiting.insert(file.key.clone(), mark);
        false
    }
}

/// One stream has one schema, so a directory of several formats is an error.
fn same_format(config: &FilesSourceConfig, storage: &Storage, files: &[FileMeta]) -> Result<()> {
    let Some((first, others)) = files.split_first() else {
        return Ok(());
    };
    let path = storage.show(&first.key);
    let format = config.format_of(&path)?;
    for other in others {
        let other_path = storage.show(&other.key);
        let other = config.format_of(&other_path)?;
        if other != format {
            return Err(Error::config(format!(
                "the files have several formats: {format} and {other}"
            ))
            .with("one", path)
            .with("another", other_path)
            .hint("narrow `url`, as in data/*.csv, or set `format`"));
        }
    }
    Ok(())
}

#[async_trait]
impl Source for FilesSource {
    fn streams(&self) -> Vec<Stream> {
        vec![Stream {
            name: self.reader.stream.clone(),
            schema: Arc::clone(&self.schema),
            key: Vec::new(),
            bounded: !self.config.watch,
            replay: Replay::Offset,
        }]
    }

    async fn plan(&self, ask: &Ask<'_>) -> Result<Plan> {
        let mut state = match ask.state {
            Some(state) if !ask.first || self.config.remembers() => state.decode::<State>()?,
            _ => State::default(),
        };
        let asked_before = !ask.first && ask.state.is_some();
        let files = match (self.config.watch, asked_before) {
            (false, true) => Vec::new(),
            (false, false) => self.pattern.expect(BASE).await?,
            (true, _) => self.pattern.list().await?,
        };
        let predicates = ask.scans.first().map_or(&[][..], |scan| &scan.predicates);
        let mut fresh = Vec::new();
        for file in files {
            let mark = Mark::of(self.storage(), &file);
            let known = state.seen.get(&file.key) == Some(&mark);
            if known || (self.config.watch && !self.settled(&file)) {
                continue;
            }
            let storage = self.storage();
            let values = self
                .directories
                .check(&self.config, storage, &file, self.stored())?;
            if !may_match_all(predicates, self.directories.keys(), &values) {
                continue;
            }
            fresh.push((file.key.clone(), mark, self.found(file)?));
        }
        let files: Vec<_> = fresh.iter().map(|(_, _, found)| found.clone()).collect();
        let new: Vec<Vec<Split>> = futures::stream::iter(files)
            .map(|found| async move { self.reader.splits(&found).await })
            .buffered(8)
            .try_collect()
            .await?;
        if self.config.remembers() {
            let marks = fresh.into_iter().map(|(key, mark, _)| (key, mark));
            state.seen.extend(marks);
        }
        Ok(Plan {
            new: new.into_iter().flatten().collect(),
            revoked: Vec::new(),
            state: PlanState::encode(&state)?,
            next: self.next(),
        })
    }

    async fn revise(&self, revision: &Revision<'_>) -> Result<Option<Plan>> {
        let files = self.pattern.list().await?.into_iter();
        let found = files.map(|file| self.found(file).map(|found| (found.name.clone(), found)));
        let now: HashMap<_, _> = found.collect::<Result<_>>()?;
        // A watch plans what has changed by itself, once it stands still.
        let revised = Revised::of(&self.reader, revision, &now, !self.config.watch).await?;
        let Some(revised) = revised else {
            return Ok(None);
        };
        let remembered = self.config.remembers().then_some(By::Key);
        Ok(Some(revised.plan(
            revision.state,
            remembered,
            self.next(),
        )?))
    }

    async fn read(
        &self,
        split: &Split,
        scans: &[Scan],
        resume: Option<&Offset>,
    ) -> Result<EventStream> {
        let Piece {
            file, part, begin, ..
        } = split.data.decode()?;
        let resume = resume.or(begin.as_ref());
        let all = Scan::all(&self.config.stream);
        let scan = scans.first().unwrap_or(&all);
        let constants = self
            .directories
            .values(&self.config, self.storage(), &file)?;
        let found = self.found(file)?;
        let columns = Columns {
            // A text's values have no types but those of the schema.
            lenient: found.format == Format::Parquet && !self.config.schema.is_empty(),
            on_new: self.on_new.clone(),
            learnt: self.config.schema.is_empty(),
            constants,
            shadowed: self.directories.shadowed(),
            ..Columns::found(Arc::clone(&self.schema))
        };
        self.reader.events(found, part, columns, scan, resume).await
    }

    async fn close(&self) -> Result<()> {
        let Some(wider) = self.on_new.as_ref().and_then(|on_new| on_new.wider()) else {
            return Ok(());
        };
        // Those of directories are found there.
        let keys = self.directories.keys();
        let fields = wider.fields().iter();
        let stored = fields.filter(|field| !keys.iter().any(|key| key.name() == field.name()));
        let stored = Schema::new(stored.cloned().collect::<Vec<_>>());
        added::keep(&self.reader.cx, &self.config, &stored).await
    }
}
