use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `/questions`
    Questions,
    /// `/answers`
    Answers,
    /// `/users`
    Users,
    /// `/tags`
    Tags,
    /// `/comments`
    Comments,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Questions,
        Self::Answers,
        Self::Users,
        Self::Tags,
        Self::Comments,
    ];

    /// The method that gives them, without the slash: `questions`.
    pub fn method(self) -> &'static str {
        match self {
            Self::Questions => "questions",
            Self::Answers => "answers",
            Self::Users => "users",
            Self::Tags => "tags",
            Self::Comments => "comments",
        }
    }

    /// The field that identifies a row: `question_id`; `name` of tags.
    pub fn key(self) -> &'static str {
        match self {
            Self::Questions => "question_id",
            Self::Answers => "answer_id",
            Self::Users => "user_id",
            Self::Tags => "name",
            Self::Comments => "comment_id",
        }
    }
}

/// A request before it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// How many requests came before it.
    pub number: usize,
    /// The path after the version: `/questions`.
    pub method: String,
    /// The parameters of the query and of a form, decoded; keys and tokens too.
    pub query: BTreeMap<String, String>,
}

/// A request that was answered, or should have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The request.
    pub request: Request,
    /// When it came, by the server's clock.
    pub at: DateTime<Utc>,
    /// The status that was sent; 0 if the connection was dropped.
    pub status: u16,
    /// The `error_id`, if it was answered with an error of the API's.
    pub error_id: Option<i64>,
    /// How many rows were sent.
    pub items: usize,
    /// The `backoff` that was asked for, in seconds.
    pub backoff: Option<u32>,
    /// What the test made of it.
    pub failure: Option<super::Failure>,
}

/// A rule that a client has broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// When, by the server's clock.
    pub at: DateTime<Utc>,
    /// The method that was asked.
    pub method: String,
    /// Which rule.
    pub rule: Broken,
    /// What it did, in words.
    pub what: String,
}

/// The rules that can be broken, all of api.stackexchange.com/docs/throttle but the last, which
/// is of api.stackexchange.com/docs/authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Broken {
    /// More requests in a second than are borne.
    Rate,
    /// The same question asked again too soon.
    Repeat,
    /// A method asked before its backoff was over, or while the answer with it was on its way.
    Backoff,
    /// A request though the client was told that none is left.
    Quota,
    /// An access token sent over http.
    TokenOverHttp,
}
