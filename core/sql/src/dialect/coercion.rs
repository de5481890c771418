//! DataFusion's coercion of types, with a choice of our own before each of its choices.

use std::sync::Arc;

use arrow_schema::{DataType, FieldRef, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRewriter};
use datafusion::common::{DFSchema, TableReference, plan_err};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{
    Between, BinaryExpr, Case, Cast, InList, InSubquery, ScalarFunction, SetComparison,
};
use datafusion::logical_expr::expr_rewriter::{NamePreserver, coerce_plan_expr_for_schema};
use datafusion::logical_expr::expr_schema::cast_subquery;
use datafusion::logical_expr::type_coercion::binary::type_union_coercion;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Expr, ExprSchemable, Join, LogicalPlan, Operator, Subquery, Union, Values, lit, when,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercionRewriter;
use datafusion::scalar::ScalarValue;

use super::arithmetic::checked;
use super::casts::opaque;
use super::common::{Member, common, comparable, single};
use super::constants::{constant, double};
use super::functions::counted;
use super::lists;
use super::moments::{Moment, Unit, never};
use super::order::by_bytes;
use super::recursion;

/// In the place of DataFusion's rule, whose work it does as well.
#[derive(Debug)]
pub(super) struct Coercion;

impl AnalyzerRule for Coercion {
    fn name(&self) -> &'static str {
        "coercion"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        recursion::check(&plan)?;
        Ok(plan.transform_up_with_subqueries(node)?.data)
    }
}

/// A node whose inputs are done.
fn node(plan: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        let table = scan.table_name.clone();
        schema.merge(&DFSchema::try_from_qualified_schema(
            table,
            &scan.source.schema(),
        )?);
    }
    let plan = match plan {
        LogicalPlan::Filter(mut filter) => {
            filter.predicate = filter.predicate.cast_to(&DataType::Boolean, &schema)?;
            LogicalPlan::Filter(filter)
        }
        LogicalPlan::Join(join) => LogicalPlan::Join(joined(join)?),
        LogicalPlan::Union(union) => LogicalPlan::Union(united(union)?),
        LogicalPlan::Values(values) => LogicalPlan::Values(listed(values)?),
        plan => plan,
    };
    let mut rewriter = Rewriter {
        schema: &schema,
        datafusion: TypeCoercionRewriter::new(&schema),
    };
    let plan = match plan {
        LogicalPlan::Sort(mut sort) => {
            rewriter.keys(sort.expr.iter_mut().map(|by| &mut by.expr))?;
            for by in &mut sort.expr {
                by_bytes(by, &schema)?;
            }
            LogicalPlan::Sort(sort)
        }
        plan => plan,
    };
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let expr = expr.rewrite(&mut rewriter)?;
        let expr = expr.transform_data(|expr| checked(expr, rewriter.schema))?;
        Ok(expr.update_data(|expr| name.restore(expr)))
    })?
    .map_data(|plan| rewriter.datafusion.coerce_plan(plan)?.recompute_schema())
}

/// The pairs of a join that are equal stand beside its condition.
fn joined(mut join: Join) -> DfResult<Join> {
    for (left, right) in &mut join.on {
        let sides = [(&*left, join.left.schema()), (&*right, join.right.schema())];
        let members = sides.map(|(expr, schema)| member(expr, schema));
        let [one, other] = members;
        let (one, other) = (one?, other?);
        if text_and_number(&one.data_type, &other.data_type) {
            return incomparable(&one.data_type, Operator::Eq, &other.data_type);
        }
        let mut wanted = comparable(&[one, other]).into_iter();
        for (side, schema) in [(left, join.left.schema()), (right, join.right.schema())] {
            if let Some(wanted) = wanted.next().flatten() {
                *side = converted(side.clone(), &wanted, schema)?;
            }
        }
    }
    Ok(join)
}

fn united(mut union: Union) -> DfResult<Union> {
    let columns = union.schema.fields().len();
    let mut wanted: Vec<Vec<Option<DataType>>> = Vec::with_capacity(columns);
    for column in 0..columns {
        let inputs = union.inputs.iter();
        let of = inputs.map(|input| Member::of(input.schema().field(column).data_type()));
        let members: Vec<Member> = of.collect();
        wanted.push(common(&members));
    }
    if wanted.iter().flatten().any(Option::is_some) {
        for (at, input) in union.inputs.iter_mut().enumerate() {
            let columns = wanted.iter().map(|column| column[at].as_ref());
            *input = Arc::new(with_types(input.as_ref(), columns)?);
        }
    }
    // DataFusion takes the types of the first input: as they are now, not as they were before
    // its own functions were coerced.
    Union::try_new_with_loose_types(union.inputs)
}

