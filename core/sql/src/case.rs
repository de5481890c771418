//! Names in another case: `SALES_QTY` for `sales_qty`, where that can mean only one.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use arrow_schema::{DataType, Fields};
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem, TableAlias, TableFactor,
    VisitMut, VisitorMut,
};

use crate::table::Table;

/// Gives names without quotes that exist nowhere the case in which they do exist.
pub(crate) fn resolve(query: &mut Query, tables: &[Table]) {
    let mut names = Names::default();
    for table in tables {
        names.0.extend(table.name.split('.').map(str::to_owned));
        names.columns(table.schema.fields());
    }
    let _: ControlFlow<()> = query.visit(&mut names);
    let _: ControlFlow<()> = query.visit(&mut Resolve(&names));
}

/// Every name that the tables have or the query gives, as it is written.
#[derive(Default)]
struct Names(BTreeSet<String>);

impl Names {
    fn columns(&mut self, fields: &Fields) {
        for field in fields {
            self.0.insert(field.name().clone());
            if let DataType::Struct(inner) = field.data_type() {
                self.columns(inner);
            }
        }
    }

    fn alias(&mut self, alias: &TableAlias) {
        self.0.insert(alias.name.value.clone());
        self.0
            .extend(alias.columns.iter().map(|column| column.name.value.clone()));
    }
}

impl VisitorMut for Names {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.alias(&table.alias);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item {
                self.0.insert(alias.value.clone());
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::UNNEST { alias, .. }
        | TableFactor::NestedJoin { alias, .. } = factor
            && let Some(alias) = alias
        {
            self.alias(alias);
        }
        ControlFlow::Continue(())
    }
}

struct Resolve<'a>(&'a Names);

impl Resolve<'_> {
    fn name(&self, name: &mut Ident) {
        let Names(known) = self.0;
        if name.quote_style.is_some() || known.contains(&name.value) {
            return;
        }
        let mut alike = known
            .iter()
            .filter(|other| other.eq_ignore_ascii_case(&name.value));
        if let (Some(only), None) = (alike.next(), alike.next()) {
            name.value.clone_from(only);
        }
    }
}

impl VisitorMut for Resolve<'_> {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        for part in &mut relation.0 {
            if let ObjectNamePart::Identifier(name) = part {
                self.name(name);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(name) => self.name(name),
            Expr::CompoundIdentifier(names) => {
                names.iter_mut().for_each(|name| self.name(name));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
