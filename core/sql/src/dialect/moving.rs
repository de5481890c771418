//! Sums, means and the like of floating-point numbers over windows that move.
//!
//! DataFusion takes the numbers that leave a window away from its sums again. After a NaN or an
//! infinity nothing but NaN is left then, and after 1e20 less than nothing. Here nothing is ever
//! taken away:
//!
//! ```text
//!           leave                    enter
//! suffixes of the older rows │ newer rows, one by one, and all together
//! ```
//!
//! The older rows are held as summaries of each of them with all older rows after it, so that one
//! is dropped as its row leaves. When there are none left, the newer rows become older ones.

use std::fmt::Debug;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Accumulator;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::scalar::ScalarValue;

use super::aggregates::Accumulators;
use super::summaries::{Pairs, Spread, Summary, Total};

/// A function over windows. Those of pairs take y and then x.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Moving {
    Sum,
    Average,
    Variance,
    SampleVariance,
    Deviation,
    SampleDeviation,
    Covariance,
    SampleCovariance,
    Correlation,
    Slope,
    Intercept,
    Determination,
    MeanX,
    MeanY,
    SquaresX,
    SquaresY,
    Products,
}

impl Accumulators for Moving {
    /// DataFusion's `corr` of many groups sums plain squares, which lose all digits of numbers that
    /// are large beside their differences; its own of one group doesn't.
    fn has_groups(&self, _: &AccumulatorArgs<'_>, usual: bool) -> bool {
        usual && *self != Self::Correlation
    }

    fn of_window(
        &self,
        args: AccumulatorArgs<'_>,
        usual: impl FnOnce(AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>>,
    ) -> Result<Box<dyn Accumulator>> {
        let double = |field: &FieldRef| *field.data_type() == DataType::Float64;
        let doubles = double(&args.return_field) && args.expr_fields.iter().all(double);
        match doubles && !args.is_distinct {
            true => Ok(self.accumulator()),
            false => usual(args),
        }
    }
}

impl Moving {
    fn accumulator(self) -> Box<dyn Accumulator> {
        use Moving as M;
        match self {
            M::Sum => window(|all: Total| some(all.count > 0.0, all.sum)),
            M::Average => window(|all: Total| some(all.count > 0.0, all.sum / all.count)),
            M::Variance => window(variance),
            M::SampleVariance => window(sample_variance),
            M::Deviation => window(|all| variance(all).map(f64::sqrt)),
            M::SampleDeviation => window(|all| sample_variance(all).map(f64::sqrt)),
            M::Covariance => window(|all: Pairs| {
                let count = all.first.count;
                some(count > 0.0, all.products / count)
            }),
            M::SampleCovariance => window(|all: Pairs| {
                let count = all.first.count;
                some(count > 1.0, all.products / (count - 1.0))
            }),
            M::Correlation => window(correlation),
            M::Slope => window(slope),
            M::Intercept => window(|all: Pairs| {
                let slope = slope(all)?;
                Some(all.first.mean - slope * all.second.mean)
            }),
            M::Determination => window(|all: Pairs| {
                let (y, x) = (all.first.squares, all.second.squares);
                let known = all.first.count > 1.0 && x != 0.0 && y != 0.0;
                some(known, (all.products / x) * (all.products / y))
            }),
            M::MeanX => window(|all: Pairs| some(all.second.count > 0.0, all.second.mean)),
            M::MeanY => window(|all: Pairs| some(all.first.count > 0.0, all.first.mean)),
            M::SquaresX => window(|all: Pairs| some(all.second.count > 0.0, all.second.squares)),
            M::SquaresY => window(|all: Pairs| some(all.first.count > 0.0, all.first.squares)),
            M::Products => window(|all: Pairs| some(all.first.count > 0.0, all.products)),
        }
    }
}

fn some(known: bool, number: f64) -> Option<f64> {
    known.then_some(number)
}

fn variance(all: Spread) -> Option<f64> {
    some(all.count > 0.0, all.squares / all.count)
}

fn sample_variance(all: Spread) -> Option<f64> {
    some(all.count > 1.0, all.squares / (all.count - 1.0))
}

/// As DataFusion has it without a window: NULL beside a NaN, but NaN of nothing but NaN.
fn correlation(all: Pairs) -> Option<f64> {
    let (one, other) = (all.first, all.second);
    match (one.mean.is_nan(), other.mean.is_nan()) {
        (true, true) => return Some(f64::NAN),
        (false, false) => {}
        _ => return None,
    }
    let known = one.count > 1.0 && one.squares != 0.0 && other.squares != 0.0;
    let deviation = |of: Spread| (of.squares / of.count).sqrt();
    let number = all.products / one.count / deviation(one) / deviation(other);
    // Rounding can lead beyond one.
    some(known, number.clamp(-1.0, 1.0))
}

fn slope(all: Pairs) -> Option<f64> {
    let squares = all.second.squares;
    let known = all.second.count > 1.0 && squares != 0.0;
    some(known, all.products / squares)
}

/// What rows of arguments are read as.
trait Read: Sized {
    /// Those without NULL.
    fn read(values: &[ArrayRef], take: impl FnMut(Self));
}

impl Read for f64 {
    fn read(values: &[ArrayRef], take: impl FnMut(Self)) {
        let values = values[0].as_primitive::<Float64Type>();
        match values.null_count() {
            0 => values.values().iter().copied().for_each(take),
            _ => values.iter().flatten().for_each(take),
        }
    }
}

impl Read for (f64, f64) {
    fn read(values: &[ArrayRef], take: impl FnMut(Self)) {
        let [first, second] = [0, 1].map(|at| values[at].as_primitive::<Float64Type>());
        let pairs = first.iter().zip(second);
        pairs
            .filter_map(|(first, second)| first.zip(second))
            .for_each(take);
    }
}

fn window<S: Summary<Row: Read>>(result: fn(S) -> Option<f64>) -> Box<dyn Accumulator> {
    Box::new(Window {
        rows: Rows::default(),
        result,
    })
}

#[derive(Debug)]
struct Window<S: Summary> {
    rows: Rows<S>,
    result: fn(S) -> Option<f64>,
}

impl<S: Summary<Row: Read>> Accumulator for Window<S> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        S::Row::read(values, |row| self.rows.enter(row));
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let mut count = 0;
        S::Row::read(values, |_| count += 1);
        self.rows.leave(count);
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64((self.result)(self.rows.all())))
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        Err(in_parts())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Err(in_parts())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.rows.size()
    }
}

