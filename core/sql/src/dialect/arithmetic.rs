//! Arithmetic that ends with an error where its result has no place in its type. DataFusion's
//! wraps around.
//!
//! A tree of operators becomes one function of what stands at its leaves, because DataFusion asks a
//! function for its type and name again and again, at each of its levels.

use std::cell::Cell;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Decimal256Type, DurationSecondType, Int64Type};
use arrow_array::{Array, ArrayRef, Datum};
use arrow_schema::{
    ArrowError, DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Field, FieldRef,
};
use datafusion::arrow::compute::kernels::numeric;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, internal_err};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{BinaryExpr, ScalarFunction};
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility, binary_expr,
};
use datafusion::physical_expr_common::datum::apply;
use datafusion::scalar::ScalarValue;

/// The same expression with a check, wherever operands have types that can overflow.
pub(super) fn checked(expr: Expr, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    expr.transform_down(|expr| {
        if !is_arithmetic(&expr) {
            return Ok(Transformed::no(expr));
        }
        let mut tree = Tree::of(expr);
        for leaf in &mut tree.leaves {
            *leaf = checked(std::mem::take(leaf), schema)?.data;
        }
        let expr = match tree.overflows(schema)? {
            Some(result) => tree.call(result),
            None => tree.into_expr()?,
        };
        Ok(Transformed::new(expr, true, TreeNodeRecursion::Jump))
    })
}

fn is_arithmetic(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryExpr(BinaryExpr { op, .. }) => operates(*op),
        Expr::Negative(_) => true,
        _ => false,
    }
}

fn operates(op: Operator) -> bool {
    matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply)
}

/// Operators above other expressions, operands first.
struct Tree {
    steps: Vec<Step>,
    leaves: Vec<Expr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    /// The next of the leaves.
    Leaf,
    Negate,
    /// `+`, `-` or `*` of the last two.
    Operate(Operator),
}

impl Tree {
    fn of(root: Expr) -> Self {
        enum Todo {
            Visit(Expr),
            Take(Step),
        }
        let mut tree = Self {
            steps: Vec::new(),
            leaves: Vec::new(),
        };
        let mut todo = vec![Todo::Visit(root)];
        while let Some(next) = todo.pop() {
            match next {
                Todo::Take(step) => tree.steps.push(step),
                Todo::Visit(Expr::BinaryExpr(BinaryExpr { left, op, right })) if operates(op) => {
                    todo.push(Todo::Take(Step::Operate(op)));
                    todo.push(Todo::Visit(*right));
                    todo.push(Todo::Visit(*left));
                }
                Todo::Visit(Expr::Negative(inner)) => {
                    todo.push(Todo::Take(Step::Negate));
                    todo.push(Todo::Visit(*inner));
                }
                Todo::Visit(leaf) => {
                    tree.steps.push(Step::Leaf);
                    tree.leaves.push(leaf);
                }
            }
        }
        tree
    }

    /// The type of the whole, if some operator can overflow.
    fn overflows(&self, schema: &DFSchema) -> DfResult<Option<DataType>> {
        let mut leaves = self.leaves.iter();
        let overflows = Cell::new(false);
        let result = fold(
            &self.steps,
            || match leaves.next() {
                Some(leaf) => leaf.get_type(schema),
                None => internal_err!("an operand is missing"),
            },
            |of| {
                overflows.set(overflows.get() || of.is_signed_integer());
                Ok(of)
            },
            |left, op, right| {
                let result = BinaryTypeCoercer::new(&left, &op, &right).get_result_type()?;
                overflows.set(overflows.get() || can_overflow(&left, &right, &result));
                Ok(result)
            },
        )?;
        Ok(overflows.get().then_some(result))
    }

    fn call(self, result: DataType) -> Expr {
        let function = Arc::new(ScalarUDF::from(Checked {
            signature: Signature::any(self.leaves.len(), Volatility::Immutable),
            steps: self.steps,
            result,
        }));
        Expr::ScalarFunction(ScalarFunction::new_udf(function, self.leaves))
    }

    fn into_expr(self) -> DfResult<Expr> {
        let mut leaves = self.leaves.into_iter();
        fold(
            &self.steps,
            || Ok(leaves.next().unwrap_or_default()),
            |inner| Ok(Expr::Negative(Box::new(inner))),
            |left, op, right| Ok(binary_expr(left, op, right)),
        )
    }
}

