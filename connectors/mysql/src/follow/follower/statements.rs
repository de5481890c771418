//! What statements do to followed tables, and which of them can't be followed.

use tidegate_core::{Error, Result};

use super::Follower;
use crate::follow::event::Query;
use crate::follow::statement::{Statement, understand};

impl Follower {
    pub(super) fn statement(&mut self, query: &Query, start: u64) -> Result<()> {
        let names: Vec<_> = self
            .tables
            .iter()
            .map(|tracked| (tracked.table.database.as_str(), tracked.table.name.as_str()))
            .collect();
        let statement = understand(&query.text, &query.database, &names);
        if self.transactions.current.is_none() {
            // Servers of before MySQL 5.6 have no event in front.
            self.transactions.begin(start, None, None)?;
        }
        match statement {
            Statement::Begin | Statement::XaStart => {
                if let Some(transaction) = &mut self.transactions.current {
                    transaction.begun = true;
                    transaction.distributed |= statement == Statement::XaStart;
                }
                return Ok(());
            }
            Statement::Commit | Statement::XaEnd => {
                self.transactions.end();
                return Ok(());
            }
            Statement::Rollback => {
                let changes = self
                    .transactions
                    .current
                    .as_ref()
                    .map_or(0, |one| one.changes);
                if changes > 0 {
                    let error = Error::unsupported(
                        "a transaction with tables of several engines was rolled back",
                    );
                    return Err(self.transactions.met(error, start).hint(
                        "which of its changes were made can't be known; start over with \
                         --restart, and keep tables without transactions out of transactions",
                    ));
                }
                self.transactions.end();
                return Ok(());
            }
            Statement::Alters(at) => {
                if let Some(tracked) = self.tables.get_mut(at) {
                    tracked.stale = true;
                }
            }
            Statement::Removes(at, what) => {
                return Err(self.unsupported(
                    at,
                    &format!("a followed table lost rows that the binary log doesn't name: {what}"),
                    "start over with --restart, or leave the table out by `tables`",
                ));
            }
            Statement::Writes(at) => {
                return Err(self.unsupported(
                    at,
                    "a followed table was written in statements, which tell no rows",
                    "a session used binlog_format = STATEMENT or MIXED; forbid it, and start over \
                     with --restart",
                ));
            }
            Statement::WritesElsewhere => {
                tracing::debug!(statement = query.text, "rows written in a statement");
            }
            Statement::Other => {}
        }
        if self
            .transactions
            .current
            .as_ref()
            .is_none_or(|one| !one.begun)
        {
            self.transactions.end();
        }
        Ok(())
    }
}
