//! The source that is open.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use futures::{StreamExt, TryStreamExt};
use tidegate_catalog::{is_guessed, is_told, may_match_all, naive_times, parse_row};
use tidegate_core::{
    Ask, Catalog, CatalogTable, Error, EventStream, Next, Offset, Plan, PlanState, Predicate,
    Replay, Result, Revision, Scan, Source, SourceContext, Split, Stream, StreamName, TableFormat,
    TableName, async_trait,
};
use tidegate_formats::{CsvOptions, Decoder, Format, OnNewColumns};
use tidegate_storage::Access;

use super::config::TableSourceConfig;
use super::find::Finder;
use crate::read::{By, Columns, Found, Piece, Reader, Revised, State};

/// Where Hive's SerDes are told which text means NULL.
const NULL_FORMAT: &str = "serialization.null.format";

#[derive(Debug)]
pub(super) struct TableSource {
    catalog: Arc<dyn Catalog>,
    table: CatalogTable,
    schema: SchemaRef,
    finder: Finder,
    reader: Reader,
    incremental: bool,
    on_new: Arc<OnNewColumns>,
}

impl TableSource {
    pub(super) async fn open(config: &TableSourceConfig, cx: &SourceContext) -> Result<Self> {
        let catalog = config.catalog.open(cx).await?;
        let table = look_up(catalog.as_ref(), &config.catalog.name()).await?;
        check_kind(&table)?;
        let access = Access::of(cx, config.aws.as_ref())?;
        let (format, csv) = table_format(&table);
        let schema = table.schema();
        if format != Format::Parquet {
            let columns = Arc::clone(&table.columns);
            Decoder::new(format, &csv, columns, &Scan::all(config.stream()))
                .map_err(|error| error.with("table", &table.name))?;
        }
        Ok(Self {
            finder: Finder::open(&table, format, &cx.base, access).await?,
            reader: Reader::new(
                cx,
                StreamName::from(config.stream()),
                &csv,
                config.piece_size.0,
            ),
            incremental: config.incremental,
            on_new: Arc::new(OnNewColumns::fixed(config.on_new_columns)),
            catalog,
            table,
            schema,
        })
    }

    async fn files(&self, predicates: &[Predicate]) -> Result<Vec<Found>> {
        let keys = &self.table.partition_keys;
        if keys.is_empty() {
            return self.finder.everything().await;
        }
        let about_keys = |predicate: &&Predicate| {
            tidegate_catalog::column(predicate)
                .is_some_and(|column| keys.iter().any(|key| key.name() == column))
        };
        let predicates: Vec<_> = predicates.iter().filter(about_keys).cloned().collect();
        let mut partitions = self.catalog.partitions(&self.table, &predicates).await?;
        let told = partitions.len();
        partitions.retain(|partition| may_match_all(&predicates, keys, &partition.values));
        tracing::debug!(
            table = %self.table.name,
            told_by_catalog = told,
            read = partitions.len(),
            "partitions that may have wanted rows"
        );
        self.finder.files(partitions, predicates.is_empty()).await
    }
}

/// The table, by the name that the catalog has for it.
async fn look_up(catalog: &dyn Catalog, name: &TableName) -> Result<CatalogTable> {
    let database = catalog.fold(&name.database)?;
    let name = TableName::new(&database, catalog.fold(&name.table)?);
    if let Some(table) = catalog.table(&name).await? {
        return Ok(table);
    }
    let error = Error::not_found(format!("there is no table `{name}` in the catalog"))
        .with("key", "catalog");
    let tables = catalog.tables(&database).await?;
    Err(if tables.is_empty() {
        let databases = catalog.databases().await?;
        error.hint(match databases.is_empty() {
            true => "the catalog is empty".to_owned(),
            false => format!("it has the databases {}", few(&databases)),
        })
    } else {
        error.hint(format!("`{database}` has {}", few(&tables)))
    })
}

fn few(names: &[String]) -> String {
    const MOST: usize = 12;
    let shown = names.iter().take(MOST).map(|name| format!("`{name}`"));
    let shown = shown.collect::<Vec<_>>().join(", ");
    match names.len() > MOST {
        true => format!("{shown} and {} more", names.len() - MOST),
        false => shown,
    }
}

