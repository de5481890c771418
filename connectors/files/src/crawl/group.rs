//! Which directories are one table.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::{Field, Schema};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use tidegate_catalog::{guessed_format, mark_guessed, same_name};
use tidegate_core::{CatalogTable, Context, Error, Result, TableFormat, TableName, TablePartition};
use tidegate_formats::{Compression, Format};
use tidegate_storage::{Access, FileMeta, LeftOut, Listing, Location, Names, Storage, spread};

use super::classify::{Classified, classify};
use super::directories::{Directory, join};
use super::report::{CrawlOptions, CrawlReport, CrawledTable, Skipped};
use super::schemas::Columns;
use super::{keys, schemas};
use crate::read::ALL_BYTES;

/// Files looked at at once.
const LOOKS: usize = 8;

/// How many plain bytes of a file tell which table its directory is of. There may be many directories.
const FIRST_BYTES: usize = 1 << 20;

/// Finds the tables at a location: a path (relative ones to `cx.base`) or a url of a directory.
///
/// Reads listings and the beginnings of some files, and changes nothing. What can't be understood
/// is skipped with its reason.
///
/// Errors: `Config` for a location that can't be used, `NotFound` if there is nothing, and those
/// of the place.
pub async fn crawl(location: &str, cx: &Context, options: &CrawlOptions) -> Result<CrawlReport> {
    let access = Access::of(cx, options.aws.as_ref())?;
    let location = Location::parse(location, &cx.base)?;
    let storage = Storage::open(&location, &access).await?;
    if location.path().contains(['*', '?', '[']) && !storage.exists().await? {
        return Err(Error::config("a crawl takes a directory, not a pattern")
            .with("url", &location)
            .hint("name the directory that the tables lie in"));
    }
    let Listing { files, left_out } = storage.listing("", Names::Visible).await?;
    if files.is_empty() && left_out.is_empty() {
        return Err(Error::not_found("there are no files").with("path", &location));
    }
    let crawl = Crawl { storage, options };
    let root = Directory::tree(files);
    let skipped = left_out
        .into_iter()
        .map(|LeftOut { path, reason }| Skipped { path, reason });
    let mut report = CrawlReport {
        skipped: skipped.collect(),
        ..CrawlReport::default()
    };
    let mut found = crawl.directory(&root, 0, &mut report.skipped).await?;
    for table in &mut found {
        crawl.sample(&root, table, &report.skipped).await?;
    }
    crawl.name(found, &mut report);
    report.skipped.sort();
    Ok(report)
}

struct Crawl<'a> {
    storage: Storage,
    options: &'a CrawlOptions,
}

/// A table that may still become part of a larger one.
#[derive(Debug)]
struct Candidate {
    /// Its directory's path.
    path: String,
    format: TableFormat,
    columns: Columns,
    /// The keys of its levels, outermost first; `None` for directories that name none.
    keys: Vec<Option<String>>,
    partitions: Vec<Leaf>,
    files: u64,
    bytes: u64,
    compression: Option<Compression>,
    /// Whether files lie beside directories of files in it, so that those directories say nothing.
    mixed: bool,
    notes: Vec<String>,
}

/// A directory of files.
#[derive(Debug)]
struct Leaf {
    path: String,
    values: Vec<Option<String>>,
}

impl Candidate {
    /// Adds another's files, which are similar.
    fn take(&mut self, other: Self) {
        self.learn(&other.format, &other.columns);
        self.partitions.extend(other.partitions);
        self.files += other.files;
        self.bytes += other.bytes;
        self.compression = self
            .compression
            .filter(|mine| Some(*mine) == other.compression);
        for note in other.notes {
            self.note(&note);
        }
    }

    /// Notes what others of its files are like. Gives whether they can lie in one directory.
    fn learn(&mut self, format: &TableFormat, columns: &Columns) -> bool {
        let (Some(format_of_both), Some(columns)) = (
            guessed_format(&self.format, format),
            self.columns.merged(columns),
        ) else {
            return false;
        };
        if let (
            TableFormat::Csv { delimiter, .. },
            TableFormat::Csv {
                delimiter: other, ..
            },
        ) = (&self.format, format)
            && delimiter != other
        {
            self.note(&format!(
                "its CSV files have several delimiters: each is read by the one of its header, \
                 and Athena reads all by {delimiter:?}"
            ));
        }
        self.format = format_of_both;
        self.columns = columns;
        true
    }

