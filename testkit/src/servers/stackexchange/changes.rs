use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;

use super::Kind;
use super::data::Row;
use super::filter::Filter;
use super::happening::Change;
use super::render::View;
use super::server::{Shared, State};

/// A site of the network and its rows: `stackoverflow`.
#[derive(Clone)]
pub struct Site {
    pub(super) name: String,
    pub(super) shared: Arc<Shared>,
}

/// Changes that go on until this is dropped.
#[derive(Debug)]
#[must_use = "changes stop when this is dropped"]
pub struct Changes {
    shared: Arc<Going>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Going {
    stopped: AtomicBool,
    made: AtomicUsize,
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Site {
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }

    /// Makes a change at this time, seen after the lag of the rules.
    fn change<T>(&self, change: impl FnOnce(&mut Change<'_>) -> T) -> T {
        let mut state = self.state();
        let at = self.shared.now_by(&state);
        let seen = at + self.shared.rules.answers_late;
        let rows = state.rows(&self.name, &self.shared.rules);
        change(&mut Change {
            rows,
            now: at.timestamp(),
            seen,
        })
    }

    /// The same, but of things that have been there all along.
    fn load<T>(&self, load: impl FnOnce(&mut Change<'_>) -> T) -> T {
        self.change(|change| {
            change.seen = DateTime::UNIX_EPOCH;
            load(change)
        })
    }

    /// Makes so many questions, with their answers, comments, users and tags; active at times
    /// over this span before now. The same for the same seed, but for the times.
    pub fn questions(&self, count: usize, over: Duration, seed: u64) {
        self.load(|change| change.fill_site(count, over, seed));
    }

    /// Makes so many questions that were all asked, and last active, in this one second.
    pub fn questions_at(&self, second: DateTime<Utc>, count: usize) {
        self.load(|change| {
            for _ in 0..count {
                let users = change.users();
                let second = second.timestamp();
                let question = change.rows.maker.question(second, second, &users);
                change.count_tags(&question.tags, 1);
                change.put(Row::Question(question));
            }
        });
    }

    /// The ids of all rows there are now, ascending. Tags have none.
    pub fn ids(&self, kind: Kind) -> Vec<i64> {
        if kind == Kind::Tags {
            return Vec::new();
        }
        let mut state = self.state();
        let rows = state.rows(&self.name, &self.shared.rules);
        rows.data.now().ids(kind)
    }

    /// What all rows are now, by id (tags by name), with every field but `answers` and `comments`,
    /// and with texts as they are: HTML as HTML, anything else not encoded.
    pub fn truth(&self, kind: Kind) -> Vec<Value> {
        let mut filter = Filter::everything();
        filter.drop_nested();
        let mut state = self.state();
        let rows = state.rows(&self.name, &self.shared.rules).data.now();
        let view = View {
            site: &self.name,
            rows,
            filter: &filter,
        };
        rows.all(kind).map(|row| view.row(row)).collect()
    }

    /// Asks a question now; its id.
    pub fn add_question(&self) -> i64 {
        self.change(|change| change.ask())
    }

    /// Edits a question now: another title, body and score, and `last_edit_date` =
    /// `last_activity_date` = now. Says whether there is such a question.
    pub fn edit(&self, question: i64) -> bool {
        self.change(|change| change.edit(question))
    }

    /// Answers a question now, which is active by that; the answer's id. `None` without such a
    /// question.
    pub fn answer(&self, question: i64) -> Option<i64> {
        self.change(|change| change.answer(question))
    }

    /// Edits an answer now, and so makes its question active. Says whether there is such an answer.
    pub fn edit_answer(&self, answer: i64) -> bool {
        self.change(|change| change.edit_answer(answer))
    }

    /// Comments on a question or answer now; the comment's id. Makes nothing active.
    pub fn comment(&self, post: i64) -> Option<i64> {
        self.change(|change| change.comment(post))
    }

    /// Edits a user's profile now. Says whether there is such a user.
    pub fn edit_user(&self, user: i64) -> bool {
        self.change(|change| change.edit_user(user))
    }

    /// Deletes a question with its answers and comments. Says whether there was such a question.
    pub fn delete(&self, question: i64) -> bool {
        self.change(|change| change.delete(question))
    }

    /// Deletes a user, who isn't among the users any more and owns what they own without an id.
    /// Says whether there was such a user.
    pub fn delete_user(&self, user: i64) -> bool {
        self.change(|change| {
            let was = change.rows.data.now().user(user).is_some();
            change.remove(Kind::Users, user);
            was
        })
    }

    /// From now on, until the guard is dropped, so many changes a second: mostly edits of
    /// questions, and new questions, answers, comments, edits of users and deletions of questions.
    pub fn changes_in_background(&self, per_second: u32, seed: u64) -> Changes {
        let shared = Arc::new(Going::default());
        let (site, going) = (self.clone(), shared.clone());
        let pause = Duration::from_secs(1) / per_second.max(1);
        let thread = thread::spawn(move || {
            let mut random = StdRng::seed_from_u64(seed);
            let mut next = Instant::now();
            while !going.stopped.load(Ordering::SeqCst) {
                let left = next.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    thread::park_timeout(left);
                    continue;
                }
                next += pause;
                let chance = random.random_range(0..100);
                site.change(|change| change.something(chance));
                going.made.fetch_add(1, Ordering::SeqCst);
            }
        });
        Changes {
            shared,
            thread: Some(thread),
        }
    }
}

impl Changes {
    /// How many changes have been made.
    pub fn made(&self) -> usize {
        self.shared.made.load(Ordering::SeqCst)
    }

    /// Stops them. The same as dropping it.
    pub fn stop(self) {}
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A change that panics has said so.
            let _ = thread.join();
        }
    }
}
