//! Rows, and the orders in which they can be asked for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Kind;

pub(super) type Id = i64;

/// A moment as the API puts it: seconds since 1970.
pub(super) type Second = i64;

#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) id: Id,
    pub(super) title: String,
    pub(super) body: String,
    pub(super) tags: Vec<String>,
    pub(super) owner: Owner,
    pub(super) asked: Second,
    pub(super) active: Second,
    pub(super) edited: Option<Second>,
    pub(super) editor: Option<Id>,
    pub(super) closed: Option<(Second, &'static str)>,
    pub(super) protected: Option<Second>,
    pub(super) community: Option<Second>,
    pub(super) locked: Option<Second>,
    pub(super) bounty: Option<(i64, Second)>,
    pub(super) migrated: Option<(Second, Id)>,
    pub(super) score: i64,
    pub(super) views: i64,
    pub(super) accepted: Option<Id>,
    pub(super) answers: Vec<Id>,
    pub(super) comments: Vec<Id>,
    pub(super) license: Option<&'static str>,
}

#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) id: Id,
    pub(super) question: Id,
    pub(super) body: String,
    pub(super) owner: Owner,
    pub(super) given: Second,
    pub(super) active: Second,
    pub(super) edited: Option<Second>,
    pub(super) community: Option<Second>,
    pub(super) score: i64,
    pub(super) comments: Vec<Id>,
    pub(super) license: Option<&'static str>,
}

#[derive(Debug, Clone)]
pub(super) struct Comment {
    pub(super) id: Id,
    pub(super) post: Id,
    pub(super) post_type: &'static str,
    pub(super) body: String,
    pub(super) owner: Owner,
    pub(super) reply_to: Option<Owner>,
    pub(super) made: Second,
    pub(super) edited: bool,
    pub(super) score: i64,
}

#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) id: Id,
    pub(super) account: Id,
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) created: Second,
    pub(super) modified: Option<Second>,
    pub(super) seen: Second,
    pub(super) reputation: i64,
    pub(super) location: Option<String>,
    pub(super) website: Option<String>,
    pub(super) about: Option<String>,
    pub(super) accept_rate: Option<i64>,
    pub(super) badges: [i64; 3],
    pub(super) employee: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Tag {
    /// Never sent: tags are known by their names.
    pub(super) id: Id,
    pub(super) name: String,
    pub(super) count: i64,
    pub(super) active: Second,
    pub(super) synonyms: Vec<String>,
}

/// Whom a post belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// A user, who may have been deleted since.
    User(Id),
    /// Somebody deleted before: a name is all that is left.
    Gone(String),
    /// The field is absent.
    Nobody,
}

#[derive(Debug)]
pub(super) enum Row {
    Question(Question),
    Answer(Answer),
    User(User),
    Tag(Tag),
    Comment(Comment),
}

/// What rows are sorted by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Number(i64),
    /// In lower case: the API's names are ordered without regard to case.
    Text(String),
}

impl Row {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Question(_) => Kind::Questions,
            Self::Answer(_) => Kind::Answers,
            Self::User(_) => Kind::Users,
            Self::Tag(_) => Kind::Tags,
            Self::Comment(_) => Kind::Comments,
        }
    }

    pub(super) fn id(&self) -> Id {
        match self {
            Self::Question(row) => row.id,
            Self::Answer(row) => row.id,
            Self::User(row) => row.id,
            Self::Tag(row) => row.id,
            Self::Comment(row) => row.id,
        }
    }

    /// What `fromdate` and `todate` go by, whatever the sort.
    pub(super) fn created(&self) -> Option<Second> {
        match self {
            Self::Question(row) => Some(row.asked),
            Self::Answer(row) => Some(row.given),
            Self::User(row) => Some(row.created),
            Self::Comment(row) => Some(row.made),
            Self::Tag(_) => None,
        }
    }

    /// By each of the sorts of its kind, in the order of [`sorts`]; `None` in a sort that leaves
    /// it out.
    fn keys(&self) -> Vec<Option<Key>> {
        let number = |number: i64| Some(Key::Number(number));
        let text = |text: &str| Some(Key::Text(text.to_lowercase()));
        match self {
            Self::Question(row) => {
                vec![number(row.active), number(row.asked), number(row.score)]
            }
            Self::Answer(row) => vec![number(row.active), number(row.given), number(row.score)],
            Self::User(row) => vec![
                number(row.reputation),
                number(row.created),
                text(&row.name),
                row.modified.map(Key::Number),
            ],
            Self::Tag(row) => vec![number(row.count), number(row.active), text(&row.name)],
            Self::Comment(row) => vec![number(row.made), number(row.score)],
        }
    }
}

