//! Sums of integers and decimals that end with an error where they grow beyond their type.
//! DataFusion's wrap around.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType,
    Int64Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, ArrowNativeTypeOp, BooleanArray};
use arrow_schema::{ArrowError, DataType};
use datafusion::error::Result;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use datafusion::scalar::ScalarValue;
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;

use super::aggregates::Accumulators;
use super::moving::Moving;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Sums;

/// `$helper!(type)` for the types of sums that can overflow; `None` for others.
macro_rules! of_type {
    ($data_type:expr, $make:ident) => {{
        let data_type = $data_type;
        match data_type {
            DataType::Int64 => Some($make::<Int64Type>(data_type, None)),
            DataType::UInt64 => Some($make::<UInt64Type>(data_type, None)),
            DataType::Decimal32(digits, _) => {
                let fits = Decimal32Type::is_valid_decimal_precision;
                Some($make::<Decimal32Type>(data_type, Some((*digits, fits))))
            }
            DataType::Decimal64(digits, _) => {
                let fits = Decimal64Type::is_valid_decimal_precision;
                Some($make::<Decimal64Type>(data_type, Some((*digits, fits))))
            }
            DataType::Decimal128(digits, _) => {
                let fits = Decimal128Type::is_valid_decimal_precision;
                Some($make::<Decimal128Type>(data_type, Some((*digits, fits))))
            }
            DataType::Decimal256(digits, _) => {
                let fits = Decimal256Type::is_valid_decimal_precision;
                Some($make::<Decimal256Type>(data_type, Some((*digits, fits))))
            }
            _ => None,
        }
    }};
}

/// The digits of a decimal, and what tells whether a number has no more.
type Digits<T> = Option<(u8, fn(<T as ArrowPrimitiveType>::Native, u8) -> bool)>;

impl Accumulators for Sums {
    fn of_groups(&self, args: &AccumulatorArgs<'_>) -> Option<Box<dyn GroupsAccumulator>> {
        of_type!(args.return_field.data_type(), groups)
    }

    fn of_one(
        &self,
        args: AccumulatorArgs<'_>,
        usual: impl FnOnce(AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>>,
    ) -> Result<Box<dyn Accumulator>> {
        let data_type = args.return_field.data_type();
        let Some(sum) = of_type!(data_type, one) else {
            return usual(args);
        };
        match args.is_distinct {
            false => Ok(sum),
            true => Ok(Box::new(Distinct {
                data_type: data_type.clone(),
                values: usual(args)?,
            })),
        }
    }

    fn of_window(
        &self,
        args: AccumulatorArgs<'_>,
        usual: impl FnOnce(AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>>,
    ) -> Result<Box<dyn Accumulator>> {
        match args.return_field.data_type() {
            DataType::Float64 => Moving::Sum.of_window(args, usual),
            _ => self.of_one(args, usual),
        }
    }
}

fn groups<T: ArrowPrimitiveType + Send>(
    data_type: &DataType,
    digits: Digits<T>,
) -> Box<dyn GroupsAccumulator> {
    let overflowed = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&overflowed);
    let add = move |sum: &mut T::Native, new: T::Native| match sum.add_checked(new) {
        Ok(total) => *sum = total,
        Err(_) => told.store(true, Ordering::Relaxed),
    };
    Box::new(Groups::<T> {
        sums: Box::new(PrimitiveGroupsAccumulator::<T, _>::new(data_type, add)),
        overflowed,
        digits,
        data_type: data_type.clone(),
    })
}

/// The sums of groups.
struct Groups<T: ArrowPrimitiveType> {
    sums: Box<dyn GroupsAccumulator>,
    overflowed: Arc<AtomicBool>,
    digits: Digits<T>,
    data_type: DataType,
}

impl<T: ArrowPrimitiveType> Groups<T> {
    fn check(&self) -> Result<()> {
        match self.overflowed.load(Ordering::Relaxed) {
            true => Err(beyond(&self.data_type).into()),
            false => Ok(()),
        }
    }
}

impl<T: ArrowPrimitiveType + Send> GroupsAccumulator for Groups<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.sums
            .update_batch(values, group_indices, opt_filter, total_num_groups)?;
        self.check()
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = self.sums.evaluate(emit_to)?;
        if let Some((digits, fits)) = self.digits
            && !sums
                .as_primitive::<T>()
                .iter()
                .flatten()
                .all(|sum| fits(sum, digits))
        {
            return Err(beyond(&self.data_type).into());
        }
        Ok(sums)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.sums.state(emit_to)
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.sums
            .merge_batch(values, group_indices, total_num_groups)?;
        self.check()
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        self.sums.convert_to_state(values, opt_filter)
    }

    fn size(&self) -> usize {
        self.sums.size()
    }
}

fn one<T: ArrowPrimitiveType>(data_type: &DataType, digits: Digits<T>) -> Box<dyn Accumulator> {
    Box::new(One::<T> {
        sum: T::default_value(),
        count: 0,
        digits,
        data_type: data_type.clone(),
    })
}

/// The sum of one group, or of a window.
struct One<T: ArrowPrimitiveType> {
    sum: T::Native,
    /// Of values in it; none make NULL.
    count: usize,
    digits: Digits<T>,
    data_type: DataType,
}

impl<T: ArrowPrimitiveType> fmt::Debug for One<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sum({})", self.data_type)
    }
}

impl<T: ArrowPrimitiveType> One<T> {
    fn take(
        &mut self,
        values: &ArrayRef,
        take: impl Fn(T::Native, T::Native) -> Result<T::Native, ArrowError>,
    ) -> Result<usize> {
        let values = values.as_primitive::<T>();
        let mut sum = self.sum;
        for value in values.iter().flatten() {
            sum = take(sum, value).map_err(|_| beyond(&self.data_type))?;
        }
        self.sum = sum;
        Ok(values.len() - values.null_count())
    }
}

impl<T: ArrowPrimitiveType> Accumulator for One<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.count += self.take(&values[0], |sum, value| sum.add_checked(value))?;
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.count -= self.take(&values[0], |sum, value| sum.sub_checked(value))?;
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if let Some((digits, fits)) = self.digits
            && !fits(self.sum, digits)
        {
            return Err(beyond(&self.data_type).into());
        }
        let sum = (self.count > 0).then_some(self.sum);
        ScalarValue::new_primitive::<T>(sum, &self.data_type)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The sum of different values, which DataFusion collects.
#[derive(Debug)]
struct Distinct {
    data_type: DataType,
    values: Box<dyn Accumulator>,
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.update_batch(values)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.values.supports_retract_batch()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.values.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.values.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let state = self.values.state()?;
        match (&*state, of_type!(&self.data_type, one)) {
            ([ScalarValue::List(values)], Some(mut sum)) if !values.is_empty() => {
                sum.update_batch(&[values.value(0)])?;
                sum.evaluate()
            }
            _ => self.values.evaluate(),
        }
    }

    fn size(&self) -> usize {
        self.values.size()
    }
}

fn beyond(data_type: &DataType) -> ArrowError {
    ArrowError::ArithmeticOverflow(format!("a sum grows beyond {data_type}"))
}