/// Refuses tables whose files or partitions a directory alone doesn't tell.
fn check_kind(table: &CatalogTable) -> Result<()> {
    let is = |key: &str, value: &str| {
        let found = table.properties.iter();
        found
            .filter(|(name, _)| name.eq_ignore_ascii_case(key))
            .any(|(_, found)| found.eq_ignore_ascii_case(value))
    };
    for kind in ["iceberg", "delta", "hudi"] {
        if is("table_type", kind) || is("spark.sql.sources.provider", kind) {
            return Err(Error::unsupported(format!(
                "`{}` is a table of {kind}, whose files only its own metadata tells",
                table.name
            ))
            .hint("read it with `type = \"athena\"`"));
        }
    }
    if is("projection.enabled", "true") {
        return Err(Error::unsupported(format!(
            "the partitions of `{}` are projected by Athena, and not in the catalog",
            table.name
        ))
        .hint("read it with `type = \"athena\"`, or its files with `type = \"files\"`"));
    }
    Ok(())
}

/// How a catalog's table says that its files are read. Where that was only guessed, quotes are quotes,
/// and each file's header tells its delimiter, as for `files`.
pub fn table_format(table: &CatalogTable) -> (Format, CsvOptions) {
    let mut csv = CsvOptions::default();
    let format = match &table.format {
        TableFormat::Parquet => Format::Parquet,
        TableFormat::Csv {
            delimiter,
            header,
            quoted,
        } => {
            csv = match is_guessed(table) {
                true => guessed_csv(*delimiter, *header),
                false => CsvOptions {
                    delimiter: Some(*delimiter),
                    header: *header,
                    ..csv
                },
            };
            if !quoted && !is_guessed(table) {
                // A character that no text begins with: quotes are characters like others here.
                csv.quote = if *delimiter == '\u{1e}' {
                    '\u{1d}'
                } else {
                    '\u{1e}'
                };
            }
            if let Some(null) = table.properties.get(NULL_FORMAT) {
                csv.null.clone_from(null);
            }
            Format::Csv
        }
        _ => Format::Ndjson,
    };
    (format, csv)
}

/// How CSV is read that was found to be of this kind: each file's header tells its delimiter, unless
/// it is one that a header doesn't tell.
pub(crate) fn guessed_csv(delimiter: char, header: bool) -> CsvOptions {
    CsvOptions {
        delimiter: (!header || !is_told(delimiter)).then_some(delimiter),
        header,
        ..CsvOptions::default()
    }
}

#[async_trait]
impl Source for TableSource {
    fn streams(&self) -> Vec<Stream> {
        vec![Stream {
            name: self.reader.stream.clone(),
            schema: Arc::clone(&self.schema),
            key: Vec::new(),
            bounded: true,
            replay: Replay::Offset,
        }]
    }

    async fn plan(&self, ask: &Ask<'_>) -> Result<Plan> {
        let mut state = match ask.state {
            Some(state) if !ask.first || self.incremental => state.decode::<State>()?,
            _ => State::default(),
        };
        let mut files = Vec::new();
        if ask.first || ask.state.is_none() {
            let predicates = ask.scans.first().map_or(&[][..], |scan| &scan.predicates);
            files = self.files(predicates).await?;
        }
        files.retain(|found| state.seen.get(&found.name) != Some(&found.mark()));
        if self.incremental {
            let marks = files.iter().map(|found| (found.name.clone(), found.mark()));
            state.seen.extend(marks);
        }
        let new: Vec<Vec<Split>> = futures::stream::iter(files)
            .map(|found| async move { self.reader.splits(&found).await })
            .buffered(8)
            .try_collect()
            .await?;
        Ok(Plan {
            new: new.into_iter().flatten().collect(),
            revoked: Vec::new(),
            state: PlanState::encode(&state)?,
            next: Next::Complete,
        })
    }

    async fn revise(&self, revision: &Revision<'_>) -> Result<Option<Plan>> {
        let predicates = revision.scans.first();
        let predicates = predicates.map_or(&[][..], |scan| &scan.predicates);
        let files = self.files(predicates).await?.into_iter();
        let now: HashMap<_, _> = files.map(|found| (found.name.clone(), found)).collect();
        let Some(revised) = Revised::of(&self.reader, revision, &now, true).await? else {
            return Ok(None);
        };
        let remembered = self.incremental.then_some(By::Name);
        Ok(Some(revised.plan(
            revision.state,
            remembered,
            Next::Complete,
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
            partition,
            begin,
            ..
        } = split.data.decode()?;
        let resume = resume.or(begin.as_ref());
        let all = Scan::all(self.reader.stream.clone());
        let scan = scans.first().unwrap_or(&all);
        let values = partition.as_ref().map_or(&[][..], |p| &p.values);
        let columns = Columns {
            schema: Arc::clone(&self.schema),
            lenient: true,
            learnt: is_guessed(&self.table),
            naive: naive_times(&self.table).into(),
            constants: parse_row(values, &self.table.partition_keys)?.into(),
            shadowed: Arc::default(),
            on_new: Some(Arc::clone(&self.on_new)),
        };
        let found = self.finder.again(file, partition).await?;
        self.reader.events(found, part, columns, scan, resume).await
    }
}