/// Whether a result may have no place in its type.
fn can_overflow(left: &DataType, right: &DataType, result: &DataType) -> bool {
    use DataType as T;
    match result {
        T::Decimal128(digits, _) => *digits == DECIMAL128_MAX_PRECISION,
        T::Decimal256(digits, _) => *digits == DECIMAL256_MAX_PRECISION,
        T::Duration(_) => matches!((left, right), (T::Timestamp(..), T::Timestamp(..))),
        result => result.is_integer(),
    }
}

/// Goes through the steps with whatever stands for values.
fn fold<V>(
    steps: &[Step],
    mut leaf: impl FnMut() -> DfResult<V>,
    negate: impl Fn(V) -> DfResult<V>,
    operate: impl Fn(V, Operator, V) -> DfResult<V>,
) -> DfResult<V> {
    let mut values: Vec<V> = Vec::new();
    for step in steps {
        let value = match (step, values.pop()) {
            (Step::Leaf, last) => {
                values.extend(last);
                leaf()?
            }
            (Step::Negate, Some(inner)) => negate(inner)?,
            (Step::Operate(op), Some(right)) => match values.pop() {
                Some(left) => operate(left, *op, right)?,
                None => return internal_err!("`{op}` has one operand"),
            },
            (_, None) => return internal_err!("an operator has no operand"),
        };
        values.push(value);
    }
    match values.pop() {
        Some(value) => Ok(value),
        None => internal_err!("there is nothing to compute"),
    }
}

/// Operators on some arguments.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    steps: Vec<Step>,
    result: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &'static str {
        "checked"
    }

    /// As DataFusion writes operators.
    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        let mut args = args.iter();
        fold(
            &self.steps,
            || {
                Ok(args
                    .next()
                    .map_or_else(String::new, |arg| arg.schema_name().to_string()))
            },
            |inner| Ok(format!("(- {inner})")),
            |mut left, op, right| {
                // Writing to a text can't fail.
                let _ = write!(left, " {op} {right}");
                Ok(left)
            },
        )
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.result.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(
            self.name(),
            self.result.clone(),
            nullable,
        )))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let mut args = args.args.into_iter();
        fold(
            &self.steps,
            || match args.next() {
                Some(arg) => Ok(arg),
                None => internal_err!("an operand is missing"),
            },
            |inner| {
                let negated = numeric::neg(&inner.to_array(1)?)?;
                within(match inner {
                    ColumnarValue::Array(_) => ColumnarValue::Array(negated),
                    ColumnarValue::Scalar(_) => scalar(&negated)?,
                })
            },
            |left, op, right| {
                let answer = match op {
                    Operator::Minus if are_dates(&left, &right) => apply(&left, &right, days),
                    Operator::Plus => apply(&left, &right, numeric::add),
                    Operator::Minus => apply(&left, &right, numeric::sub),
                    _ => apply(&left, &right, numeric::mul),
                };
                within(answer?)
            },
        )
    }
}

fn are_dates(left: &ColumnarValue, right: &ColumnarValue) -> bool {
    left.data_type() == DataType::Date32 && right.data_type() == DataType::Date32
}

/// Between two dates, as DataFusion's operator has them.
fn days(left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
    let seconds = numeric::sub(left, right)?;
    let seconds = seconds.as_primitive::<DurationSecondType>();
    Ok(Arc::new(
        seconds.unary::<_, Int64Type>(|seconds| seconds / 86_400),
    ))
}

fn scalar(array: &dyn Array) -> DfResult<ColumnarValue> {
    Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
        array, 0,
    )?))
}

/// A decimal of the widest type may have one digit more than its type, where its bytes have a place
/// for it.
fn within(answer: ColumnarValue) -> DfResult<ColumnarValue> {
    match answer.data_type() {
        DataType::Decimal128(digits @ DECIMAL128_MAX_PRECISION, _) => {
            let array = answer.to_array(1)?;
            let array = array.as_primitive::<Decimal128Type>();
            array.validate_decimal_precision(digits)?;
        }
        DataType::Decimal256(digits @ DECIMAL256_MAX_PRECISION, _) => {
            let array = answer.to_array(1)?;
            let array = array.as_primitive::<Decimal256Type>();
            array.validate_decimal_precision(digits)?;
        }
        _ => {}
    }
    Ok(answer)
}
