//! `min` and `max` of structs and lists.
//!
//! DataFusion compares structs field by field until one of two is NULL, and then says that they are
//! equal, so that the answer depends on the order of rows; lists it doesn't compare if structs are
//! in them. Here they go by the order that ORDER BY gives them: NULL is greater than any value.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, Scalar, new_null_array};
use arrow_cast::cast;
use arrow_schema::{DataType, SortOptions};
use arrow_select::zip::zip;
use datafusion::arrow::row::{OwnedRow, Row, RowConverter, SortField};
use datafusion::error::Result;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use datafusion::scalar::ScalarValue;

const ORDER: SortOptions = SortOptions {
    descending: false,
    nulls_first: false,
};

fn key(data_type: &DataType) -> SortField {
    SortField::new_with_options(data_type.clone(), ORDER)
}

/// Whether a type is one of those that are compared here.
pub(super) fn compares(data_type: &DataType) -> bool {
    use DataType as T;
    let nested = matches!(
        data_type,
        T::Struct(_) | T::List(_) | T::LargeList(_) | T::FixedSizeList(..)
    );
    nested && RowConverter::supports_fields(&[key(data_type)])
}

fn surpasses(row: Row<'_>, held: &OwnedRow, greatest: bool) -> bool {
    match greatest {
        true => row > held.row(),
        false => row < held.row(),
    }
}

/// The greatest or the least of one group, or of a window.
#[derive(Debug)]
pub(super) struct Extreme {
    greatest: bool,
    data_type: DataType,
    rows: RowConverter,
    /// The extreme, and in a window what follows it as soon as those before have left: each beside
    /// the number of its row.
    held: VecDeque<(usize, OwnedRow)>,
    entered: usize,
    left: usize,
    /// Whether rows leave.
    moves: bool,
}

impl Extreme {
    pub(super) fn new(greatest: bool, data_type: &DataType, moves: bool) -> Result<Self> {
        Ok(Self {
            greatest,
            data_type: data_type.clone(),
            rows: RowConverter::new(vec![key(data_type)])?,
            held: VecDeque::new(),
            entered: 0,
            left: 0,
            moves,
        })
    }

    fn enter(&mut self, row: Row<'_>) {
        let surpasses = |held: &OwnedRow| surpasses(row, held, self.greatest);
        if !self.moves {
            if self.held.front().is_none_or(|(_, held)| surpasses(held)) {
                self.held = [(0, row.owned())].into();
            }
            return;
        }
        // Those that leave earlier and are surpassed will never be the extreme.
        while self.held.back().is_some_and(|(_, held)| surpasses(held)) {
            self.held.pop_back();
        }
        self.held.push_back((self.entered, row.owned()));
        self.entered += 1;
    }
}

impl Accumulator for Extreme {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = &values[0];
        let rows = self.rows.convert_columns(&[Arc::clone(values)])?;
        for (at, row) in rows.iter().enumerate() {
            if values.is_valid(at) {
                self.enter(row);
            }
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.left += values[0].len() - values[0].null_count();
        while self.held.front().is_some_and(|(at, _)| *at < self.left) {
            self.held.pop_front();
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        self.moves
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let Some((_, extreme)) = self.held.front() else {
            return ScalarValue::try_new_null(&self.data_type);
        };
        let columns = self.rows.convert_rows([extreme.row()])?;
        ScalarValue::try_from_array(&columns[0], 0)?.cast_to(&self.data_type)
    }

    fn size(&self) -> usize {
        let held: usize = self.held.iter().map(|(_, row)| row.as_ref().len()).sum();
        let places = self.held.capacity() * size_of::<(usize, OwnedRow)>();
        size_of_val(self) + self.rows.size() + places + held
    }
}

/// The greatest or the least of many groups.
pub(super) fn of_groups(
    greatest: bool,
    data_type: &DataType,
) -> Option<Box<dyn GroupsAccumulator>> {
    let rows = RowConverter::new(vec![key(data_type)]).ok()?;
    let null = rows.convert_columns(&[new_null_array(data_type, 1)]).ok()?;
    Some(Box::new(Groups {
        greatest,
        data_type: data_type.clone(),
        null: null.row(0).owned(),
        rows,
        held: Vec::new(),
        bytes: 0,
    }))
}

struct Groups {
    greatest: bool,
    data_type: DataType,
    rows: RowConverter,
    /// Of groups without a value.
    null: OwnedRow,
    held: Vec<Option<OwnedRow>>,
    /// That all held rows have.
    bytes: usize,
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.held.resize(total_num_groups, None);
        let values = &values[0];
        let rows = self.rows.convert_columns(&[Arc::clone(values)])?;
        for (at, (row, group)) in rows.iter().zip(group_indices).enumerate() {
            let taken = opt_filter.is_none_or(|filter| filter.is_valid(at) && filter.value(at));
            if !taken || values.is_null(at) {
                continue;
            }
            let held = &mut self.held[*group];
            if held
                .as_ref()
                .is_none_or(|held| surpasses(row, held, self.greatest))
            {
                self.bytes += row.as_ref().len();
                if let Some(before) = held.replace(row.owned()) {
                    self.bytes -= before.as_ref().len();
                }
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let held = emit_to.take_needed(&mut self.held);
        let gone: usize = held.iter().flatten().map(|row| row.as_ref().len()).sum();
        self.bytes -= gone;
        let rows = held
            .iter()
            .map(|row| row.as_ref().unwrap_or(&self.null).row());
        let columns = self.rows.convert_rows(rows)?;
        Ok(cast(&columns[0], &self.data_type)?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit_to)?])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.update_batch(values, group_indices, None, total_num_groups)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let Some(filter) = opt_filter else {
            return Ok(values.to_vec());
        };
        let null = Scalar::new(new_null_array(&self.data_type, 1));
        Ok(vec![zip(filter, &values[0], &null)?])
    }

    fn size(&self) -> usize {
        let places = self.held.capacity() * size_of::<Option<OwnedRow>>();
        size_of_val(self) + self.rows.size() + places + self.bytes
    }
}
