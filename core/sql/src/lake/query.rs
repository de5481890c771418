//! A query over the lake: planned once, then explained or run.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use arrow_schema::SchemaRef;
use datafusion::catalog::{
    CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider,
};
use datafusion::common::stats::Precision;
use datafusion::error::Result as DfResult;
use datafusion::execution::session_state::SessionState;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use tidegate_core::{BatchStream, Catalog, Error, Result, guarded, guarded_async, guarded_stream};
use tidegate_storage::Access;

use super::explain::{self, Explanation};
use super::names::{self, Finder, Named};
use super::places::Places;
use super::provider::{Note, Notes};
use super::text::TextFiles;
use super::traffic::Traffic;
use crate::case;
use crate::error::{lake, planning};
use crate::memory::{Shares, spillers};
use crate::naming;
use crate::output::Shape;
use crate::parse::statement;
use crate::query::logical;
use crate::session::{CATALOG, Resources, UNNAMED, running, runtime, session};
use crate::table::Table;

/// What queries are run against.
#[derive(Debug, Clone)]
pub struct LakeOptions {
    /// Where `database.table` is found; without one only paths are tables.
    pub catalog: Option<Arc<dyn Catalog>>,
    /// The database of a table whose name has none. Without it, the only database that has such
    /// a table.
    pub database: Option<String>,
    /// How places are reached.
    pub access: Access,
    /// How text files are read; without it only Parquet is.
    pub text: Option<Arc<dyn TextFiles>>,
    /// What relative paths are relative to.
    pub base: PathBuf,
    /// What a query may use.
    pub resources: Resources,
}

/// Tables of a catalog and plain files, to be queried.
#[derive(Debug, Clone)]
pub struct Lake {
    options: LakeOptions,
}

impl Lake {
    /// A lake. No I/O.
    pub fn new(options: LakeOptions) -> Self {
        Self { options }
    }

    /// Plans a query: finds its tables, the partitions and files that its conditions leave, and
    /// reads the footers of Parquet files. Within a tokio runtime.
    ///
    /// Errors: `Config`, with `line` and `column` where they are known; those of the catalog and of
    /// the places.
    pub async fn query(&self, sql: &str) -> Result<LakeQuery> {
        guarded_async("planning the query", self.planned(sql)).await
    }

    async fn planned(&self, sql: &str) -> Result<LakeQuery> {
        let mut ast = statement(sql).map_err(for_people)?;
        let resources = &self.options.resources;
        std::fs::create_dir_all(&resources.scratch).map_err(|error| {
            Error::io(
                "the directory for what doesn't fit in memory can't be made",
                error,
            )
            .with("path", resources.scratch.display())
        })?;
        let (runtime, memory) = runtime(resources).map_err(|error| lake(&error))?;
        let access = self.options.access.clone();
        let text = self.options.text.clone();
        let places = Places::new(&self.options.base, access, text, Arc::clone(&runtime));
        let places = Arc::new(places);
        let notes = Notes::default();
        let finder = Finder {
            catalog: self.options.catalog.as_ref(),
            database: self.options.database.as_deref(),
            places: &places,
            notes: &notes,
        };
        let named = names::resolve(&mut ast, &finder).await?;
        let tables: Vec<Table> = named.iter().map(stand_in).collect();
        case::resolve(&mut ast, &tables);
        naming::columns(&mut ast);
        let failed = |error| told(planning(&error, Some(&ast), &tables));

        let mut hashing = true;
        loop {
            let config = running(resources, !hashing);
            let state = session(config, Some(Arc::clone(&runtime)));
            with_tables(&state, &named).map_err(failed)?;
            let plan = logical(&ast, &state).await.map_err(failed)?;
            let plan = state.optimize(&plan).map_err(failed)?;
            let shape = Shape::new(plan.schema().as_arrow(), &ast)?;
            clear(&notes);
            let physical = state
                .query_planner()
                .create_physical_plan(&plan, &state)
                .await
                .map_err(|error| match told(planning(&error, Some(&ast), &tables)) {
                    // What went wrong while files were looked at is no error of the query.
                    _ if is_outside(&error) => lake(&error),
                    told => told,
                })?;
            let build = largest_build(&physical).map_err(|error| lake(&error))?;
            if hashing && build > resources.memory / 4 {
                // A hash join holds its smaller side in memory; one that sorts can go to disk.
                hashing = false;
                continue;
            }
            return Ok(LakeQuery {
                state,
                places,
                memory,
                shape,
                plan: physical,
                notes: copied(&notes),
            });
        }
    }
}

