//! Aggregate functions of DataFusion's, some of whose accumulators are ours.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use arrow_schema::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::functions_aggregate::average::Avg;
use datafusion::functions_aggregate::correlation::Correlation;
use datafusion::functions_aggregate::covariance::{CovariancePopulation, CovarianceSample};
use datafusion::functions_aggregate::min_max::{Max, Min};
use datafusion::functions_aggregate::regr::{Regr, RegrType};
use datafusion::functions_aggregate::stddev::{Stddev, StddevPop};
use datafusion::functions_aggregate::sum::Sum;
use datafusion::functions_aggregate::variance::{VariancePopulation, VarianceSample};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF,
    SetMonotonicity, Signature, StatisticsArgs,
};
use datafusion::scalar::ScalarValue;

use super::extremes::Extremes;
use super::moving::Moving;
use super::sums::Sums;

/// The functions, which take the place of DataFusion's.
pub(super) fn functions() -> Vec<Arc<AggregateUDF>> {
    let line = |of: RegrType, name, moving| replaced(Regr::new(of, name), moving);
    vec![
        replaced(Min::new(), Extremes { greatest: false }),
        replaced(Max::new(), Extremes { greatest: true }),
        replaced(Sum::new(), Sums),
        replaced(Avg::new(), Moving::Average),
        replaced(VarianceSample::new(), Moving::SampleVariance),
        replaced(VariancePopulation::new(), Moving::Variance),
        replaced(Stddev::new(), Moving::SampleDeviation),
        replaced(StddevPop::new(), Moving::Deviation),
        replaced(CovarianceSample::new(), Moving::SampleCovariance),
        replaced(CovariancePopulation::new(), Moving::Covariance),
        replaced(Correlation::new(), Moving::Correlation),
        line(RegrType::Slope, "regr_slope", Moving::Slope),
        line(RegrType::Intercept, "regr_intercept", Moving::Intercept),
        line(RegrType::R2, "regr_r2", Moving::Determination),
        line(RegrType::AvgX, "regr_avgx", Moving::MeanX),
        line(RegrType::AvgY, "regr_avgy", Moving::MeanY),
        line(RegrType::SXX, "regr_sxx", Moving::SquaresX),
        line(RegrType::SYY, "regr_syy", Moving::SquaresY),
        line(RegrType::SXY, "regr_sxy", Moving::Products),
    ]
}

/// Accumulators in the place of a function's own; `None` where its own are right.
pub(super) trait Accumulators: Debug + Send + Sync + 'static {
    /// Of many groups.
    fn of_groups(&self, _args: &AccumulatorArgs<'_>) -> Option<Box<dyn GroupsAccumulator>> {
        None
    }

    /// Whether there is one of many groups; `usual` says whether the function has one.
    fn has_groups(&self, _args: &AccumulatorArgs<'_>, usual: bool) -> bool {
        usual
    }

    /// Of one group; made of the function's own.
    fn of_one(
        &self,
        args: AccumulatorArgs<'_>,
        usual: impl FnOnce(AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>>,
    ) -> Result<Box<dyn Accumulator>> {
        usual(args)
    }

    /// Of a window, whose rows go again in the order in which they came; made of the function's
    /// own.
    fn of_window(
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

    fn aliases(&self) -> &[String] {
        self.usual.aliases()
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
        let usual = self.usual.groups_accumulator_supported(args.clone());
        self.ours.has_groups(&args, usual)
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        self.ours
            .of_window(args, |args| self.usual.create_sliding_accumulator(args))
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
