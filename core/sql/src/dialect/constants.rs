//! Constants of a query, before anything is computed.

use datafusion::logical_expr::{Cast, Expr, TryCast};
use datafusion::scalar::ScalarValue;

/// The value of a literal, perhaps with a type (`DATE '9999-12-31'`).
pub(super) fn constant(expr: &Expr) -> Option<ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value.clone()),
        Expr::Alias(alias) => constant(&alias.expr),
        Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => {
            constant(expr)?.cast_to(field.data_type()).ok()
        }
        _ => None,
    }
}

/// The double that is nearest to a decimal constant.
pub(super) fn double(value: &ScalarValue) -> Option<f64> {
    let (digits, scale) = match value {
        ScalarValue::Decimal32(Some(v), _, scale) => (v.to_string(), scale),
        ScalarValue::Decimal64(Some(v), _, scale) => (v.to_string(), scale),
        ScalarValue::Decimal128(Some(v), _, scale) => (v.to_string(), scale),
        ScalarValue::Decimal256(Some(v), _, scale) => (v.to_string(), scale),
        _ => return None,
    };
    // Parsing rounds once; a division by a power of ten would round its operands as well.
    format!("{digits}e{}", -i16::from(*scale)).parse().ok()
}
