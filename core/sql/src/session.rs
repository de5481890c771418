//! DataFusion sessions: how SQL is read here, and what a running query may use.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::Utc;
use datafusion::catalog::{
    CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider, TableProvider,
};
use datafusion::error::Result as DfResult;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{SessionStateBuilder, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use tidegate_core::StageInput;

use crate::dialect::with_dialect;
use crate::memory::{Shares, spillers};
use crate::table::{Provider, Table};
use crate::{builds, filters};

pub(crate) const CATALOG: &str = "tidegate";
/// Where tables without a dot in their name are. No component's name starts with `_`.
pub(crate) const UNNAMED: &str = "_";

/// What a running query may use.
#[derive(Debug, Clone)]
pub struct Resources {
    /// How many bytes it may hold. What doesn't fit is sorted, joined and aggregated on disk.
    pub memory: u64,
    /// The directory for what doesn't fit; made when a query runs.
    pub scratch: PathBuf,
    /// How many bytes it may write there.
    pub spill: u64,
    /// How many threads it may keep busy.
    pub partitions: usize,
}

/// A session that plans.
pub(crate) fn planning_session(tables: &[Table]) -> DfResult<SessionState> {
    with_tables(session(config(), None), tables)
}

/// A session that also runs what it has planned.
pub(crate) struct RunningSession {
    pub(crate) state: SessionState,
    memory: Arc<Shares>,
    row_width: usize,
}

impl RunningSession {
    /// With joins that sort, or that hash.
    pub(crate) fn new(tables: &[Table], resources: &Resources, sort_merge: bool) -> DfResult<Self> {
        let (runtime, memory) = runtime(resources)?;
        let session = session(running(resources, sort_merge), Some(runtime));
        Ok(Self {
            state: with_tables(session, tables)?,
            memory,
            row_width: row_width(tables),
        })
    }

    /// What `plan` runs in: the memory divided among its operators.
    pub(crate) fn context(mut self, plan: &Arc<dyn ExecutionPlan>) -> Arc<TaskContext> {
        let spillers = spillers(plan).max(1);
        self.memory.divide(spillers);
        // What is on disk is merged batch by batch, two of each run at a time. So that all sorts can
        // do that within a quarter of the memory, a small budget needs small batches, and merges
        // of few runs at once. Each sort sets aside what its merge begins with; DataFusion's own
        // 10 MB would be more than such a budget has.
        let share = self.memory.limit() / spillers;
        let rows = (share / 64 / self.row_width).clamp(256, 8_192);
        let runs = (share / 8 / (rows * self.row_width)).clamp(4, 256);
        let disk = &self.state.runtime_env().disk_manager;
        disk.set_max_spill_merge_fan_in(runs);
        let config = self.state.config_mut();
        config.options_mut().execution.sort_spill_reservation_bytes =
            (share / 8).clamp(64 << 10, 10 << 20);
        *config = config.clone().with_batch_size(rows);
        self.state.task_ctx()
    }
}

/// What operators share: the memory, and the directory for what doesn't fit in it.
pub(crate) fn runtime(resources: &Resources) -> DfResult<(Arc<RuntimeEnv>, Arc<Shares>)> {
    let limit = usize::try_from(resources.memory).unwrap_or(usize::MAX);
    let memory = Arc::new(Shares::new(limit));
    let disk = DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::Directories(vec![
            resources.scratch.clone(),
        ]))
        .with_max_temp_directory_size(resources.spill);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::clone(&memory) as _)
        .with_disk_manager_builder(disk)
        // Footers of files, beside the budget: some kilobytes for each file.
        .with_metadata_cache_limit(256 << 20)
        .build_arc()?;
    Ok((runtime, memory))
}

/// A session without tables. Pipelines and queries over the lake have no others, so that they give
/// the same values.
pub(crate) fn session(config: SessionConfig, runtime: Option<Arc<RuntimeEnv>>) -> SessionState {
    let builder = SessionStateBuilder::new()
        .with_config(config)
        .with_optimizer_rules(filters::rules())
        .with_physical_optimizer_rules(builds::rules());
    let mut builder = with_dialect(builder);
    if let Some(runtime) = runtime {
        builder = builder.with_runtime_env(runtime);
    }
    let mut state = builder.build();
    state.execution_props_mut().query_execution_start_time = Some(now());
    state
}