    fn note(&mut self, note: &str) {
        if !self.notes.iter().any(|known| known == note) {
            self.notes.push(note.to_owned());
        }
    }

    /// Whether files of both can lie in one directory.
    fn can_take(&self, other: &Self) -> bool {
        guessed_format(&self.format, &other.format).is_some()
            && self.columns.merged(&other.columns).is_some()
    }

    fn is_like(&self, other: &Self) -> bool {
        schemas::similar(
            (&self.format, &self.columns),
            (&other.format, &other.columns),
        )
    }
}

/// Directories side by side that can be partitions of one table.
struct Group<'a> {
    /// The keys of the levels below, as of the directory that is the deepest.
    keys: Vec<Option<String>>,
    /// Whether no directory may be deeper than `keys`, or less deep.
    even: bool,
    members: Vec<(&'a str, Candidate)>,
}

impl<'a> Group<'a> {
    fn of(name: &'a str, table: Candidate) -> Self {
        Self {
            keys: table.keys.clone(),
            even: table.mixed,
            members: vec![(name, table)],
        }
    }

    /// Takes a directory's table that is like the others; else gives it back. Keys that it doesn't have,
    /// or that only it has, are NULL for the others.
    fn take(&mut self, name: &'a str, table: Candidate) -> Option<Candidate> {
        let mut both = self.keys.iter().zip(&table.keys);
        let same = both.all(|(one, other)| match (one, other) {
            (Some(one), Some(other)) => same_name(one, other),
            (one, other) => one == other,
        });
        let (shorter, longer) = match self.keys.len() < table.keys.len() {
            true => (&self.keys, &table.keys),
            false => (&table.keys, &self.keys),
        };
        let more = &longer[shorter.len()..];
        let even = self.even || table.mixed;
        let fits = same && more.iter().all(Option::is_some) && (more.is_empty() || !even);
        if !fits || !self.members[0].1.is_like(&table) {
            return Some(table);
        }
        self.keys = longer.clone();
        self.even = even;
        self.members.push((name, table));
        None
    }
}

