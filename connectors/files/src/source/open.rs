//! The source that is open.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::SchemaRef;
use futures::{StreamExt, TryStreamExt};
use tidegate_core::{
    Ask, Error, EventStream, Next, Offset, Plan, PlanState, Result, Scan, Source, SourceContext,
    Split, Stream, StreamName, async_trait,
};
use tidegate_formats::{Compression, Decoder, Format};
use tidegate_storage::{Access, FileMeta, Pattern, Storage};

use super::config::FilesSourceConfig;
use super::lines::LineIndex;
use super::parquet::{self, ParquetFile};
use super::plan::{Mark, Part, Piece, State, joined, ranges};
use super::schema;
use super::text::TextFile;

#[derive(Debug)]
pub(super) struct FilesSource {
    config: FilesSourceConfig,
    pattern: Pattern,
    schema: SchemaRef,
    cx: SourceContext,
    lines: Mutex<HashMap<(String, u64), Arc<LineIndex>>>,
    /// Files that `watch` saw and did not take yet.
    waiting: Mutex<BTreeMap<String, Mark>>,
}

impl FilesSource {
    pub(super) async fn open(config: &FilesSourceConfig, cx: &SourceContext) -> Result<Self> {
        let access = Access::of(cx, config.aws.as_ref())?;
        let pattern = Pattern::parse(&config.url, &cx.base, &access).await?;
        let files = match config.watch {
            true => pattern.list().await?,
            false => pattern.expect().await?,
        };
        let storage = pattern.storage();
        if config.format.is_none() {
            same_format(config, storage, &files)?;
        }
        let schema = schema::find(config, storage, &files).await?;
        if let Some(file) = files.first() {
            let format = config.format_of(&storage.show(&file.key))?;
            if format != Format::Parquet {
                Decoder::new(
                    format,
                    &config.csv,
                    schema.clone(),
                    &Scan::all(&config.stream),
                )?;
            }
        }
        Ok(Self {
            config: config.clone(),
            pattern,
            schema,
            cx: cx.clone(),
            lines: Mutex::default(),
            waiting: Mutex::default(),
        })
    }

    fn storage(&self) -> &Storage {
        self.pattern.storage()
    }

    fn stream(&self) -> StreamName {
        StreamName::from(&self.config.stream)
    }

    /// The pieces of one file.
    async fn splits(&self, file: &FileMeta) -> Result<Vec<Split>> {
        let path = self.storage().show(&file.key);
        let piece = self.config.piece_size.0;
        let plain = self.config.compression_of(&path) == Compression::None;
        match self.config.format_of(&path)? {
            Format::Ndjson if plain && file.size >= 2 * piece => ranges(file.size, piece)
                .into_iter()
                .map(|(from, to)| {
                    Piece::new(file, Part::Bytes(from, to)).split(&path, None, to - from)
                })
                .collect(),
            Format::Parquet if file.size >= 2 * piece => {
                let metadata = parquet::metadata(self.storage(), file).await?;
                let groups = metadata.metadata().row_groups().iter();
                let groups: Vec<_> = groups
                    .map(|group| (group.num_rows(), group.compressed_size()))
                    .map(|(rows, bytes)| (rows.unsigned_abs(), bytes.unsigned_abs()))
                    .collect();
                joined(&groups, piece)
                    .into_iter()
                    .map(|(from, to, rows, bytes)| {
                        Piece::new(file, Part::RowGroups(from, to)).split(&path, Some(rows), bytes)
                    })
                    .collect()
            }
            _ => Ok(vec![
                Piece::new(file, Part::Whole).split(&path, None, file.size)?,
            ]),
        }
    }

    /// Whether a file under watch stands still: for the time of a poll, or since the last one.
    fn settled(&self, file: &FileMeta) -> bool {
        let mark = Mark::of(file);
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

    fn lines(&self, file: &FileMeta) -> Arc<LineIndex> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (file.key.clone(), file.size);
        let new = || Arc::new(LineIndex::new(self.storage().clone(), file.clone()));
        Arc::clone(lines.entry(key).or_insert_with(new))
    }

    /// The file of a piece, if it still is what it was.
    async fn unchanged(&self, piece: &Piece) -> Result<FileMeta> {
        let file = self.storage().head(&piece.key).await?;
        if Mark::of(&file) == piece.mark {
            return Ok(file);
        }
        Err(
            Error::conflict("the file changed after it was planned to be read")
                .with("path", self.storage().show(&piece.key))
                .hint("files must not be changed once they are there; --restart reads them anew"),
        )
    }
}

/// One stream has one schema, so a folder of several formats is a mistake.
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
            name: self.stream(),
            schema: Arc::clone(&self.schema),
            key: Vec::new(),
            bounded: !self.config.watch,
        }]
    }

    async fn plan(&self, ask: &Ask<'_>) -> Result<Plan> {
        let next = match self.config.watch {
            true => Next::AskAgain(self.config.poll.0),
            false => Next::Complete,
        };
        let mut state = match ask.state {
            Some(state) if !ask.first || self.config.remembers() => state.decode::<State>()?,
            _ => State::default(),
        };
        let asked_before = !ask.first && ask.state.is_some();
        let files = match (self.config.watch, asked_before) {
            (false, true) => Vec::new(),
            (false, false) => self.pattern.expect().await?,
            (true, _) => self.pattern.list().await?,
        };
        let mut fresh = Vec::new();
        for file in files {
            let known = state.seen.get(&file.key) == Some(&Mark::of(&file));
            if known || (self.config.watch && !self.settled(&file)) {
                continue;
            }
            fresh.push(file);
        }
        let new: Vec<Vec<Split>> = futures::stream::iter(fresh.clone())
            .map(|file| async move { self.splits(&file).await })
            .buffered(8)
            .try_collect()
            .await?;
        if self.config.remembers() {
            let marks = fresh.iter().map(|file| (file.key.clone(), Mark::of(file)));
            state.seen.extend(marks);
        }
        Ok(Plan {
            new: new.into_iter().flatten().collect(),
            state: PlanState::encode(&state)?,
            next,
        })
    }

    async fn read(
        &self,
        split: &Split,
        scans: &[Scan],
        resume: Option<&Offset>,
    ) -> Result<EventStream> {
        let piece: Piece = split.data.decode()?;
        let all = Scan::all(&self.config.stream);
        let scan = scans.first().unwrap_or(&all);
        let file = self.unchanged(&piece).await?;
        let path = self.storage().show(&file.key);
        if resume.is_none() && !matches!(piece.part, Part::Bytes(1.., _) | Part::RowGroups(1.., _))
        {
            self.cx.metrics.files(1);
        }
        let format = self.config.format_of(&path)?;
        if format == Format::Parquet {
            let file = ParquetFile {
                storage: self.storage().clone(),
                file,
                part: piece.part,
                schema: Arc::clone(&self.schema),
                stream: self.stream(),
                metrics: Arc::clone(&self.cx.metrics),
            };
            return file.events(scan, resume).await;
        }
        let decoder = Decoder::new(format, &self.config.csv, Arc::clone(&self.schema), scan)?;
        let file = TextFile {
            storage: self.storage().clone(),
            lines: matches!(piece.part, Part::Bytes(..)).then(|| self.lines(&file)),
            file,
            format,
            compression: self.config.compression_of(&path),
            csv: self.config.csv.clone(),
            part: piece.part,
            decoder: Arc::new(decoder),
            stream: self.stream(),
            metrics: Arc::clone(&self.cx.metrics),
        };
        file.events(resume).await
    }
}
