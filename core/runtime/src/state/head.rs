//! A pipeline's state on object storage: a small head, and what is large in parts beside it.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_core::{Error, Lineage, Result};
use uuid::Uuid;

use super::edits::Edit;
use super::layout::{LAYOUT, from_lines, to_lines, unreadable};
use super::places::{Found, HeadStore, Version};
use super::process::Holder;
use super::{Fence, PipelineState};

/// How many bytes of edits, and of values, a head may have in it.
const SMALL: usize = 32 << 10;

/// How many bytes of edits are always left as they are.
const FEW: usize = 4 << 10;

/// About the largest part; one edit is never divided.
const PART: usize = 8 << 20;

/// After how many parts of edits the whole state is written anew.
const MOST_PARTS: usize = 256;

/// How many parts are under way at once.
const AT_ONCE: usize = 8;

/// How often a head is read again because a part that it named has been replaced meanwhile.
const READS: u32 = 100;

/// Components' values, by component and key.
pub(super) type Values = BTreeMap<String, BTreeMap<String, Value>>;

/// What a head object holds. The state is what all edits make one after another: those in the parts
/// `whole`, those in the parts `since`, and those in the head itself.
///
/// No two contents are equal: `write` differs for every change by the holder, `value_write` for
/// every other one. So a version (an ETag, which on S3 is a digest) never comes back. A part is
/// written after the version was read on which the head that names it is to follow: so once any
/// other head has followed there, a part that it doesn't name is never going to be named.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) layout: u32,
    pub(super) pipeline: String,
    /// Which change by a holder this is the result of: tells an answer that was lost from a write
    /// that was.
    pub(super) write: Uuid,
    /// How often holders have written: while it grows, the holder is alive.
    pub(super) beat: u64,
    /// Grows with each taking; 0 if nobody has ever taken the pipeline.
    pub(super) fence: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) holder: Option<Holder>,
    pub(super) lineage: Lineage,
    /// A state in as few edits as it takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) whole: Vec<Part>,
    /// What came after it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) since: Vec<Part>,
    /// And after that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) edits: Vec<Edit>,
    /// How many bytes of edits there were when they were as few as it takes, and all in the head.
    #[serde(default)]
    pub(super) fewest: usize,
    /// Which change of values outside the fence this is the result of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) value_write: Option<Uuid>,
    /// Components' values outside epochs, as long as they are small.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) values: Values,
    /// Where they are when they aren't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) values_part: Option<Part>,
}

/// An object beside the head that never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) name: String,
    bytes: usize,
}

/// A part, and what is in it.
pub(super) type Made = (Part, Vec<u8>);

impl Part {
    fn new(bytes: Vec<u8>) -> Made {
        let part = Self {
            // In the order of time, for whoever looks.
            name: Uuid::now_v7().to_string(),
            bytes: bytes.len(),
        };
        (part, bytes)
    }
}

impl Head {
    /// The head of a pipeline that has never run.
    pub(super) fn new(pipeline: &str) -> Self {
        Self {
            layout: LAYOUT,
            pipeline: pipeline.to_owned(),
            write: Uuid::new_v4(),
            beat: 0,
            fence: 0,
            holder: None,
            lineage: Lineage::new(),
            whole: Vec::new(),
            since: Vec::new(),
            edits: Vec::new(),
            fewest: 0,
            value_write: None,
            values: BTreeMap::new(),
            values_part: None,
        }
    }

    pub(super) fn fence(&self) -> Fence {
        Fence(self.fence)
    }

    /// Gives it to a new holder.
    pub(super) fn take(&mut self, holder: Holder) {
        self.fence += 1;
        self.holder = Some(holder);
    }

    /// The names of the parts that it needs.
    pub(super) fn named(&self) -> BTreeSet<String> {
        let parts = self
            .whole
            .iter()
            .chain(&self.since)
            .chain(&self.values_part);
        parts.map(|part| part.name.clone()).collect()
    }

