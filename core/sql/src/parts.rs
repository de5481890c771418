//! How large a query is when each name of a WITH is replaced by its query, as plans do it: with twenty
//! names that each stand for two of the one before, a text of a kilobyte is a million queries.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{ObjectName, ObjectNamePart, Query, Select, Visit, Visitor};
use tidegate_core::{Error, Result};

/// The most SELECTs and tables of a query. The time that it takes to plan so many grows with their
/// square, and the stack with their number.
const MOST: u64 = 1_000;

/// A table that is joined counts so often: that time grows with the cube of their number.
const JOINED: u64 = 4;

/// Refuses a query that is too large to be planned. Errors: `Config`.
pub(crate) fn check(query: &Query) -> Result<()> {
    match query.visit(&mut Parts::default()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::config(format!(
            "the query has more than {MOST} parts: SELECTs and tables, where one that is joined counts \
             as {JOINED}, and a name of a WITH as all that it stands for"
        ))
        .hint(
            "read many files as one table, by their folder or a pattern, and let a transform of its \
             own make what is used again and again",
        )),
    }
}

/// The queries around a place, each within the one before.
#[derive(Default)]
struct Parts(Vec<Level>);

#[derive(Default)]
struct Level {
    /// The queries of its WITH that are still to come, the next one last: where each is, and its name.
    with: Vec<(*const Query, String)>,
    /// How large those are that came.
    came: HashMap<String, u64>,
    parts: u64,
}

impl Parts {
    fn add(&mut self, parts: u64) -> ControlFlow<()> {
        let Some(level) = self.0.last_mut() else {
            return ControlFlow::Continue(());
        };
        level.parts = level.parts.saturating_add(parts);
        match level.parts > MOST {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

impl Visitor for Parts {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let with = query
            .with
            .iter()
            .flat_map(|with| with.cte_tables.iter().rev());
        let with = with.map(|table| {
            let name = table.alias.name.value.to_lowercase();
            (&raw const *table.query, name)
        });
        self.0.push(Level {
            with: with.collect(),
            ..Level::default()
        });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let parts = self.0.pop().map_or(0, |level| level.parts);
        if let Some(around) = self.0.last_mut()
            && let Some((_, name)) = around.with.pop_if(|(at, _)| std::ptr::eq(*at, query))
        {
            around.came.insert(name, parts);
            return ControlFlow::Continue(());
        }
        self.add(parts)
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let joins = select.from.iter().map(|from| from.joins.len() as u64 + 1);
        // Each counts once where its name is met.
        let joined = joins.sum::<u64>().saturating_sub(1);
        self.add(1 + joined * (JOINED - 1))
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let [ObjectNamePart::Identifier(name)] = &*relation.0 else {
            return self.add(1);
        };
        let name = name.value.to_lowercase();
        // Which one it is, where several have the name, isn't known yet.
        let parts = self.0.iter().filter_map(|level| level.came.get(&name));
        let parts = parts.max().copied().unwrap_or_default();
        self.add(parts.saturating_add(1))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use std::fmt::Write as _;

    use tidegate_core::ErrorKind;

    use crate::parse::parse;

    /// `count` queries of a WITH, each of which reads the one before as `step` says.
    fn with(count: usize, step: impl Fn(String) -> String) -> String {
        let mut sql = "WITH a0 AS (SELECT id FROM t)".to_owned();
        for n in 1..=count {
            let _ = write!(sql, ", a{n} AS ({})", step(format!("a{}", n - 1)));
        }
        sql + &format!(" SELECT * FROM a{count}")
    }

    #[test]
    fn what_a_with_stands_for_counts_each_time() {
        let alone = |before: String| format!("SELECT id FROM {before}");
        let twice =
            |before: String| format!("SELECT id FROM {before} x JOIN {before} y USING (id)");
        let both =
            |before: String| format!("{} UNION ALL {}", alone(before.clone()), alone(before));
        // In another case, in brackets, in a condition.
        let hidden = |before: String| {
            let before = before.to_uppercase();
            format!(
                "SELECT 1 AS id FROM (SELECT id FROM {before}) WHERE 1 IN (SELECT id FROM {before})"
            )
        };
        let in_a_row = |count: usize, term: &str, with: &str| vec![term; count].join(with);
        let select = "SELECT id FROM t";
        for (fits, too_large) in [
            (with(490, alone), with(500, alone)),
            (with(6, twice), with(25, twice)),
            (with(7, both), with(60, both)),
            (with(6, hidden), with(25, hidden)),
            (
                in_a_row(500, select, " UNION ALL "),
                in_a_row(501, select, " UNION ALL "),
            ),
            (
                format!("{select} {}", "NATURAL JOIN t ".repeat(249)),
                format!("{select} {}", "NATURAL JOIN t ".repeat(250)),
            ),
            (
                // Nobody asks for what is too large, but it would be planned all the same.
                format!("{} WHERE EXISTS (SELECT 1)", with(6, twice)),
                with(25, twice).replace("* FROM a25", "1"),
            ),
        ] {
            parse(&fits).unwrap();
            let error = parse(&too_large).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.message().contains("more than 1000 parts"), "{error}");
            assert!(
                error.hint_text().unwrap().contains("one table"),
                "{error:?}"
            );
        }
    }
}
