//! Where a document has the fields, and which of them make a record.

use std::collections::HashMap;

use tidegate_formats::{JsonVisitor, walk_json};

/// The most bytes that the records of one document hold together. What stands around a list is
/// repeated in each of its records, so a small document may be many times as large then.
const MOST_BYTES: usize = 256 << 20;

/// The keys that are looked for, numbered.
#[derive(Debug)]
pub(super) struct Keys {
    numbers: HashMap<String, usize>,
    ignore_case: bool,
}

impl Keys {
    pub(super) fn new(ignore_case: bool) -> Self {
        Self {
            numbers: HashMap::new(),
            ignore_case,
        }
    }

    /// Adds a key, if it isn't there; gives its number.
    pub(super) fn add(&mut self, key: &str) -> usize {
        let key = match self.ignore_case {
            true => key.to_lowercase(),
            false => key.to_owned(),
        };
        let next = self.numbers.len();
        *self.numbers.entry(key).or_insert(next)
    }

    fn number(&self, key: &str) -> Option<usize> {
        match self.ignore_case {
            true => self.numbers.get(&key.to_lowercase()).copied(),
            false => self.numbers.get(key).copied(),
        }
    }
}

/// A part of a document, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    start: usize,
    end: usize,
}

impl Span {
    pub(super) fn of(self, document: &str) -> &str {
        &document[self.start..self.end]
    }
}

/// Looks for fields in one document after the other.
#[derive(Debug)]
pub(super) struct Finder<'a> {
    keys: &'a Keys,
    /// Whether a field that is `null` counts as one that isn't there.
    without_nulls: bool,
    /// The document, and those elements of lists that have fields, each after what it is in.
    scopes: Vec<Scope>,
    /// For each scope, then each key: the value.
    values: Vec<Option<Span>>,
    /// The elements that have begun and not ended.
    elements: Vec<Element>,
    /// The members that have begun and not ended: of those with a key that is looked for, the place
    /// in `values`, and where their value begins.
    members: Vec<Option<(usize, usize)>>,
}

/// What fields outside of lists in it belong to.
#[derive(Debug)]
struct Scope {
    /// What it is in; itself for the document.
    parent: usize,
    span: Span,
    /// Whether it makes a record.
    record: bool,
}

#[derive(Debug)]
struct Element {
    start: usize,
    /// Known once a field was met in it.
    scope: Option<usize>,
}

/// A row to be.
#[derive(Debug)]
pub(super) struct Record<'a> {
    /// The document, or the element that it was found in.
    pub(super) span: Span,
    /// The value of each key.
    pub(super) values: &'a [Option<Span>],
}

impl<'a> Finder<'a> {
    pub(super) fn new(keys: &'a Keys, without_nulls: bool) -> Self {
        Self {
            keys,
            without_nulls,
            scopes: Vec::new(),
            values: Vec::new(),
            elements: Vec::new(),
            members: Vec::new(),
        }
    }

    /// Looks through a document; if that can't be done, says why.
    pub(super) fn find(&mut self, document: &str) -> Result<(), String> {
        self.scopes.clear();
        self.values.clear();
        self.elements.clear();
        self.members.clear();
        let whole = Span {
            start: 0,
            end: document.len(),
        };
        self.open(0, whole);
        let mut looking = Looking {
            finder: &mut *self,
            document,
        };
        if let Err(reason) = walk_json(document, &mut looking) {
            self.scopes.clear();
            return Err(reason);
        }
        self.choose(document);
        self.inherit();
        let bytes = self.records().flat_map(|record| record.values).flatten();
        if bytes.map(|span| span.end - span.start).sum::<usize>() > MOST_BYTES {
            self.scopes.clear();
            return Err(format!(
                "its records would hold more than {} MiB together: what stands around a list is \
                 repeated in each of them",
                MOST_BYTES >> 20
            ));
        }
        Ok(())
    }

