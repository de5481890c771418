//! `min` and `max` of floating-point numbers in a GROUP BY, and of structs and lists.
//!
//! DataFusion's begin each group with the largest finite number, so that the `min` of nothing but
//! infinity is 1.797e308, and let whatever follows a NaN take its place, so that the answer depends
//! on the order of rows. Here they go by the total order, as DataFusion's own do without GROUP BY
//! and over windows: NaN is the greatest.

use arrow_array::ArrowNativeTypeOp;
use arrow_array::types::{ArrowPrimitiveType, Float16Type, Float32Type, Float64Type};
use arrow_schema::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, GroupsAccumulator};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;

use super::aggregates::Accumulators;
use super::nested::{self, Extreme};

/// Of `max`, or of `min`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Extremes {
    pub(super) greatest: bool,
}

impl Accumulators for Extremes {
    fn of_groups(&self, args: &AccumulatorArgs<'_>) -> Option<Box<dyn GroupsAccumulator>> {
        match args.return_field.data_type() {
            DataType::Float16 => Some(by_total_order::<Float16Type>(self.greatest)),
            DataType::Float32 => Some(by_total_order::<Float32Type>(self.greatest)),
            DataType::Float64 => Some(by_total_order::<Float64Type>(self.greatest)),
            of if nested::compares(of) => nested::of_groups(self.greatest, of),
            _ => None,
        }
    }

    fn of_one(
        &self,
        args: AccumulatorArgs<'_>,
        usual: impl FnOnce(AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>>,
    ) -> Result<Box<dyn Accumulator>> {
        self.of(args, false, usual)
    }

    fn of_window(
        &self,
        args: AccumulatorArgs<'_>,
        usual: impl FnOnce(AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>>,
    ) -> Result<Box<dyn Accumulator>> {
        self.of(args, true, usual)
    }

    fn has_groups(&self, args: &AccumulatorArgs<'_>, usual: bool) -> bool {
        usual || nested::compares(args.return_field.data_type())
    }
}

impl Extremes {
    fn of(
        &self,
        args: AccumulatorArgs<'_>,
        moves: bool,
        usual: impl FnOnce(AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>>,
    ) -> Result<Box<dyn Accumulator>> {
        match args.return_field.data_type() {
            of if nested::compares(of) => Ok(Box::new(Extreme::new(self.greatest, of, moves)?)),
            _ => usual(args),
        }
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
