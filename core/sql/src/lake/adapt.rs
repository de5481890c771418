//! A file's columns as a table's: by name, whatever the case of the letters.

use std::sync::Arc;

use arrow_schema::{FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as DfResult;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr_adapter::{
    DefaultPhysicalExprAdapterFactory, PhysicalExprAdapter, PhysicalExprAdapterFactory,
};
use datafusion::physical_plan::PhysicalExpr;
use tidegate_catalog::matched;

/// DataFusion's adapter (missing columns are NULL, types are cast), for files whose names differ
/// from the table's only in case: catalogs such as Glue fold names, files keep them.
#[derive(Debug)]
pub(crate) struct FoldedNames;

impl PhysicalExprAdapterFactory for FoldedNames {
    fn create(&self, table: SchemaRef, file: SchemaRef) -> DfResult<Arc<dyn PhysicalExprAdapter>> {
        let renamed = renamed(&file, &table);
        let inner = DefaultPhysicalExprAdapterFactory.create(table, Arc::clone(&renamed))?;
        if renamed.fields() == file.fields() {
            return Ok(inner);
        }
        Ok(Arc::new(Renaming { inner, file }))
    }
}

#[derive(Debug)]
struct Renaming {
    inner: Arc<dyn PhysicalExprAdapter>,
    file: SchemaRef,
}

impl PhysicalExprAdapter for Renaming {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> DfResult<Arc<dyn PhysicalExpr>> {
        let adapted = self.inner.rewrite(expr)?;
        // By index it is the file's column already; the reader finds statistics by name.
        let named = adapted.transform_up(|expr| {
            let column = expr.downcast_ref::<Column>();
            let field = column.and_then(|column| self.file.fields().get(column.index()));
            Ok(match (column, field) {
                (Some(column), Some(field)) if column.name() != field.name() => {
                    Transformed::yes(Arc::new(Column::new(field.name(), column.index())) as _)
                }
                _ => Transformed::no(expr),
            })
        })?;
        Ok(named.data)
    }
}

/// A file's schema with the table's names ([`matched`]).
pub(crate) fn renamed(file: &SchemaRef, table: &Schema) -> SchemaRef {
    let mut fields: Vec<FieldRef> = file.fields().iter().cloned().collect();
    for (wanted, place) in table
        .fields()
        .iter()
        .zip(matched(table.fields(), file.fields()))
    {
        if let Some(place) = place
            && fields[place].name() != wanted.name()
        {
            let named = fields[place].as_ref().clone().with_name(wanted.name());
            fields[place] = Arc::new(named);
        }
    }
    match fields == **file.fields() {
        true => Arc::clone(file),
        false => Arc::new(Schema::new(fields)),
    }
}
