//! A full refresh: sources forget what they remember when a run begins, and read everything again.

use std::collections::BTreeSet;

use tidegate_core::{ComponentId, Delivery, Error, Kind, PipelineSpec, Result, Visibility};

use crate::graph::Graph;

/// Which sources forget what they remember when a run begins, so that they read everything again.
///
/// It needs a new run: an unfinished one is refused, unless it is given up
/// ([`Resume::Restart`](crate::Resume::Restart)) or is this very refresh, which is then resumed. What
/// the sources have forgotten is stored with the beginning of the run, in one change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum FullRefresh {
    /// None of them.
    #[default]
    None,
    /// All of them.
    All,
    /// Those of these names.
    Of(Vec<String>),
}

impl FullRefresh {
    /// The sources that it means. Errors: `Config` for a name that no source has.
    pub(crate) fn sources(&self, spec: &PipelineSpec) -> Result<BTreeSet<ComponentId>> {
        let all = spec
            .components
            .iter()
            .filter(|one| one.kind == Kind::Source);
        let all: Vec<&ComponentId> = all.map(|one| &one.id).collect();
        match self {
            Self::None => Ok(BTreeSet::new()),
            Self::All => Ok(all.into_iter().cloned().collect()),
            Self::Of(names) => names
                .iter()
                .map(|name| {
                    let found = all.iter().find(|id| id.as_str() == name);
                    found.map(|&id| id.clone()).ok_or_else(|| {
                        let message = format!("there is no source `{name}` to refresh");
                        Error::config(message).hint(format!("the sources are: {}", quoted(&all)))
                    })
                })
                .collect(),
        }
    }
}

/// Says what is read again, and which sinks get rows that they have already.
pub(crate) fn say(graph: &Graph, refreshed: &BTreeSet<ComponentId>) {
    let names: Vec<&ComponentId> = refreshed.iter().collect();
    tracing::info!(
        "full refresh of {}: everything is read again",
        quoted(&names)
    );
    let mut appending = Vec::new();
    for (id, node, sink) in graph.sinks() {
        let keeps_rows = sink.visibility() == Visibility::Epoch
            && sink.delivery() != Delivery::Observer
            && !sink.replaces_by_key();
        let sources = graph.sources_of(id);
        if keeps_rows && sources.into_iter().any(|source| refreshed.contains(source)) {
            appending.push(&node.spec.id);
        }
    }
    if !appending.is_empty() {
        tracing::warn!(
            "{} append{}: rows that earlier runs have written are duplicated",
            quoted(&appending),
            if appending.len() == 1 { "s" } else { "" },
        );
    }
}

/// What a full refresh is told in the middle of another run.
pub(crate) fn in_the_middle() -> Error {
    Error::config("the last run isn't finished, and a full refresh begins a new one").hint(
        "let it finish first: the same command without --full-refresh; or give up what it hasn't \
         committed: --restart --full-refresh",
    )
}

fn quoted(ids: &[&ComponentId]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| format!("`{id}`")).collect();
    ids.join(", ")
}