fn in_parts() -> DataFusionError {
    DataFusionError::Internal("a window is computed in parts".to_owned())
}

/// The rows in a window. Entering and leaving take a constant time each, averaged over all rows.
#[derive(Debug)]
struct Rows<S: Summary> {
    /// Each with all after it in here. The last is of the row that leaves first.
    older: Vec<S>,
    newer: Vec<S::Row>,
    /// All of the newer.
    together: S,
}

impl<S: Summary> Default for Rows<S> {
    fn default() -> Self {
        Self {
            older: Vec::new(),
            newer: Vec::new(),
            together: S::default(),
        }
    }
}

impl<S: Summary> Rows<S> {
    fn enter(&mut self, row: S::Row) {
        self.newer.push(row);
        self.together = self.together.and(S::of(row));
    }

    /// The first `count` of those that are here; at most all.
    fn leave(&mut self, mut count: usize) {
        if count > self.older.len() {
            count -= self.older.len();
            self.older.clear();
            let stay = self.newer.drain(..).skip(count).rev();
            let mut suffix = S::default();
            self.older.extend(stay.map(|row| {
                suffix = S::of(row).and(suffix);
                suffix
            }));
            self.together = S::default();
            count = 0;
        }
        self.older.truncate(self.older.len() - count);
    }

    fn all(&self) -> S {
        let older = self.older.last().copied().unwrap_or_default();
        older.and(self.together)
    }

    fn size(&self) -> usize {
        self.older.capacity() * size_of::<S>() + self.newer.capacity() * size_of::<S::Row>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Small integers, whose sums are exact in any order.
        #[test]
        fn a_window_has_the_sum_of_what_is_in_it(
            steps in prop::collection::vec((prop::collection::vec(-9i8..9, 0..5), 0usize..6), 1..60)
        ) {
            let (mut window, mut held) = (Rows::<Total>::default(), Vec::new());
            for (entering, leaving) in steps {
                for number in entering {
                    window.enter(f64::from(number));
                    held.push(f64::from(number));
                }
                let leaving = leaving.min(held.len());
                window.leave(leaving);
                held.drain(..leaving);
                prop_assert_eq!(window.all().sum, held.iter().sum::<f64>());
            }
        }

        #[test]
        fn a_window_has_the_deviations_of_what_is_in_it(
            pairs in prop::collection::vec((-1e3..1e3, -1e3..1e3), 8..60),
            width in 1usize..8,
        ) {
            let mut window = Rows::<Pairs>::default();
            for (at, pair) in pairs.iter().enumerate() {
                window.enter(*pair);
                let first = (at + 1).saturating_sub(width);
                if first > 0 {
                    window.leave(1);
                }
                let held = &pairs[first..=at];
                let count = held.iter().fold(0.0, |count, _| count + 1.0);
                let mean = |of: fn(&(f64, f64)) -> f64| held.iter().map(of).sum::<f64>() / count;
                let (one, other) = (mean(|pair| pair.0), mean(|pair| pair.1));
                let squares: f64 = held.iter().map(|pair| (pair.0 - one).powi(2)).sum();
                let products: f64 = held
                    .iter()
                    .map(|pair| (pair.0 - one) * (pair.1 - other))
                    .sum();
                let all = window.all();
                prop_assert_eq!(all.first.count, count);
                prop_assert!((all.first.mean - one).abs() < 1e-9);
                prop_assert!((all.first.squares - squares).abs() < 1e-6);
                prop_assert!((all.products - products).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn nothing_stays_of_what_has_left() {
        let mut window = Rows::<Total>::default();
        for number in [1e20, f64::NAN, f64::INFINITY, 1.0, 2.0] {
            window.enter(number);
        }
        window.leave(3);
        assert_eq!(window.all().sum, 3.0);
        window.leave(2);
        assert_eq!(window.all().count, 0.0);
    }
}
