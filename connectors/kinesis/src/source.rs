//! The source that is open.

use std::sync::Arc;
use std::time::Duration;

use tidegate_aws::{Aws, AwsSettings};
use tidegate_core::{
    Ask, Error, EventStream, Limits, Next, Offset, Plan, PlanState, Replay, Result, Scan, Source,
    SourceContext, Split, Stream, StreamName, async_trait,
};
use tokio::sync::Semaphore;

use crate::api::{About, Api};
use crate::config::{KinesisConfig, Start, Until};
use crate::decode;
use crate::plan::{Begin, Part, State, another_stream};
use crate::position::now;
use crate::read::{self, EXPIRED, PAGE_KIB, Shared};

/// The stream's name.
const STREAM: &str = "records";

/// The open source.
#[derive(Debug)]
pub(crate) struct KinesisSource {
    shared: Arc<Shared>,
    about: About,
    start: Start,
    until: Option<Until>,
    discover: Duration,
}

impl KinesisSource {
    pub(crate) async fn open(config: &KinesisConfig, cx: &SourceContext) -> Result<Self> {
        let settings = AwsSettings::of(cx, config.aws.as_ref())?;
        let aws = Aws::connect(&settings, &cx.metrics).await?;
        let api = Api::new(&aws, &config.stream);
        let about = api.about().await?;
        let consumer = match &config.consumer {
            Some(consumer) => Some(api.consumer(&about.arn, consumer).await?),
            None => None,
        };
        // At least one page, or nothing would ever be read.
        let room = (cx.memory >> 10).clamp(PAGE_KIB.into(), 1 << 28);
        let room = usize::try_from(room).unwrap_or(1 << 28);
        Ok(Self {
            shared: Arc::new(Shared {
                api,
                retention: about.retention,
                on_loss: config.on_loss,
                poll: config.poll_interval.0,
                consumer,
                metrics: Arc::clone(&cx.metrics),
                room: Arc::new(Semaphore::new(room)),
            }),
            about,
            start: config.start,
            until: config.until,
            discover: config.discover_interval.0,
        })
    }
}

#[async_trait]
impl Source for KinesisSource {
    fn streams(&self) -> Vec<Stream> {
        vec![Stream {
            name: STREAM.into(),
            schema: decode::schema(),
            key: Vec::new(),
            bounded: self.until.is_some(),
            replay: Replay::Offset,
        }]
    }

    fn limits(&self) -> Limits {
        Limits {
            splits: None,
            listens: true,
        }
    }

    async fn plan(&self, ask: &Ask<'_>) -> Result<Plan> {
        let state = ask.state.map(PlanState::decode::<Option<State>>);
        let mut state = state.transpose()?.flatten().unwrap_or_default();
        state.check(self.about.created)?;
        state.created = self.about.created;
        let bounded = self.until.is_some();
        state.finish(ask.finished, bounded)?;
        let now = now();
        let mut new = Vec::new();
        if ask.first || !bounded {
            let listed = self.shared.api.shards().await?;
            for shard in state.lost(&listed, ask.first) {
                self.shared.lost(&shard, EXPIRED)?;
                state.shards.remove(&shard);
            }
            let begin = Begin::of(self.start, now);
            new = state.splits(&listed, begin, bounded.then_some(now), ask.first)?;
        }
        let next = match (bounded, state.open()) {
            (false, _) => Next::AskAgain(self.discover),
            (true, 0) => Next::Complete,
            (true, _) => Next::WhenFinished,
        };
        Ok(Plan {
            new,
            revoked: Vec::new(),
            state: PlanState::encode(&state)?,
            next,
        })
    }

    async fn read(
        &self,
        split: &Split,
        scans: &[Scan],
        resume: Option<&Offset>,
    ) -> Result<EventStream> {
        let mut part: Part = split.data.decode()?;
        // The key was added since the split was planned, and the run resumed.
        if self.until.is_some() {
            part.until.get_or_insert_with(now);
        }
        if part.created != self.about.created {
            return Err(another_stream().with("stream", self.shared.api.stream()));
        }
        let scan = scans.iter().find(|scan| scan.stream.as_str() == STREAM);
        let scan = scan.ok_or_else(|| Error::internal("a stream is read that nobody needs"))?;
        let schema = scan.schema(&decode::schema())?;
        let resume = resume.map(Offset::decode).transpose()?;
        let stream = StreamName::from(STREAM);
        Ok(read::read(&self.shared, part, schema, &stream, resume))
    }
}
