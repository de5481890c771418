//! A file's columns as a table's: by name, whatever the case of the letters, and no value another.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_cast::display::array_value_to_string;
use arrow_schema::{FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr_adapter::{
    DefaultPhysicalExprAdapterFactory, PhysicalExprAdapter, PhysicalExprAdapterFactory,
};
use datafusion::physical_plan::PhysicalExpr;
use tidegate_catalog::{adapt, can_adapt, matched, plain, reads_as};
use tidegate_core::Error;

use crate::table::external;

/// DataFusion's adapter (missing columns are NULL, types are cast), except that
///
/// - files whose names differ from the table's only in case have those columns: catalogs such as
///   Glue fold names, files keep them;
/// - a value that the table's type can't hold is an error, as its row is rejected by the source
///   `table`. DataFusion's casts cut digits without a word.
#[derive(Debug)]
pub(crate) struct ByName;

impl PhysicalExprAdapterFactory for ByName {
    fn create(&self, table: SchemaRef, file: SchemaRef) -> DfResult<Arc<dyn PhysicalExprAdapter>> {
        let renamed = renamed(&file, &table);
        let mut narrower = HashMap::new();
        let fields = table.fields().iter().map(|field| {
            let Some((at, has)) = renamed.column_with_name(field.name()) else {
                return Ok(Arc::clone(field));
            };
            let (from, to) = (has.data_type(), field.data_type());
            // DataFusion finds members only where no expression stands between.
            let nested = from.is_nested() || to.is_nested();
            if nested || from == to || reads_as(&plain(from), &plain(to)) {
                return Ok(Arc::clone(field));
            }
            if !can_adapt(from, to) {
                return Err(external(
                    Error::schema(format!(
                        "column `{}` is {from} in a file, and {to} in the table",
                        field.name()
                    ))
                    .hint("the file may belong elsewhere, or the table needs a wider type"),
                ));
            }
            narrower.insert(at, Arc::clone(field));
            Ok(Arc::new(
                field.as_ref().clone().with_data_type(from.clone()),
            ))
        });
        let fields = fields.collect::<DfResult<Vec<FieldRef>>>()?;
        let seen = Arc::new(Schema::new(fields));
        let inner = DefaultPhysicalExprAdapterFactory.create(seen, Arc::clone(&renamed))?;
        if renamed.fields() == file.fields() && narrower.is_empty() {
            return Ok(inner);
        }
        Ok(Arc::new(Adapter {
            inner,
            file,
            narrower,
        }))
    }
}

#[derive(Debug)]
struct Adapter {
    inner: Arc<dyn PhysicalExprAdapter>,
    file: SchemaRef,
    /// The file's columns whose values the table's type may not hold, with the table's.
    narrower: HashMap<usize, FieldRef>,
}

impl PhysicalExprAdapter for Adapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> DfResult<Arc<dyn PhysicalExpr>> {
        let adapted = self.inner.rewrite(expr)?;
        // By index it is the file's column already; the reader finds statistics by name.
        let named = adapted.transform_up(|expr| {
            let column = expr.downcast_ref::<Column>();
            let field = column.and_then(|column| self.file.fields().get(column.index()));
            let (Some(column), Some(field)) = (column, field) else {
                return Ok(Transformed::no(expr));
            };
            let (at, renamed) = (column.index(), column.name() != field.name());
            let column = match renamed {
                true => Arc::new(Column::new(field.name(), at)) as Arc<dyn PhysicalExpr>,
                false => Arc::clone(&expr),
            };
            Ok(match self.narrower.get(&at) {
                Some(to) => Transformed::yes(Arc::new(Checked {
                    of: column,
                    to: Arc::clone(to),
                }) as _),
                None if renamed => Transformed::yes(column),
                None => Transformed::no(expr),
            })
        })?;
        Ok(named.data)
    }
}

/// A column of a file in its table's type. A value that doesn't fit is an error.
#[derive(Debug, Eq)]
struct Checked {
    of: Arc<dyn PhysicalExpr>,
    to: FieldRef,
}

impl PartialEq for Checked {
    fn eq(&self, other: &Self) -> bool {
        self.of.eq(&other.of) && self.to == other.to
    }
}

impl Hash for Checked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.of.hash(state);
        self.to.hash(state);
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as {}", self.of, self.to.data_type())
    }
}

impl PhysicalExpr for Checked {
    fn return_field(&self, _: &Schema) -> DfResult<FieldRef> {
        Ok(Arc::clone(&self.to))
    }

    fn evaluate(&self, batch: &RecordBatch) -> DfResult<ColumnarValue> {
        let column = self.of.evaluate(batch)?.into_array(batch.num_rows())?;
        let adapted = adapt(&column, self.to.data_type()).map_err(external)?;
        let mut lost = adapted.lost.iter().flat_map(|lost| lost.set_indices());
        if let Some(row) = lost.next() {
            let value = array_value_to_string(&column, row)?;
            return Err(external(
                Error::data(format!(
                    "column `{}`: `{value}` doesn't fit into {}, the table's type",
                    self.to.name(),
                    self.to.data_type()
                ))
                .hint(
                    "give the table a wider type; the source `table` can read it without such rows",
                ),
            ));
        }
        Ok(ColumnarValue::Array(adapted.column))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.of]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> DfResult<Arc<dyn PhysicalExpr>> {
        let of = children.into_iter().next();
        Ok(Arc::new(Self {
            of: of.unwrap_or_else(|| Arc::clone(&self.of)),
            to: Arc::clone(&self.to),
        }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.of.fmt_sql(f)
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
