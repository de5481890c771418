use std::fmt;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use futures::{StreamExt, stream};
use tidegate_core::{BatchStream, Cancel, Context, Error, Result};
use uuid::Uuid;

use crate::AthenaSettings;
use crate::client::{Client, Fetched};
use crate::columns;
use crate::execution::{End, Execution, Stops};
use crate::page::Page;
use crate::statement::Statement;
use crate::statistics::Statistics;

/// Athena, ready to run SQL.
///
/// Cheap to clone; several statements may run at once.
#[derive(Debug, Clone)]
pub struct Athena {
    pub(crate) client: Client,
    pub(crate) stops: Stops,
}

/// What a statement gave.
pub struct AthenaResult {
    /// The columns. Names may repeat: Athena allows `SELECT 1 AS a, 2 AS a`.
    pub schema: SchemaRef,
    /// The rows, a page of at most 1,000 at a time. A value that its column can't hold exactly ends
    /// them with a `Data` error.
    pub batches: BatchStream,
    /// The execution, by which Athena's console and history know it.
    pub execution_id: String,
    /// What it took.
    pub statistics: Statistics,
    /// How many rows an `INSERT` or a `CREATE TABLE … AS` wrote.
    pub update_count: Option<u64>,
}

impl fmt::Debug for AthenaResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AthenaResult")
            .field("execution_id", &self.execution_id)
            .field("schema", &self.schema)
            .field("statistics", &self.statistics)
            .finish_non_exhaustive()
    }
}

impl Athena {
    /// Connects under these settings and no others; see [`AthenaSettings::of`]. Asks Athena for
    /// nothing yet.
    ///
    /// Errors: `Config`; `Auth` if a secret can't be read.
    pub async fn open(cx: &Context, settings: AthenaSettings) -> Result<Self> {
        Ok(Self {
            client: Client::connect(cx, settings).await?,
            stops: Stops::default(),
        })
    }

    /// The settings it was opened with.
    pub fn settings(&self) -> &AthenaSettings {
        self.client.settings()
    }

    /// Runs one statement, of any kind, and waits for its end. `None`: `cancel` came before, and the
    /// query was stopped (Athena's answer to that is awaited for 5 s). When the future is dropped,
    /// the query is stopped in the background; see [`Athena::close`].
    ///
    /// Errors: those of the query, with Athena's message and the execution's id: `Config` for SQL
    /// that Athena doesn't take (with the place, if it tells one), `NotFound`, `Auth`, `Data`,
    /// `Transient` where Athena says that it may work another time, `Conflict` if someone else
    /// stopped it.
    pub async fn run(&self, sql: &str, cancel: &Cancel) -> Result<Option<AthenaResult>> {
        let statement = Statement::parse(sql)?;
        // One for each call: a statement that is run twice is meant to run twice. The SDK's own
        // retries of the start carry it again.
        let token = format!("tidegate-{}", Uuid::new_v4().simple());
        let execution = Execution::begin(&self.client, &self.stops, &statement, token);
        match execution.end(cancel).await? {
            End::Stopped => Ok(None),
            End::Succeeded { id, status } => {
                let first = self.client.page(&id, None, status.header).await?;
                let schema = columns::schema(&first.columns)?;
                Ok(Some(AthenaResult {
                    update_count: first.updated,
                    batches: self.batches(&id, &schema, first),
                    schema,
                    execution_id: id,
                    statistics: status.statistics,
                }))
            }
        }
    }

    /// The columns that a query has, found out without reading anything: it is run with `LIMIT 0`.
    ///
    /// Errors: as [`Athena::run`]; `Conflict` if `cancel` came before.
    pub(crate) async fn columns(&self, query: &Statement, cancel: &Cancel) -> Result<SchemaRef> {
        let probe = query.probe()?;
        let token = format!("tidegate-{}", Uuid::new_v4().simple());
        let execution = Execution::begin(&self.client, &self.stops, &probe, token);
        match execution.end(cancel).await? {
            End::Stopped => Err(Error::conflict(
                "stopped before the query's columns were known",
            )),
            End::Succeeded { id, status } => {
                let page = self.client.page(&id, None, status.header).await?;
                columns::schema(&page.columns)
            }
        }
    }

    /// Waits, for at most 10 s, until the queries that were let go of are stopped. Call it before
    /// the program ends.
    pub async fn close(&self) {
        self.stops.settle().await;
    }

    fn batches(&self, id: &str, schema: &SchemaRef, first: Fetched) -> BatchStream {
        let (client, schema, id) = (
            self.client.clone(),
            Arc::clone(schema),
            Arc::<str>::from(id),
        );
        let batches = stream::try_unfold((Some(first), 0_u64), move |(page, before)| {
            let (client, schema, id) = (client.clone(), Arc::clone(&schema), Arc::clone(&id));
            async move {
                let Some(mut page) = page else {
                    return Ok::<_, Error>(None);
                };
                let rows = std::mem::take(&mut page.rows);
                let after = before + u64::try_from(rows.len()).unwrap_or(u64::MAX);
                let all = (0..schema.fields().len()).collect();
                let batch = Page::new(rows, schema, all, before, Arc::clone(&id))?.read_all()?;
                let next = match page.next {
                    Some(token) => Some(client.page(&id, Some(&token), false).await?),
                    None => None,
                };
                Ok(Some((batch, (next, after))))
            }
        });
        batches.boxed()
    }
}