/// The rows of VALUES have been brought to one type a column when they were planned: decimals, where
/// there are decimals and floating-point numbers.
fn listed(mut values: Values) -> DfResult<Values> {
    let nothing = DFSchema::empty();
    let mut fields: Vec<(Option<TableReference>, FieldRef)> = Vec::new();
    for (at, (table, field)) in values.schema.iter().enumerate() {
        let planned = field.data_type().clone();
        let is_decimal = matches!(planned, DataType::Decimal128(..) | DataType::Decimal256(..));
        let written = |expr: &Expr| match expr {
            Expr::Cast(cast) if *cast.field.data_type() == planned => cast.expr.as_ref().clone(),
            expr => expr.clone(),
        };
        let exprs: Vec<Expr> = values.values.iter().map(|row| written(&row[at])).collect();
        let members = exprs.iter().map(|expr| member(expr, &nothing));
        let members = members.collect::<DfResult<Vec<_>>>()?;
        let is_float = |member: &Member| member.data_type.is_floating();
        if !is_decimal || !members.iter().any(is_float) || members.iter().all(is_float) {
            fields.push((table.cloned(), Arc::clone(field)));
            continue;
        }
        let types = members.iter().map(|member| &member.data_type);
        let wanted = common(&members).into_iter().zip(types);
        let mut wanted = wanted.map(|(wanted, own)| wanted.unwrap_or_else(|| own.clone()));
        let number = wanted.find(DataType::is_floating);
        let number = number.unwrap_or(DataType::Float64);
        for (row, expr) in values.values.iter_mut().zip(exprs) {
            row[at] = converted(expr, &number, &nothing)?;
        }
        let field = field.as_ref().clone().with_data_type(number);
        fields.push((table.cloned(), Arc::new(field)));
    }
    let metadata = values.schema.metadata().clone();
    values.schema = Arc::new(DFSchema::new_with_metadata(fields, metadata)?);
    Ok(values)
}

/// A plan that gives its columns in other types.
fn with_types<'a>(
    plan: &LogicalPlan,
    types: impl Iterator<Item = Option<&'a DataType>>,
) -> DfResult<LogicalPlan> {
    let schema = plan.schema();
    let fields = schema.iter().zip(types);
    let fields = fields.map(|((table, field), wanted)| match wanted {
        None => (table.cloned(), Arc::clone(field)),
        Some(wanted) => {
            let field = field.as_ref().clone().with_data_type(wanted.clone());
            (table.cloned(), Arc::new(field))
        }
    });
    let schema = DFSchema::new_with_metadata(fields.collect(), schema.metadata().clone())?;
    coerce_plan_expr_for_schema(plan.clone(), &schema)
}

struct Rewriter<'a> {
    schema: &'a DFSchema,
    datafusion: TypeCoercionRewriter<'a>,
}

