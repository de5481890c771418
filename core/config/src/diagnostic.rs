//! Errors, and how they are shown.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::redact::Redacted;
use crate::source::{Place, SourceText};

/// One error: what, where, and what to do.
///
/// Secrets in the file are never shown, neither by `Display` nor by `Debug`.
#[derive(Clone)]
pub struct Diagnostic {
    message: String,
    place: Place,
    /// Whether the place is to be shown, or only its file.
    located: bool,
    label: Option<String>,
    also: Vec<(Place, String)>,
    hint: Option<String>,
    warning: bool,
}

impl Diagnostic {
    pub(crate) fn new(place: Place, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            place,
            located: true,
            label: None,
            also: Vec::new(),
            hint: None,
            warning: false,
        }
    }

    /// An error of a whole file.
    pub(crate) fn of_file(source: &std::sync::Arc<SourceText>, message: impl Into<String>) -> Self {
        Self {
            located: false,
            ..Self::new(source.place(0..0), message)
        }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    pub(crate) fn also(mut self, place: Place, label: impl Into<String>) -> Self {
        self.also.push((place, label.into()));
        self
    }

    pub(crate) fn warning(mut self) -> Self {
        self.warning = true;
        self
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// What is wrong, in one sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What is written under the offending text.
    pub fn label_text(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// What to do about it.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The file's name, or what else the text came from: `--set sinks.out.url`, a variable's name.
    pub fn file(&self) -> &str {
        &self.place.source.name
    }

    /// The line of the offending text, from 1.
    pub fn line(&self) -> usize {
        self.place.position().0
    }

    /// The column of the offending text in characters, from 1.
    pub fn column(&self) -> usize {
        self.place.position().1
    }

    /// The offending text's range in the file, in bytes.
    pub fn span(&self) -> Range<usize> {
        self.place.span.clone()
    }

    /// The line that holds the offending text, without its secrets.
    pub fn source_line(&self) -> String {
        let source = &self.place.source;
        let redacted = Redacted::new(&source.text, &source.concealed());
        let line = self.line() - 1;
        redacted
            .text
            .lines()
            .nth(line)
            .unwrap_or_default()
            .to_owned()
    }

    /// Whether the pipeline can run nonetheless.
    pub fn is_warning(&self) -> bool {
        self.warning
    }

    /// As it is printed: with colours for a terminal, or without.
    pub fn render(&self, color: bool) -> String {
        self.render_within(color, None)
    }

    /// The same where lines of the file are cut that are longer than so many columns.
    pub fn render_within(&self, color: bool, width: Option<usize>) -> String {
        let mut renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        if let Some(width) = width {
            renderer = renderer.term_width(width);
        }
        let level = if self.warning {
            Level::WARNING
        } else {
            Level::ERROR
        };
        let source = &self.place.source;
        let redacted = Redacted::new(&source.text, &source.concealed());
        let mut group = level
            .primary_title(self.message.as_str())
            .element(self.origin());
        if self.located {
            group = group.element(self.snippet(&redacted));
        }
        let elsewhere: Vec<_> = self
            .also
            .iter()
            .filter(|(place, _)| place.source.name != source.name)
            .map(|(place, label)| {
                let redacted = Redacted::new(&place.source.text, &place.source.concealed());
                (place, label, redacted)
            })
            .collect();
        for (place, label, redacted) in &elsewhere {
            group = group.element(
                Snippet::source(redacted.text.as_str())
                    .path(place.source.name.as_str())
                    .line_numbering(place.source.is_file)
                    .annotation(
                        AnnotationKind::Context
                            .span(redacted.span(&place.span))
                            .label(label.as_str()),
                    ),
            );
        }
        let mut text = without_empty_origins(&renderer.render(&[group]));
        if let Some(hint) = &self.hint {
            let title = Level::HELP.with_name("hint").primary_title(hint.as_str());
            text.push('\n');
            text.push_str(&renderer.render(&[Group::with_title(title)]));
        }
        text
    }

    fn origin(&self) -> Origin<'_> {
        let origin = Origin::path(self.file());
        if self.located && self.place.source.is_file {
            let (line, column) = self.place.position();
            return origin.line(line).char_column(column);
        }
        origin
    }

    fn snippet<'a>(&'a self, redacted: &'a Redacted) -> Snippet<'a, Annotation<'a>> {
        let here = &self.place.source;
        let mut primary = AnnotationKind::Primary.span(redacted.span(&self.place.span));
        if let Some(label) = &self.label {
            primary = primary.label(label.as_str());
        }
        let others = self
            .also
            .iter()
            .filter(|(place, _)| place.source.name == here.name)
            .map(|(place, label)| {
                AnnotationKind::Context
                    .span(redacted.span(&place.span))
                    .label(label.as_str())
            });
        Snippet::source(redacted.text.as_str())
            .line_numbering(here.is_file)
            .annotation(primary)
            .annotations(others)
    }
}

/// The renderer announces a snippet that has no path of its own with a bare `:::`. The path stands
/// above it already, with a column that doesn't count the `***` put in for secrets.
fn without_empty_origins(rendered: &str) -> String {
    let lines: Vec<_> = rendered
        .lines()
        .filter(|line| unstyled(line).trim() != ":::")
        .collect();
    lines.join("\n")
}

/// A line without its styles, which are written `ESC[…m`.
fn unstyled(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str(part.split_once('m').map_or("", |(_, shown)| shown));
    }
    text
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl fmt::Debug for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.place, self.message)
    }
}

/// All errors of a pipeline file, in its order.
#[derive(Clone, Default)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// In the order of the file, each once.
    pub(crate) fn sorted(mut self) -> Self {
        self.0.sort_by_key(|diagnostic| diagnostic.place.rank());
        self.0.dedup_by(|next, kept| {
            next.place.rank() == kept.place.rank() && next.message == kept.message
        });
        self
    }

    pub(crate) fn split_warnings(self) -> (Self, Vec<Diagnostic>) {
        let (warnings, errors) = self.0.into_iter().partition(Diagnostic::is_warning);
        (Self(errors), warnings)
    }

    /// The errors, one by one.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As they are printed: with colours for a terminal, or without.
    pub fn render(&self, color: bool) -> String {
        self.render_within(color, None)
    }

    /// The same where lines of the file are cut that are longer than so many columns.
    pub fn render_within(&self, color: bool, width: Option<usize>) -> String {
        let rendered = self.0.iter().map(|one| one.render_within(color, width));
        rendered.collect::<Vec<_>>().join("\n\n")
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

impl std::error::Error for Diagnostics {}
