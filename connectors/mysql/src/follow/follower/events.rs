//! What each event means.

use tidegate_core::{Error, Result};

use super::Follower;
use crate::follow::event::{Event, Kind, MariaDbGtid, MySqlGtid, Query};
use crate::follow::map;
use crate::follow::transactions::Id;

impl Follower {
    pub(super) async fn apply(&mut self, event: &Event<'_>, start: u64) -> Result<()> {
        let or_broken = |this: &Self| this.broken(Some(event));
        match event.kind {
            Kind::Rotate => {
                self.transactions.rotated()?;
                self.ids.clear();
            }
            Kind::MariaDbGtid => {
                let gtid = MariaDbGtid::parse(event.body).map_err(|_| or_broken(self))?;
                let id = Id::MariaDb {
                    domain: gtid.domain,
                    server: event.server_id,
                    sequence: gtid.sequence,
                };
                let transaction = self.transactions.begin(start, Some(id), None)?;
                transaction.begun = !gtid.standalone;
                transaction.distributed = gtid.prepared;
            }
            Kind::MySqlGtid => {
                let gtid = MySqlGtid::parse(event.body).map_err(|_| or_broken(self))?;
                let id = Id::MySql {
                    source: gtid.source,
                    number: gtid.number,
                };
                let committed = gtid.committed.and_then(|micros| i64::try_from(micros).ok());
                self.transactions.begin(start, Some(id), committed)?;
            }
            Kind::AnonymousGtid => {
                let gtid = MySqlGtid::parse(event.body).map_err(|_| or_broken(self))?;
                let committed = gtid.committed.and_then(|micros| i64::try_from(micros).ok());
                self.transactions.begin(start, None, committed)?;
            }
            Kind::MySqlTaggedGtid => {
                self.transactions.begin(start, Some(Id::Tagged), None)?;
            }
            Kind::Query { compressed } => {
                let query = Query::parse(event.body, compressed, self.most());
                let query = query.map_err(|unfit| self.unfit(unfit, event))?;
                self.statement(&query, start)?;
            }
            Kind::Xid | Kind::XaPrepare => self.transactions.end(),
            Kind::TableMap => self.map(event).await?,
            Kind::Rows(kind) => self.rows(kind, event)?,
            Kind::PartialUpdate => {
                let id = map::id(event.body).map_err(|_| or_broken(self))?;
                if let Some(at) = self.ids.get(&id).copied().flatten() {
                    return Err(self.unsupported(
                        at,
                        "an update of JSON holds only differences",
                        "set binlog_row_value_options = '' at the server, and start over with \
                         --restart",
                    ));
                }
            }
            Kind::Incident => {
                let error = Error::data("the server says that its binary log lacks events");
                let error = self.transactions.met(error, start);
                return Err(error.hint("start over with --restart"));
            }
            Kind::TransactionPayload => return Err(or_broken(self)),
            Kind::Unknown if !event.is_ignorable() => {
                let error = Error::unsupported("an event of an unknown kind is in the binary log")
                    .with("event", event.number);
                return Err(self
                    .transactions
                    .met(error, start)
                    .hint("it may hold rows, so it isn't passed over; please tell us"));
            }
            Kind::Unknown
            | Kind::Nothing
            | Kind::Heartbeat
            | Kind::Stop
            | Kind::FormatDescription => {}
        }
        Ok(())
    }
}