    /// Moves edits that have become too many for the head into new parts. When those that follow
    /// the whole state have come to its size, it is written anew: so each byte of it is written
    /// about twice for each byte that changes. For that `state` must be what all edits make.
    pub(super) fn pack(&mut self, state: Option<&PipelineState>) -> Result<Vec<Made>> {
        let lines = to_lines(&self.edits)?;
        let size = |parts: &[Part]| parts.iter().map(|part| part.bytes).sum::<usize>();
        let has_parts = !(self.whole.is_empty() && self.since.is_empty());
        let much = match (state, has_parts) {
            (Some(_), false) => SMALL.min(FEW + 2 * self.fewest),
            _ => SMALL,
        };
        if lines.len() <= much {
            return Ok(Vec::new());
        }
        let followed = size(&self.since) + lines.len() >= size(&self.whole);
        let anew = followed || self.since.len() >= MOST_PARTS;
        let Some(state) = state.filter(|_| anew) else {
            let parts = divided(lines);
            self.since
                .extend(parts.iter().map(|(part, _)| part.clone()));
            self.edits.clear();
            return Ok(parts);
        };
        self.since.clear();
        self.edits = state.to_edits();
        let lines = to_lines(&self.edits)?;
        // With room for what is to come.
        if lines.len() <= SMALL / 2 {
            self.whole.clear();
            self.fewest = lines.len();
            return Ok(Vec::new());
        }
        let parts = divided(lines);
        self.whole = parts.iter().map(|(part, _)| part.clone()).collect();
        self.edits.clear();
        Ok(parts)
    }

    /// Has these values from now on.
    pub(super) fn set_values(&mut self, values: Values) -> Result<Option<Made>> {
        let bytes = serde_json::to_vec(&values)
            .map_err(|error| Error::internal("a value can't be written").because(error))?;
        if bytes.len() <= SMALL {
            (self.values, self.values_part) = (values, None);
            return Ok(None);
        }
        let made = Part::new(bytes);
        (self.values, self.values_part) = (Values::new(), Some(made.0.clone()));
        Ok(Some(made))
    }

    /// What the engine sees. `None`: a part has been replaced meanwhile, so that this head isn't
    /// the present one.
    pub(super) async fn state(&self, heads: &dyn HeadStore) -> Result<Option<PipelineState>> {
        let parts: Vec<Part> = self.whole.iter().chain(&self.since).cloned().collect();
        let reads = stream::iter(parts)
            .map(|part| async move { Ok::<_, Error>((self.part(heads, &part).await?, part)) })
            .buffered(AT_ONCE);
        let read: Vec<(Option<Vec<u8>>, Part)> = reads.try_collect().await?;
        let (at, edits) = (heads.show(&self.pipeline), self.edits.clone());
        let mut state = PipelineState::new(self.lineage);
        blocking(move || {
            for (bytes, part) in read {
                let Some(bytes) = bytes else {
                    return Ok(None);
                };
                for edit in from_lines(&bytes, &at, &part.name)? {
                    state.edit(edit);
                }
            }
            for edit in edits {
                state.edit(edit);
            }
            Ok(Some(state))
        })
        .await
    }

    /// The values. `None`: they have been replaced meanwhile.
    pub(super) async fn all_values(&self, heads: &dyn HeadStore) -> Result<Option<Values>> {
        let Some(part) = &self.values_part else {
            return Ok(Some(self.values.clone()));
        };
        let Some(bytes) = self.part(heads, part).await? else {
            return Ok(None);
        };
        let at = heads.show(&self.pipeline);
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| unreadable(&at, error).with("part", &part.name))
    }

    async fn part(&self, heads: &dyn HeadStore, part: &Part) -> Result<Option<Vec<u8>>> {
        let found = heads.read_part(&self.pipeline, &part.name).await?;
        let expected = part.bytes;
        match &found {
            Some(bytes) if bytes.len() != expected => {
                let why = format!("a part has {} bytes instead of {expected}", bytes.len());
                Err(unreadable(&heads.show(&self.pipeline), why).with("part", &part.name))
            }
            _ => Ok(found),
        }
    }
}

