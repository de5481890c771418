//! How far conditions are pushed down.
//!
//! Below a projection, a condition has the projection's expressions in the place of its columns.
//! Where each step says `x + x AS x`, it doubles with each step, and thirty steps are a condition of
//! 2³⁰ columns.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::{ApplyOrder, Optimizer, OptimizerConfig, OptimizerRule};

/// So many expressions a condition may have more below a step than above it.
const MOST: usize = 1_000;

/// DataFusion's rules, of which the one that pushes conditions down has a limit.
pub(crate) fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let rules = Optimizer::new().rules.into_iter();
    let rules = rules.map(|rule| match rule.name() {
        "push_down_filter" => Arc::new(Bounded(PushDownFilter::new())) as _,
        _ => rule,
    });
    rules.collect()
}

/// Leaves a condition where it is, rather than let it grow by more than [`MOST`].
#[derive(Debug)]
struct Bounded(PushDownFilter);

impl OptimizerRule for Bounded {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> DfResult<Transformed<LogicalPlan>> {
        match &plan {
            LogicalPlan::Filter(filter) if growth(&filter.predicate, &filter.input)? > MOST => {
                Ok(Transformed::no(plan))
            }
            _ => self.0.rewrite(plan, config),
        }
    }
}

/// How many expressions a condition above a plan has more below it.
fn growth(condition: &Expr, below: &LogicalPlan) -> DfResult<usize> {
    let expressions = match below {
        LogicalPlan::Projection(projection) => &projection.expr,
        LogicalPlan::Aggregate(aggregate) => &aggregate.group_expr,
        _ => return Ok(0),
    };
    let mut sizes = HashMap::new();
    for (column, expr) in below.schema().columns().into_iter().zip(expressions) {
        sizes.insert(column, size(expr)?);
    }
    let mut growth = 0_usize;
    condition.apply(|expr| {
        if let Expr::Column(column) = expr {
            growth += sizes
                .get(column)
                .map_or(0, |size: &usize| size.saturating_sub(1));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(growth)
}

/// How many expressions one is made of, itself counted, but not its name.
fn size(expr: &Expr) -> DfResult<usize> {
    let mut size = 0;
    expr.apply(|expr| {
        size += usize::from(!matches!(expr, Expr::Alias(_)));
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(size)
}
