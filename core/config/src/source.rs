//! Texts that values come from, and places within them.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::redact;
use tidegate_core::names_a_secret;

/// A text that was read: a file, a `--set` argument, an environment variable.
pub(crate) struct SourceText {
    /// What stands after `-->`.
    pub(crate) name: String,
    pub(crate) text: String,
    /// Whether the text has lines worth a number.
    pub(crate) is_file: bool,
    /// The layer's number: later layers win.
    pub(crate) rank: usize,
    /// What must never be shown. Grows while the file is understood: only the schemas tell all
    /// the places of secrets.
    concealed: Mutex<Vec<Range<usize>>>,
}

impl SourceText {
    pub(crate) fn file(name: impl Into<String>, text: impl Into<String>, rank: usize) -> Arc<Self> {
        let text = text.into();
        let concealed = Mutex::new(redact::scan(&text));
        Arc::new(Self {
            name: name.into(),
            text,
            is_file: true,
            rank,
            concealed,
        })
    }

    /// A text that has no lines: `KEY=VALUE`, from the command line or the environment.
    pub(crate) fn setting(
        name: impl Into<String>,
        text: impl Into<String>,
        rank: usize,
    ) -> Arc<Self> {
        let text = text.into();
        let mut concealed = redact::scan(&text);
        if let Some((key, _)) = text.split_once('=')
            && names_a_secret(key)
        {
            concealed.push(key.len() + 1..text.len());
        }
        Arc::new(Self {
            name: name.into(),
            text,
            is_file: false,
            rank,
            concealed: Mutex::new(concealed),
        })
    }

    /// The place of the whole text.
    pub(crate) fn whole(self: &Arc<Self>) -> Place {
        self.place(0..self.text.len())
    }

    /// A place within the text, moved onto character bounds.
    pub(crate) fn place(self: &Arc<Self>, span: Range<usize>) -> Place {
        let start = floor(&self.text, span.start);
        let end = floor(&self.text, span.end).max(start);
        Place {
            source: Arc::clone(self),
            span: start..end,
        }
    }

    /// Never shows this range again.
    pub(crate) fn conceal(&self, span: Range<usize>) {
        self.concealed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(span);
    }

    /// What must not be shown: sorted, without overlaps.
    pub(crate) fn concealed(&self) -> Vec<Range<usize>> {
        let mut spans = self
            .concealed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        spans.sort_unstable_by_key(|span| (span.start, span.end));
        spans.dedup_by(|next, kept| {
            let overlaps = next.start <= kept.end;
            if overlaps {
                kept.end = kept.end.max(next.end);
            }
            overlaps
        });
        spans
    }
}

impl fmt::Debug for SourceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the text: it may hold secrets.
        f.debug_tuple("SourceText").field(&self.name).finish()
    }
}

fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// A range of a text.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) source: Arc<SourceText>,
    pub(crate) span: Range<usize>,
}

impl Place {
    /// Line and column (in characters) of its start, both from 1.
    pub(crate) fn position(&self) -> (usize, usize) {
        let before = &self.source.text[..self.span.start];
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        (line, before[start..].chars().count() + 1)
    }

    /// Whether something of another place is within this one.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.source, &other.source)
            && self.span.start < other.span.end
            && other.span.start < self.span.end
    }

    /// The text as written.
    pub(crate) fn text(&self) -> &str {
        &self.source.text[self.span.clone()]
    }

    /// The same place, but only its first line.
    pub(crate) fn first_line(&self) -> Self {
        let length = self.text().find(['\r', '\n']).unwrap_or(self.text().len());
        self.source.place(self.span.start..self.span.start + length)
    }

    /// A place within this one's text, told by absolute offsets.
    pub(crate) fn part(&self, span: Range<usize>) -> Self {
        self.source.place(span)
    }

    /// Never shows this place again.
    pub(crate) fn conceal(&self) {
        self.source.conceal(self.span.clone());
    }

    /// Whether any of it must not be shown.
    pub(crate) fn is_concealed(&self) -> bool {
        self.source
            .concealed()
            .iter()
            .any(|span| span.start < self.span.end && self.span.start < span.end)
    }

    /// How diagnostics are sorted: by layer, then by position.
    pub(crate) fn rank(&self) -> (usize, usize) {
        (self.source.rank, self.span.start)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.position();
        write!(f, "{}:{line}:{column}", self.source.name)
    }
}
