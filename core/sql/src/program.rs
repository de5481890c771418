//! Filter, projection and `unnest`, compiled: one batch in, one batch out, without a runtime.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use arrow_select::filter::filter_record_batch;
use datafusion::common::UnnestOptions;
use datafusion::common::cast::as_boolean_array;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, exec_err, internal_err};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::Result as DfResult;
use datafusion::execution::TaskContext;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::unnest::{ListUnnest, UnnestExec};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr, common};
use futures::FutureExt;
use tidegate_core::Error;

use crate::analysis::table_of;
use crate::error::{concerns_rows, reason, running};
use crate::table::{Table, project};

/// A query that needs one row at a time, of one table.
#[derive(Debug, Clone)]
pub struct Program {
    table: usize,
    columns: SchemaRef,
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
enum Step {
    Filter(Arc<dyn PhysicalExpr>),
    Project(Vec<Arc<dyn PhysicalExpr>>, SchemaRef),
    Unnest(Unnest),
}

/// A row for each element of lists, a column for each field of structs.
#[derive(Debug, Clone)]
struct Unnest {
    lists: Vec<ListUnnest>,
    structs: Vec<usize>,
    options: UnnestOptions,
    schema: SchemaRef,
    context: Arc<TaskContext>,
}

impl Program {
    /// Compiles an optimised plan; `None` if it isn't only filters, projections and `unnest` of one
    /// table.
    pub(crate) fn compile(
        plan: &LogicalPlan,
        state: &SessionState,
        tables: &[Table],
    ) -> DfResult<Option<Self>> {
        let mut nodes = Vec::new();
        let mut node = plan;
        let scan = loop {
            let (expressions, input) = match node {
                LogicalPlan::Filter(filter) => (vec![&filter.predicate], &filter.input),
                LogicalPlan::Projection(projection) => {
                    (projection.expr.iter().collect(), &projection.input)
                }
                LogicalPlan::Unnest(unnest) => (Vec::new(), &unnest.input),
                LogicalPlan::SubqueryAlias(alias) => {
                    node = &alias.input;
                    continue;
                }
                LogicalPlan::TableScan(scan) if scan.fetch.is_none() && scan.filters.is_empty() => {
                    break scan;
                }
                _ => return Ok(None),
            };
            for expr in expressions {
                if !by_row(expr)? {
                    return Ok(None);
                }
            }
            nodes.push(node);
            node = input;
        };
        let Some(table) = table_of(scan) else {
            return Ok(None);
        };
        let columns = match &scan.projection {
            Some(indices) => Arc::new(tables[table].schema.project(indices)?),
            None => Arc::clone(&tables[table].schema),
        };
        let steps = nodes
            .into_iter()
            .rev()
            .map(|node| Step::compile(node, state))
            .collect::<DfResult<_>>()?;
        Ok(Some(Self {
            table,
            columns,
            steps,
        }))
    }

    /// Which of the query's tables it reads.
    pub fn table(&self) -> usize {
        self.table
    }

