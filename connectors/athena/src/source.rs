use std::sync::Arc;

use arrow_schema::SchemaRef;
use futures::{FutureExt, StreamExt, stream};
use serde::{Deserialize, Serialize};
use tidegate_core::{
    Ask, Cancel, Error, ErrorKind, Event, EventStream, Next, Offset, Plan, PlanState, Replay,
    Result, Rows, Scan, Source, Split, SplitData, Stream, StreamName, async_trait,
};

use crate::athena::Athena;
use crate::client::Fetched;
use crate::columns;
use crate::execution::{End, Execution};
use crate::page::Page;
use crate::start::Start;
use crate::statement::Statement;

/// A query whose result is one stream in one split.
///
/// Positions name the execution: its result doesn't change any more, so a later process reads on in
/// the very same rows.
#[derive(Debug)]
pub(crate) struct AthenaSource {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    athena: Athena,
    query: Statement,
    start: Start,
    stream: StreamName,
    schema: SchemaRef,
}

/// Where a reading is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    execution: String,
    /// The rows that were given.
    rows: u64,
    page: Place,
}

/// The page that comes next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Place {
    First,
    /// The page that Athena gives for this token.
    Token(String),
    End,
}

/// What is to be done next.
#[derive(Debug)]
enum Step {
    /// Run the query.
    Run,
    /// Read the page at this position; `resumed`: it comes from the state.
    Read { at: Position, resumed: bool },
}

impl AthenaSource {
    pub(crate) fn new(
        athena: Athena,
        query: Statement,
        start: Start,
        stream: StreamName,
        schema: SchemaRef,
    ) -> Self {
        let shared = Arc::new(Shared {
            athena,
            query,
            start,
            stream,
            schema,
        });
        Self { shared }
    }
}

#[async_trait]
impl Source for AthenaSource {
    fn streams(&self) -> Vec<Stream> {
        vec![Stream {
            name: self.shared.stream.clone(),
            schema: Arc::clone(&self.shared.schema),
            key: Vec::new(),
            bounded: true,
            replay: Replay::Offset,
        }]
    }

    async fn plan(&self, ask: &Ask<'_>) -> Result<Plan> {
        let mut new = Vec::new();
        if ask.first
            && ask
                .scans
                .iter()
                .any(|scan| scan.stream == self.shared.stream)
        {
            new.push(Split::new("query", SplitData::encode(&())?));
        }
        Ok(Plan {
            new,
            revoked: Vec::new(),
            state: PlanState::encode(&())?,
            next: Next::Complete,
        })
    }

    async fn read(
        &self,
        _: &Split,
        scans: &[Scan],
        resume: Option<&Offset>,
    ) -> Result<EventStream> {
        let mut scans = scans.iter();
        let Some(scan) = scans.find(|scan| scan.stream == self.shared.stream) else {
            return Ok(stream::empty().boxed());
        };
        let reading = Reading {
            wanted: scan.indices(&self.shared.schema)?.into(),
            limit: scan.limit,
            shared: Arc::clone(&self.shared),
        };
        let step = match resume {
            None => Step::Run,
            Some(offset) => Step::Read {
                at: offset.decode()?,
                resumed: true,
            },
        };
        let events = stream::try_unfold(step, move |step| {
            let reading = reading.clone();
            async move { reading.step(step).await }
        });
        Ok(events.boxed())
    }

    async fn close(&self) -> Result<()> {
        self.shared.athena.close().await;
        Ok(())
    }
}

#[derive(Debug, Clone)]
struct Reading {
    shared: Arc<Shared>,
    wanted: Arc<[usize]>,
    limit: Option<u64>,
}

impl Reading {
    async fn step(&self, step: Step) -> Result<Option<(Event, Step)>> {
        let (event, at) = match step {
            Step::Run => {
                let execution = self.run().await?;
                let at = Position {
                    execution,
                    rows: 0,
                    page: Place::First,
                };
                (Event::Progress(Offset::encode(&at)?), at)
            }
            Step::Read { at, resumed } => {
                let enough = self.limit.is_some_and(|limit| at.rows >= limit);
                if enough || at.page == Place::End {
                    return Ok(None);
                }
                let page = self.fetch(&at, resumed).await?;
                self.event(at, page)?
            }
        };
        let next = Step::Read { at, resumed: false };
        Ok(Some((event, next)))
    }