/// The sorts of a kind, the default first (api.stackexchange.com/docs/questions and so on).
pub(super) fn sorts(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Questions | Kind::Answers => &["activity", "creation", "votes"],
        Kind::Users => &["reputation", "creation", "name", "modified"],
        Kind::Tags => &["popular", "activity", "name"],
        Kind::Comments => &["creation", "votes"],
    }
}

type Entry = (Key, u64, Id);

/// The rows of one kind.
#[derive(Debug)]
struct Table {
    rows: BTreeMap<Id, Arc<Row>>,
    orders: Vec<BTreeSet<Entry>>,
}

/// All rows of a site at one time.
#[derive(Debug)]
pub(super) struct Tables([Table; 5]);

/// What the rows of a site are, and what of it is seen in answers already.
#[derive(Debug)]
pub(super) struct Data {
    now: Tables,
    /// Only of a server whose answers come late.
    shown: Option<Tables>,
    late: VecDeque<Late>,
}

/// A change that is seen from a time on: the row, or that it is gone.
type Late = (DateTime<Utc>, Kind, Id, Option<Arc<Row>>);

/// Rows with the same key come in an order that no field tells: nobody documents one.
fn tie(id: Id) -> u64 {
    let mut mixed = id.unsigned_abs().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^= mixed >> 29;
    mixed.wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

impl Table {
    fn entries(row: &Row) -> impl Iterator<Item = (usize, Entry)> {
        let id = row.id();
        let keys = row.keys().into_iter().enumerate();
        keys.filter_map(move |(order, key)| Some((order, (key?, tie(id), id))))
    }

    fn put(&mut self, row: Arc<Row>) {
        self.remove(row.id());
        for (order, entry) in Self::entries(&row) {
            self.orders[order].insert(entry);
        }
        self.rows.insert(row.id(), row);
    }

    fn remove(&mut self, id: Id) {
        if let Some(row) = self.rows.remove(&id) {
            for (order, entry) in Self::entries(&row) {
                self.orders[order].remove(&entry);
            }
        }
    }
}

impl Default for Tables {
    fn default() -> Self {
        Self(Kind::ALL.map(|kind| Table {
            rows: BTreeMap::new(),
            orders: vec![BTreeSet::new(); sorts(kind).len()],
        }))
    }
}

impl Tables {
    fn table(&self, kind: Kind) -> &Table {
        let at = Kind::ALL.iter().position(|&other| other == kind);
        &self.0[at.unwrap_or_default()]
    }

    fn table_mut(&mut self, kind: Kind) -> &mut Table {
        let at = Kind::ALL.iter().position(|&other| other == kind);
        &mut self.0[at.unwrap_or_default()]
    }

    pub(super) fn get(&self, kind: Kind, id: Id) -> Option<&Arc<Row>> {
        self.table(kind).rows.get(&id)
    }

    pub(super) fn question(&self, id: Id) -> Option<&Question> {
        match self.get(Kind::Questions, id).map(AsRef::as_ref) {
            Some(Row::Question(row)) => Some(row),
            _ => None,
        }
    }

    pub(super) fn answer(&self, id: Id) -> Option<&Answer> {
        match self.get(Kind::Answers, id).map(AsRef::as_ref) {
            Some(Row::Answer(row)) => Some(row),
            _ => None,
        }
    }

    pub(super) fn comment(&self, id: Id) -> Option<&Comment> {
        match self.get(Kind::Comments, id).map(AsRef::as_ref) {
            Some(Row::Comment(row)) => Some(row),
            _ => None,
        }
    }

    pub(super) fn user(&self, id: Id) -> Option<&User> {
        match self.get(Kind::Users, id).map(AsRef::as_ref) {
            Some(Row::User(row)) => Some(row),
            _ => None,
        }
    }

    pub(super) fn tag(&self, name: &str) -> Option<&Tag> {
        let order = self.table(Kind::Tags).orders.get(2)?;
        let from = (Key::Text(name.to_owned()), 0, Id::MIN);
        let (_, _, id) = order.range(from..).next()?;
        match self.get(Kind::Tags, *id).map(AsRef::as_ref) {
            Some(Row::Tag(row)) if row.name == name => Some(row),
            _ => None,
        }
    }

    /// All rows of a kind by id; tags by name.
    pub(super) fn all(&self, kind: Kind) -> Box<dyn Iterator<Item = &Arc<Row>> + '_> {
        match kind {
            Kind::Tags => {
                let ids = self.sorted(kind, 2, None, None, false);
                Box::new(ids.filter_map(move |id| self.get(kind, id)))
            }
            _ => Box::new(self.table(kind).rows.values()),
        }
    }

    pub(super) fn ids(&self, kind: Kind) -> Vec<Id> {
        self.table(kind).rows.keys().copied().collect()
    }

    /// The id at or after this one, else the first: a row by chance without a list of all.
    pub(super) fn near(&self, kind: Kind, id: Id) -> Option<Id> {
        let rows = &self.table(kind).rows;
        let mut after = rows.range(id..).chain(rows.iter());
        after.next().map(|(&id, _)| id)
    }

    pub(super) fn bounds(&self, kind: Kind) -> Option<(Id, Id)> {
        let rows = &self.table(kind).rows;
        Some((*rows.keys().next()?, *rows.keys().next_back()?))
    }

    /// The ids of rows by one of their sorts, within both bounds.
    pub(super) fn sorted(
        &self,
        kind: Kind,
        sort: usize,
        min: Option<Key>,
        max: Option<Key>,
        descending: bool,
    ) -> Box<dyn Iterator<Item = Id> + '_> {
        if matches!((&min, &max), (Some(min), Some(max)) if min > max) {
            return Box::new(std::iter::empty());
        }
        let from = min.map_or(Bound::Unbounded, |key| Bound::Included((key, 0, Id::MIN)));
        let to = max.map_or(Bound::Unbounded, |key| {
            Bound::Included((key, u64::MAX, Id::MAX))
        });
        let entries = self.table(kind).orders[sort].range((from, to));
        if descending {
            Box::new(entries.rev().map(|(_, _, id)| *id))
        } else {
            Box::new(entries.map(|(_, _, id)| *id))
        }
    }
}

