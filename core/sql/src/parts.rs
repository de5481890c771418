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