fn config() -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, UNNAMED)
        .with_create_default_catalog_and_schema(false);
    let options = config.options_mut();
    // The check compares two plans, and takes `DISTINCT x IS TRUE` for a fault of DataFusion's: the
    // physical expression may be NULL, the logical one may not.
    options.execution.skip_physical_aggregate_schema_check = true;
    // What a join hands down to a scan compares zeros by their bits; the join itself takes -0.0 and
    // 0.0 as equal.
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    let sql = &mut options.sql_parser;
    sql.collect_spans = true;
    sql.enable_ident_normalization = false;
    sql.parse_float_as_decimal = true;
    sql.map_string_types_to_utf8view = false;
    let parquet = &mut options.execution.parquet;
    parquet.pushdown_filters = true;
    parquet.reorder_filters = true;
    config
}

/// Of a query that runs, with joins that sort or that hash.
pub(crate) fn running(resources: &Resources, sort_merge: bool) -> SessionConfig {
    let mut config = config();
    let options = config.options_mut();
    options.optimizer.prefer_hash_join = !sort_merge;
    // A partition with less than this does little but go to disk.
    let affordable = usize::try_from(resources.memory / (16 << 20)).unwrap_or(usize::MAX);
    // With one partition DataFusion knows only hash joins.
    let least = if sort_merge { 2 } else { 1 };
    options.execution.target_partitions = resources.partitions.min(affordable).max(least);
    config
}

/// The present time, to the microsecond: what more digits a clock gives are noise, and portable
/// Parquet has no room for them.
pub(crate) fn now() -> chrono::DateTime<Utc> {
    let now = Utc::now();
    chrono::DateTime::from_timestamp_micros(now.timestamp_micros()).unwrap_or(now)
}

fn with_tables(state: SessionState, tables: &[Table]) -> DfResult<SessionState> {
    state
        .catalog_list()
        .register_catalog(CATALOG.to_owned(), catalog(tables)?);
    Ok(state)
}

/// The bytes of a row that has the columns of all tables, as a join's has.
fn row_width(tables: &[Table]) -> usize {
    let widths = tables.iter().flat_map(|table| &table.rows).map(|rows| {
        let (bytes, count) = match rows {
            StageInput::Collected(rows) => (rows.bytes(), rows.rows()),
            StageInput::Streamed(rows) => (rows.bytes(), rows.rows()),
        };
        let width = bytes / count.max(1);
        usize::try_from(width).unwrap_or(usize::MAX)
    });
    widths.fold(1, usize::saturating_add).min(1 << 30)
}

/// `shop.sales` is the table `sales` of the schema `shop`, and where that means only one table
/// also just `sales`.
fn catalog(tables: &[Table]) -> DfResult<Arc<dyn CatalogProvider>> {
    let mut schemas: BTreeMap<&str, MemorySchemaProvider> = BTreeMap::new();
    let mut bare: BTreeMap<&str, Vec<Arc<dyn TableProvider>>> = BTreeMap::new();
    for (index, table) in tables.iter().enumerate() {
        let provider: Arc<dyn TableProvider> = Arc::new(Provider {
            index,
            table: table.clone(),
        });
        let (schema, name) = match table.name.split_once('.') {
            Some((schema, name)) => {
                bare.entry(name).or_default().push(Arc::clone(&provider));
                (schema, name)
            }
            None => (UNNAMED, &*table.name),
        };
        let schema = schemas.entry(schema).or_default();
        schema.register_table(name.to_owned(), provider)?;
    }
    let unnamed = schemas.entry(UNNAMED).or_default();
    for (name, providers) in bare {
        if let ([provider], false) = (&*providers, unnamed.table_exist(name)) {
            unnamed.register_table(name.to_owned(), Arc::clone(provider))?;
        }
    }
    let catalog = MemoryCatalogProvider::new();
    for (name, schema) in schemas {
        catalog.register_schema(name, Arc::new(schema))?;
    }
    Ok(Arc::new(catalog))
}
