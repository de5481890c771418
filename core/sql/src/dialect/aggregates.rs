//! Aggregate functions of DataFusion's, some of whose accumulators are ours.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use arrow_schema::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::functions_aggregate::min_max::{Max, Min};
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF,
    SetMonotonicity, Signature, StatisticsArgs,
};
use datafusion::scalar::ScalarValue;

use super::extremes::Extremes;
use super::sums::Sums;

/// The functions, which take the place of DataFusion's.
pub(super) fn functions() -> [Arc<AggregateUDF>; 3] {
    [
        replaced(Min::new(), Extremes { greatest: false }),
        replaced(Max::new(), Extremes { greatest: true }),
        replaced(Sum::new(), Sums),
    ]
}

/// Accumulators in the place of a function's own; `None` where its own are right.
pub(super) trait Accumulators: Debug + Send + Sync + 'static {
    /// Of many groups.
    fn of_groups(&self, args: &AccumulatorArgs<'_>) -> Option<Box<dyn GroupsAccumulator>>;

    /// Of one group, or of a window, whose rows go again; made of the function's own.
    fn of_one(
        &self,
        args: AccumulatorArgs<'_>,
        usual: impl FnOnce(AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>>,
    ) -> Result<Box<dyn Accumulator>> {
        usual(args)
    }
}

/// A function with other accumulators.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Replaced<F, A> {
    usual: F,
    ours: A,
}

fn replaced<F, A>(usual: F, ours: A) -> Arc<AggregateUDF>
where
    F: AggregateUDFImpl + PartialEq + Eq + Hash,
    A: Accumulators + PartialEq + Eq + Hash,
{
    Arc::new(AggregateUDF::from(Replaced { usual, ours }))
}

impl<F, A> AggregateUDFImpl for Replaced<F, A>
where
    F: AggregateUDFImpl + PartialEq + Eq + Hash,
    A: Accumulators + PartialEq + Eq + Hash,
{
    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        match self.ours.of_groups(&args) {
            Some(ours) => Ok(ours),
            None => self.usual.create_groups_accumulator(args),
        }
    }

    fn name(&self) -> &str {
        self.usual.name()
    }

    fn signature(&self) -> &Signature {
        self.usual.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.usual.return_type(arg_types)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.ours.of_one(args, |args| self.usual.accumulator(args))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.usual.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.usual.groups_accumulator_supported(args)
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        self.ours
            .of_one(args, |args| self.usual.create_sliding_accumulator(args))
    }

    fn is_descending(&self) -> Option<bool> {
        self.usual.is_descending()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.usual.order_sensitivity()
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.usual.coerce_types(arg_types)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.usual.reverse_expr()
    }

    fn value_from_stats(&self, args: &StatisticsArgs<'_>) -> Option<ScalarValue> {
        self.usual.value_from_stats(args)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.usual.documentation()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.usual.set_monotonicity(data_type)
    }
}
