//! What the API has: the streams, how each is sorted, and what tells its rows apart.

use std::borrow::Cow;
use std::fmt;

use arrow_schema::SchemaRef;
use schemars::JsonSchema;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::fields;

/// What can be read: each is a stream of that name, and a method of the API.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The questions, with their tags and their owners.
    Questions,
    /// The answers, with the question that they belong to.
    Answers,
    /// The users.
    Users,
    /// The tags, with how many questions have them.
    Tags,
    /// The comments on questions and answers.
    Comments,
}

/// What rows are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// The time of the last activity: posted, edited, answered; no comment. Of a tag: of its last
    /// question.
    Activity,
    /// The time of creation.
    Creation,
    /// The time when a user's profile was last changed.
    Modified,
    /// The score.
    Votes,
    /// A user's reputation.
    Reputation,
    /// The name.
    Name,
    /// How many questions have a tag.
    Popular,
}

impl Sort {
    /// Its name in requests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Activity => "activity",
            Self::Creation => "creation",
            Self::Modified => "modified",
            Self::Votes => "votes",
            Self::Reputation => "reputation",
            Self::Name => "name",
            Self::Popular => "popular",
        }
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A way in which the API sorts a stream: `min` and `max` of a request are of `field`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SortBy {
    pub(crate) sort: Sort,
    /// The field of a row that holds the value.
    pub(crate) field: &'static str,
    pub(crate) values: Values,
}

/// What a sort's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Values {
    /// Seconds since 1970. They only grow: what changes comes after what has been read, and so a
    /// run reads on where the one before ended.
    Date,
    /// Integers that go up and down: every run reads everything.
    Number,
    /// Texts, compared as the server does: every run reads everything.
    Text,
}

impl SortBy {
    /// Whether a later run can read only what is new or has changed.
    pub(crate) fn grows(&self) -> bool {
        self.values == Values::Date
    }
}

const fn by(sort: Sort, field: &'static str, values: Values) -> SortBy {
    SortBy {
        sort,
        field,
        values,
    }
}

/// <https://api.stackexchange.com/docs/questions>, `/answers`
const POSTS: [SortBy; 3] = [
    by(Sort::Activity, "last_activity_date", Values::Date),
    by(Sort::Creation, "creation_date", Values::Date),
    by(Sort::Votes, "score", Values::Number),
];

/// <https://api.stackexchange.com/docs/users>. Creation stands first, although `modified` would see
/// changes: a user whose profile was never changed may have no `last_modified_date`, and would
/// never be read. `reputation`, the API's own default, goes up and down.
const USERS: [SortBy; 4] = [
    by(Sort::Creation, "creation_date", Values::Date),
    by(Sort::Modified, "last_modified_date", Values::Date),
    by(Sort::Reputation, "reputation", Values::Number),
    by(Sort::Name, "display_name", Values::Text),
];

/// <https://api.stackexchange.com/docs/tags>. The name stands first: it is the only value that
/// doesn't change while the tags are read, and no two tags share one.
const TAGS: [SortBy; 3] = [
    by(Sort::Name, "name", Values::Text),
    by(Sort::Popular, "count", Values::Number),
    by(Sort::Activity, "last_activity_date", Values::Date),
];

