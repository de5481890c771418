//! The source that is open.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::{FieldRef, Schema, SchemaRef};
use futures::{StreamExt, TryStreamExt};
use tidegate_catalog::may_match_all;
use tidegate_core::{
    Acknowledged, Ask, Error, EventStream, FailedFile, Next, Offset, Plan, PlanState, Predicate,
    Replay, Result, Revision, Scan, Source, SourceContext, Split, Stream, StreamName, async_trait,
};
use tidegate_formats::{Format, OnNewColumns};
use tidegate_storage::{Access, FileMeta, Pattern, Place, Storage};

use super::added;
use super::columns::StreamColumns;
use super::config::FilesSourceConfig;
use super::directories::Directories;
use super::passing::Passing;
use crate::read::{
    By, Columns, FailedBefore, Failure, Found, Mark, Piece, Reader, Revised, State, Unreadable,
    ending, in_words, is_of_a_file,
};

/// What relative paths are relative to.
const BASE: &str = "the pipeline file's directory";

#[derive(Debug)]
pub(super) struct FilesSource {
    config: FilesSourceConfig,
    pattern: Pattern,
    /// The files' columns, then those that their directories name.
    schema: SchemaRef,
    directories: Directories,
    /// The format of the files, if there were any.
    format: Option<Format>,
    on_new: Option<Arc<OnNewColumns>>,
    reader: Reader,
    /// Files that `watch` saw and did not take yet.
    waiting: Mutex<BTreeMap<String, Mark>>,
    passing: Passing,
}

/// A file that is to be read for the first time.
struct Fresh {
    key: String,
    mark: Mark,
    /// Or the split that passes it over.
    found: Result<Found, Split>,
}

