//! What the log says further on.

use tidegate_core::{Error, Result};

use super::bytes::{Broken, Unfit};
use super::event::{Kind, Query};
use super::position::{BinlogOffset, file_number};
use super::server::{self, Reach, too_long};
use super::statement::{Statement, understand};
use crate::connect::Connector;
use crate::discover::Table;

/// Which of the tables a statement behind `offset` may have given another definition first, by its
/// number, as far as the log goes by now.
///
/// If none, then their definitions of *before* this was asked are those of their rows behind `offset`:
/// a server shows a definition only when the statement that made it stands in the log, and the log
/// takes no rows of a table while it is altered.
pub(super) async fn altered(
    connector: &Connector,
    offset: &BinlogOffset,
    tables: &[&Table],
) -> Result<Option<usize>> {
    let names = tables.iter();
    let names = names.map(|table| (table.database.as_str(), table.name.as_str()));
    let names: Vec<_> = names.collect();
    if names.is_empty() {
        return Ok(None);
    }
    let (file, byte, _) = server::status(&mut connector.connect().await?).await?;
    let end = (file_number(&file)?, byte);
    // Number 0 is nobody's, so no other reader is cut off.
    let mut dump = server::dump(connector, offset, 0, Reach::Present).await?;
    let mut file = (dump.track.file.clone(), file_number(&dump.track.file)?);
    loop {
        if file.0 != dump.track.file {
            file = (dump.track.file.clone(), file_number(&dump.track.file)?);
        }
        if (file.1, dump.track.at) >= end {
            return Ok(None);
        }
        let packet = dump.connection.packet(server::READING).await?;
        let broken = |_| Error::data("an event of the binary log can't be read");
        let Some(placed) = dump.track.take(&packet).map_err(broken)? else {
            return Ok(None);
        };
        if let Kind::Query { compressed } = placed.event.kind
            && placed.start >= dump.track.wanted
        {
            let query = Query::parse(placed.event.body, compressed, connector.max_row());
            let query = query.map_err(|unfit| match unfit {
                Unfit::Broken => broken(Broken),
                Unfit::Long(size) => too_long(size, connector.max_row()),
            })?;
            match understand(&query.text, &query.database, &names) {
                Statement::Alters(at) | Statement::Removes(at, _) => return Ok(Some(at)),
                _ => {}
            }
        }
    }
}
