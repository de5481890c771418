//! `min` and `max` of floating-point numbers in a GROUP BY.
//!
//! DataFusion's begin each group with the largest finite number, so that the `min` of nothing but
//! infinity is 1.797e308, and let whatever follows a NaN take its place, so that the answer depends
//! on the order of rows. Here they go by the total order, as DataFusion's own do without GROUP BY
//! and over windows: NaN is the greatest.

use std::sync::Arc;

use arrow_array::ArrowNativeTypeOp;
use arrow_array::types::{ArrowPrimitiveType, Float16Type, Float32Type, Float64Type};
use arrow_schema::DataType;
use datafusion::error::Result;
use datafusion::functions_aggregate::min_max::{Max, Min};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF,
    SetMonotonicity, Signature, StatisticsArgs,
};
use datafusion::scalar::ScalarValue;
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;

/// The functions, which take the place of DataFusion's.
pub(super) fn functions() -> [Arc<AggregateUDF>; 2] {
    let min = Extreme {
        usual: Min::new(),
        greatest: false,
    };
    let max = Extreme {
        usual: Max::new(),
        greatest: true,
    };
    [Arc::new(min.into()), Arc::new(max.into())]
}

/// One of DataFusion's two, but for groups of floating-point numbers.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Extreme<F> {
    usual: F,
    greatest: bool,
}

impl<F: AggregateUDFImpl + PartialEq + Eq + std::hash::Hash> AggregateUDFImpl for Extreme<F> {
    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        match args.return_field.data_type() {
            DataType::Float16 => Ok(by_total_order::<Float16Type>(self.greatest)),
            DataType::Float32 => Ok(by_total_order::<Float32Type>(self.greatest)),
            DataType::Float64 => Ok(by_total_order::<Float64Type>(self.greatest)),
            _ => self.usual.create_groups_accumulator(args),
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
        self.usual.accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.usual.groups_accumulator_supported(args)
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        self.usual.create_sliding_accumulator(args)
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

fn by_total_order<T: ArrowPrimitiveType + Send>(greatest: bool) -> Box<dyn GroupsAccumulator> {
    type Held<T> = <T as ArrowPrimitiveType>::Native;
    let start = match greatest {
        true => Held::<T>::MIN_TOTAL_ORDER,
        false => Held::<T>::MAX_TOTAL_ORDER,
    };
    let take = move |held: &mut Held<T>, new: Held<T>| {
        let replaces = match greatest {
            true => new.is_gt(*held),
            false => new.is_lt(*held),
        };
        if replaces {
            *held = new;
        }
    };
    Box::new(
        PrimitiveGroupsAccumulator::<T, _>::new(&T::DATA_TYPE, take).with_starting_value(start),
    )
}
