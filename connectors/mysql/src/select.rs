//! What is asked of the server to read a piece.

use serde::{Deserialize, Serialize};

use crate::discover::Table;
use crate::sql;

/// An order in which rows can be read, and read on: an index, and the columns that tell rows apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The index: `PRIMARY`.
    pub(crate) index: String,
    /// The names of the columns, in the index's order.
    pub(crate) columns: Vec<String>,
}

impl Order {
    /// That of the table's key.
    pub(crate) fn of_key(table: &Table) -> Option<Self> {
        let key = table.key.as_ref()?;
        let columns = key.columns.iter().filter_map(|at| table.columns.get(*at));
        Some(Self {
            index: key.index.clone(),
            columns: columns.map(|column| column.name.clone()).collect(),
        })
    }
}

/// Rows that follow one another in an [`Order`]: those after `low`, up to `high` and with it.
///
/// A bound is literals of the order's first columns. It may leave the last ones out, and then
/// stands behind all rows that begin so. Without a bound, the range is open there: rows that come
/// to be beyond what was found when it was planned are in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Range {
    pub(crate) low: Option<Vec<String>>,
    pub(crate) high: Option<Vec<String>>,
}

/// The rows of one run, by their cursor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Window {
    /// The cursor's column.
    pub(crate) column: String,
    /// Where the run before ended, as a literal; none if there was none.
    pub(crate) from: Option<String>,
    pub(crate) to: String,
    /// Whether rows that equal a bound belong to the run that ends there, rather than to the one
    /// that begins.
    pub(crate) closed: bool,
}

impl Window {
    /// The condition, for a column of `table`.
    pub(crate) fn condition(&self, table: &Table) -> String {
        let column = sql::column(table, &self.column);
        let (over, under) = match self.closed {
            true => (">", "<="),
            false => (">=", "<"),
        };
        let to = format!("{column} {under} {}", self.to);
        match &self.from {
            None => to,
            Some(from) => format!("{column} {over} {from} AND {to}"),
        }
    }
}

/// `columns` (quoted, in order) come after `bound`.
///
/// Written out, because neither server uses an index for `(a, b) > (1, 2)`. The first comparison
/// says nothing new, and lets the optimiser see one range.
fn after(columns: &[String], bound: &[String]) -> String {
    match (columns, bound) {
        ([column, rest @ ..], [value, more @ ..]) if !more.is_empty() => {
            let tail = after(rest, more);
            format!("{column} >= {value} AND ({column} > {value} OR {tail})")
        }
        ([column, ..], [value, ..]) => format!("{column} > {value}"),
        _ => "FALSE".to_owned(),
    }
}

/// `columns` come before `bound`, equal it, or begin with it.
fn up_to(columns: &[String], bound: &[String]) -> String {
    match (columns, bound) {
        ([column, rest @ ..], [value, more @ ..]) if !more.is_empty() => {
            let tail = up_to(rest, more);
            format!("{column} <= {value} AND ({column} < {value} OR {tail})")
        }
        ([column, ..], [value, ..]) => format!("{column} <= {value}"),
        _ => "TRUE".to_owned(),
    }
}

impl Range {
    /// The rows of this range after `last`.
    #[must_use]
    pub(crate) fn after(&self, last: Option<&[String]>) -> Self {
        match last {
            None => self.clone(),
            Some(last) => Self {
                low: Some(last.to_vec()),
                high: self.high.clone(),
            },
        }
    }

    /// The condition, for quoted columns; none if everything is in it.
    pub(crate) fn condition(&self, columns: &[String]) -> Option<String> {
        let (mut low, mut high) = (self.low.as_deref(), self.high.as_deref());
        let mut columns = columns;
        let mut parts = Vec::new();
        // What both bounds begin with is a constant.
        while let (Some([value, under @ ..]), Some([other, over @ ..])) = (low, high)
            && value == other
            && !under.is_empty()
            && let [column, rest @ ..] = columns
        {
            parts.push(format!("{column} = {value}"));
            columns = rest;
            low = Some(under);
            // Behind everything that begins so.
            high = Some(over).filter(|over| !over.is_empty());
        }
        parts.extend(low.map(|low| after(columns, low)));
        parts.extend(high.map(|high| up_to(columns, high)));
        (!parts.is_empty()).then(|| parts.join(" AND "))
    }
}

/// A SELECT of a table's rows.
#[derive(Debug, Clone)]
pub(crate) struct Select<'a> {
    pub(crate) table: &'a Table,
    /// What is selected, as SQL.
    pub(crate) list: String,
    /// How it is ordered, if it is.
    pub(crate) order: Option<&'a Order>,
    /// Whether no index is read, which might give the rows in another order than the table does.
    pub(crate) bare: bool,
    /// Conditions, each as SQL that can be joined by AND.
    pub(crate) conditions: Vec<String>,
    /// Whether the order is turned round.
    pub(crate) backwards: bool,
    pub(crate) limit: Option<u64>,
    /// How many rows are left out before.
    pub(crate) offset: u64,
}

impl<'a> Select<'a> {
    pub(crate) fn new(table: &'a Table, list: impl Into<String>) -> Self {
        Self {
            table,
            list: list.into(),
            order: None,
            bare: false,
            conditions: Vec::new(),
            backwards: false,
            limit: None,
            offset: 0,
        }
    }

