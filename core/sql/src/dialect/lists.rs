//! Functions that look for an element in a list, or put one there: a decimal (`0.5`) beside
//! floating-point numbers becomes one, where DataFusion refuses the call.

use std::sync::Arc;

use arrow_schema::DataType;
use datafusion::error::Result as DfResult;
use datafusion::functions_nested::all_default_nested_functions;
use datafusion::logical_expr::ScalarUDF;

use super::common::{Member, common};
use super::functions::{Part, replaced, usual_types};

/// The functions, which take the place of DataFusion's.
pub(super) fn functions() -> impl Iterator<Item = Arc<ScalarUDF>> {
    let lists = all_default_nested_functions().into_iter();
    let lists = lists.filter(|function| meet(function.name()));
    lists.map(|function| replaced(function, Elements))
}

/// Whether the arguments of a function are lists, and what is among their elements.
pub(super) fn meet(function: &str) -> bool {
    matches!(
        function,
        "array_append"
            | "array_concat"
            | "array_except"
            | "array_has"
            | "array_has_all"
            | "array_has_any"
            | "array_intersect"
            | "array_position"
            | "array_positions"
            | "array_prepend"
            | "array_remove"
            | "array_remove_all"
            | "array_remove_n"
            | "array_replace"
            | "array_replace_all"
            | "array_replace_n"
            | "array_resize"
            | "array_union"
            | "arrays_overlap"
    )
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Elements;

impl Part for Elements {
    fn coerce(&self, usual: &ScalarUDF, types: &[DataType]) -> DfResult<Vec<DataType>> {
        let members: Vec<Member> = types.iter().map(Member::of).collect();
        let met = types.iter().zip(common(&members));
        let met: Vec<DataType> = met
            .map(|(of, wanted)| wanted.unwrap_or_else(|| of.clone()))
            .collect();
        usual_types(usual, &met)
    }
}
