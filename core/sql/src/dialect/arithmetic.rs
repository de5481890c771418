//! Arithmetic that ends with an error where its result has no place in its type. DataFusion's
//! wraps around.

use std::sync::Arc;

use arrow_schema::DataType;
use datafusion::arrow::compute::kernels::numeric;
use datafusion::common::{DFSchema, internal_err};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{BinaryExpr, ScalarFunction};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility, binary_expr, lit,
};
use datafusion::physical_expr_common::datum::apply;
use datafusion::scalar::ScalarValue;

/// The same expression with a check, where its operands have types that can overflow.
pub(super) fn checked(expr: Expr, schema: &DFSchema) -> DfResult<Expr> {
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply) =>
        {
            let (one, other) = (left.get_type(schema)?, right.get_type(schema)?);
            match one == other && (one.is_integer() || matches!(one, DataType::Timestamp(..))) {
                true => call(op, *left, *right),
                false => binary_expr(*left, op, *right),
            }
        }
        Expr::Negative(inner) if inner.get_type(schema)?.is_signed_integer() => {
            let zero = lit(ScalarValue::new_zero(&inner.get_type(schema)?)?);
            call(Operator::Minus, zero, *inner)
        }
        expr => expr,
    })
}

fn call(op: Operator, left: Expr, right: Expr) -> Expr {
    let function = Arc::new(ScalarUDF::from(Checked {
        op,
        signature: Signature::any(2, Volatility::Immutable),
    }));
    Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![left, right]))
}

/// `+`, `-` or `*`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    op: Operator,
    signature: Signature,
}

impl Checked {
    fn plain(&self, args: &[Expr]) -> DfResult<Expr> {
        match args {
            [left, right] => Ok(binary_expr(left.clone(), self.op, right.clone())),
            _ => internal_err!("`{}` takes two", self.op),
        }
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &'static str {
        match self.op {
            Operator::Plus => "checked_add",
            Operator::Minus => "checked_subtract",
            _ => "checked_multiply",
        }
    }

    fn display_name(&self, args: &[Expr]) -> DfResult<String> {
        Ok(self.plain(args)?.to_string())
    }

    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        Ok(self.plain(args)?.schema_name().to_string())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        match types {
            [DataType::Timestamp(unit, _), _] => Ok(DataType::Duration(*unit)),
            [of, _] => Ok(of.clone()),
            _ => internal_err!("`{}` takes two", self.op),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let [left, right] = &*args.args else {
            return internal_err!("`{}` takes two", self.op);
        };
        apply(
            left,
            right,
            match self.op {
                Operator::Plus => numeric::add,
                Operator::Minus => numeric::sub,
                _ => numeric::mul,
            },
        )
    }
}