    /// Computes a batch of the table, which may have more columns than are read. Rows keep their
    /// order, and the rows that `unnest` makes of one stand together. The result has the plan's
    /// columns, yet to be brought into the query's [`Shape`](crate::Shape).
    pub fn run(&self, batch: &RecordBatch) -> Result<RecordBatch, Failure> {
        let batch = project(batch, &self.columns).map_err(|error| {
            Failure::Other(
                Error::schema("a batch doesn't have the columns that the query reads")
                    .because(error),
            )
        })?;
        self.steps
            .iter()
            .try_fold(batch, |batch, step| step.run(&batch))
            .map_err(|error| match concerns_rows(&error) {
                true => Failure::Value(reason(&error)),
                false => Failure::Other(running(&error)),
            })
    }
}

/// Why a batch can't be computed.
#[derive(Debug)]
pub enum Failure {
    /// Some row has a value with which it can't be done, for this reason (a text that is no
    /// number, a division by zero). The batch's other rows may well be fine.
    Value(String),
    /// Something else.
    Other(Error),
}

impl Step {
    fn compile(node: &LogicalPlan, state: &SessionState) -> DfResult<Self> {
        let input: &DFSchema = match node.inputs().first() {
            Some(input) => input.schema(),
            None => return exec_err!("a step without an input"),
        };
        let compile = |expr: &Expr| state.create_physical_expr(expr.clone(), input);
        match node {
            LogicalPlan::Filter(filter) => Ok(Self::Filter(compile(&filter.predicate)?)),
            LogicalPlan::Projection(projection) => {
                let expressions = projection.expr.iter().map(compile);
                let schema = Arc::clone(projection.schema.inner());
                Ok(Self::Project(expressions.collect::<DfResult<_>>()?, schema))
            }
            LogicalPlan::Unnest(unnest) => {
                let lists = unnest.list_type_columns.iter();
                let lists = lists.map(|(column, list)| ListUnnest {
                    index_in_input_schema: *column,
                    depth: list.depth,
                });
                Ok(Self::Unnest(Unnest {
                    lists: lists.collect(),
                    structs: unnest.struct_type_columns.clone(),
                    options: unnest.options.clone(),
                    schema: Arc::clone(unnest.schema.inner()),
                    context: state.task_ctx(),
                }))
            }
            _ => exec_err!("not a step that takes row by row"),
        }
    }

    fn run(&self, batch: &RecordBatch) -> DfResult<RecordBatch> {
        let rows = batch.num_rows();
        match self {
            Self::Unnest(unnest) => unnest.run(batch),
            Self::Filter(condition) => {
                let keep = condition.evaluate(batch)?.into_array(rows)?;
                Ok(filter_record_batch(batch, as_boolean_array(&keep)?)?)
            }
            Self::Project(expressions, planned) => {
                let columns = expressions
                    .iter()
                    .map(|expr| expr.evaluate(batch)?.into_array(rows))
                    .collect::<DfResult<Vec<_>>>()?;
                // The types as computed: nested fields may differ from the plan in their names
                // or in what may be NULL, which the query's shape evens out.
                let fields = planned
                    .fields()
                    .iter()
                    .zip(&columns)
                    .map(|(field, column)| {
                        let field = field.as_ref().clone();
                        let nullable = field.is_nullable() || column.null_count() > 0;
                        field
                            .with_data_type(column.data_type().clone())
                            .with_nullable(nullable)
                    });
                let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
                let options = RecordBatchOptions::new().with_row_count(Some(rows));
                Ok(RecordBatch::try_new_with_options(
                    schema, columns, &options,
                )?)
            }
        }
    }
}

impl Unnest {
    fn run(&self, batch: &RecordBatch) -> DfResult<RecordBatch> {
        let input = MemorySourceConfig::try_new_exec(&[vec![batch.clone()]], batch.schema(), None)?;
        let unnest = UnnestExec::new(
            input,
            self.lists.clone(),
            self.structs.clone(),
            Arc::clone(&self.schema),
            self.options.clone(),
        )?;
        let rows = common::collect(unnest.execute(0, Arc::clone(&self.context))?);
        // All rows are there, so nothing waits: unless it were made to, for the sake of other tasks.
        match tokio::task::unconstrained(rows).now_or_never() {
            Some(batches) => Ok(concat_batches(&self.schema, &batches?)?),
            None => internal_err!("rows that are there were waited for"),
        }
    }
}

/// Whether an expression can be computed from one row alone.
fn by_row(expr: &Expr) -> DfResult<bool> {
    let mut alone = true;
    expr.apply(|expr| {
        alone &= !matches!(
            expr,
            Expr::AggregateFunction(_)
                | Expr::WindowFunction(_)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::SetComparison(_)
                | Expr::ScalarSubquery(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::Unnest(_)
                | Expr::GroupingSet(_)
                | Expr::Placeholder(_)
        );
        Ok(if alone {
            TreeNodeRecursion::Continue
        } else {
            TreeNodeRecursion::Stop
        })
    })?;
    Ok(alone)
}
