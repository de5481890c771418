//! A query that is planned against its tables.

use std::fmt;
use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use datafusion::common::{Diagnostic, Span};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::TaskContext;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream_partitioned};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArguments, PipeOperator, Query as Ast, SetExpr, Spanned, Statement as Sql,
};
use futures::StreamExt;
use tidegate_core::{BatchStream, Error, Result, Scan, StageInput};

use crate::analysis::{self, Nature};
use crate::case;
use crate::error::{planning, running};
use crate::naming;
use crate::output::Shape;
use crate::parse::statement;
use crate::program::Program;
use crate::session::{Resources, RunningSession, now, planning_session};
use crate::table::Table;
use crate::tree::first;

/// A query, typed against its tables.
pub struct Query {
    text: Arc<Ast>,
    tables: Vec<Table>,
    state: SessionState,
    /// Before its optimisation, so that `now()` is still in it.
    plan: LogicalPlan,
    shape: Shape,
    nature: Nature,
    scans: Vec<Scan>,
    /// Of each table whether it may come while the query runs.
    streams: Vec<bool>,
    program: Option<Program>,
}

impl Query {
    /// Plans a query without reading any row. Errors: `Config`, with `line` and
    /// `column` where they are known.
    pub async fn plan(sql: &str, tables: Vec<Table>) -> Result<Self> {
        let mut ast = statement(sql)?;
        case::resolve(&mut ast, &tables);
        naming::columns(&mut ast);
        let ast = Arc::new(ast);
        Self::typed(Arc::clone(&ast), &tables)
            .await
            .map_err(|error| planning(&error, Some(&ast), &tables))?
    }

    async fn typed(text: Arc<Ast>, tables: &[Table]) -> DfResult<Result<Self>> {
        let state = planning_session(tables)?;
        let plan = logical(&text, &state).await?;
        let optimized = state.optimize(&plan)?;
        let program = Program::compile(&optimized, &state, tables)?;
        let mut planned = optimized.schema().as_arrow().clone();
        if program.is_none() {
            // What can't be carried out is found before a row is read.
            let physical = physical(&optimized, &state).await?;
            planned = widened(&planned, &physical.schema());
        }
        let scans = analysis::scans(&optimized, tables)?;
        let streams = analysis::read_once(&optimized, tables)?;
        let nature = Nature::of(&plan)?;
        Ok(Shape::new(&planned, &text).map(|shape| Self {
            text,
            tables: tables.to_vec(),
            state,
            plan,
            shape,
            nature,
            scans,
            streams,
            program,
        }))
    }

    /// The schema of what comes out.
    pub fn schema(&self) -> SchemaRef {
        self.shape.schema()
    }

    /// The way of a [`Program`]'s batches into [`schema`](Self::schema).
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Whether the same rows always give the same rows. Not with `now()` or `random()`, nor where
    /// it depends on the order in which rows arrive (`LIMIT` without `ORDER BY`).
    pub fn deterministic(&self) -> bool {
        self.nature.deterministic()
    }

    /// Whether its rows have an order: the query as a whole says ORDER BY.
    pub fn ordered(&self) -> bool {
        ordered(&self.text)
    }

    /// Whether it asks for the time (`now()`, `current_date`): a [`Program`] holds the time at
    /// which it was compiled, so ask for a new one by [`program_now`](Self::program_now).
    pub fn of_its_time(&self) -> bool {
        self.nature.of_its_time
    }

    /// The query as a program, if it is only filters and projections of one table.
    pub fn program(&self) -> Option<&Program> {
        self.program.as_ref()
    }

    /// The program with the present time in the place of `now()`. Costs about a millisecond.
    pub fn program_now(&self) -> Result<Program> {
        let mut state = self.state.clone();
        state.execution_props_mut().query_execution_start_time = Some(now());
        state
            .optimize(&self.plan)
            .and_then(|plan| Program::compile(&plan, &state, &self.tables))
            .map_err(|error| planning(&error, Some(&self.text), &self.tables))?
            .ok_or_else(|| Error::internal("a query's plan changed its kind"))
    }

    /// What it needs of the `table`-th table. The scan is named after the table.
    pub fn scan(&self, table: usize) -> Scan {
        self.scans[table].clone()
    }

    /// Whether the rows of the `table`-th table may come while the query runs. At most one table's
    /// may.
    pub fn streams(&self, table: usize) -> bool {
        self.streams[table]
    }

