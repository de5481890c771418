//! What is kept of many numbers, or pairs of them, so that two such summaries make one.
//!
//! Squares and products are of differences to the mean (Chan, Golub and LeVeque, "Updating formulae
//! and a pairwise algorithm for computing sample variances", 1979): sums of plain squares lose all
//! digits of numbers that are large beside their differences.

use std::fmt::Debug;

/// A summary of rows that follow each other; the default is of none.
pub(super) trait Summary: Copy + Default + Debug + Send + Sync + 'static {
    type Row: Copy + Debug + Send + Sync + 'static;

    fn of(row: Self::Row) -> Self;

    /// Of its rows and of those after them.
    fn and(self, later: Self) -> Self;
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Total {
    pub(super) count: f64,
    pub(super) sum: f64,
}

impl Summary for Total {
    type Row = f64;

    fn of(row: f64) -> Self {
        Self {
            count: 1.0,
            sum: row,
        }
    }

    fn and(self, later: Self) -> Self {
        Self {
            count: self.count + later.count,
            sum: self.sum + later.sum,
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spread {
    pub(super) count: f64,
    pub(super) mean: f64,
    /// The sum of the squares of differences to the mean.
    pub(super) squares: f64,
}

impl Summary for Spread {
    type Row = f64;

    fn of(row: f64) -> Self {
        Self {
            count: 1.0,
            mean: row,
            squares: none_of(row),
        }
    }

    fn and(self, later: Self) -> Self {
        if self.count == 0.0 || later.count == 0.0 {
            return if self.count == 0.0 { later } else { self };
        }
        let count = self.count + later.count;
        let apart = later.mean - self.mean;
        Self {
            count,
            mean: self.mean + apart * (later.count / count),
            squares: self.squares
                + later.squares
                + apart * apart * (self.count * (later.count / count)),
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pairs {
    /// Of the first of each pair.
    pub(super) first: Spread,
    pub(super) second: Spread,
    /// The sum of the products of differences to the means.
    pub(super) products: f64,
}

impl Summary for Pairs {
    type Row = (f64, f64);

    fn of((first, second): (f64, f64)) -> Self {
        Self {
            first: Spread::of(first),
            second: Spread::of(second),
            products: none_of(first) + none_of(second),
        }
    }

    fn and(self, later: Self) -> Self {
        let (one, other) = (self.first.count, later.first.count);
        if one == 0.0 || other == 0.0 {
            return if one == 0.0 { later } else { self };
        }
        let apart = |of: fn(&Self) -> &Spread| of(&later).mean - of(&self).mean;
        let product = apart(|pairs| &pairs.first) * apart(|pairs| &pairs.second);
        Self {
            first: self.first.and(later.first),
            second: self.second.and(later.second),
            products: self.products + later.products + product * (one * (other / (one + other))),
        }
    }
}

/// The difference to itself: zero, but for what isn't finite.
#[expect(clippy::eq_op, reason = "infinity less infinity is NaN")]
fn none_of(number: f64) -> f64 {
    number - number
}
