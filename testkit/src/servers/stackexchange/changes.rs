use std::collections::BTreeMap;
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
use super::data::{Data, Id, Owner, Question, Row, Second, Tag};
use super::filter::Filter;
use super::made::{Maker, TAGS};
use super::render::View;
use super::server::{Shared, State};

const DAY: Second = 86_400;

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

/// The rows of a site, and what makes new ones.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) data: Data,
    maker: Maker,
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Rows that are being changed, all at one time.
struct Change<'a> {
    rows: &'a mut Rows,
    now: Second,
    /// When the change is seen in answers.
    seen: DateTime<Utc>,
}

impl Rows {
    pub(super) fn new(late: bool) -> Self {
        Self {
            data: Data::new(late),
            maker: Maker::new(0),
        }
    }
}

impl Change<'_> {
    fn put(&mut self, row: Row) {
        self.rows.data.put(row, self.seen);
    }

    fn remove(&mut self, kind: Kind, id: Id) {
        self.rows.data.remove(kind, id, self.seen);
    }

    fn users(&mut self) -> Vec<Id> {
        // One by chance is enough for a single change; a list of all takes long.
        let user = self.any(Kind::Users);
        user.into_iter().collect()
    }

    /// A row by chance.
    fn any(&mut self, kind: Kind) -> Option<Id> {
        let (first, last) = self.rows.data.now().bounds(kind)?;
        let id = self.rows.maker.random.random_range(first..=last);
        self.rows.data.now().near(kind, id)
    }

    /// Counts a question's tags, or its loss.
    fn count_tags(&mut self, names: &[String], by: i64) {
        for name in names {
            let tag = match self.rows.data.now().tag(name) {
                Some(tag) => Tag {
                    count: tag.count + by,
                    active: self.now,
                    ..tag.clone()
                },
                None => new_tag(name, by, self.now),
            };
            self.put(Row::Tag(tag));
        }
    }

    fn ask(&mut self) -> Id {
        let users = self.users();
        let question = self.rows.maker.question(self.now, self.now, &users);
        let id = question.id;
        self.count_tags(&question.tags, 1);
        self.put(Row::Question(question));
        id
    }

    fn edit(&mut self, id: Id) -> bool {
        let Some(mut question) = self.rows.data.now().question(id).cloned() else {
            return false;
        };
        let editor = self.users();
        let maker = &mut self.rows.maker;
        question.title = maker.title();
        question.body = maker.body();
        question.score += maker.random.random_range(-1..=2);
        question.edited = Some(self.now);
        question.active = self.now;
        question.editor = editor.first().copied();
        self.put(Row::Question(question));
        true
    }

    fn answer(&mut self, id: Id) -> Option<Id> {
        let mut question = self.rows.data.now().question(id).cloned()?;
        let users = self.users();
        let answer = self.rows.maker.answer(id, self.now, &users);
        let answer_id = answer.id;
        question.answers.push(answer_id);
        question.active = self.now;
        self.put(Row::Answer(answer));
        self.put(Row::Question(question));
        Some(answer_id)
    }

    fn edit_answer(&mut self, id: Id) -> bool {
        let Some(mut answer) = self.rows.data.now().answer(id).cloned() else {
            return false;
        };
        answer.body = self.rows.maker.body();
        answer.edited = Some(self.now);
        answer.active = self.now;
        let question = self.rows.data.now().question(answer.question).cloned();
        if let Some(mut question) = question {
            question.active = self.now;
            self.put(Row::Question(question));
        }
        self.put(Row::Answer(answer));
        true
    }

    fn comment(&mut self, post: Id) -> Option<Id> {
        let users = self.users();
        let now = self.now;
        if let Some(mut question) = self.rows.data.now().question(post).cloned() {
            let comment = self.rows.maker.comment(post, "question", now, &users);
            let id = comment.id;
            question.comments.push(id);
            self.put(Row::Comment(comment));
            self.put(Row::Question(question));
            return Some(id);
        }
        let mut answer = self.rows.data.now().answer(post).cloned()?;
        let comment = self.rows.maker.comment(post, "answer", now, &users);
        let id = comment.id;
        answer.comments.push(id);
        self.put(Row::Comment(comment));
        self.put(Row::Answer(answer));
        Some(id)
    }

    fn edit_user(&mut self, id: Id) -> bool {
        let Some(mut user) = self.rows.data.now().user(id).cloned() else {
            return false;
        };
        user.about = Some(format!("<p>Edited at {}.</p>", self.now));
        user.location = Some("R&D, 4th floor".to_owned());
        user.modified = Some(self.now);
        user.seen = self.now;
        self.put(Row::User(user));
        true
    }

    fn delete(&mut self, id: Id) -> bool {
        let Some(question) = self.rows.data.now().question(id).cloned() else {
            return false;
        };
        let mut comments = question.comments;
        for answer in question.answers {
            if let Some(answer) = self.rows.data.now().answer(answer) {
                comments.extend(&answer.comments);
            }
            self.remove(Kind::Answers, answer);
        }
        for comment in comments {
            self.remove(Kind::Comments, comment);
        }
        self.remove(Kind::Questions, id);
        self.count_tags(&question.tags, -1);
        true
    }

    /// Any change; mostly edits of questions.
    fn something(&mut self, chance: u32) {
        let kind = match chance {
            0..75 => Kind::Questions,
            75..85 => Kind::Answers,
            _ => Kind::Users,
        };
        let any = self.any(kind).unwrap_or_default();
        match chance {
            0..50 => drop(self.edit(any)),
            50..58 => drop(self.answer(any)),
            58..70 => drop(self.comment(any)),
            70..75 => drop(self.delete(any)),
            75..85 => drop(self.edit_answer(any)),
            85..90 => drop(self.edit_user(any)),
            _ => drop(self.ask()),
        }
    }
}