impl Crawl<'_> {
    /// The tables in a directory that lies so deep.
    fn directory<'b>(
        &'b self,
        directory: &'b Directory,
        depth: usize,
        skipped: &'b mut Vec<Skipped>,
    ) -> BoxFuture<'b, Result<Vec<Candidate>>> {
        async move {
            let mut below = BTreeMap::new();
            for (name, inner) in &directory.directories {
                below.insert(
                    name.as_str(),
                    self.directory(inner, depth + 1, skipped).await?,
                );
            }
            let own = self.files(directory, skipped).await?;
            let mut tables = match self.options.table_level {
                Some(level) if depth < level => below.into_values().flatten().collect(),
                _ => self.side_by_side(directory, below),
            };
            let Some(mut own) = own else {
                return Ok(tables);
            };
            // Files beside directories: one table, if all of it is alike, else the directories' tables.
            let alike = |table: &Candidate| {
                schemas::similar((&own.format, &own.columns), (&table.format, &table.columns))
            };
            if tables.iter().all(alike) {
                if !tables.is_empty() {
                    own.mixed = true;
                    own.note(&self.mixed(directory));
                }
                for mut table in tables {
                    table.partitions.clear();
                    own.take(table);
                }
                return Ok(vec![own]);
            }
            let reason = "it lies beside directories of other tables";
            skipped.extend(directory.files.iter().map(|file| self.skip(file, reason)));
            tables.sort_by(|a, b| a.path.cmp(&b.path));
            Ok(tables)
        }
        .boxed()
    }

    /// That files and directories of files lie side by side.
    fn mixed(&self, directory: &Directory) -> String {
        let mut keys = Vec::new();
        directory.keys(&mut keys);
        let path = self.storage.show(&directory.path);
        let mut note =
            format!("`{path}` has files and directories of files alike: it has no partitions");
        if !keys.is_empty() {
            let keys: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
            note += &format!(
                ", and the table no columns {}, which `files` and `query` read from the directories' \
                 names: move the files into directories of their own",
                keys.join(", ")
            );
        }
        note
    }

    /// Joins the tables of directories side by side to partitioned ones, where most are alike.
    fn side_by_side(
        &self,
        directory: &Directory,
        below: BTreeMap<&str, Vec<Candidate>>,
    ) -> Vec<Candidate> {
        // Directories of one key, or of none, can be partitions of one table.
        let mut levels: BTreeMap<Option<String>, Vec<(&str, Candidate)>> = BTreeMap::new();
        let folded = |name: &str| keys::key(name).map(|key| key.to_lowercase());
        let mut tables = Vec::new();
        for (name, found) in below {
            let mut found = found.into_iter();
            match (found.next(), found.next()) {
                // The table lies in this directory itself, not further down.
                (Some(only), None) if only.path == join(&directory.path, name) => {
                    levels.entry(folded(name)).or_default().push((name, only));
                }
                (first, second) => tables.extend(first.into_iter().chain(second).chain(found)),
            }
        }
        for (key, level) in levels {
            let count = level.len();
            let mut groups: Vec<Group<'_>> = Vec::new();
            for (name, table) in level {
                let mut groups_left = groups.iter_mut();
                let left =
                    groups_left.try_fold(table, |table, group| match group.take(name, table) {
                        Some(table) => Ok(table),
                        None => Err(()),
                    });
                if let Ok(table) = left {
                    groups.push(Group::of(name, table));
                }
            }
            for group in groups {
                let names = || group.members.iter().map(|(name, _)| *name);
                let many = group.members.len() * 2 > count;
                let values = key.is_some() || names().all(keys::is_value);
                if (group.members.len() > 1 || values) && many {
                    tables.extend(partitioned(directory, group));
                } else {
                    tables.extend(group.members.into_iter().map(|(_, table)| table));
                }
            }
        }
        tables
    }

    /// The table that a directory's own files are.
    async fn files(
        &self,
        directory: &Directory,
        skipped: &mut Vec<Skipped>,
    ) -> Result<Option<Candidate>> {
        if directory.files.is_empty() {
            return Ok(None);
        }
        // By extension, so that a stray file of another kind is noticed wherever it stands.
        let mut kinds: BTreeMap<(&str, Option<&str>), Vec<&FileMeta>> = BTreeMap::new();
        for file in &directory.files {
            let format = Format::from_path(&file.key).map(Format::name);
            let extension = match format {
                Some(_) => None,
                None => file.name().rsplit_once('.').map(|(_, extension)| extension),
            };
            kinds
                .entry((format.unwrap_or(""), extension))
                .or_default()
                .push(file);
        }
        let mut table: Option<Candidate> = None;
        let mut strange: Vec<Skipped> = Vec::new();
        let mut several = false;
        for files in kinds.values() {
            let looked = self.look(files).await?;
            let mut known = false;
            for (file, found) in &looked {
                match found {
                    Err(reason) => strange.push(self.skip(file, reason)),
                    Ok(found) => {
                        known = true;
                        let found = candidate(directory, found.clone(), files);
                        match &mut table {
                            None => table = Some(found),
                            Some(table) if table.can_take(&found) => {
                                table.take(Candidate {
                                    partitions: Vec::new(),
                                    ..found
                                });
                            }
                            Some(_) => several = true,
                        }
                    }
                }
            }
            // Those that weren't looked at are what those are that were.
            if !known && let Some((_, Err(reason))) = looked.first() {
                let others = files.iter().filter(|file| {
                    let seen = |(other, _): &(&FileMeta, _)| other.key == file.key;
                    !looked.iter().any(seen)
                });
                strange.extend(others.map(|file| self.skip(file, reason)));
            }
        }
        if several {
            let reason = "its directory has files of several kinds, and a table is a directory";
            skipped.extend(directory.files.iter().map(|file| self.skip(file, reason)));
            return Ok(None);
        }
        if let Some(table) = &mut table {
            if let Some(one) = strange.first() {
                table.note(&stumble(&one.path, &one.reason));
            }
            let is_strange = |file: &&FileMeta| {
                let path = self.storage.show(&file.key);
                strange.iter().any(|strange| strange.path == path)
            };
            for file in directory.files.iter().filter(|file| !is_strange(file)) {
                table.files += 1;
                table.bytes += file.size;
            }
        }
        skipped.extend(strange);
        Ok(table)
    }

    fn skip(&self, file: &FileMeta, reason: &str) -> Skipped {
        Skipped {
            path: self.storage.show(&file.key),
            reason: reason.to_owned(),
        }
    }

    /// Looks at a few of the files: the first and the last.
    async fn look<'b>(
        &self,
        files: &[&'b FileMeta],
    ) -> Result<Vec<(&'b FileMeta, Result<Classified, String>)>> {
        let most = self.options.sample_files.clamp(1, 2);
        let mut chosen: Vec<&FileMeta> = files.iter().take(most).copied().collect();
        if let Some(last) = files.last().filter(|_| files.len() > most && most > 1) {
            chosen[most - 1] = last;
        }
        let looks: Vec<_> = chosen
            .into_iter()
            .map(|file| async move {
                let bytes = self.options.sample_bytes.min(FIRST_BYTES);
                let found = self.classify(file, bytes).await?;
                Ok::<_, Error>((file, found))
            })
            .collect();
        futures::stream::iter(looks)
            .buffered(LOOKS)
            .try_collect()
            .await
    }

    async fn classify(&self, file: &FileMeta, bytes: usize) -> Result<Result<Classified, String>> {
        let found = classify(&self.storage, file, bytes, self.options.csv_header).await?;
        Ok(found.and_then(|found| self.wanted(found)))
    }

    /// Looks at files of a table from all over, as those do who read it without a catalog.
    async fn sample(
        &self,
        root: &Directory,
        table: &mut Candidate,
        skipped: &[Skipped],
    ) -> Result<()> {
        let mut files = Vec::new();
        for leaf in &table.partitions {
            if let Some(directory) = root.find(&leaf.path) {
                directory.all(&mut files);
            }
        }
        let is_skipped = |file: &FileMeta| {
            let path = self.storage.show(&file.key);
            skipped.iter().any(|skipped| skipped.path == path)
        };
        let files = spread(&files, self.options.sample_files);
        let bytes = ALL_BYTES / files.len().max(1);
        let bytes = bytes.min(self.options.sample_bytes);
        let looks = files.into_iter().filter(|file| !is_skipped(file));
        let looks: Vec<_> = looks
            .map(|file| async move { Ok::<_, Error>((file, self.classify(file, bytes).await?)) })
            .collect();
        let mut looks = futures::stream::iter(looks).buffered(LOOKS);
        // In the order in which those who read them without a catalog meet them.
        let mut ordered: Option<Columns> = None;
        while let Some((file, found)) = looks.try_next().await? {
            let reason = match found {
                Ok(found) if table.learn(&found.format, &found.columns) => {
                    ordered = match ordered {
                        Some(columns) => columns.merged(&found.columns),
                        None => Some(found.columns),
                    };
                    for note in found.notes {
                        table.note(&note);
                    }
                    continue;
                }
                Ok(_) => "its format or its columns are others".to_owned(),
                Err(reason) => reason,
            };
            table.note(&stumble(&self.storage.show(&file.key), &reason));
        }
        if let Some(columns) = ordered.and_then(|columns| columns.merged(&table.columns)) {
            table.columns = columns;
        }
        Ok(())
    }

    fn wanted(&self, found: Classified) -> Result<Classified, String> {
        let format = match found.format {
            TableFormat::Parquet => Format::Parquet,
            TableFormat::Csv { .. } => Format::Csv,
            _ => Format::Ndjson,
        };
        match self.options.formats.is_empty() || self.options.formats.contains(&format) {
            true => Ok(found),
            false => Err(format!("it is {format}, which isn't asked for")),
        }
    }

    /// The candidates as tables, each with a name of its own.
    fn name(&self, mut found: Vec<Candidate>, report: &mut CrawlReport) {
        found.sort_by(|a, b| a.path.cmp(&b.path));
        let location = self.storage.location();
        let root = location.path().split('/').filter(|name| !name.is_empty());
        let root: Vec<_> = match root.map(str::to_owned).collect::<Vec<_>>() {
            root if root.is_empty() => vec![location.bucket().to_owned()],
            root => root,
        };
        let directories: Vec<Vec<String>> = found
            .iter()
            .map(|table| {
                let path = table.path.split('/').filter(|name| !name.is_empty());
                root.iter()
                    .cloned()
                    .chain(path.map(str::to_owned))
                    .collect()
            })
            .collect();
        let names = keys::distinct(&directories, &self.options.prefix);
        for (candidate, name) in found.into_iter().zip(names) {
            let name = TableName::new(&self.options.database, name);
            report.tables.push(self.table(candidate, name));
        }
        report
            .tables
            .sort_by(|a, b| a.table.name.cmp(&b.table.name));
    }

    fn table(&self, candidate: Candidate, name: TableName) -> CrawledTable {
        let Candidate {
            path,
            format,
            columns,
            keys: levels,
            partitions,
            files,
            bytes,
            compression,
            mixed: _,
            mut notes,
        } = candidate;
        let mut partition_keys = Vec::with_capacity(levels.len());
        for (level, key) in levels.into_iter().enumerate() {
            let values = partitions.iter().map(|leaf| leaf.values[level].as_deref());
            let key = key.unwrap_or_else(|| format!("partition_{level}"));
            let field = Field::new(key, keys::key_type(values), true);
            partition_keys.push(Arc::new(field));
        }
        let stored = columns.schema().fields().iter().filter(|field| {
            let key = partition_keys
                .iter()
                .any(|key| same_name(key.name(), field.name()));
            if key {
                notes.push(format!(
                    "the files have `{}` too, which is a partition key: the directory's value counts",
                    field.name()
                ));
            }
            !key
        });
        let unseen = columns.unseen();
        let columns = Arc::new(Schema::new(stored.cloned().collect::<Vec<_>>()));
        let compression = compression.map(|compression| compression.name().to_owned());
        let properties = compression.map(|name| ("compressionType".to_owned(), name));
        let mut partitions: Vec<_> = match partition_keys.is_empty() {
            true => Vec::new(),
            false => partitions
                .into_iter()
                .map(|leaf| TablePartition {
                    values: leaf.values,
                    location: self.storage.url(&leaf.path),
                })
                .collect(),
        };
        partitions.sort();
        let mut table = CatalogTable {
            name,
            location: self.storage.url(&path),
            format,
            columns,
            partition_keys,
            properties: properties.into_iter().collect(),
        };
        if table.format != TableFormat::Parquet {
            mark_guessed(&mut table, unseen);
        }
        CrawledTable {
            table,
            partitions,
            files,
            bytes,
            notes,
        }
    }
}

