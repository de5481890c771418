//! Literals whose type depends on how they are written.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, Query, TimezoneInfo, TypedString, Value, ValueWithSpan, VisitMut,
    VisitorMut,
};

/// Gives literals types that hold all that is written: a time with more than six digits behind the
/// point is of nanoseconds, a number that no decimal holds is a double.
pub(crate) fn settle(query: &mut Query) {
    let _: ControlFlow<()> = query.visit(&mut Settle);
}

struct Settle;

impl VisitorMut for Settle {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::TypedString(TypedString {
                data_type, value, ..
            }) => refine(data_type, value),
            Expr::Cast {
                expr: inner,
                data_type,
                ..
            } => {
                if let Expr::Value(value) = inner.as_ref() {
                    refine(data_type, value);
                }
            }
            Expr::Value(number) => {
                if let Value::Number(text, _) = &mut number.value {
                    if let Some(plain) = spelled_out(text) {
                        *text = plain;
                    }
                    if beyond_decimals(text) {
                        let text = Value::SingleQuotedString(text.replace('_', ""));
                        *expr = Expr::Cast {
                            kind: CastKind::Cast,
                            expr: Box::new(Expr::Value(text.with_span(number.span))),
                            data_type: DataType::DoublePrecision,
                            array: false,
                            format: None,
                        };
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn refine(data_type: &mut DataType, value: &ValueWithSpan) {
    let zone = match data_type {
        DataType::Timestamp(None, zone) => *zone,
        DataType::Datetime(None) => TimezoneInfo::None,
        _ => return,
    };
    if let Value::SingleQuotedString(text) = &value.value
        && let Some((_, fraction)) = text.rsplit_once('.')
    {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit);
        // A zero changes nothing.
        if digits.skip(6).any(|digit| digit != b'0') {
            *data_type = DataType::Timestamp(Some(9), zone);
        }
    }
}

/// The digits of the widest decimal.
const DIGITS: i64 = 76;

/// Whether it is no integer, and has more digits on some side of the point than a decimal.
fn beyond_decimals(text: &str) -> bool {
    let Some(mantissa) = text.split(['e', 'E']).next() else {
        return false;
    };
    if mantissa.len() == text.len() && !text.contains('.') {
        return false;
    }
    let exponent = text.get(mantissa.len() + 1..).unwrap_or("0");
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let count = |digits: &str| {
        let digits = digits.bytes().filter(u8::is_ascii_digit).count();
        i64::try_from(digits).unwrap_or(i64::MAX)
    };
    let behind = count(fraction).saturating_sub(exponent);
    let all = count(whole.trim_start_matches(['0', '_'])).saturating_add(count(fraction));
    all > DIGITS || behind > DIGITS || all.saturating_sub(behind) >= DIGITS
}

/// `1e3` as `1000.0`: DataFusion makes a decimal of negative scale of it, which can't be written.
fn spelled_out(text: &str) -> Option<String> {
    let (mantissa, exponent) = text.split_once(['e', 'E'])?;
    let exponent: usize = exponent.trim_start_matches('+').parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let zeros = exponent.checked_sub(fraction.len())?;
    let fits = !text.contains('_') && whole.len() + exponent < 76;
    fits.then(|| format!("{whole}{fraction}{}.0", "0".repeat(zeros)))
}