impl TreeNodeRewriter for Rewriter<'_> {
    type Node = Expr;

    fn f_up(&mut self, expr: Expr) -> DfResult<Transformed<Expr>> {
        let expr = match expr {
            Expr::BinaryExpr(binary) if compares(binary.op) => self.comparison(binary)?,
            Expr::BinaryExpr(binary) if matches!(binary.op, Operator::Plus | Operator::Minus) => {
                self.difference(self.later(binary)?)?
            }
            Expr::Between(between) => return self.between(between),
            Expr::InList(list) => self.in_list(list)?,
            Expr::Case(case) => self.case(case)?,
            Expr::ScalarFunction(call) => self.call(call)?,
            Expr::AggregateFunction(mut call) if call.params.distinct => {
                self.keys(call.params.args.iter_mut())?;
                Expr::AggregateFunction(call)
            }
            Expr::WindowFunction(mut call) => {
                if matches!(call.fun.name(), "lag" | "lead")
                    && let [value, _, default] = &mut *call.params.args
                {
                    self.same_type(value, default)?;
                }
                self.keys(call.params.partition_by.iter_mut())?;
                self.keys(call.params.order_by.iter_mut().map(|by| &mut by.expr))?;
                Expr::WindowFunction(call)
            }
            Expr::InSubquery(InSubquery {
                expr,
                subquery,
                negated,
            }) => {
                let (expr, subquery) = self.with_subquery(*expr, subquery)?;
                Expr::InSubquery(InSubquery::new(Box::new(expr), subquery, negated))
            }
            Expr::SetComparison(SetComparison {
                expr,
                subquery,
                op,
                quantifier,
            }) => {
                let (expr, subquery) = self.with_subquery(*expr, subquery)?;
                let expr = Box::new(expr);
                Expr::SetComparison(SetComparison::new(expr, subquery, op, quantifier))
            }
            Expr::Cast(cast) => self.cast(cast)?,
            expr => expr,
        };
        let coerced = self.datafusion.f_up(expr)?;
        let coerced = coerced.map_data(|expr| opaque(expr, self.schema))?;
        coerced.map_data(|expr| counted(expr, self.schema))
    }
}

fn compares(op: Operator) -> bool {
    use Operator as O;
    matches!(
        op,
        O::Eq
            | O::NotEq
            | O::Lt
            | O::LtEq
            | O::Gt
            | O::GtEq
            | O::IsDistinctFrom
            | O::IsNotDistinctFrom
    )
}

