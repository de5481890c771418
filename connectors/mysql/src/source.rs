//! The source: its streams, its plan, and what reads which piece.

use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use tidegate_core::{
    Ask, Error, EventStream, Limits, Metrics, Offset, Plan, Replay, Result, Scan, Source,
    SourceContext, Split, Stream, StreamName, async_trait,
};

use crate::config::{MySqlConfig, Snapshot};
use crate::connect::{Connector, Pool};
use crate::follow::{self, Live};
use crate::piece::Piece;
use crate::relation::{self, Relation};
use crate::sample::Sampler;
use crate::types::Mapping;
use crate::{plan, reading, snapshot};

/// A source that is open. What is in it is shared by its readers.
#[derive(Debug, Clone)]
pub(crate) struct MySqlSource {
    pub(crate) shared: Arc<Shared>,
}

/// What every reader needs.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) relations: Vec<Relation>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) mapping: Mapping,
    /// The one moment as of which everything is read, if that is asked for.
    pub(crate) snapshot: Option<snapshot::Snapshot>,
    /// The loop, if that is asked for.
    pub(crate) sampler: Option<Sampler>,
    /// Bytes of rows that are read at once.
    pub(crate) batch: usize,
    pub(crate) metrics: Arc<Metrics>,
    /// If the changes are followed.
    pub(crate) live: Option<Live>,
}

impl Shared {
    /// The relation behind a stream.
    pub(crate) fn relation(&self, stream: &StreamName) -> Result<&Relation> {
        let mut relations = self.relations.iter();
        let found = relations.find(|relation| relation.stream == *stream);
        found.ok_or_else(|| {
            Error::conflict(format!(
                "the state speaks of `{stream}`, which is not read any more"
            ))
            .hint("put it back into the configuration, or start over with --restart")
        })
    }
}

impl MySqlSource {
    pub(crate) async fn open(config: &MySqlConfig, cx: &SourceContext) -> Result<Self> {
        let connector = Connector::open(&config.connection(), cx).await?;
        let pool = Pool::new(Arc::clone(&connector), config.connections(cx), None);
        let mut loan = pool.lend().await?;
        let mut connection = loan.connect(true).await?;
        let relations = relation::find(&mut connection, connector.database(), config).await?;
        let live = Live::open(config, cx, &connector, &relations).await?;
        let snapshot = match config.snapshot {
            Snapshot::Relaxed => None,
            Snapshot::Consistent => {
                let tables = relations.iter().filter_map(Relation::named_table);
                let prepared = snapshot::Snapshot::prepare(
                    &connector,
                    &mut connection,
                    tables,
                    !config.queries.is_empty(),
                    pool.most(),
                );
                Some(prepared.await?)
            }
        };
        let sampler = match &config.sample {
            None => None,
            Some(sample) => Some(Sampler::new(
                Arc::clone(&pool),
                Arc::clone(&cx.metrics),
                sample.clone(),
                &relations,
                config.mapping(),
            )?),
        };
        loan.give_back(connection);
        Ok(Self {
            shared: Arc::new(Shared {
                relations,
                pool,
                mapping: config.mapping(),
                snapshot,
                sampler,
                batch: config.batch_size.as_usize(),
                metrics: Arc::clone(&cx.metrics),
                live,
            }),
        })
    }

    /// The schema of a stream: its columns, and behind them those that `follow` adds.
    fn schema(&self, relation: &Relation) -> SchemaRef {
        let live = self.shared.live.as_ref();
        let schema = live.and_then(|live| live.schema(&relation.stream));
        Arc::clone(schema.unwrap_or(&relation.schema))
    }

    /// A table without a key, and a query, are read in no order that could be found again.
    fn replay(&self, relation: &Relation) -> Replay {
        let shared = &self.shared;
        match &shared.snapshot {
            Some(_) => Replay::Session,
            // What follows the first reading of a table has positions, and a sample has them too.
            None if shared.live.is_some() || shared.sampler.is_some() => Replay::Offset,
            None if relation.key_order().is_some() => Replay::Offset,
            None => Replay::Whole,
        }
    }
}

#[async_trait]
impl Source for MySqlSource {
    fn streams(&self) -> Vec<Stream> {
        let relations = self.shared.relations.iter();
        relations
            .map(|relation| Stream {
                name: relation.stream.clone(),
                schema: self.schema(relation),
                key: relation.shown_key(),
                bounded: self.shared.live.is_none()
                    && self.shared.sampler.as_ref().is_none_or(Sampler::bounded),
                replay: self.replay(relation),
            })
            .collect()
    }

    fn limits(&self) -> Limits {
        Limits {
            splits: NonZeroUsize::new(self.shared.pool.most()),
            listens: false,
        }
    }

    fn notes(&self) -> Vec<String> {
        let snapshot = self.shared.snapshot.as_ref();
        snapshot.map(snapshot::Snapshot::note).into_iter().collect()
    }

    async fn plan(&self, ask: &Ask<'_>) -> Result<Plan> {
        let Some(live) = &self.shared.live else {
            return plan::plan(&self.shared, ask).await;
        };
        let (shared, ask) = (&self.shared, *ask);
        live.plan(&ask, |scans| async move {
            let ask = Ask {
                scans: &scans,
                ..ask
            };
            plan::plan(shared, &ask).await
        })
        .await
    }

    async fn read(
        &self,
        split: &Split,
        scans: &[Scan],
        resume: Option<&Offset>,
    ) -> Result<EventStream> {
        let (piece, noted) = match split.data.decode()? {
            Piece::Noted { piece, noted } => (*piece, Some(noted)),
            piece => (piece, None),
        };
        if let Some(noted) = noted {
            let theirs: Vec<_> = scans.iter().map(follow::without).collect();
            let events = self.piece(piece, &theirs, resume)?;
            return follow::stamp(events, scans, &noted);
        }
        self.piece(piece, scans, resume)
    }

    async fn close(&self) -> Result<()> {
        self.shared.pool.close();
        if let Some(snapshot) = &self.shared.snapshot {
            snapshot.close();
        }
        Ok(())
    }
}

impl MySqlSource {
    fn piece(&self, piece: Piece, scans: &[Scan], resume: Option<&Offset>) -> Result<EventStream> {
        match piece {
            Piece::Range {
                stream,
                order,
                range,
                window,
            } => reading::range(&self.shared, scans, &stream, order, range, window, resume),
            Piece::Whole { stream, window } => reading::whole(&self.shared, scans, &stream, window),
            Piece::Sample(draws) => {
                let sampler = self.shared.sampler.as_ref().ok_or_else(|| {
                    Error::conflict("the state speaks of random rows, which are not read any more")
                        .hint("put `sample` back into the configuration, or start over with --restart")
                })?;
                sampler.read(&draws, scans, resume)
            }
            Piece::Binlog(following) => match &self.shared.live {
                Some(live) => live.read(following, scans, resume),
                None => Err(
                    Error::conflict("the state is that of a source that follows")
                        .hint("set `follow = true` again, or start over with --restart"),
                ),
            },
            Piece::Noted { .. } => Err(Error::internal("a piece within a piece within a piece")),
        }
    }
}
