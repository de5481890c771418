//! A table of a query: rows that were gathered, or only the promise of some.

use std::fmt;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions, UInt64Array};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use arrow_select::take::take_record_batch;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, internal_err};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties,
};
use futures::{StreamExt, TryStreamExt, stream};
use tidegate_core::StageInput;

use crate::nested::{settled, widened};

/// A table that a query may read: a name, columns, and its rows once there are any.
#[derive(Debug, Clone)]
pub struct Table {
    /// `orders`, or `shop.sales`.
    pub name: Arc<str>,
    /// Its columns, as the query sees them.
    pub schema: SchemaRef,
    /// Its rows; `None` while the query is only planned.
    pub rows: Option<StageInput>,
}

impl Table {
    /// A table of which only the columns are known.
    pub fn new(name: impl Into<Arc<str>>, schema: &SchemaRef) -> Self {
        Self {
            name: name.into(),
            schema: widened(schema),
            rows: None,
        }
    }

    /// With rows. They may have more columns than the table; they are found by name.
    #[must_use]
    pub fn with_rows(mut self, rows: StageInput) -> Self {
        self.rows = Some(rows);
        self
    }
}

/// How many partitions an input has.
fn partitions(rows: &StageInput) -> usize {
    match rows {
        StageInput::Collected(rows) => rows.partitions(),
        StageInput::Streamed(rows) => rows.partitions(),
    }
}

/// A [`Table`] as DataFusion sees it; knows its place among the query's tables.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) index: usize,
    pub(crate) table: Table,
}

#[async_trait]
impl TableProvider for Provider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.table.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(GatheredExec::new(
            self.table.clone(),
            projection.map(Vec::as_slice),
        )?))
    }
}

/// What a streamed table is taken to have, so that no join collects it that has another side: far
/// more than any that is collected, and little enough to be multiplied.
const MANY_ROWS: usize = 1 << 32;
const MANY_BYTES: usize = 1 << 40;

/// Reads the rows of a stage's input, partition by partition.
#[derive(Debug)]
struct GatheredExec {
    table: Table,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl GatheredExec {
    fn new(table: Table, projection: Option<&[usize]>) -> DfResult<Self> {
        let schema = match projection {
            Some(indices) => Arc::new(table.schema.project(indices)?),
            None => Arc::clone(&table.schema),
        };
        let partitions = table.rows.as_ref().map_or(1, partitions);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(partitions.max(1)),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self {
            table,
            schema,
            properties: Arc::new(properties),
        })
    }

    /// The share of the table's bytes that the projected columns hold, as far as it can be told
    /// from their number.
    fn bytes(&self, all: u64) -> usize {
        let share = |fields: usize| u64::try_from(fields).unwrap_or(u64::MAX).max(1);
        let part =
            all / share(self.table.schema.fields().len()) * share(self.schema.fields().len());
        usize::try_from(part.min(all)).unwrap_or(usize::MAX)
    }
}

impl DisplayAs for GatheredExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GatheredExec: {}", self.table.name)
    }
}

impl ExecutionPlan for GatheredExec {
    fn name(&self) -> &'static str {
        "GatheredExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DfResult<SendableRecordBatchStream> {
        let schema = Arc::clone(&self.schema);
        let Some(rows) = &self.table.rows else {
            return internal_err!("`{}` was planned without rows", self.table.name);
        };
        if partition >= partitions(rows) {
            let none = stream::empty();
            return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, none)));
        }
        let size = context.session_config().batch_size();
        let opened = match rows {
            StageInput::Collected(rows) => rows.open(partition),
            StageInput::Streamed(rows) => rows.open(partition),
        };
        let batches = opened
            .map_err(external)?
            .map(move |batch| -> DfResult<_> {
                let batch = project(&batch.map_err(external)?, &schema)?;
                Ok(stream::iter(pieces(&batch, size)?.into_iter().map(Ok)))
            })
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            batches,
        )))
    }

    fn statistics_from_inputs(
        &self,
        _: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> DfResult<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema);
        match (&self.table.rows, args.partition()) {
            (Some(StageInput::Collected(rows)), None) => {
                statistics.num_rows =
                    usize::try_from(rows.rows()).map_or(Precision::Absent, Precision::Exact);
                statistics.total_byte_size = Precision::Inexact(self.bytes(rows.bytes()));
            }
            // All others are there in full, and this one still comes.
            (Some(StageInput::Streamed(_)), None) => {
                statistics.num_rows = Precision::Inexact(MANY_ROWS);
                statistics.total_byte_size = Precision::Inexact(MANY_BYTES);
            }
            _ => {}
        }
        Ok(Arc::new(statistics))
    }
}

/// How many bytes of tables are read below a node of a plan: of one that still comes, nobody knows.
pub(crate) fn read_below(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    let own = plan.downcast_ref::<GatheredExec>();
    let own = own.and_then(|read| read.table.rows.as_ref()).map(bytes);
    let below = plan.children().into_iter().map(read_below);
    below.fold(own.unwrap_or(0), u64::saturating_add)
}

/// How many bytes an input has.
pub(crate) fn bytes(rows: &StageInput) -> u64 {
    match rows {
        StageInput::Collected(rows) => rows.bytes(),
        StageInput::Streamed(_) => u64::MAX,
    }
}

pub(crate) fn external(error: tidegate_core::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The columns of `schema`, by name, of a batch that may have more and in another order.
///
/// A table has a few dozen columns and a batch thousands of rows, so the search by name costs
/// nothing that a cache would win back.
pub(crate) fn project(
    batch: &RecordBatch,
    schema: &Arc<Schema>,
) -> Result<RecordBatch, ArrowError> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            let index = batch.schema_ref().index_of(field.name())?;
            settled(batch.column(index), field.data_type())
        })
        .collect::<Result<Vec<_>, ArrowError>>()?;
    // Without columns, the rows still count.
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

/// A batch that is far larger than a session's, as batches of that size: a sort takes one batch at
/// a time, and in a small budget a large one has no place. They are copies, because a slice counts
/// as large as what it is a slice of.
pub(crate) fn pieces(batch: &RecordBatch, size: usize) -> Result<Vec<RecordBatch>, ArrowError> {
    let rows = batch.num_rows();
    if rows <= size.saturating_mul(2) || batch.num_columns() == 0 {
        return Ok(vec![batch.clone()]);
    }
    (0..rows)
        .step_by(size)
        .map(|start| {
            let piece = batch.slice(start, size.min(rows - start));
            let all: UInt64Array = (0_u64..).take(piece.num_rows()).map(Some).collect();
            take_record_batch(&piece, &all)
        })
        .collect()
}