    /// Runs the query to its end. Stopped if this is dropped before: then, or if it fails, the next
    /// reading starts another.
    async fn run(&self) -> Result<String> {
        let Shared { athena, start, .. } = &*self.shared;
        let token = start.token().await?;
        let forget = start.clone();
        let forget = async move {
            if let Err(error) = forget.forget().await {
                tracing::warn!(%error, "the token of a query that is stopped stays noted");
            }
        };
        let query = &self.shared.query;
        let execution = Execution::begin(&athena.client, &athena.stops, query, token)
            .before_stop(forget.boxed());
        // The runtime drops what it wants no more.
        match execution.end(&Cancel::never()).await {
            Ok(End::Succeeded { id, .. }) => Ok(id),
            Ok(End::Stopped) => Err(Error::internal("a query was stopped by nobody")),
            Err(error) => {
                start.forget().await?;
                Err(error)
            }
        }
    }

    async fn fetch(&self, at: &Position, resumed: bool) -> Result<Fetched> {
        let client = &self.shared.athena.client;
        let token = match &at.page {
            Place::Token(token) => Some(token.as_str()),
            Place::First | Place::End => None,
        };
        let page = client.page(&at.execution, token, true).await;
        match page {
            Err(error) if resumed && refused(&error) => match token {
                // A token may not live as long as the result it points into.
                Some(_) => self.seek(at).await.map_err(gone),
                None => Err(gone(error)),
            },
            page => page,
        }
    }

    /// The page at a position, found by counting.
    async fn seek(&self, at: &Position) -> Result<Fetched> {
        let client = &self.shared.athena.client;
        let (mut token, mut before) = (None, 0);
        loop {
            let mut page = client.page(&at.execution, token.as_deref(), true).await?;
            let after = before + count(&page);
            if after > at.rows || page.next.is_none() {
                let given = usize::try_from(at.rows - before).unwrap_or(usize::MAX);
                page.rows.drain(..given.min(page.rows.len()));
                return Ok(page);
            }
            (token, before) = (page.next, after);
        }
    }

    fn event(&self, at: Position, page: Fetched) -> Result<(Event, Position)> {
        let Shared { stream, schema, .. } = &*self.shared;
        if !page.columns.is_empty() && columns::schema(&page.columns)? != *schema {
            return Err(Error::schema(
                "the query's result has other columns than it had when the pipeline was opened",
            )
            .with("execution", at.execution)
            .hint("a table has changed meanwhile: run the pipeline again, with --restart"));
        }
        let next = Position {
            rows: at.rows + count(&page),
            page: page.next.clone().map_or(Place::End, Place::Token),
            execution: at.execution,
        };
        let resume = Offset::encode(&next)?;
        if page.rows.is_empty() {
            return Ok((Event::Progress(resume), next));
        }
        let (schema, wanted) = (Arc::clone(schema), self.wanted.to_vec());
        let origin = next.execution.as_str().into();
        let page = Page::new(page.rows, schema, wanted, at.rows, origin)?;
        let event = Event::Rows {
            stream: stream.clone(),
            rows: Rows::Encoded(Box::new(page)),
            rejected: None,
            resume: Some(resume),
        };
        Ok((event, next))
    }
}

fn count(page: &Fetched) -> u64 {
    u64::try_from(page.rows.len()).unwrap_or(u64::MAX)
}

/// Whether Athena doesn't know what it is asked for.
fn refused(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Config | ErrorKind::NotFound)
}

fn gone(error: Error) -> Error {
    if !refused(&error) {
        return error;
    }
    error.hint(
        "Athena keeps results for 45 days, and needs its file in the output directory; if it is \
         gone, start over with --restart",
    )
}