/// <https://api.stackexchange.com/docs/comments>. Comments have no time of change.
const COMMENTS: [SortBy; 2] = [
    by(Sort::Creation, "creation_date", Values::Date),
    by(Sort::Votes, "score", Values::Number),
];

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Questions,
        Self::Answers,
        Self::Users,
        Self::Tags,
        Self::Comments,
    ];

    /// Its name: of the stream, and of the method of the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Questions => "questions",
            Self::Answers => "answers",
            Self::Users => "users",
            Self::Tags => "tags",
            Self::Comments => "comments",
        }
    }

    /// The name of its type in filters: `question.title`.
    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Self::Questions => "question",
            Self::Answers => "answer",
            Self::Users => "user",
            Self::Tags => "tag",
            Self::Comments => "comment",
        }
    }

    /// The column that tells its rows apart.
    pub fn key(self) -> &'static str {
        match self {
            Self::Questions => "question_id",
            Self::Answers => "answer_id",
            Self::Users => "user_id",
            Self::Tags => "name",
            Self::Comments => "comment_id",
        }
    }

    /// How it can be sorted; the first is what it is sorted by unless told otherwise.
    pub(crate) fn sorts(self) -> &'static [SortBy] {
        match self {
            Self::Questions | Self::Answers => &POSTS,
            Self::Users => &USERS,
            Self::Tags => &TAGS,
            Self::Comments => &COMMENTS,
        }
    }

    /// What it is sorted by, if it can be by `sort`.
    pub(crate) fn sorted(self, sort: Option<Sort>) -> Option<SortBy> {
        let mut sorts = self.sorts().iter().copied();
        match sort {
            None => sorts.next(),
            Some(sort) => sorts.find(|by| by.sort == sort),
        }
    }

    /// Its columns: every documented field of API 2.3. Only the key is never NULL.
    pub fn schema(self) -> SchemaRef {
        fields::schema(self)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A value by which rows are told apart or sorted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Value {
    /// A number, or seconds since 1970.
    Number(i64),
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// What has to be known of a row to read on after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) id: Value,
    /// The value of the field that rows are sorted by.
    pub(crate) at: Value,
}

impl Item {
    /// Finds both in a row. With `encoded`, texts come encoded for HTML, but are compared by the API
    /// as they are. `Err` says what is wrong with the row, in a sentence.
    pub(crate) fn of(kind: Kind, by: &SortBy, row: &str, encoded: bool) -> Result<Self, String> {
        let wanted = Wanted {
            id: kind.key(),
            at: by.field,
        };
        let mut json = serde_json::Deserializer::from_str(row);
        let (id, at) = wanted
            .deserialize(&mut json)
            .map_err(|error| format!("a row of `{kind}` can't be read: {error}"))?;
        let found = |value: Option<Value>, field: &str| {
            value.ok_or_else(|| format!("a row of `{kind}` has no `{field}`"))
        };
        let (id, mut at) = (found(id, kind.key())?, found(at, by.field)?);
        if matches!(at, Value::Text(_)) != (by.values == Values::Text) {
            let field = by.field;
            return Err(format!("a row of `{kind}` has the `{field}` \"{at}\""));
        }
        if let Value::Text(text) = &mut at
            && encoded
            && fields::is_prose(kind, by.field)
        {
            *text = html_escape::decode_html_entities(text).into_owned();
        }
        Ok(Self { id, at })
    }
}

/// A field's name, not copied unless it has escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// Takes two fields of an object and skips the others without keeping them.
struct Wanted {
    id: &'static str,
    at: &'static str,
}

impl<'de> DeserializeSeed<'de> for Wanted {
    type Value = (Option<Value>, Option<Value>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Wanted {
    type Value = (Option<Value>, Option<Value>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut id, mut at) = (None, None);
        while let Some(Key(key)) = map.next_key()? {
            let (is_id, is_at) = (key == self.id, key == self.at);
            if !is_id && !is_at {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value: Option<Value> = map.next_value()?;
            if is_id {
                id.clone_from(&value);
            }
            if is_at {
                at = value;
            }
        }
        Ok((id, at))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    fn item(kind: Kind, sort: Option<Sort>, row: &str) -> Result<Item, String> {
        Item::of(kind, &kind.sorted(sort).unwrap(), row, true)
    }

    #[test]
    fn an_item_is_found_among_other_fields() {
        let row = r#"{"owner": {"question_id": 4, "last_activity_date": 1}, "title": "\u00e9",
            "question\u005fid": 7, "last_activity_date": 1700000000, "score": null}"#;
        let item = item(Kind::Questions, None, row).unwrap();
        assert_eq!(item.id, Value::Number(7));
        assert_eq!(item.at, Value::Number(1_700_000_000));
    }

    #[test]
    fn one_field_can_be_both() {
        let item = item(Kind::Tags, None, r#"{"count": 3, "name": "c++"}"#).unwrap();
        assert_eq!(item.id, Value::Text("c++".to_owned()));
        assert_eq!(item.at, item.id);
    }

    #[test]
    fn names_are_compared_as_they_are_and_not_as_they_are_sent() {
        let row = r#"{"user_id": 1, "display_name": "nobody &amp;amp; co"}"#;
        let by = Kind::Users.sorted(Some(Sort::Name)).unwrap();
        let at = |encoded| Item::of(Kind::Users, &by, row, encoded).unwrap().at;
        assert_eq!(at(true), Value::Text("nobody &amp; co".to_owned()));
        assert_eq!(at(false), Value::Text("nobody &amp;amp; co".to_owned()));
    }

    #[test]
    fn what_lacks_its_key_or_its_place_is_named() {
        for (row, words) in [
            (r#"{"question_id": 7}"#, "no `last_activity_date`"),
            (
                r#"{"question_id": 7, "last_activity_date": null}"#,
                "no `last_activity_date`",
            ),
            (r#"{"last_activity_date": 7}"#, "no `question_id`"),
            (
                r#"{"question_id": 7, "last_activity_date": "today"}"#,
                "`last_activity_date` \"today\"",
            ),
            (
                r#"{"question_id": [], "last_activity_date": 7}"#,
                "can't be read",
            ),
            ("7", "an object"),
        ] {
            let error = item(Kind::Questions, None, row).unwrap_err();
            assert!(
                error.contains(words) && error.contains("`questions`"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_stream_is_sorted_by_what_loses_no_rows() {
        let sorted = |kind: Kind| kind.sorted(None).unwrap().field;
        assert_eq!(sorted(Kind::Questions), "last_activity_date");
        assert_eq!(sorted(Kind::Answers), "last_activity_date");
        assert_eq!(sorted(Kind::Users), "creation_date");
        assert_eq!(sorted(Kind::Comments), "creation_date");
        assert_eq!(sorted(Kind::Tags), "name");
        assert_eq!(Kind::Comments.sorted(Some(Sort::Activity)), None);
    }

    #[test]
    fn names_are_those_of_the_pipeline_file() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
            for by in kind.sorts() {
                assert_eq!(serde_json::to_value(by.sort).unwrap(), by.sort.name());
            }
        }
    }

    #[test]
    fn values_keep_their_type_in_the_state() {
        for value in [Value::Number(-5), Value::Text("5".to_owned())] {
            let stored = serde_json::to_string(&value).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&stored).unwrap(), value);
        }
    }
}