    /// Reads a range in its order.
    #[must_use]
    pub(crate) fn range(mut self, order: &'a Order, range: &Range) -> Self {
        let columns = sql::columns(self.table, &order.columns);
        self.conditions.extend(range.condition(&columns));
        self.order = Some(order);
        self
    }

    pub(crate) fn sql(&self) -> String {
        use std::fmt::Write as _;
        let mut text = format!("SELECT {} FROM {}", self.list, sql::table(self.table));
        if let Some(order) = self.order {
            let _ = write!(text, " FORCE INDEX ({})", sql::name(&order.index));
        } else if self.bare {
            text.push_str(" USE INDEX ()");
        }
        for (at, condition) in self.conditions.iter().enumerate() {
            text.push_str(if at == 0 { " WHERE " } else { " AND " });
            text.push_str(&sql::group(condition));
        }
        if let Some(order) = self.order {
            let (columns, way) = (
                sql::columns(self.table, &order.columns),
                if self.backwards { " DESC" } else { "" },
            );
            let _ = write!(text, " ORDER BY {}{way}", columns.join(&format!("{way}, ")));
        }
        if let Some(limit) = self.limit {
            let _ = write!(text, " LIMIT {limit}");
            if self.offset > 0 {
                let _ = write!(text, " OFFSET {}", self.offset);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literals(values: &[i32]) -> Vec<String> {
        values.iter().map(ToString::to_string).collect()
    }

    fn condition(low: &[i32], high: &[i32]) -> String {
        let bound = |values: &[i32]| (!values.is_empty()).then(|| literals(values));
        let range = Range {
            low: bound(low),
            high: bound(high),
        };
        let columns = ["a", "b", "c"].map(str::to_owned);
        range.condition(&columns).unwrap_or_default()
    }

    #[test]
    fn ranges_are_written_out() {
        assert_eq!(condition(&[], &[]), "");
        assert_eq!(condition(&[1], &[]), "a > 1");
        assert_eq!(condition(&[], &[2]), "a <= 2");
        assert_eq!(condition(&[1], &[2]), "a > 1 AND a <= 2");
        assert_eq!(condition(&[1, 5], &[]), "a >= 1 AND (a > 1 OR b > 5)");
        assert_eq!(condition(&[1, 5], &[1, 7]), "a = 1 AND b > 5 AND b <= 7");
        assert_eq!(condition(&[1, 5], &[1]), "a = 1 AND b > 5");
        assert_eq!(
            condition(&[1, 5], &[1, 5, 9]),
            "a = 1 AND b > 5 AND b <= 5 AND (b < 5 OR c <= 9)"
        );
    }

    /// A bound that leaves columns out stands behind all rows that begin so.
    fn is_after(row: [i32; 3], bound: &[i32]) -> bool {
        row[..bound.len()] > *bound
    }

    #[test]
    fn ranges_mean_what_they_say() {
        let bounds = [
            vec![],
            vec![1],
            vec![0, 1],
            vec![1, 1],
            vec![1, 0, 1],
            vec![1, 1, 1],
        ];
        for low in &bounds {
            for high in &bounds {
                let text = condition(low, high);
                for number in 0..27 {
                    let row = [number / 9, number / 3 % 3, number % 3];
                    let inside = (low.is_empty() || is_after(row, low))
                        && (high.is_empty() || !is_after(row, high));
                    assert_eq!(
                        holds(&text, row),
                        inside,
                        "{low:?} {high:?} {row:?}: {text}"
                    );
                }
            }
        }
    }

    /// A small judge of the conditions above.
    fn holds(text: &str, row: [i32; 3]) -> bool {
        let tokens = text.replace('(', "( ").replace(')', " )");
        let tokens: Vec<_> = tokens.split_whitespace().collect();
        let mut at = 0;
        tokens.is_empty() || any(&tokens, &mut at, row)
    }

    fn any(tokens: &[&str], at: &mut usize, row: [i32; 3]) -> bool {
        let mut value = all(tokens, at, row);
        while tokens.get(*at) == Some(&"OR") {
            *at += 1;
            let other = all(tokens, at, row);
            value |= other;
        }
        value
    }

    fn all(tokens: &[&str], at: &mut usize, row: [i32; 3]) -> bool {
        let mut value = one(tokens, at, row);
        while tokens.get(*at) == Some(&"AND") {
            *at += 1;
            let other = one(tokens, at, row);
            value &= other;
        }
        value
    }

    fn one(tokens: &[&str], at: &mut usize, row: [i32; 3]) -> bool {
        if tokens[*at] == "(" {
            *at += 1;
            let value = any(tokens, at, row);
            assert_eq!(tokens[*at], ")");
            *at += 1;
            return value;
        }
        let column = row[["a", "b", "c"]
            .iter()
            .position(|c| *c == tokens[*at])
            .unwrap()];
        let value: i32 = tokens[*at + 2].parse().unwrap();
        let holds = match tokens[*at + 1] {
            ">" => column > value,
            ">=" => column >= value,
            "<" => column < value,
            "<=" => column <= value,
            "=" => column == value,
            other => panic!("{other}"),
        };
        *at += 3;
        holds
    }
}
