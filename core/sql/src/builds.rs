//! Which side of a join is hashed.
//!
//! DataFusion guesses how many rows a join gives, takes every row to have a key of its own where it
//! knows nothing of the keys, and so believes that a large table joined with a small one is small.
//! Then the next join would hold the large one in memory.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::HashJoinExec;

use crate::table::read_below;

/// DataFusion's rules, with [`LeastRead`] right after those that choose how to join.
pub(crate) fn rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = PhysicalOptimizer::new().rules;
    let chosen = rules
        .iter()
        .position(|rule| rule.name() == "join_selection");
    let at = chosen.map_or(rules.len(), |at| at + 1);
    if chosen.is_some() {
        rules.insert(at, Arc::new(LeastRead));
    }
    rules
}

/// Hashes the side below which fewer bytes are read.
#[derive(Debug)]
struct LeastRead;

impl PhysicalOptimizerRule for LeastRead {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let swapped = plan.transform_up(|plan| {
            let Some(join) = plan.downcast_ref::<HashJoinExec>() else {
                return Ok(Transformed::no(plan));
            };
            // Which side is hashed is a part of what this one means.
            let fixed = join.null_aware || !join.join_type().supports_swap();
            if fixed || read_below(join.left()) <= read_below(join.right()) {
                return Ok(Transformed::no(plan));
            }
            let swapped = join.swap_inputs(*join.partition_mode())?;
            Ok(Transformed::yes(swapped))
        })?;
        Ok(swapped.data)
    }

    fn name(&self) -> &'static str {
        "least_read"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
