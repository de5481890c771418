//! Telling sources what is committed. What is finished stays in the state until its source has heard of
//! it, so that a new attempt tells it again.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use tidegate_core::{Acknowledged, SplitId, guarded_async};

use super::common::Common;
use crate::graph::NodeId;
use crate::retry;

/// When what couldn't be told is told again, if no epoch ends before.
pub(crate) const AGAIN: Duration = Duration::from_secs(1);

/// What sources are still to be told, by source. What could not be told is told with the next epoch, or
/// after [`AGAIN`].
#[derive(Debug, Default)]
pub(crate) struct Acknowledgements(BTreeMap<NodeId, BTreeMap<SplitId, Acknowledged>>);

impl Acknowledgements {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a source is still to be told of a split.
    pub(crate) fn has(&self, source: NodeId, split: &SplitId) -> bool {
        self.0
            .get(&source)
            .is_some_and(|splits| splits.contains_key(split))
    }

    /// Adds what is committed of a split, to what is to be told of it already.
    pub(crate) fn add(&mut self, source: NodeId, more: Acknowledged) {
        let splits = self.0.entry(source).or_default();
        match splits.get_mut(&more.split) {
            Some(told) => {
                told.offset = more.offset.or(told.offset.take());
                told.finished |= more.finished;
                told.rejected += more.rejected;
            }
            None => {
                splits.insert(more.split.clone(), more);
            }
        }
    }

    /// Tells all sources at once. With the run's `last` epoch, which no other follows, as often as it
    /// takes while the error is a passing one.
    pub(crate) async fn tell(&mut self, common: &Common, last: bool) {
        let around = &common.around;
        let tries = if last { around.runtime.attempts } else { 0 };
        let told = common.graph.sources().filter_map(|(id, node, source, _)| {
            let upto: Vec<_> = self.0.get(&id)?.values().cloned().collect();
            Some(async move {
                let name = node.spec.id.as_str();
                let told = retry::passing_until(&around.cancel, tries, name, || {
                    guarded_async("acknowledging", source.acknowledge(&upto))
                });
                match told.await {
                    Ok(()) => Some(id),
                    Err(error) => {
                        tracing::warn!(component = name, %error, "rows could not be acknowledged");
                        None
                    }
                }
            })
        });
        for source in join_all(told).await.into_iter().flatten() {
            self.0.remove(&source);
        }
    }
}