fn stumble(path: &str, reason: &str) -> String {
    format!(
        "`{path}` lies among its files and is none of them ({reason}): readers will stumble over it"
    )
}

/// The table of a directory's files.
fn candidate(directory: &Directory, found: Classified, files: &[&FileMeta]) -> Candidate {
    let mut compressions = files.iter().map(|file| Compression::from_path(&file.key));
    let first = compressions.next();
    let compression = first.filter(|first| compressions.all(|other| other == *first));
    Candidate {
        path: directory.path.clone(),
        format: found.format,
        columns: found.columns,
        keys: Vec::new(),
        partitions: vec![Leaf {
            path: directory.path.clone(),
            values: Vec::new(),
        }],
        files: 0,
        bytes: 0,
        compression,
        mixed: false,
        notes: found.notes,
    }
}

/// One table of those in these directories.
fn partitioned(directory: &Directory, group: Group<'_>) -> Option<Candidate> {
    let mut whole: Option<Candidate> = None;
    // As the first directory writes it.
    let key = group.members.first().and_then(|(name, _)| keys::key(name));
    let below = group.keys;
    for (name, mut table) in group.members {
        let value = keys::value(name);
        for leaf in &mut table.partitions {
            leaf.values.resize(below.len(), None);
            leaf.values.insert(0, value.clone());
        }
        table.keys.clone_from(&below);
        table.keys.insert(0, key.clone());
        table.path.clone_from(&directory.path);
        match &mut whole {
            None => whole = Some(table),
            Some(whole) => whole.take(table),
        }
    }
    whole
}
