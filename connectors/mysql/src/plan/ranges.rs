//! Cuts an index into ranges of about as many rows each.
//!
//! ```text
//! (−∞ ──────────────────────────────── +∞)   how many rows? the server looks at the index's ends
//! (−∞ ─────── 5,000](5,000 ─────────── +∞)   halve whichever has most, and ask again
//! (−∞ ─](─────5,000](──](5,000 ─](──── +∞)   …until none has too many; then join what is small
//! ```
//!
//! Where the values are numbers, dates or bytes, nothing is read: the middle is computed. It follows
//! the data wherever that lies, because every half is counted. A middle of texts is computed too,
//! and then the next key in the index is taken for it. Where none of this works, and the table isn't
//! large, the index is walked.
//!
//! Ranges are only told by their bounds, and all of them together are everything: a wrong estimate
//! makes one larger, and never loses a row.

use tidegate_core::Result;

use super::line::Stretch;
use super::probe::{End, Probe};
use crate::select::Range;

/// How large ranges are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Aim {
    /// Rows in a range.
    pub(super) rows: u64,
    /// The most ranges.
    pub(super) most: usize,
}

/// A range, and about how many rows are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) range: Range,
    pub(super) rows: u64,
}

/// A range that may still be halved.
#[derive(Debug, Clone)]
struct Segment {
    part: Part,
    /// The literals that all its keys begin with.
    prefix: Vec<String>,
    /// Where the values of the next column are.
    stretch: Option<Stretch>,
    /// It can't be made smaller.
    done: bool,
}

/// No more questions than this are put for each range that is wanted, and these.
const QUESTIONS: usize = 8;
const MORE_QUESTIONS: usize = 400;
/// The most rows of an index that are walked over.
const WALK: u64 = 20_000_000;
/// How often a middle is looked for: as often as the longest line can be halved.
const TRIES: usize = 128;

/// Cuts everything that the probe looks at.
pub(super) async fn cut(probe: &mut Probe<'_>, aim: Aim) -> Result<Vec<Part>> {
    let all = Range::default();
    let rows = probe.count(&all).await?;
    let whole = Part { range: all, rows };
    if rows <= aim.rows || aim.most < 2 {
        return Ok(vec![whole]);
    }
    let Some(first) = segment(probe, whole.clone(), Vec::new()).await? else {
        return Ok(vec![whole]);
    };
    let most_questions = MORE_QUESTIONS + QUESTIONS * aim.most;
    let mut segments = vec![first];
    let mut walked = 0;
    while segments.len() < aim.most * 4 && probe.asked < most_questions {
        // The largest first: if the questions run out, what is left is small.
        let largest = segments
            .iter()
            .enumerate()
            .filter(|(_, segment)| !segment.done);
        let Some((at, _)) = largest.max_by_key(|(_, segment)| segment.part.rows) else {
            break;
        };
        if segments[at].part.rows <= aim.rows {
            break;
        }
        let segment = segments[at].clone();
        let smaller = match halve(probe, segment.clone()).await? {
            Some(smaller) => smaller,
            None if walked + segment.part.rows <= WALK => {
                walked += segment.part.rows;
                walk(probe, segment, aim).await?
            }
            None => vec![Segment {
                done: true,
                ..segment
            }],
        };
        segments.splice(at..=at, smaller);
    }
    Ok(join(segments, aim))
}

/// A segment of rows that begin with `prefix`, with the stretch of the column behind it; none if
/// there are no rows.
async fn segment(
    probe: &mut Probe<'_>,
    part: Part,
    prefix: Vec<String>,
) -> Result<Option<Segment>> {
    let at = prefix.len();
    let within = equal(probe, &prefix);
    let low = probe
        .place(&part.range, within.clone(), End::First, 0)
        .await?;
    let high = probe.place(&part.range, within, End::Last, 0).await?;
    let (Some(low), Some(high)) = (low, high) else {
        return Ok(None);
    };
    let kind = probe.columns[at].kind;
    Ok(Some(Segment {
        part,
        stretch: Stretch::between(kind, &low[at], &high[at]),
        prefix,
        done: false,
    }))
}

fn equal(probe: &Probe<'_>, prefix: &[String]) -> Option<String> {
    let parts: Vec<_> = prefix
        .iter()
        .enumerate()
        .map(|(at, value)| format!("{} = {value}", probe.column(at)))
        .collect();
    (!parts.is_empty()).then(|| parts.join(" AND "))
}

