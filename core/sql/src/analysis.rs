//! What a plan says about itself: what it reads, whether it repeats, how large its joins are.

use arrow_schema::{DataType, SchemaRef};
use datafusion::catalog::default_table_source::source_as_provider;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::WindowFunctionDefinition;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, TableScan, Volatility};
use tidegate_core::{Predicate, Scan};

use crate::predicate::predicates;
use crate::table::{Provider, Table, bytes};

/// Which of the query's tables a scan reads.
pub(crate) fn table_of(scan: &TableScan) -> Option<usize> {
    let provider = source_as_provider(&scan.source).ok()?;
    provider
        .downcast_ref::<Provider>()
        .map(|provider| provider.index)
}

/// What an optimised plan needs of each table. Of a table that it doesn't read: no rows.
pub(crate) fn scans(plan: &LogicalPlan, tables: &[Table]) -> DfResult<Vec<Scan>> {
    let mut scans = vec![None; tables.len()];
    collect(plan, &[], tables, &mut scans)?;
    Ok(scans
        .into_iter()
        .zip(tables)
        .map(|(scan, table)| {
            scan.unwrap_or_else(|| Scan {
                columns: Some(cheapest(&table.schema)),
                limit: Some(0),
                ..Scan::all(&table.name)
            })
        })
        .collect())
}

/// Walks down with the conditions that stand directly above.
fn collect(
    plan: &LogicalPlan,
    above: &[Predicate],
    tables: &[Table],
    scans: &mut [Option<Scan>],
) -> DfResult<()> {
    match plan {
        LogicalPlan::TableScan(read) => {
            if let Some(index) = table_of(read) {
                let scan = scan(read, above, &tables[index]);
                scans[index] = Some(match scans[index].take() {
                    Some(other) => other.union(&scan),
                    None => scan,
                });
            }
        }
        LogicalPlan::Filter(filter) => {
            let mut all = predicates(&filter.predicate);
            all.extend_from_slice(above);
            collect(&filter.input, &all, tables, scans)?;
        }
        LogicalPlan::SubqueryAlias(alias) => collect(&alias.input, above, tables, scans)?,
        other => {
            for input in other.inputs() {
                collect(input, &[], tables, scans)?;
            }
        }
    }
    plan.apply_subqueries(|subquery| {
        // It arrives wrapped in a node of its own; what is read stands below.
        for input in subquery.inputs() {
            collect(input, &[], tables, scans)?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn scan(read: &TableScan, above: &[Predicate], table: &Table) -> Scan {
    let fields = table.schema.fields();
    let columns = read.projection.as_ref().map(|indices| {
        if indices.is_empty() {
            return cheapest(&table.schema);
        }
        let mut indices = indices.clone();
        indices.sort_unstable();
        indices.iter().map(|&i| fields[i].name().clone()).collect()
    });
    Scan {
        columns: columns.filter(|columns| columns.len() < fields.len()),
        predicates: above.to_vec(),
        limit: read.fetch.and_then(|rows| u64::try_from(rows).ok()),
        ..Scan::all(&table.name)
    }
}

/// The column that costs least to read, for plans that only count rows.
fn cheapest(schema: &SchemaRef) -> Vec<String> {
    let width = |data_type: &DataType| match data_type {
        DataType::Null | DataType::Boolean => 0,
        other => other.primitive_width().unwrap_or(usize::MAX),
    };
    schema
        .fields()
        .iter()
        .min_by_key(|field| width(field.data_type()))
        .map(|field| field.name().clone())
        .into_iter()
        .collect()
}

/// Of each table whether an optimised plan reads it once, row after row, so that it may come while
/// the plan runs.
pub(crate) fn read_once(plan: &LogicalPlan, tables: &[Table]) -> DfResult<Vec<bool>> {
    let mut reads = vec![0; tables.len()];
    let mut again = false;
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::TableScan(scan) => {
                if let Some(index) = table_of(scan) {
                    reads[index] += 1;
                }
            }
            // Both may read a side again and again.
            LogicalPlan::RecursiveQuery(_) => again = true,
            LogicalPlan::Join(join) => again |= join.on.is_empty(),
            LogicalPlan::Subquery(_) => again = true,
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(reads
        .into_iter()
        .map(|reads| reads == 1 && !again)
        .collect())
}

/// What a plan depends on besides its rows.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Nature {
    /// `now()` and the like: one value for each run of the plan.
    pub(crate) of_its_time: bool,
    /// `random()`, `uuid()`: another value for each row.
    pub(crate) random: bool,
    /// The order in which rows happen to arrive: `LIMIT` without `ORDER BY`, `row_number() OVER ()`.
    pub(crate) of_their_order: bool,
}

impl Nature {
    /// Of a plan before its optimisation, which puts constants in the place of `now()`.
    pub(crate) fn of(plan: &LogicalPlan) -> DfResult<Self> {
        let mut nature = Self::default();
        plan.apply_with_subqueries(|node| {
            match node {
                LogicalPlan::Limit(limit) => {
                    nature.of_their_order |= !sorted(&limit.input);
                }
                LogicalPlan::Distinct(Distinct::On(on)) => {
                    nature.of_their_order |= on.sort_expr.is_none();
                }
                _ => {}
            }
            node.apply_expressions(|expr| {
                expr.apply(|expr| {
                    nature.add(expr);
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })?;
        Ok(nature)
    }

    fn add(&mut self, expr: &Expr) {
        match expr {
            Expr::ScalarFunction(call) => match call.func.signature().volatility {
                Volatility::Immutable => {}
                Volatility::Stable => self.of_its_time = true,
                Volatility::Volatile => self.random = true,
            },
            Expr::AggregateFunction(call) => {
                self.of_their_order |= call.params.order_by.is_empty()
                    && call.func.order_sensitivity() != AggregateOrderSensitivity::Insensitive;
            }
            Expr::WindowFunction(call) => {
                self.of_their_order |= call.params.order_by.is_empty()
                    && matches!(call.fun, WindowFunctionDefinition::WindowUDF(_));
            }
            _ => {}
        }
    }

    pub(crate) fn deterministic(self) -> bool {
        !(self.of_its_time || self.random || self.of_their_order)
    }
}

fn sorted(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Projection(projection) => sorted(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => sorted(&alias.input),
        _ => false,
    }
}

/// The bytes that the largest hash table of the plan's joins may hold: of each join the smaller
/// side, taken as all that is read below it.
pub(crate) fn largest_build(plan: &LogicalPlan, tables: &[Table]) -> DfResult<u64> {
    let mut largest = 0;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Join(join) = node {
            let sides = [&join.left, &join.right].map(|side| read_below(side, tables));
            let [left, right] = sides;
            largest = largest.max(left?.min(right?));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(largest)
}

fn read_below(plan: &LogicalPlan, tables: &[Table]) -> DfResult<u64> {
    let mut sum = 0_u64;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(rows) = table_of(scan).and_then(|index| tables[index].rows.as_ref())
        {
            sum = sum.saturating_add(bytes(rows));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(sum)
}