    /// The records of the last document, in the order of its text.
    pub(super) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let values = self.values.chunks_exact(self.width());
        let all = self.scopes.iter().zip(values);
        all.filter(|(scope, _)| scope.record)
            .map(|(scope, values)| Record {
                span: scope.span,
                values,
            })
    }

    /// How many values a scope has.
    fn width(&self) -> usize {
        self.keys.numbers.len()
    }

    fn open(&mut self, parent: usize, span: Span) -> usize {
        let record = false;
        self.scopes.push(Scope {
            parent,
            span,
            record,
        });
        let values = self.scopes.len() * self.width();
        self.values.resize(values, None);
        self.scopes.len() - 1
    }

    /// What a field that stands here belongs to.
    fn scope(&mut self) -> usize {
        let known = self.elements.iter().rposition(|it| it.scope.is_some());
        let mut scope = known.and_then(|at| self.elements[at].scope).unwrap_or(0);
        for at in known.map_or(0, |at| at + 1)..self.elements.len() {
            let start = self.elements[at].start;
            scope = self.open(scope, Span { start, end: start });
            self.elements[at].scope = Some(scope);
        }
        scope
    }

    /// Decides which scopes make records: those that none within does, and those with a value that
    /// no record within takes over.
    fn choose(&mut self, document: &str) {
        let width = self.width();
        // For each scope, then each key: whether a record within takes the value over.
        let mut taken = vec![false; self.values.len()];
        let mut records_within = vec![false; self.scopes.len()];
        // From the last, so that those within come first.
        for at in (0..self.scopes.len()).rev() {
            let own = at * width;
            let lost = |key: usize| {
                let value = self.values[own + key];
                !taken[own + key] && value.is_some_and(|span| span.of(document) != "null")
            };
            let has_any = self.values[own..own + width].iter().any(Option::is_some);
            let record = match records_within[at] {
                true => (0..width).any(lost),
                false => has_any,
            };
            self.scopes[at].record = record;
            let parent = self.scopes[at].parent;
            if parent == at {
                continue;
            }
            records_within[parent] |= record || records_within[at];
            for key in 0..width {
                let wanted = record || taken[own + key];
                taken[parent * width + key] |= wanted && self.values[own + key].is_none();
            }
        }
    }

    /// Gives each scope the values around it that it has none of its own for.
    fn inherit(&mut self) {
        let width = self.width();
        for at in 0..self.scopes.len() {
            let parent = self.scopes[at].parent;
            for key in 0..width {
                let around = self.values[parent * width + key];
                let value = &mut self.values[at * width + key];
                *value = value.or(around);
            }
        }
    }
}

/// A finder that is looking through this document.
struct Looking<'a, 'k> {
    finder: &'a mut Finder<'k>,
    document: &'a str,
}

impl JsonVisitor for Looking<'_, '_> {
    fn member(&mut self, key: &str, start: usize) {
        let finder = &mut *self.finder;
        // Nothing but `null` begins so.
        let counts = !(finder.without_nulls && self.document[start..].starts_with('n'));
        let number = finder.keys.number(key).filter(|_| counts);
        let place = number.map(|number| {
            let place = finder.scope() * finder.width() + number;
            // Its end isn't known yet; but a field within it comes later.
            finder.values[place] = Some(Span { start, end: start });
            (place, start)
        });
        finder.members.push(place);
    }

    fn member_ends(&mut self, end: usize) {
        let finder = &mut *self.finder;
        if let Some(Some((place, start))) = finder.members.pop()
            && let Some(value) = &mut finder.values[place]
            && value.start == start
        {
            value.end = end;
        }
    }

    fn element(&mut self, start: usize) {
        self.finder.elements.push(Element { start, scope: None });
    }

    fn element_ends(&mut self, end: usize) {
        if let Some(scope) = self.finder.elements.pop().and_then(|element| element.scope) {
            self.finder.scopes[scope].span.end = end;
        }
    }
}