impl Data {
    pub(super) fn new(late: bool) -> Self {
        Self {
            now: Tables::default(),
            shown: late.then(Tables::default),
            late: VecDeque::new(),
        }
    }

    pub(super) fn now(&self) -> &Tables {
        &self.now
    }

    /// What answers at this time show.
    pub(super) fn shown(&mut self, at: DateTime<Utc>) -> &Tables {
        let Some(shown) = &mut self.shown else {
            return &self.now;
        };
        while self.late.front().is_some_and(|(from, ..)| *from <= at) {
            if let Some((_, kind, id, row)) = self.late.pop_front() {
                match row {
                    Some(row) => shown.table_mut(kind).put(row),
                    None => shown.table_mut(kind).remove(id),
                }
            }
        }
        shown
    }

    /// Puts a row in the place of that with its id, to be seen from then on.
    pub(super) fn put(&mut self, row: Row, seen_from: DateTime<Utc>) {
        let row = Arc::new(row);
        let (kind, id) = (row.kind(), row.id());
        self.now.table_mut(kind).put(row.clone());
        if self.shown.is_some() {
            self.late.push_back((seen_from, kind, id, Some(row)));
        }
    }

    /// Removes a row, not to be seen from then on.
    pub(super) fn remove(&mut self, kind: Kind, id: Id, seen_from: DateTime<Utc>) {
        self.now.table_mut(kind).remove(id);
        if self.shown.is_some() {
            self.late.push_back((seen_from, kind, id, None));
        }
    }
}
