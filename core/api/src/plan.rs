//! What is remembered from run to run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidegate_core::{FinishedSplit, Result, Split, SplitData};
use tidegate_formats::SchemaSpec;

use crate::fetch::Known;
use crate::hash::hash;
use crate::mark::Mark;
use crate::step::Step;
use crate::walk::{Piece, Position};
use crate::{Endpoint, Pagination};

/// The most splits that are handed out at once: so many are held in memory and in the state.
const MOST_OPEN: u64 = 10_000;

/// The state of a plan.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// How many splits of this run have not finished.
    pub(crate) open: u64,
    /// By name, also those that are not read in this run.
    pub(crate) endpoints: BTreeMap<String, Memory>,
    /// Pages of this run that were counted and aren't handed out yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) counted: Vec<Counted>,
}

/// Pages that were counted when the run began, each of which is a split of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Counted {
    /// What the splits' ids begin with.
    pub(crate) id: String,
    /// What the splits have in common; its first page is the first of all.
    pub(crate) piece: Piece,
    /// The first page's number.
    pub(crate) first: u64,
    /// How many pages there are.
    pub(crate) pages: u64,
    /// How many of them were handed out.
    #[serde(default)]
    pub(crate) done: u64,
    /// How many records the first page had.
    pub(crate) records: u64,
    /// Whether what the server tells are records, not pages.
    pub(crate) of_records: bool,
}

impl Counted {
    /// Hands out so many more.
    fn take(&mut self, most: u64) -> Result<Vec<Split>> {
        let end = self.pages.min(self.done.saturating_add(most));
        let splits = (self.done..end).map(|at| self.split(at)).collect();
        self.done = end;
        splits
    }

    fn split(&self, at: u64) -> Result<Split> {
        let number = self.first.saturating_add(at);
        let mut id = format!("{}:page={number}", self.id);
        let size = self.piece.size.map(|size| u64::from(size.get()));
        if let Some(size) = size {
            id = format!("{id},size={size}");
        }
        let piece = Piece {
            first: Step::Page(number),
            known: self.piece.known.clone().filter(|_| at == 0),
            last: (at + 1 == self.pages).then_some(self.records),
            ..self.piece.clone()
        };
        let rows = size.zip(self.piece.told).filter(|_| self.of_records);
        let rows = rows.map(|(size, told)| size.min(told.saturating_sub(at.saturating_mul(size))));
        Ok(Split::new(id, SplitData::encode(&piece)?).estimate(rows, None))
    }
}

/// What an endpoint's run begins with.
pub(crate) enum Begun {
    Splits(Vec<Split>),
    Counted(Box<Counted>),
}

/// What is known of an endpoint that has something to remember.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// A hash of what was asked.
    question: u64,
    /// How far runs came: what the next one asks with.
    pub(crate) now: Reached,
}

/// How far reading came.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reached {
    pub(crate) mark: Option<Mark>,
    pub(crate) known: Option<Known>,
}

impl State {
    /// The field that has an entry for each endpoint.
    pub(crate) const ENDPOINTS: &str = "endpoints";

    /// Begins a run of an endpoint, for its own stream or `raw` or both: what it is asked with.
    pub(crate) fn begin(&mut self, endpoint: &Endpoint, streams: [bool; 2]) -> Result<Reached> {
        if endpoint.incremental.is_none() && !endpoint.conditional {
            self.endpoints.remove(endpoint.name.as_str());
            return Ok(Reached::default());
        }
        let [question, with_sizes] = questions(endpoint, streams);
        let memory = self
            .endpoints
            .entry(endpoint.name.to_string())
            .or_insert_with(|| Memory {
                question,
                ..Memory::default()
            });
        // Earlier versions counted the size of a page as a part of the question.
        if memory.question == with_sizes {
            memory.question = question;
        }
        if memory.question != question {
            tracing::warn!(
                stream = %endpoint.name,
                "what is asked for has changed since the last run: everything is read again"
            );
            *memory = Memory {
                question,
                ..Memory::default()
            };
        }
        Ok(memory.now.clone())
    }

    /// Takes in what endpoints begin with, in the place of what an earlier run left.
    pub(crate) fn take_up(&mut self, begun: Vec<Begun>) -> Result<Vec<Split>> {
        let mut splits = Vec::new();
        self.counted = Vec::new();
        for begun in begun {
            match begun {
                Begun::Splits(more) => splits.extend(more),
                Begun::Counted(counted) => self.counted.push(*counted),
            }
        }
        self.open = splits.len().try_into().unwrap_or(u64::MAX);
        splits.extend(self.hand_out()?);
        Ok(splits)
    }

