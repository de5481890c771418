//! Asking sources for splits, and storing their answers: each in a task of its own, so that one that
//! takes long holds up no other.

use std::sync::Arc;

use tidegate_core::{Ask, FinishedSplit, Plan, Result, SplitId, guarded_async};
use tokio::task::JoinSet;

use super::common::Common;
use super::splits::SourceSplits;
use crate::retry;
use crate::state::Change;

/// See the module.
#[derive(Default)]
pub(crate) struct Asking {
    tasks: JoinSet<Answer>,
}

/// What came of a question.
pub(crate) struct Answer {
    /// The source, by its place.
    pub(crate) source: usize,
    pub(crate) result: Result<Answered>,
}

pub(crate) enum Answered {
    /// The source's plan, and the finished splits that it was told of.
    Planned(Plan, Vec<SplitId>),
    /// It is stored.
    Stored(Plan),
}

impl Asking {
    /// Asks a source.
    pub(crate) fn ask(
        &mut self,
        common: &Arc<Common>,
        at: usize,
        source: &mut SourceSplits,
        whole: bool,
    ) {
        let first = source.next.is_none();
        let told = source.ask(whole);
        let asked = Arc::clone(&source.source);
        let (scans, state) = (Arc::clone(&source.scans), source.plan.clone());
        let id = common.id(source.node).clone();
        let around = &common.around;
        // A first ask that fails leaves nothing to lose: the attempt is retried, not both.
        let tries = if first { 0 } else { around.runtime.attempts };
        let cancel = around.cancel.clone();
        self.start(common, at, source.node, async move {
            let plan = retry::passing_until(&cancel, tries, id.as_str(), || {
                let ask = Ask {
                    scans: &scans,
                    state: state.as_ref(),
                    finished: &told,
                    first,
                };
                let asked = &asked;
                async move { asked.plan(&ask).await }
            })
            .await?;
            Ok(Answered::Planned(plan, ids(told)))
        });
    }

    /// Stores an answer.
    pub(crate) fn store(
        &mut self,
        common: &Arc<Common>,
        at: usize,
        source: &SourceSplits,
        plan: Plan,
        told: Vec<SplitId>,
    ) {
        let change = Change::Planned {
            source: common.id(source.node).clone(),
            plan: plan.state.clone(),
            next: plan.next,
            new: plan.new.clone(),
            told,
            revoked: plan.revoked.clone(),
        };
        let stored = Arc::clone(common);
        self.start(common, at, source.node, async move {
            stored.apply(change).await?;
            Ok(Answered::Stored(plan))
        });
    }

    fn start(
        &mut self,
        common: &Common,
        source: usize,
        node: usize,
        work: impl Future<Output = Result<Answered>> + Send + 'static,
    ) {
        let id = common.id(node).clone();
        self.tasks.spawn(async move {
            let result = guarded_async("a source that was asked for splits", work).await;
            let result = result.map_err(|error| error.with("component", &id));
            Answer { source, result }
        });
    }

    /// The next answer; waits forever if nobody was asked.
    pub(crate) async fn next(&mut self) -> Answer {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(answer)) => return answer,
                // It was given up: nobody waits for it.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Gives up what was asked. Nothing of it is stored, or all of it, so that the next run either
    /// asks and tells the same, or resumes with the answer.
    pub(crate) fn abort(&mut self) {
        self.tasks.abort_all();
    }

    /// Waits until all is given up.
    pub(crate) async fn ended(&mut self) {
        self.tasks.shutdown().await;
    }
}

fn ids(splits: Vec<FinishedSplit>) -> Vec<SplitId> {
    splits.into_iter().map(|told| told.split.id).collect()
}