/// The head as it is, its version, and the state.
pub(super) async fn read_state(
    heads: &dyn HeadStore,
    pipeline: &str,
) -> Result<Option<(Head, Version, PipelineState)>> {
    let mut misses = Misses::default();
    while let Some((head, version)) = read_head(heads, pipeline).await? {
        if let Some(state) = head.state(heads).await? {
            return Ok(Some((head, version, state)));
        }
        misses.again(heads, pipeline, version)?;
    }
    Ok(None)
}

/// The head as it is, its version, and the values.
pub(super) async fn read_values(
    heads: &dyn HeadStore,
    pipeline: &str,
) -> Result<Option<(Head, Version, Values)>> {
    let mut misses = Misses::default();
    while let Some((head, version)) = read_head(heads, pipeline).await? {
        if let Some(values) = head.all_values(heads).await? {
            return Ok(Some((head, version, values)));
        }
        misses.again(heads, pipeline, version)?;
    }
    Ok(None)
}

/// Parts that weren't there any more when a reader came to them.
#[derive(Default)]
struct Misses {
    count: u32,
    at: Option<Version>,
}

impl Misses {
    /// The head is to be read again, unless it is still the one that named the part.
    fn again(&mut self, heads: &dyn HeadStore, pipeline: &str, version: Version) -> Result<()> {
        let at = heads.show(pipeline);
        if self.at.as_ref() == Some(&version) {
            return Err(unreadable(&at, "a part that it names is gone"));
        }
        self.count += 1;
        if self.count == READS {
            let error = Error::transient("the state changes faster than it can be read");
            return Err(error.with("state", at));
        }
        self.at = Some(version);
        Ok(())
    }
}

/// The head as it is, and its version.
pub(super) async fn read_head(
    heads: &dyn HeadStore,
    pipeline: &str,
) -> Result<Option<(Head, Version)>> {
    let Some(Found { bytes, version }) = heads.read(pipeline).await? else {
        return Ok(None);
    };
    let at = heads.show(pipeline);
    let head = blocking(move || Head::from_bytes(&bytes, &at)).await?;
    Ok(Some((head, version)))
}

/// Writes parts; they are durable before the head that names them is written.
pub(super) async fn write_parts(
    heads: &dyn HeadStore,
    pipeline: &str,
    parts: Vec<Made>,
) -> Result<()> {
    stream::iter(parts)
        .map(|(part, bytes)| async move { heads.write_part(pipeline, &part.name, bytes).await })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// Deletes parts that no head names or is going to name. What can't be deleted now is found by
/// whoever takes the pipeline next.
pub(super) async fn delete_parts(heads: &dyn HeadStore, pipeline: &str, parts: Vec<String>) {
    if parts.is_empty() {
        return;
    }
    if let Err(error) = heads.delete_parts(pipeline, &parts).await {
        tracing::warn!(%error, pipeline, parts = parts.len(), "parts of the state that nothing needs any more could not be deleted");
    }
}

fn divided(lines: Vec<u8>) -> Vec<Made> {
    if lines.len() <= PART {
        return vec![Part::new(lines)];
    }
    let mut parts = Vec::new();
    let mut part = Vec::new();
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        if !part.is_empty() && part.len() + line.len() > PART {
            parts.push(Part::new(std::mem::take(&mut part)));
        }
        part.extend_from_slice(line);
    }
    parts.push(Part::new(part));
    parts
}

/// Does what takes a while for a large state where it holds nobody up.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let task = tokio::task::spawn_blocking(work);
    task.await
        .map_err(|error| Error::internal("the state's thread broke").because(error))?
}
