//! Functions that make much of little: what a call gives has a limit. DataFusion takes the memory for
//! all rows of a batch at once, and a process that isn't given it is aborted.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::functions::string::repeat;
use datafusion::functions::unicode::{lpad, rpad};
use datafusion::functions_nested::range::{gen_series_udf, range_udf};
use datafusion::functions_nested::repeat::array_repeat_udf;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};
use tidegate_core::{ByteSize, Error};

use super::functions::{Part, replaced, usual_types};

/// The most bytes that a call gives for a batch.
const MOST: ByteSize = ByteSize(256 << 20);

/// The functions, which take the place of DataFusion's.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        replaced(repeat(), Large::Times),
        replaced(array_repeat_udf(), Large::Times),
        replaced(lpad(), Large::Long),
        replaced(rpad(), Large::Long),
        replaced(range_udf(), Large::Between),
        replaced(gen_series_udf(), Large::Between),
    ]
}

/// What the arguments say of a result's size.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Large {
    /// The first one, so often.
    Times,
    /// A text of so many characters.
    Long,
    /// Integers: from where to where, and by how much.
    Between,
}

impl Part for Large {
    fn coerce(&self, usual: &ScalarUDF, types: &[DataType]) -> DfResult<Vec<DataType>> {
        usual_types(usual, types)
    }

    fn call(&self, usual: &ScalarUDF, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let rows = args.number_rows;
        let columns = args
            .args
            .iter()
            .map(Column::of)
            .collect::<DfResult<Vec<_>>>()?;
        // Of constants alone there is one result.
        let rows = if columns.iter().all(|column| column.constant) {
            rows.min(1)
        } else {
            rows
        };
        let bytes = (0..rows).map(|row| self.bytes(&columns, row));
        let bytes = ByteSize(bytes.fold(0, u64::saturating_add));
        if bytes <= MOST {
            return usual.invoke_with_args(args);
        }
        let name = usual.name();
        let error = Error::config(format!("`{name}` gives too much at once"))
            .with("bytes", bytes)
            .with("rows", rows)
            .with("limit", MOST);
        let hint = match self {
            Self::Between => "read the numbers as a table, `FROM range(…)`, which has no limit",
            _ => "make its result shorter, or put it together where it is read",
        };
        Err(DataFusionError::External(Box::new(error.hint(hint))))
    }
}

impl Large {
    /// About how many bytes the result has for a row.
    fn bytes(&self, columns: &[Column], row: usize) -> u64 {
        let number = |at: usize| columns.get(at).and_then(|column| column.number(row));
        let times = || u64::try_from(number(1).unwrap_or_default()).unwrap_or_default();
        match self {
            Self::Times => {
                let bytes = columns.first().map_or(0, |column| column.bytes(row));
                times().saturating_mul(bytes)
            }
            Self::Long => times(),
            Self::Between => {
                let (from, to) = match number(1) {
                    Some(to) => (number(0), to),
                    None => (Some(0), number(0).unwrap_or_default()),
                };
                let step = number(2).map_or(1, i64::unsigned_abs).max(1);
                (to.abs_diff(from.unwrap_or(to)) / step).saturating_mul(8)
            }
        }
    }
}

/// An argument, whose rows are all the same if it is a constant.
struct Column {
    values: ArrayRef,
    constant: bool,
}

impl Column {
    fn of(value: &ColumnarValue) -> DfResult<Self> {
        Ok(match value {
            ColumnarValue::Array(values) => Self {
                values: Arc::clone(values),
                constant: false,
            },
            ColumnarValue::Scalar(value) => Self {
                values: value.to_array()?,
                constant: true,
            },
        })
    }

    fn at(&self, row: usize) -> usize {
        if self.constant { 0 } else { row }
    }

    fn number(&self, row: usize) -> Option<i64> {
        let numbers = self.values.as_primitive_opt::<Int64Type>()?;
        let row = self.at(row);
        numbers.is_valid(row).then(|| numbers.value(row))
    }

    /// How long a text is; of other values, how long they are on average.
    fn bytes(&self, row: usize) -> u64 {
        let row = self.at(row);
        let bytes = match self.values.data_type() {
            DataType::Utf8 => self.values.as_string::<i32>().value(row).len(),
            DataType::LargeUtf8 => self.values.as_string::<i64>().value(row).len(),
            DataType::Utf8View => self.values.as_string_view().value(row).len(),
            _ => self.values.get_array_memory_size() / self.values.len().max(1),
        };
        bytes as u64
    }
}
