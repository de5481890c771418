//! ORDER BY structs and lists.
//!
//! With a LIMIT, DataFusion passes over rows by a comparison that takes two structs for equal as
//! soon as one of two fields is NULL, and so loses rows of the answer. So the key is their bytes in
//! the row format of Arrow, which compare as the values do.

use std::sync::Arc;

use arrow_schema::{DataType, SortOptions};
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::{DFSchema, internal_err};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::{ScalarFunction, Sort};
use datafusion::logical_expr::{
    ColumnarValue, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::nested::compares;

/// Sorts by bytes, where the key is nested.
pub(super) fn by_bytes(by: &mut Sort, schema: &DFSchema) -> DfResult<()> {
    if !compares(&by.expr.get_type(schema)?) {
        return Ok(());
    }
    let function = Arc::new(ScalarUDF::from(Bytes {
        options: SortOptions {
            descending: !by.asc,
            nulls_first: by.nulls_first,
        },
        signature: Signature::any(1, Volatility::Immutable),
    }));
    let key = vec![std::mem::take(&mut by.expr)];
    by.expr = Expr::ScalarFunction(ScalarFunction::new_udf(function, key));
    (by.asc, by.nulls_first) = (true, false);
    Ok(())
}

/// The bytes of a key, which are never NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bytes {
    options: SortOptions,
    signature: Signature,
}

impl ScalarUDFImpl for Bytes {
    fn name(&self) -> &'static str {
        "sort_key"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Binary)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let [key] = &*args.args else {
            return internal_err!("a key is one");
        };
        let key = key.to_array(args.number_rows)?;
        let field = SortField::new_with_options(key.data_type().clone(), self.options);
        let rows = RowConverter::new(vec![field])?.convert_columns(&[key])?;
        Ok(ColumnarValue::Array(Arc::new(rows.try_into_binary()?)))
    }
}
