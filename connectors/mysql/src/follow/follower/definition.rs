//! Which definition the rows that follow are made by.

use std::sync::Arc;

use tidegate_core::{Error, Result};

use super::Follower;
use crate::discover::Table;
use crate::follow::ahead;
use crate::follow::event::Event;
use crate::follow::followed::{definition_now, same_definition};
use crate::follow::map::{self, TableMap};
use crate::follow::shape::{self, Shape};

impl Follower {
    pub(super) async fn map(&mut self, event: &Event<'_>) -> Result<()> {
        let broken = |this: &Self| this.broken(Some(event));
        let id = map::id(event.body).map_err(|_| broken(self))?;
        let (database, table) = map::names(event.body).map_err(|_| broken(self))?;
        let at = self
            .by_name
            .get(&(database.to_owned(), table.to_owned()))
            .copied();
        self.ids.insert(id, at);
        let Some(at) = at else { return Ok(()) };
        let substance = map::substance(event.body).map_err(|_| broken(self))?;
        let tracked = &self.tables[at];
        if !tracked.stale
            && tracked
                .known
                .as_ref()
                .is_some_and(|(known, _)| known == substance)
        {
            return Ok(());
        }
        let map = TableMap::parse(event.body, self.mariadb).map_err(|_| broken(self))?;
        let resolved = self.resolve(at, &map).await;
        let (table, fit) = resolved.map_err(|error| {
            let error = error.with("table", &map.table);
            self.at(error)
        })?;
        // What waits was read by the definition of before.
        self.flush()?;
        let tracked = &mut self.tables[at];
        tracked.stale = false;
        let mapping = self.around.mapping;
        let schema = tracked.schema(&table, mapping)?;
        let before = tracked.schema(&tracked.table, mapping)?;
        if !same_definition(&table, &tracked.table) {
            tracked.table = table;
            tracked.changed = true;
        }
        if schema != before {
            self.announce(at, schema)?;
            if self.held {
                return Ok(());
            }
        }
        let tracked = &mut self.tables[at];
        let shown = tracked.shown(&tracked.table);
        let shape = Shape::new(&tracked.table, fit, &shown, tracked.scan.as_ref(), mapping)?;
        tracked.known = Some((substance.to_vec(), Arc::new(shape)));
        Ok(())
    }

    /// Finds the definition that a map belongs to.
    async fn resolve(&mut self, at: usize, map: &TableMap) -> Result<(Table, shape::Fit)> {
        let known = self.tables[at].table.clone();
        let stale = self.tables[at].stale;
        // Without names in the map, the definition of before may fit one with other names.
        if (map.is_full() || !stale)
            && let Some(fit) = shape::fit(&known, map)?
        {
            return Ok((known, fit));
        }
        let now = definition_now(&self.around, &known).await?;
        if let Some(now) = &now
            && let Some(fit) = shape::fit(now, map)?
            && (map.is_full()
                || ahead::altered(&self.around.connector, &self.transactions.behind(), &[now])
                    .await?
                    .is_none())
        {
            return Ok((now.clone(), fit));
        }
        if map.is_full() {
            let mut others = vec![&known];
            others.extend(&now);
            let table = shape::compose(map, &others)?;
            if let Some(fit) = shape::fit(&table, map)? {
                return Ok((table, fit));
            }
            return Err(Error::internal("a definition made of a map doesn't fit it"));
        }
        Err(Error::schema(
            "a table was altered, and the binary log doesn't say how its rows are made",
        )
        .hint(
            "start over with --restart; with binlog_row_metadata = FULL at the server, the \
                     log says it from then on",
        ))
    }
}