fn new_tag(name: &str, count: i64, active: Second) -> Tag {
    let at = TAGS.iter().position(|&tag| tag == name);
    let id = at.and_then(|at| Id::try_from(at + 1).ok());
    let synonyms = match name {
        "javascript" => vec!["js".to_owned(), "ecmascript".to_owned()],
        "go" => vec!["golang".to_owned()],
        _ => Vec::new(),
    };
    Tag {
        id: id.unwrap_or_default(),
        name: name.to_owned(),
        count,
        active,
        synonyms,
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
        self.load(|change| {
            change.rows.maker.reseed(seed);
            let over = Second::try_from(over.as_secs()).unwrap_or(Second::MAX / 4);
            let from = change.now - over.max(1);
            let users: Vec<Id> = (0..count / 8 + 10)
                .map(|_| {
                    let maker = &mut change.rows.maker;
                    let created = maker.time(from - 1_500 * DAY, from);
                    let user = maker.user(created, change.now - 1);
                    let id = user.id;
                    change.put(Row::User(user));
                    id
                })
                .collect();
            let mut times: Vec<Second> = (0..count)
                .map(|_| change.rows.maker.time(from, change.now - 1))
                .collect();
            times.sort_unstable();
            let mut tags = BTreeMap::<String, (i64, Second)>::new();
            let mut before = from;
            for asked in times {
                // Some come in the very second of another.
                let asked = if change.rows.maker.chance(5) {
                    before
                } else {
                    asked
                };
                before = asked;
                let question = change.rows.maker.question(asked, change.now - 1, &users);
                for tag in &question.tags {
                    let (count, active) = tags.entry(tag.clone()).or_default();
                    *count += 1;
                    *active = (*active).max(asked);
                }
                change.fill(question, &users);
            }
            for (name, (count, active)) in tags {
                let before = change.rows.data.now().tag(&name);
                let count = count + before.map_or(0, |tag| tag.count);
                change.put(Row::Tag(new_tag(&name, count, active)));
            }
        });
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
        let now = self.shared.now_by(&state).timestamp();
        let rows = state.rows(&self.name, &self.shared.rules).data.now();
        let view = View {
            site: &self.name,
            rows,
            filter: &filter,
            now,
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

impl Change<'_> {
    /// Puts a question of some time ago, with what has happened to it since.
    fn fill(&mut self, mut question: Question, users: &[Id]) {
        let latest = self.now - 1;
        let asked = question.asked;
        let answers = [0, 0, 1, 1, 1, 2, 3][self.rows.maker.random.random_range(0..7)];
        let soon = |time: Second| (time + 2 * DAY).min(latest);
        for _ in 0..answers {
            let given = self.rows.maker.time(asked, soon(asked));
            let mut answer = self.rows.maker.answer(question.id, given, users);
            if self.rows.maker.chance(20) {
                let edited = self.rows.maker.time(given, soon(given));
                answer.edited = Some(edited);
                answer.active = edited;
            }
            if self.rows.maker.chance(15) {
                let made = self.rows.maker.time(given, soon(given));
                let comment = self.rows.maker.comment(answer.id, "answer", made, users);
                answer.comments.push(comment.id);
                self.put(Row::Comment(comment));
            }
            question.answers.push(answer.id);
            question.active = question.active.max(answer.active);
            if self.rows.maker.chance(25) {
                question.accepted = Some(answer.id);
            }
            self.put(Row::Answer(answer));
        }
        if self.rows.maker.chance(30) {
            let edited = self.rows.maker.time(asked, soon(asked));
            question.edited = Some(edited);
            question.active = question.active.max(edited);
            question.editor = match question.owner {
                Owner::User(id) => Some(id),
                Owner::Gone(_) => None,
            };
        }
        if self.rows.maker.chance(30) {
            let made = self.rows.maker.time(asked, soon(asked));
            let comment = self
                .rows
                .maker
                .comment(question.id, "question", made, users);
            question.comments.push(comment.id);
            self.put(Row::Comment(comment));
        }
        self.put(Row::Question(question));
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