/// A planned query.
pub struct LakeQuery {
    pub(super) state: SessionState,
    pub(super) places: Arc<Places>,
    memory: Arc<Shares>,
    shape: Shape,
    pub(super) plan: Arc<dyn ExecutionPlan>,
    pub(super) notes: Vec<Note>,
}

impl LakeQuery {
    /// The schema of what comes out.
    pub fn schema(&self) -> SchemaRef {
        self.shape.schema()
    }

    /// What was asked of the places so far.
    pub fn traffic(&self) -> &Traffic {
        self.places.traffic()
    }

    /// The parts of the tables that the query reads, and the plan. Asks the catalog how many
    /// partitions there are; reads no rows.
    pub async fn explain(&self) -> Result<Explanation> {
        explain::explain(self).await
    }

    /// Runs it: batches, in order where the query says ORDER BY. To be polled within a tokio
    /// runtime, on whose threads it works; dropping the stream ends the work.
    ///
    /// Errors: `Data` where a value can't be computed, `Config` where the memory is too small;
    /// those of the places.
    pub fn run(&self) -> Result<BatchStream> {
        self.memory.divide(spillers(&self.plan));
        let context = self.state.task_ctx();
        let begin =
            || execute_stream(Arc::clone(&self.plan), context).map_err(|error| lake(&error));
        let stream = guarded("the query", begin)?;
        let shape = self.shape.clone();
        let batches = stream.map(move |batch| shape.fit(&batch.map_err(|error| lake(&error))?));
        Ok(guarded_stream("the query", batches).boxed())
    }
}

impl fmt::Debug for LakeQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LakeQuery")
            .field("schema", &self.schema())
            .finish_non_exhaustive()
    }
}

fn with_tables(state: &SessionState, named: &[Named]) -> DfResult<()> {
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(UNNAMED, Arc::new(MemorySchemaProvider::new()))?;
    for one in named {
        let schema = match catalog.schema(&one.schema) {
            Some(schema) => schema,
            None => {
                let schema: Arc<dyn SchemaProvider> = Arc::new(MemorySchemaProvider::new());
                catalog.register_schema(&one.schema, Arc::clone(&schema))?;
                schema
            }
        };
        schema.register_table(one.name.clone(), Arc::clone(&one.table) as _)?;
    }
    state
        .catalog_list()
        .register_catalog(CATALOG.to_owned(), Arc::new(catalog));
    Ok(())
}

/// A table as far as names and errors are concerned.
fn stand_in(named: &Named) -> Table {
    use datafusion::catalog::TableProvider as _;
    let name = match named.schema.as_str() {
        UNNAMED => named.name.clone(),
        schema => format!("{schema}.{}", named.name),
    };
    Table::new(name, &named.table.schema())
}

/// Whether a failed plan failed for what files or a catalog answered.
fn is_outside(error: &datafusion::error::DataFusionError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if inner.is::<object_store::Error>() || inner.is::<Error>() {
            return true;
        }
        cause = inner.source();
    }
    false
}

/// The bytes of the largest table that a hash join would hold, as far as they are known.
fn largest_build(plan: &Arc<dyn ExecutionPlan>) -> DfResult<u64> {
    let mut largest = 0;
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        let statistics =
            StatisticsContext::new().compute(join.left().as_ref(), &StatisticsArgs::new())?;
        if let Precision::Exact(bytes) | Precision::Inexact(bytes) = statistics.total_byte_size {
            largest = u64::try_from(bytes).unwrap_or(u64::MAX);
        }
    }
    for child in plan.children() {
        largest = largest.max(largest_build(child)?);
    }
    Ok(largest)
}

/// Queries of the lake have no sinks.
pub(super) fn for_people(error: Error) -> Error {
    match error.hint_text() {
        Some(hint) if hint.contains("sinks") => {
            error.hint("rows are written by pipelines: see `tidegate run`")
        }
        Some(hint) if hint.contains("transform") => error.hint("run one query at a time"),
        _ => error,
    }
}

fn told(error: Error) -> Error {
    match error.hint_text() {
        Some(hint) if hint.contains("transform") => lake_hint(error),
        _ => error,
    }
}

fn lake_hint(error: Error) -> Error {
    error.hint(
        "say what such rows should return (`nullif(x, 0)` for a divisor, `try_cast` for a text)",
    )
}

fn clear(notes: &Notes) {
    notes.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

fn copied(notes: &Notes) -> Vec<Note> {
    notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
