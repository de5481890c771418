use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::Kind;

/// A site of the network and its rows: `stackoverflow`.
#[derive(Debug, Clone)]
pub struct Site {}

/// Changes that go on until this is dropped.
#[derive(Debug)]
#[must_use = "changes stop when this is dropped"]
pub struct Changes {}

#[expect(unused_variables, reason = "bodies follow")]
#[expect(clippy::unimplemented, reason = "bodies follow")]
impl Site {
    /// Makes so many questions, with their answers, comments, users and tags; active at times
    /// over this span before now. The same for the same seed, but for the times.
    pub fn questions(&self, count: usize, over: Duration, seed: u64) {
        unimplemented!()
    }

    /// Makes so many questions that were all asked, and last active, in this one second.
    pub fn questions_at(&self, second: DateTime<Utc>, count: usize) {
        unimplemented!()
    }

    /// The ids of all rows there are now, ascending. Tags have none.
    pub fn ids(&self, kind: Kind) -> Vec<i64> {
        unimplemented!()
    }

    /// What all rows are now, by id (tags by name), with every field and with texts as they are:
    /// HTML as HTML, anything else not encoded.
    pub fn truth(&self, kind: Kind) -> Vec<Value> {
        unimplemented!()
    }

    /// Asks a question now; its id.
    pub fn add_question(&self) -> i64 {
        unimplemented!()
    }

    /// Edits a question now: another title, body and score, and `last_edit_date` =
    /// `last_activity_date` = now. Says whether there is such a question.
    pub fn edit(&self, question: i64) -> bool {
        unimplemented!()
    }

    /// Answers a question now, which is active by that; the answer's id. `None` without such a
    /// question.
    pub fn answer(&self, question: i64) -> Option<i64> {
        unimplemented!()
    }

    /// Edits an answer now, and so makes its question active. Says whether there is such an answer.
    pub fn edit_answer(&self, answer: i64) -> bool {
        unimplemented!()
    }

    /// Comments on a question or answer now; the comment's id. Makes nothing active.
    pub fn comment(&self, post: i64) -> Option<i64> {
        unimplemented!()
    }

    /// Edits a user's profile now. Says whether there is such a user.
    pub fn edit_user(&self, user: i64) -> bool {
        unimplemented!()
    }

    /// Deletes a question with its answers and comments. Says whether there was such a question.
    pub fn delete(&self, question: i64) -> bool {
        unimplemented!()
    }

    /// Deletes a user, who isn't among the users any more and owns what they own without an id.
    pub fn delete_user(&self, user: i64) -> bool {
        unimplemented!()
    }

    /// From now on, until the guard is dropped, so many changes a second: mostly edits of
    /// questions, and new questions, answers, comments, edits of users and deletions.
    pub fn changes_in_background(&self, per_second: u32, seed: u64) -> Changes {
        unimplemented!()
    }
}

impl Changes {
    /// How many changes have been made.
    pub fn made(&self) -> usize {
        0
    }

    /// Stops them. The same as dropping it.
    pub fn stop(self) {}
}
