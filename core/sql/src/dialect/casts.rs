//! Casts that lose something: decimals to integers, times to their hour, numbers to booleans.
//!
//! DataFusion takes casts off a column that is compared with a constant, and casts what is known of
//! a column together with it, as if a cast kept all values apart and in their order. So those that
//! don't are functions here, into which it doesn't look.

use std::sync::Arc;

use arrow_cast::CastOptions;
use arrow_cast::display::FormatOptions;
use arrow_schema::{ArrowError, DataType, FieldRef};
use datafusion::common::{DFSchema, internal_err, plan_err};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, TryCast, Volatility,
};

use crate::words::of_type;

/// The cast as a function, if it may lose something. One of a constant stays, for others to see.
pub(super) fn opaque(expr: Expr, schema: &DFSchema) -> DfResult<Expr> {
    let (inner, field, is_try) = match expr {
        Expr::Cast(Cast { expr, field }) => (expr, field, false),
        Expr::TryCast(TryCast { expr, field }) => (expr, field, true),
        expr => return Ok(expr),
    };
    let (from, to) = (inner.get_type(schema)?, field.data_type());
    // Arrow has casts for these that fail for each value.
    if from.is_nested() && !to.is_nested() && !to.is_string() {
        return plan_err!("There is no cast from {from} to {to}");
    }
    let keeps = !inner.any_column_refs() || keeps_all(&from, to, is_try);
    Ok(match (keeps, is_try) {
        (true, false) => Expr::Cast(Cast::new_from_field(inner, field)),
        (true, true) => Expr::TryCast(TryCast::new_from_field(inner, field)),
        (false, _) => {
            let function = Arc::new(ScalarUDF::from(Lossy {
                field,
                is_try,
                signature: Signature::any(1, Volatility::Immutable),
            }));
            Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![*inner]))
        }
    })
}

/// Whether every value has another one of its own, in the same order.
fn keeps_all(from: &DataType, to: &DataType, is_try: bool) -> bool {
    use DataType as T;
    match (from, to) {
        (from, to) if from == to => true,
        (T::Null, _) => true,
        (T::Dictionary(_, values), to) => keeps_all(values, to, is_try),
        (from, T::Dictionary(_, values)) => keeps_all(from, values, is_try),
        (from, to) if from.is_string() => to.is_string(),
        (T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_), to) => {
            matches!(to, T::Binary | T::LargeBinary | T::BinaryView)
        }
        (T::Float16, T::Float32 | T::Float64) | (T::Float32, T::Float64) => true,
        (T::Date32, T::Timestamp(..)) => !is_try,
        (T::Timestamp(from, one), T::Timestamp(to, other)) => {
            // What doesn't fit is an error, or NULL.
            !is_try && from <= to && one.is_none() == other.is_none()
        }
        _ => match (digits(from), digits(to)) {
            (Some(from), Some(to)) => {
                from.whole <= to.whole && from.behind <= to.behind && (from.signed <= to.signed)
            }
            (Some(from), None) => match to {
                T::Float64 => from.whole + from.behind <= 15 && from.behind == 0,
                T::Float32 => from.whole <= 6 && from.behind == 0,
                _ => false,
            },
            _ => false,
        },
    }
}

/// What a number has a place for.
struct Digits {
    whole: i16,
    behind: i16,
    signed: bool,
}

fn digits(of: &DataType) -> Option<Digits> {
    use DataType as T;
    let (whole, behind, signed) = match of {
        T::Int8 => (3, 0, true),
        T::UInt8 => (3, 0, false),
        T::Int16 => (5, 0, true),
        T::UInt16 => (5, 0, false),
        T::Int32 => (10, 0, true),
        T::UInt32 => (10, 0, false),
        T::Int64 => (19, 0, true),
        T::UInt64 => (20, 0, false),
        T::Decimal32(all, scale)
        | T::Decimal64(all, scale)
        | T::Decimal128(all, scale)
        | T::Decimal256(all, scale) => {
            let scale = i16::from(*scale);
            (i16::from(*all) - scale, scale, true)
        }
        _ => return None,
    };
    Some(Digits {
        whole,
        behind,
        signed,
    })
}

/// A cast to this type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Lossy {
    field: FieldRef,
    /// Whether NULL stands for what has no place in it.
    is_try: bool,
    signature: Signature,
}

impl ScalarUDFImpl for Lossy {
    fn name(&self) -> &'static str {
        if self.is_try { "try_cast" } else { "cast" }
    }

    /// Not the name of what is cast, as DataFusion has it: both may stand side by side.
    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        let word = if self.is_try { "TRY_CAST" } else { "CAST" };
        match args {
            [inner] => Ok(format!("{word}({inner} AS {})", self.field.data_type())),
            _ => internal_err!("a cast takes one"),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.field.data_type().clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let nullable = self.is_try || args.arg_fields.iter().any(|field| field.is_nullable());
        let field = self.field.as_ref().clone().with_name(self.name());
        Ok(Arc::new(field.with_nullable(nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let [value] = &*args.args else {
            return internal_err!("a cast takes one");
        };
        let options = CastOptions {
            safe: self.is_try,
            format_options: FormatOptions::default(),
        };
        let data_type = self.field.data_type();
        value
            .cast_to(data_type, Some(&options))
            .map_err(|error| named(error, data_type))
    }
}

/// Arrow's complaint about a text that is no decimal names the widest one instead of the one that
/// was asked for.
fn named(error: DataFusionError, asked: &DataType) -> DataFusionError {
    if let DataFusionError::ArrowError(inner, _) = &error
        && let ArrowError::CastError(text) = &**inner
        && asked.is_decimal()
        && let Some((what, _)) = text.rsplit_once(" to value of Decimal")
    {
        let text = format!("{what} to value of {} type", of_type(asked));
        return ArrowError::CastError(text).into();
    }
    error
}