/// Makes a segment smaller; `None` if there is no middle to be computed.
///
/// A middle of texts is computed as if they followed one another as their ASCII characters do, and
/// the next key that the server finds in the segment bounds the halves: that order decides only how
/// well it is halved.
async fn halve(probe: &mut Probe<'_>, mut segment: Segment) -> Result<Option<Vec<Segment>>> {
    let Some(mut stretch) = segment.stretch.take() else {
        return Ok(None);
    };
    let few = segment.part.rows / 64;
    for _ in 0..TRIES {
        let Some(middle) = stretch.middle() else {
            return match stretch.line.is_exact() {
                true => within(probe, segment, &stretch).await.map(Some),
                false => Ok(None),
            };
        };
        let Some(literal) = stretch.line.literal(middle) else {
            return Ok(None);
        };
        let (left, right) = stretch.cut(middle);
        let bound = match stretch.line.is_exact() {
            true => {
                let mut bound = segment.prefix.clone();
                bound.push(literal);
                bound
            }
            false => {
                let also = format!("{} >= {literal}", probe.column(segment.prefix.len()));
                let range = &segment.part.range;
                match probe.place(range, Some(also), End::First, 0).await? {
                    Some(place) => place,
                    None => {
                        stretch = left;
                        continue;
                    }
                }
            }
        };
        let sides = sides(probe, &segment, bound, left.clone(), right.clone()).await?;
        // Where nearly nothing is, nothing is cut off.
        if sides[1].part.rows <= few {
            stretch = left;
        } else if sides[0].part.rows <= few {
            stretch = right;
        } else {
            return Ok(Some(sides));
        }
    }
    Ok(None)
}

/// A segment of one value of its column: the next column tells its rows apart.
async fn within(
    probe: &mut Probe<'_>,
    segment: Segment,
    stretch: &Stretch,
) -> Result<Vec<Segment>> {
    let literal = stretch.line.literal(stretch.to);
    let inner = match literal.filter(|_| segment.prefix.len() + 1 < probe.columns.len()) {
        Some(literal) => {
            let mut prefix = segment.prefix.clone();
            prefix.push(literal);
            self::segment(probe, segment.part.clone(), prefix).await?
        }
        None => None,
    };
    let done = Segment {
        done: true,
        ..segment
    };
    Ok(vec![inner.unwrap_or(done)])
}

async fn sides(
    probe: &mut Probe<'_>,
    segment: &Segment,
    bound: Vec<String>,
    left: Stretch,
    right: Stretch,
) -> Result<Vec<Segment>> {
    let Range { low, high } = segment.part.range.clone();
    let ranges = [
        (
            Range {
                low,
                high: Some(bound.clone()),
            },
            left,
        ),
        (
            Range {
                low: Some(bound),
                high,
            },
            right,
        ),
    ];
    let mut sides = Vec::new();
    for (range, stretch) in ranges {
        let rows = probe.count(&range).await?;
        sides.push(Segment {
            part: Part { range, rows },
            prefix: segment.prefix.clone(),
            stretch: Some(stretch),
            done: false,
        });
    }
    Ok(sides)
}

/// Cuts a segment by counting its keys.
async fn walk(probe: &mut Probe<'_>, segment: Segment, aim: Aim) -> Result<Vec<Segment>> {
    let mut parts = Vec::new();
    let mut rest = segment.part.range.clone();
    // Estimates may be too low by far.
    let most = usize::try_from(segment.part.rows / aim.rows.max(1)).unwrap_or(usize::MAX);
    let done = |range, rows| Segment {
        part: Part { range, rows },
        prefix: Vec::new(),
        stretch: None,
        done: true,
    };
    while parts.len() <= most.saturating_mul(2) {
        let place = probe
            .place(&rest, None, End::First, aim.rows.saturating_sub(1))
            .await?;
        let Some(place) = place else {
            break;
        };
        let range = Range {
            low: rest.low.take(),
            high: Some(place.clone()),
        };
        parts.push(done(range, aim.rows));
        rest.low = Some(place);
    }
    let counted = aim
        .rows
        .saturating_mul(u64::try_from(parts.len()).unwrap_or(u64::MAX));
    parts.push(done(rest, segment.part.rows.saturating_sub(counted)));
    Ok(parts)
}

/// Joins neighbours that are small together.
fn join(segments: Vec<Segment>, aim: Aim) -> Vec<Part> {
    let total: u64 = segments.iter().map(|segment| segment.part.rows).sum();
    let least = total / u64::try_from(aim.most).unwrap_or(1).max(1);
    let size = aim.rows.max(least);
    let mut parts: Vec<Part> = Vec::new();
    for Segment { part, .. } in segments {
        match parts.last_mut() {
            Some(last) if last.rows.saturating_add(part.rows) <= size => {
                last.range.high = part.range.high;
                last.rows += part.rows;
            }
            _ => parts.push(part),
        }
    }
    parts
}