impl Rewriter<'_> {
    /// Brings expressions that meet in a column to types in which they can.
    fn meet(&self, exprs: Vec<&mut Expr>) -> DfResult<()> {
        self.brought(exprs, common)
    }

    /// Brings expressions to types in which they can be compared.
    fn compare(&self, exprs: Vec<&mut Expr>) -> DfResult<()> {
        self.brought(exprs, comparable)
    }

    fn brought(
        &self,
        exprs: Vec<&mut Expr>,
        types: fn(&[Member]) -> Vec<Option<DataType>>,
    ) -> DfResult<()> {
        let members = exprs.iter().map(|expr| member(expr, self.schema));
        let members = members.collect::<DfResult<Vec<_>>>()?;
        for (expr, wanted) in exprs.into_iter().zip(types(&members)) {
            if let Some(wanted) = wanted {
                *expr = converted(std::mem::take(expr), &wanted, self.schema)?;
            }
        }
        Ok(())
    }

    fn comparison(&self, binary: BinaryExpr) -> DfResult<Expr> {
        let BinaryExpr {
            mut left,
            mut op,
            mut right,
        } = binary;
        if constant(&left).is_some()
            && let Some(swapped) = op.swap()
        {
            op = swapped;
            std::mem::swap(&mut left, &mut right);
        }
        if let Some(unit) = self.unit(&left)?
            && let Some(moment) = unit.moment(&right)
        {
            return Ok(moment.compared(*left, op, &unit));
        }
        self.apart(&left, op, &right)?;
        self.compare(vec![&mut left, &mut right])?;
        Ok(Expr::BinaryExpr(BinaryExpr::new(left, op, right)))
    }

    /// Refuses to compare text with numbers: which of both is meant to be the other, only the query
    /// can say. Errors: as DataFusion's for types that can't be compared.
    fn apart(&self, one: &Expr, op: Operator, other: &Expr) -> DfResult<()> {
        let types = (one.get_type(self.schema)?, other.get_type(self.schema)?);
        match apart((one, &types.0), (other, &types.1)) {
            true => incomparable(&types.0, op, &types.1),
            false => Ok(()),
        }
    }

    /// What a time is counted in that isn't known yet.
    fn unit(&self, expr: &Expr) -> DfResult<Option<Unit>> {
        Ok(match constant(expr) {
            Some(_) => None,
            None => Unit::of(&expr.get_type(self.schema)?),
        })
    }

    /// A date and a part of a day make a time: DataFusion drops the part.
    fn later(&self, binary: BinaryExpr) -> DfResult<BinaryExpr> {
        let BinaryExpr {
            mut left,
            op,
            mut right,
        } = binary;
        let is_date = |of: &DataType| matches!(of, DataType::Date32 | DataType::Date64);
        let is_interval = |of: &DataType| matches!(of, DataType::Interval(_));
        let types = (left.get_type(self.schema)?, right.get_type(self.schema)?);
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let (date, interval) = match types {
            (date, interval) if is_date(&date) && is_interval(&interval) => (&mut left, &right),
            (interval, date) if is_date(&date) && is_interval(&interval) => (&mut right, &left),
            _ => return Ok(BinaryExpr::new(left, op, right)),
        };
        if !constant(interval).is_some_and(|interval| is_whole_days(&interval)) {
            **date = std::mem::take(&mut **date).cast_to(&time, self.schema)?;
        }
        Ok(BinaryExpr::new(left, op, right))
    }

    /// Of times; numbers are subtracted as DataFusion does it.
    fn difference(&self, binary: BinaryExpr) -> DfResult<Expr> {
        if binary.op != Operator::Minus {
            return Ok(Expr::BinaryExpr(binary));
        }
        let BinaryExpr {
            mut left,
            op,
            mut right,
        } = binary;
        let times = (left.get_type(self.schema)?, right.get_type(self.schema)?);
        if let (
            DataType::Timestamp(..) | DataType::Date32,
            DataType::Timestamp(..) | DataType::Date32,
        ) = times
        {
            self.meet(vec![&mut left, &mut right])?;
        }
        Ok(Expr::BinaryExpr(BinaryExpr::new(left, op, right)))
    }

    fn between(&mut self, between: Between) -> DfResult<Transformed<Expr>> {
        let Between {
            mut expr,
            negated,
            mut low,
            mut high,
        } = between;
        if self.unit(&expr)?.is_some() {
            // Each bound meets the time in its own way.
            let least = BinaryExpr::new(expr.clone(), Operator::GtEq, low);
            let greatest = BinaryExpr::new(expr, Operator::LtEq, high);
            let least = self.datafusion_of(self.comparison(least)?)?;
            let greatest = self.datafusion_of(self.comparison(greatest)?)?;
            let both = least.and(greatest);
            return Ok(Transformed::yes(match negated {
                true => Expr::Not(Box::new(both)),
                false => both,
            }));
        }
        self.apart(&expr, Operator::GtEq, &low)?;
        self.apart(&expr, Operator::LtEq, &high)?;
        self.compare(vec![&mut expr, &mut low, &mut high])?;
        self.datafusion
            .f_up(Expr::Between(Between::new(expr, negated, low, high)))
    }

    fn in_list(&self, list: InList) -> DfResult<Expr> {
        let InList {
            mut expr,
            mut list,
            negated,
        } = list;
        if let Some(unit) = self.unit(&expr)? {
            list.retain_mut(|one| match unit.moment(one) {
                None => true,
                Some(Moment::Exact(at)) => {
                    *one = unit.literal(at);
                    true
                }
                Some(_) => false,
            });
            if list.is_empty() {
                return Ok(never(*expr, negated, &unit));
            }
        }
        for one in &list {
            self.apart(&expr, Operator::Eq, one)?;
        }
        let mut all: Vec<&mut Expr> = vec![&mut expr];
        all.extend(&mut list);
        self.compare(all)?;
        Ok(Expr::InList(InList::new(expr, list, negated)))
    }

    fn case(&self, mut case: Case) -> DfResult<Expr> {
        if let Some(base) = &mut case.expr {
            for (when, _) in &case.when_then_expr {
                self.apart(base, Operator::Eq, when)?;
            }
            let whens = case.when_then_expr.iter_mut();
            let mut compared: Vec<&mut Expr> = vec![&mut **base];
            compared.extend(whens.map(|(when, _)| &mut **when));
            self.compare(compared)?;
            // DataFusion's takes -0.0 and 0.0 for two.
            if base.get_type(self.schema)?.is_floating() && !base.is_volatile() {
                for (when, _) in &mut case.when_then_expr {
                    let same = base.as_ref().clone().eq(std::mem::take(when.as_mut()));
                    **when = self.datafusion_of(same)?;
                }
                case.expr = None;
            }
        }
        let thens = case.when_then_expr.iter_mut().map(|(_, then)| &mut **then);
        let results = thens.chain(case.else_expr.as_deref_mut()).collect();
        self.meet(results)?;
        Ok(Expr::Case(case))
    }

    fn call(&self, mut call: ScalarFunction) -> DfResult<Expr> {
        match call.func.name() {
            "to_timestamp" => return self.to_timestamp(call),
            "nullif" if call.args.len() == 2 => return self.null_if(call),
            "nvl2" => {
                let chosen = call.args.iter_mut().skip(1).collect();
                self.meet(chosen)?;
            }
            name if bring_together(name) => {
                self.meet(call.args.iter_mut().collect())?;
            }
            _ => {}
        }
        Ok(Expr::ScalarFunction(call))
    }

    /// `nullif` compares as `=` does: DataFusion's takes -0.0 and 0.0 for two.
    fn null_if(&self, mut call: ScalarFunction) -> DfResult<Expr> {
        self.meet(call.args.iter_mut().collect())?;
        let of = call.args[0].get_type(self.schema)?;
        if !of.is_floating() || call.args.iter().any(Expr::is_volatile) {
            return Ok(Expr::ScalarFunction(call));
        }
        let other = call.args.remove(1);
        let one = call.args.remove(0);
        let same = self.datafusion_of(one.clone().eq(other))?;
        let null = lit(ScalarValue::try_from(&of)?);
        when(same, null).otherwise(one)
    }

    /// Brings both to one type: DataFusion cuts a default of `lag` to the column's.
    fn same_type(&self, value: &mut Expr, default: &mut Expr) -> DfResult<()> {
        self.meet(vec![value, default])?;
        let (one, other) = (value.get_type(self.schema)?, default.get_type(self.schema)?);
        if one != other
            && let Some(both) = type_union_coercion(&one, &other)
        {
            *value = std::mem::take(value).cast_to(&both, self.schema)?;
            *default = std::mem::take(default).cast_to(&both, self.schema)?;
        }
        Ok(())
    }

    /// Keys by which rows are told apart or sorted: -0.0 and 0.0 are one.
    fn keys<'a>(&self, keys: impl Iterator<Item = &'a mut Expr>) -> DfResult<()> {
        for key in keys {
            let of = key.get_type(self.schema)?;
            if of.is_floating() && !key.is_volatile() {
                let zero = lit(ScalarValue::new_zero(&of)?);
                let is_zero = key.clone().eq(zero.clone());
                *key = when(is_zero, zero).otherwise(std::mem::take(key))?;
            }
        }
        Ok(())
    }

    /// `to_timestamp` of a text, a date or whole seconds, in the unit of `TIMESTAMP`. DataFusion's
    /// goes by way of nanoseconds.
    fn to_timestamp(&self, mut call: ScalarFunction) -> DfResult<Expr> {
        let [only] = &*call.args else {
            return Ok(Expr::ScalarFunction(call));
        };
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        let of = only.get_type(self.schema)?;
        let whole = of.is_integer() || of.is_string() || matches!(of, DataType::Date32);
        match whole {
            true => self.cast(Cast::new(Box::new(call.args.remove(0)), micros)),
            false => Ok(Expr::ScalarFunction(call)),
        }
    }

    fn datafusion_of(&self, expr: Expr) -> DfResult<Expr> {
        Ok(TypeCoercionRewriter::new(self.schema).f_up(expr)?.data)
    }

    fn with_subquery(&self, expr: Expr, subquery: Subquery) -> DfResult<(Expr, Subquery)> {
        let column = subquery.subquery.schema().field(0).data_type();
        let own = expr.get_type(self.schema)?;
        if constant(&expr).is_none() && text_and_number(&own, column) {
            return incomparable(&own, Operator::Eq, column);
        }
        let of = Member::of(column);
        let mut wanted = comparable(&[member(&expr, self.schema)?, of]).into_iter();
        let expr = match wanted.next().flatten() {
            Some(wanted) => converted(expr, &wanted, self.schema)?,
            None => expr,
        };
        let subquery = match wanted.next().flatten() {
            Some(wanted) => cast_subquery(subquery, &wanted)?,
            None => subquery,
        };
        Ok((expr, subquery))
    }

    fn cast(&self, cast: Cast) -> DfResult<Expr> {
        let of = cast.expr.get_type(self.schema)?;
        let wanted = cast.field.data_type();
        Ok(match (&of, wanted) {
            // Seconds, as in DuckDB and PostgreSQL, whatever the unit.
            (of, DataType::Timestamp(unit, zone))
                if of.is_integer() && *unit != TimeUnit::Second =>
            {
                let seconds = DataType::Timestamp(TimeUnit::Second, zone.clone());
                let seconds = Expr::Cast(Cast::new(cast.expr, seconds));
                Expr::Cast(Cast::new_from_field(Box::new(seconds), cast.field))
            }
            // AT TIME ZONE changes no unit.
            (
                DataType::Timestamp(unit, _),
                DataType::Timestamp(TimeUnit::Nanosecond, Some(zone)),
            ) if *unit != TimeUnit::Nanosecond => {
                let wanted = DataType::Timestamp(*unit, Some(Arc::clone(zone)));
                Expr::Cast(Cast::new(cast.expr, wanted))
            }
            _ => Expr::Cast(cast),
        })
    }
}

