//! What an open source does when it follows: the plan, and who reads what.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use flate2::Crc;
use tidegate_core::{
    Ask, Error, EventStream, Offset, Plan, Result, Scan, SourceContext, Split, SplitData,
    StreamName,
};

use super::charset::Charset;
use super::conversion::unknown_charset;
use super::followed::{Around, Followed, Following, check_tables};
use super::follower::follow;
use super::{columns, server};
use crate::config::MySqlConfig;
use crate::connect::Connector;
use crate::piece::Piece;
use crate::relation::{Origin, Relation};
use crate::types::{Column, Type};

/// The split of the log.
const BINLOG: &str = "binlog";

/// See the module.
#[derive(Debug)]
pub(crate) struct Live {
    around: Around,
    tables: Vec<Followed>,
    schemas: HashMap<StreamName, SchemaRef>,
}

impl Live {
    /// Checks that the server and its tables can be followed. None if nobody asks for that.
    ///
    /// Errors: `Config` for the server's settings and for what isn't a table, `Auth` for missing
    /// rights, `Unsupported` for columns that can't be read from the log.
    pub(crate) async fn open(
        config: &MySqlConfig,
        cx: &SourceContext,
        connector: &Arc<Connector>,
        relations: &[Relation],
    ) -> Result<Option<Self>> {
        if !config.follow {
            return Ok(None);
        }
        server::check(connector).await?;
        let mapping = config.mapping();
        let (mut tables, mut schemas) = (Vec::new(), HashMap::new());
        for relation in relations {
            let at = |error: Error| error.with("table", &relation.stream);
            let table = match &relation.origin {
                Origin::Table(table) if table.engine.is_some() => table,
                _ => {
                    return Err(at(Error::config("only tables can be followed").hint(
                        "leave views out by `tables`: they have no changes of their own",
                    )));
                }
            };
            for column in &relation.columns {
                check_column(column).map_err(at)?;
            }
            if table.key.is_none() {
                tracing::warn!(
                    table = table.name,
                    "the table has no key: rows that change while it is read come twice, and \
                     updates come as a delete and an insert"
                );
            }
            let schema = columns::schema(&relation.columns, mapping).map_err(at)?;
            schemas.insert(relation.stream.clone(), schema);
            let chosen = relation.columns.len() < table.columns.len();
            let names = || {
                relation
                    .columns
                    .iter()
                    .map(|one| one.name.clone())
                    .collect()
            };
            tables.push(Followed {
                stream: relation.stream.clone(),
                table: table.clone(),
                columns: chosen.then(names),
            });
        }
        Ok(Some(Self {
            around: Around {
                connector: Arc::clone(connector),
                mapping,
                batch: config.batch_size.as_usize(),
                server_id: config.server_id.unwrap_or_else(|| our_number(cx)),
                metrics: Arc::clone(&cx.metrics),
            },
            tables,
            schemas,
        }))
    }

    /// The schema of a stream, with our columns.
    pub(crate) fn schema(&self, stream: &StreamName) -> Option<&SchemaRef> {
        self.schemas.get(stream)
    }

    /// Notes the position, then plans the snapshot by `plan`, then the log after it.
    pub(crate) async fn plan<F: Future<Output = Result<Plan>> + Send>(
        &self,
        ask: &Ask<'_>,
        plan: impl FnOnce(Vec<Scan>) -> F + Send,
    ) -> Result<Plan> {
        let scans = ask.scans.iter().map(columns::without).collect();
        if !ask.first {
            return plan(scans).await;
        }
        let noted = server::note(&self.around.connector).await?;
        check_tables(&self.around, &noted, &self.tables).await?;
        let mut plan = plan(scans).await?;
        for split in &mut plan.new {
            split.data = SplitData::encode(&Piece::Noted {
                piece: Box::new(split.data.decode()?),
                noted: noted.clone(),
            })?;
        }
        let following = Piece::Binlog(Following {
            noted,
            tables: self.tables.clone(),
        });
        let mut binlog = Split::new(BINLOG, SplitData::encode(&following)?);
        binlog.after = plan.new.iter().map(|split| split.id.clone()).collect();
        plan.new.push(binlog);
        Ok(plan)
    }

    /// Reads the log.
    pub(crate) fn read(
        &self,
        following: Following,
        scans: &[Scan],
        resume: Option<&Offset>,
    ) -> Result<EventStream> {
        follow(self.around.clone(), following, scans, &self.schemas, resume)
    }
}

/// Refuses what the log doesn't hold, or holds in a form that only the server can read.
fn check_column(column: &Column) -> Result<()> {
    if matches!(column.kind, Type::Text | Type::Json)
        && let Some(charset) = &column.charset
        && Charset::named(charset).is_none()
    {
        return Err(unknown_charset(column));
    }
    Ok(())
}

/// A number that no other replica is likely to have: always the same for one source of a pipeline,
/// in the upper half, where nobody counts up to.
fn our_number(cx: &SourceContext) -> u32 {
    let mut crc = Crc::new();
    crc.update(cx.lineage.to_string().as_bytes());
    crc.update(cx.id.as_str().as_bytes());
    crc.sum() | 0x8000_0000
}