    /// Runs the query over tables that have rows: one stream for each partition of what comes
    /// out, in order and only one where the query says ORDER BY.
    ///
    /// The streams are polled at once, within a tokio runtime; dropping them ends the work.
    /// Errors: `Data` where a value can't be computed, `Config` where the memory is too small;
    /// errors of the tables' rows come through as they are.
    pub async fn run(&self, tables: &[Table], resources: &Resources) -> Result<Vec<BatchStream>> {
        std::fs::create_dir_all(&resources.scratch).map_err(|error| {
            Error::io(
                "the directory for what doesn't fit in memory can't be made",
                error,
            )
            .with("path", resources.scratch.display())
        })?;
        for table in tables {
            if let Some(StageInput::Streamed(rows)) = &table.rows {
                rows.begun().await;
            }
        }
        let (physical, context) = self
            .prepare(tables, resources)
            .await
            .map_err(|error| running(&error))?;
        let streams =
            execute_stream_partitioned(physical, context).map_err(|error| running(&error))?;
        let shape = Arc::new(self.shape.clone());
        Ok(streams
            .into_iter()
            .map(|stream| {
                let shape = Arc::clone(&shape);
                stream
                    .map(move |batch| shape.fit(&batch.map_err(|error| running(&error))?))
                    .boxed()
            })
            .collect())
    }

    async fn prepare(
        &self,
        tables: &[Table],
        resources: &Resources,
    ) -> DfResult<(Arc<dyn ExecutionPlan>, Arc<TaskContext>)> {
        let hashing = RunningSession::new(tables, resources, false)?;
        let plan = logical(&self.text, &hashing.state).await?;
        let plan = hashing.state.optimize(&plan)?;
        // A hash join holds its smaller side in memory; one that sorts can go to disk.
        let sort_merge = analysis::largest_build(&plan, tables)? > resources.memory / 4;
        let session = match sort_merge {
            true => RunningSession::new(tables, resources, true)?,
            false => hashing,
        };
        let physical = physical(&plan, &session.state).await?;
        let context = session.context(&physical);
        Ok((physical, context))
    }
}

/// Whether ORDER BY stands outside of all else but LIMIT: within a subquery it orders nothing that
/// comes out.
fn ordered(query: &Ast) -> bool {
    let orders = |step: &PipeOperator| matches!(step, PipeOperator::OrderBy { .. });
    let keeps = |step: &PipeOperator| orders(step) || matches!(step, PipeOperator::Limit { .. });
    match query.pipe_operators.as_slice() {
        [] => match (&query.order_by, query.body.as_ref()) {
            (Some(_), _) => true,
            (None, SetExpr::Query(inner)) => ordered(inner),
            _ => false,
        },
        steps => {
            let last = steps.iter().rev().take_while(|step| keeps(step));
            last.into_iter().any(orders)
        }
    }
}

/// A query as DataFusion understands it, before it is optimised.
pub(crate) async fn logical(text: &Ast, state: &SessionState) -> DfResult<LogicalPlan> {
    check_calls(text, state)?;
    let statement = Statement::Statement(Box::new(Sql::Query(Box::new(text.clone()))));
    state.statement_to_plan(statement).await
}

/// Refuses what only aggregates take where another function is called: DataFusion ignores it.
fn check_calls(text: &Ast, state: &SessionState) -> DfResult<()> {
    let found = first(text, |expr| {
        let Expr::Function(call) = expr else {
            return None;
        };
        let name = call.name.to_string().to_lowercase();
        if !state.scalar_functions().contains_key(&name) {
            return None;
        }
        let list = match &call.args {
            FunctionArguments::List(list) => Some(list),
            _ => None,
        };
        let distinct = list.is_some_and(|list| list.duplicate_treatment.is_some());
        let clause = list.is_some_and(|list| !list.clauses.is_empty());
        let what = match () {
            () if distinct => "DISTINCT or ALL",
            () if clause || !call.within_group.is_empty() => "an order",
            () if call.filter.is_some() => "FILTER",
            () if call.over.is_some() => "OVER",
            () if call.null_treatment.is_some() => "IGNORE or RESPECT NULLS",
            () => return None,
        };
        Some((name, what, call.name.span()))
    });
    let Some((name, what, span)) = found else {
        return Ok(());
    };
    let message = format!("`{name}` takes no {what}: it is computed row by row");
    let span = Span::try_from_sqlparser_span(span);
    let told =
        Diagnostic::new_error(message.clone(), span).with_help("only aggregates take that", None);
    Err(DataFusionError::Plan(message).with_diagnostic(told))
}

/// Of a plan that is optimised already.
async fn physical(plan: &LogicalPlan, state: &SessionState) -> DfResult<Arc<dyn ExecutionPlan>> {
    state
        .query_planner()
        .create_physical_plan(plan, state)
        .await
}

/// What the plan says, where a column may be NULL if either of its forms says so.
fn widened(logical: &Schema, physical: &Schema) -> Schema {
    let fields = logical.fields().iter().zip(physical.fields());
    let fields = fields.map(|(field, other)| {
        let nullable = field.is_nullable() || other.is_nullable();
        field.as_ref().clone().with_nullable(nullable)
    });
    Schema::new(fields.collect::<Vec<_>>())
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Query({})", self.text)
    }
}