/// Whether an interval has no hours, minutes or seconds.
fn is_whole_days(interval: &ScalarValue) -> bool {
    use ScalarValue as S;
    match interval {
        S::IntervalYearMonth(_) => true,
        S::IntervalDayTime(of) => of.is_none_or(|of| of.milliseconds == 0),
        S::IntervalMonthDayNano(of) => of.is_none_or(|of| of.nanoseconds == 0),
        _ => false,
    }
}

/// Whether one is text and the other a number. A text in quotes may be either: `qty > '5'`.
fn apart(one: (&Expr, &DataType), other: (&Expr, &DataType)) -> bool {
    let quoted =
        |(expr, data_type): (&Expr, &DataType)| data_type.is_string() && constant(expr).is_some();
    text_and_number(one.1, other.1) && !quoted(one) && !quoted(other)
}

fn text_and_number(one: &DataType, other: &DataType) -> bool {
    let value = |of: &DataType| match of {
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        of => of.clone(),
    };
    let (one, other) = (value(one), value(other));
    (one.is_string() && other.is_numeric()) || (one.is_numeric() && other.is_string())
}

fn incomparable<T>(one: &DataType, op: Operator, other: &DataType) -> DfResult<T> {
    plan_err!("Cannot infer common argument type for comparison operation {one} {op} {other}")
}