impl FilesSource {
    pub(super) async fn open(config: &FilesSourceConfig, cx: &SourceContext) -> Result<Self> {
        let access = Access::of(cx, config.aws.as_ref())?;
        let pattern = Pattern::parse(&config.url, &cx.base, &access).await?;
        let passing = Passing::open(config, cx, &pattern, &access).await?;
        let known = match config.remembers() {
            true => added::known(cx, config).await?,
            false => None,
        };
        let files = match (config.watch, known.is_some()) {
            (true, _) => pattern.list().await?,
            (false, false) => pattern.expect(BASE).await?,
            // A run that is resumed may have had the last one; the first question of another misses it.
            (false, true) => pattern.list().await?,
        };
        let columns = StreamColumns::open(config, cx, pattern.storage(), &files, known).await?;
        let StreamColumns {
            schema,
            directories,
            format,
        } = columns;
        let stream = StreamName::from(&config.stream);
        let mut reader = Reader::new(cx, stream, &config.csv, config.piece_size.0);
        reader.on_file_error = Some(config.on_file_error);
        Ok(Self {
            config: config.clone(),
            pattern,
            schema,
            directories,
            format,
            on_new: config
                .on_new()
                .map(|policy| match config.schema.is_empty() {
                    true => Arc::new(OnNewColumns::new(policy)),
                    false => Arc::new(OnNewColumns::fixed(policy)),
                }),
            reader,
            waiting: Mutex::default(),
            passing,
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

    fn place(&self) -> Place {
        self.storage().location().place()
    }

    /// What a file's splits call it.
    fn name(&self, file: &FileMeta) -> String {
        let path = self.storage().show(&file.key);
        // A source of one file has no key for it.
        match file.key.as_str() {
            "" => path.rsplit('/').next().unwrap_or(&path).to_owned(),
            key => key.to_owned(),
        }
    }

    fn found(&self, file: FileMeta) -> Result<Found> {
        let path = self.storage().show(&file.key);
        Ok(Found {
            name: self.name(&file),
            storage: self.storage().clone(),
            format: self.config.format_of(&path)?,
            compression: self.config.compression_of(&path),
            partition: None,
            file,
        })
    }

    /// A file that may have wanted rows.
    fn wanted(&self, file: &FileMeta, predicates: &[Predicate]) -> Result<Option<Found>> {
        let found = match self.found(file.clone()) {
            // A note that lies beside the files is passed over as one that can't be read.
            Err(error) if self.passing.is_on() => return Err(Error::data(error.message())),
            found => found?,
        };
        if let Some(format) = self.format.filter(|format| *format != found.format)
            && self.passing.is_on()
        {
            let what = format!(
                "its format is {}, that of the others {format}",
                found.format
            );
            return Err(Error::data(what));
        }
        let (storage, stored) = (self.storage(), self.stored());
        let values = self
            .directories
            .check(&self.config, storage, file, stored)?;
        let wanted = may_match_all(predicates, self.directories.keys(), &values);
        Ok(wanted.then_some(found))
    }

    /// The split that passes a file over.
    fn failed(&self, file: &FileMeta, mark: &Mark, error: &Error) -> Result<Split> {
        let (why, rows) = (in_words(error), Some(0));
        let piece = Piece::failed(file.clone(), Unreadable { why, rows });
        piece.split(&self.name(file), mark, Default::default())
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

#[async_trait]
impl Source for FilesSource {
    fn streams(&self) -> Vec<Stream> {
        let stream = |name, schema| Stream {
            name,
            schema,
            key: Vec::new(),
            bounded: !self.config.watch,
            replay: Replay::Offset,
        };
        let mut streams = vec![stream(self.reader.stream.clone(), Arc::clone(&self.schema))];
        if self.passing.is_on() {
            let failed = StreamName::from(StreamName::FAILED_FILES);
            streams.push(stream(failed, FailedFile::schema()));
        }
        streams
    }

    async fn plan(&self, ask: &Ask<'_>) -> Result<Plan> {
        let mut state = match ask.state {
            Some(state) if !ask.first || self.config.remembers() => state.decode::<State>()?,
            _ => State::default(),
        };
        for finished in ask.finished {
            state.open.remove(&finished.split.id);
            let failure = finished.offset.as_ref().and_then(Failure::at);
            if let Some(Failure {
                key, mark, rows, ..
            }) = failure
                && self.config.remembers()
            {
                state.failed.insert(key, FailedBefore { mark, rows });
            }
        }
        let asked_before = !ask.first && ask.state.is_some();
        let files = match (self.config.watch, asked_before) {
            (false, true) => Vec::new(),
            (false, false) => self.pattern.expect(BASE).await?,
            (true, _) => self.pattern.list().await?,
        };
        let scan = scan_of(ask.scans, self.reader.stream.as_str());
        let predicates = scan.map_or(&[][..], |scan| &scan.predicates);
        let mut fresh = Vec::new();
        for file in files {
            let mark = Mark::of(self.storage(), &file);
            let known = state.seen.get(&file.key) == Some(&mark);
            if known || (self.config.watch && !self.settled(&file)) {
                continue;
            }
            let found = match self.wanted(&file, predicates) {
                Ok(None) => continue,
                Ok(Some(found)) => Ok(found),
                Err(error) if self.passing.is_on() && is_of_a_file(&error, self.place()) => {
                    Err(self.failed(&file, &mark, &error)?)
                }
                Err(error) => return Err(self.reader.ends(error, self.place())),
            };
            if let Some(before) = state.failed.remove(&file.key)
                && before.mark != mark
                && before.rows != Some(0)
            {
                let (path, rows) = (self.storage().show(&file.key), before.rows);
                tracing::warn!(%path, rows, "a file that was passed over is another one now and is read whole: what was committed of it comes again");
            }
            fresh.push(Fresh {
                key: file.key,
                mark,
                found,
            });
        }
        if self.config.remembers() {
            let marks = fresh
                .iter()
                .map(|file| (file.key.clone(), file.mark.clone()));
            state.seen.extend(marks);
        }
        let new: Vec<Vec<Split>> = futures::stream::iter(fresh)
            .map(|fresh| async move {
                match fresh.found {
                    Ok(found) => self.reader.splits(&found).await,
                    Err(failed) => Ok(vec![failed]),
                }
            })
            .buffered(8)
            .try_collect()
            .await
            .map_err(|error| self.reader.ends(error, self.place()))?;
        let new: Vec<Split> = new.into_iter().flatten().collect();
        let mut next = self.next();
        if self.passing.is_on() && next == Next::Complete {
            // The run ends only when all is done about files that were passed over.
            state.open.extend(new.iter().map(|split| split.id.clone()));
            if !state.open.is_empty() {
                next = Next::WhenFinished;
            }
        }
        Ok(Plan {
            new,
            revoked: Vec::new(),
            state: PlanState::encode(&state)?,
            next,
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
            file,
            part,
            begin,
            failed,
            ..
        } = split.data.decode()?;
        let resume = resume.or(begin.as_ref());
        if resume.is_some_and(|resume| Failure::at(resume).is_some()) {
            return Ok(futures::stream::empty().boxed());
        }
        let (storage, place) = (self.storage(), self.place());
        let failures = scan_of(scans, StreamName::FAILED_FILES);
        let pass_over = |Unreadable { why, rows }| {
            let failure = Failure::new(storage, &file, &self.name(&file), why, rows);
            let event = failure.event(storage, failures);
            Ok(futures::stream::once(std::future::ready(event)).boxed())
        };
        if let Some(unreadable) = failed {
            return pass_over(unreadable);
        }
        let all = Scan::all(&self.config.stream);
        let scan = scan_of(scans, self.reader.stream.as_str()).unwrap_or(&all);
        let constants = match self.directories.values(&self.config, storage, &file) {
            Err(error) if self.passing.is_on() && is_of_a_file(&error, place) => {
                let (why, rows) = (in_words(&error), Some(0));
                return pass_over(Unreadable { why, rows });
            }
            values => values.map_err(|error| self.reader.ends(error, place))?,
        };
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
        if self.passing.is_on() {
            let (file, scans) = ((found, part), (scan, failures));
            let careful = self.passing.careful();
            let events = self
                .reader
                .events_or_failure(file, columns, scans, resume, careful);
            return Ok(events.await);
        }
        let events = self.reader.events(found, part, columns, scan, resume).await;
        let events = events.map_err(|error| self.reader.ends(error, place))?;
        Ok(ending(events, place))
    }

    async fn acknowledge(&self, upto: &[Acknowledged]) -> Result<()> {
        let ended = upto.iter().filter(|split| split.finished);
        let failures = ended.filter_map(|split| split.offset.as_ref().and_then(Failure::at));
        self.passing
            .acknowledge(&self.reader.cx, self.storage(), failures)
            .await
    }

    async fn close(&self) -> Result<()> {
        self.passing.close(&self.reader.cx).await?;
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

/// What is asked of a stream, if anything reads it.
fn scan_of<'a>(scans: &'a [Scan], stream: &str) -> Option<&'a Scan> {
    scans.iter().find(|scan| scan.stream.as_str() == stream)
}
