//! What the names of types stand for.

use arrow_schema::{DataType, Field, FieldRef, TimeUnit};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{DataType as Sql, TimezoneInfo};

/// `TIMESTAMP` counts microseconds, as in DuckDB and PostgreSQL: nanoseconds, as DataFusion has it,
/// end in 2262. `TIMESTAMP(9)` counts nanoseconds. With a zone it is an instant. `TIME` counts
/// microseconds as well.
#[derive(Debug)]
pub(super) struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, sql_type: &Sql) -> DfResult<Option<FieldRef>> {
        if let Sql::Time(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) = sql_type {
            let data_type = DataType::Time64(TimeUnit::Microsecond);
            return Ok(Some(Field::new("", data_type, true).into()));
        }
        let (precision, zone) = match sql_type {
            Sql::Timestamp(precision, zone) => (precision, *zone),
            Sql::Datetime(precision) => (precision, TimezoneInfo::None),
            _ => return Ok(None),
        };
        let unit = match precision {
            Some(0) => TimeUnit::Second,
            Some(1..=3) => TimeUnit::Millisecond,
            None | Some(4..=6) => TimeUnit::Microsecond,
            Some(7..=9) => TimeUnit::Nanosecond,
            Some(_) => return Ok(None),
        };
        let zone = match zone {
            TimezoneInfo::Tz | TimezoneInfo::WithTimeZone => Some(UTC.into()),
            TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => None,
        };
        let data_type = DataType::Timestamp(unit, zone);
        Ok(Some(Field::new("", data_type, true).into()))
    }
}

/// The zone in which instants are told.
pub(crate) const UTC: &str = "UTC";