/// Functions whose arguments get one type.
fn bring_together(function: &str) -> bool {
    matches!(
        function,
        "coalesce" | "nvl" | "greatest" | "least" | "make_array"
    ) || lists::meet(function)
}

fn member(expr: &Expr, schema: &DFSchema) -> DfResult<Member> {
    Ok(Member {
        data_type: expr.get_type(schema)?,
        constant: constant(expr),
    })
}

/// The expression in another type; a constant decimal as the nearest number.
fn converted(expr: Expr, wanted: &DataType, schema: &DFSchema) -> DfResult<Expr> {
    let number = constant(&expr).and_then(|value| double(&value));
    match (number, wanted) {
        (Some(number), DataType::Float64) => {
            Ok(Expr::Literal(ScalarValue::Float64(Some(number)), None))
        }
        (Some(number), DataType::Float32) => {
            let number = ScalarValue::Float32(Some(single(number)));
            Ok(Expr::Literal(number, None))
        }
        _ => match (expr, wanted) {
            (Expr::ScalarFunction(call), wanted) => made(call, wanted, schema),
            (expr, wanted) => expr.cast_to(wanted, schema),
        },
    }
}

/// What a constructor of structs or lists makes, of parts in their wanted types.
fn made(mut call: ScalarFunction, wanted: &DataType, schema: &DFSchema) -> DfResult<Expr> {
    let parts: Vec<(&mut Expr, &DataType)> = match (call.func.name(), wanted) {
        ("struct", DataType::Struct(fields)) => {
            let types = fields.iter().map(|field| field.data_type());
            call.args.iter_mut().zip(types).collect()
        }
        ("named_struct", DataType::Struct(fields)) => {
            let types = fields.iter().map(|field| field.data_type());
            call.args.iter_mut().skip(1).step_by(2).zip(types).collect()
        }
        ("make_array", DataType::List(item)) => {
            let items = call.args.iter_mut();
            items.map(|one| (one, item.data_type())).collect()
        }
        _ => Vec::new(),
    };
    for (part, wanted) in parts {
        if part.get_type(schema)? != *wanted {
            *part = converted(std::mem::take(part), wanted, schema)?;
        }
    }
    Expr::ScalarFunction(call).cast_to(wanted, schema)
}
