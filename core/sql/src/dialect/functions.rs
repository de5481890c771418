//! Scalar functions of DataFusion's, of which some part is ours.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef};
use datafusion::common::DFSchema;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature,
};

use super::{calendar, large, lists};

/// The functions, which take the place of DataFusion's.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions = calendar::functions();
    functions.extend(lists::functions());
    functions.extend(large::functions());
    functions
}

/// What is done in another way.
pub(super) trait Part: Debug + Eq + Hash + Send + Sync + 'static {
    /// The types that arguments are brought to.
    fn coerce(&self, usual: &ScalarUDF, types: &[DataType]) -> DfResult<Vec<DataType>>;

    fn call(&self, usual: &ScalarUDF, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        usual.invoke_with_args(args)
    }
}

pub(super) fn replaced<P: Part>(usual: Arc<ScalarUDF>, ours: P) -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(usual.signature().volatility);
    Arc::new(ScalarUDF::from(Replaced {
        usual,
        ours,
        signature,
    }))
}

/// The types that DataFusion would bring arguments to.
pub(super) fn usual_types(usual: &ScalarUDF, types: &[DataType]) -> DfResult<Vec<DataType>> {
    let fields = types
        .iter()
        .map(|of| Arc::new(Field::new("", of.clone(), true)));
    let fields: Vec<FieldRef> = fields.collect();
    let fields = fields_with_udf(&fields, usual)?;
    Ok(fields
        .iter()
        .map(|field| field.data_type().clone())
        .collect())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Replaced<P> {
    usual: Arc<ScalarUDF>,
    ours: P,
    signature: Signature,
}

impl<P: Part> ScalarUDFImpl for Replaced<P> {
    fn name(&self) -> &str {
        self.usual.name()
    }

    fn aliases(&self) -> &[String] {
        self.usual.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        self.ours.coerce(&self.usual, types)
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        self.usual.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        self.usual.return_field_from_args(args)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> DfResult<ExprSimplifyResult> {
        self.usual.simplify(args, info)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> DfResult<SortProperties> {
        self.usual.output_ordering(inputs)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.usual.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        self.ours.call(&self.usual, args)
    }
}

/// What functions count in a text is an `INT`, whichever way the text is kept: DataFusion's count in
/// a `BIGINT` where it is a `LargeUtf8`, which a run is given and a query isn't.
pub(super) fn counted(expr: Expr, schema: &DFSchema) -> DfResult<Expr> {
    let Expr::ScalarFunction(call) = &expr else {
        return Ok(expr);
    };
    let types = call.args.iter().map(|arg| arg.get_type(schema));
    let mut types = types.collect::<DfResult<Vec<_>>>()?;
    if !types.contains(&DataType::LargeUtf8) || expr.get_type(schema)? != DataType::Int64 {
        return Ok(expr);
    }
    for of in types.iter_mut().filter(|of| **of == DataType::LargeUtf8) {
        *of = DataType::Utf8;
    }
    match call.func.return_type(&types) {
        Ok(DataType::Int32) => expr.cast_to(&DataType::Int32, schema),
        _ => Ok(expr),
    }
}