    /// The splits to add to those that are open: none while many are, then many.
    pub(crate) fn hand_out(&mut self) -> Result<Vec<Split>> {
        let mut splits = Vec::new();
        if self.open > MOST_OPEN / 2 {
            return Ok(splits);
        }
        for counted in &mut self.counted {
            let more = counted.take(MOST_OPEN.saturating_sub(self.open))?;
            self.open += more.len() as u64;
            splits.extend(more);
        }
        self.counted.retain(|counted| counted.done < counted.pages);
        Ok(splits)
    }

    /// Takes in what the splits that have finished came to know.
    pub(crate) fn finish(&mut self, splits: &[FinishedSplit]) -> Result<()> {
        for finished in splits {
            self.open = self.open.saturating_sub(1);
            let piece: Piece = finished.split.data.decode()?;
            let memory = self.endpoints.get_mut(piece.endpoint.as_str());
            let (Some(memory), Some(offset)) = (memory, &finished.offset) else {
                continue;
            };
            let position: Position = offset.decode()?;
            memory.now.mark = match (memory.now.mark.take(), position.high) {
                (Some(one), Some(other)) => {
                    // Of two types: the newer run's counts.
                    Some(one.join(other.clone()).unwrap_or(other))
                }
                (one, other) => one.or(other),
            };
            if position.known.is_some() {
                memory.now.known = position.known;
            }
        }
        Ok(())
    }
}

/// Parameters that say how much comes at once where pages follow each other, and not which records.
const SIZES: [&str; 14] = [
    "limit",
    "_limit",
    "$limit",
    "page[limit]",
    "per_page",
    "_per_page",
    "per-page",
    "perpage",
    "page_size",
    "page-size",
    "pagesize",
    "page[size]",
    "max_results",
    "maxresults",
];

/// Tells what is asked from what was asked in another configuration: without the size of a page, and
/// with it.
fn questions(endpoint: &Endpoint, streams: [bool; 2]) -> [u64; 2] {
    let with_sizes = question(endpoint, streams);
    let is_size = |name: &str| SIZES.contains(&name.to_ascii_lowercase().as_str());
    let paged = !matches!(endpoint.pagination, Pagination::None);
    if !paged || !endpoint.params.iter().any(|(name, _)| is_size(name)) {
        return [with_sizes; 2];
    }
    let mut endpoint = endpoint.clone();
    endpoint.params.retain(|(name, _)| !is_size(name));
    [question(&endpoint, streams), with_sizes]
}

fn question(endpoint: &Endpoint, streams: [bool; 2]) -> u64 {
    // What hasn't changed isn't read again: then the rows of other columns, or of a stream that
    // wasn't read before, would never come.
    let rows = endpoint.conditional.then(|| {
        let schema = endpoint.schema.as_ref();
        (schema.map(|schema| SchemaSpec::from_arrow(schema)), streams)
    });
    let question = json!([
        asked(endpoint),
        endpoint.incremental.as_ref().map(|incremental| (
            &incremental.param,
            &incremental.field,
            incremental.format,
        )),
        rows,
    ]);
    hash(question.to_string().as_bytes())
}

/// What decides which records there are. It may be secret, and is stored only as a hash.
pub(crate) fn asked(endpoint: &Endpoint) -> Value {
    let mut asked = vec![
        endpoint.method.as_str().into(),
        endpoint.url.as_str().into(),
        json!(endpoint.headers),
        json!(endpoint.params),
        json!(endpoint.body),
        json!(endpoint.records.pointer),
        endpoint.records.object.into(),
    ];
    // Only where there is anything: what was asked before there were such is the same question still.
    asked.extend(endpoint.besides.clone());
    asked.into()
}

#[cfg(test)]
mod tests {
    use tidegate_core::PlanState;

    use super::*;

    #[test]
    fn each_endpoint_can_be_looked_at_and_forgotten_alone() {
        let mut state = State::default();
        for name in ["users", "items"] {
            state.endpoints.insert(name.to_owned(), Memory::default());
        }
        let state = PlanState::encode(&state).unwrap();
        let without = state.without(State::ENDPOINTS, "users").unwrap();
        let left: State = without.decode().unwrap();
        assert_eq!(left.endpoints.into_keys().collect::<Vec<_>>(), ["items"]);
    }
}
