//! What can happen to the rows of a site.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::Rng as _;

use super::Kind;
use super::data::{Data, Id, Owner, Question, Row, Second, Tag};
use super::made::{Maker, TAGS};

const DAY: Second = 86_400;

/// The rows of a site, and what makes new ones.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) data: Data,
    pub(super) maker: Maker,
}

/// Rows that are being changed, all at one time.
pub(super) struct Change<'a> {
    pub(super) rows: &'a mut Rows,
    pub(super) now: Second,
    /// When the change is seen in answers.
    pub(super) seen: DateTime<Utc>,
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
    pub(super) fn put(&mut self, row: Row) {
        self.rows.data.put(row, self.seen);
    }

    pub(super) fn remove(&mut self, kind: Kind, id: Id) {
        self.rows.data.remove(kind, id, self.seen);
    }

    pub(super) fn users(&mut self) -> Vec<Id> {
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
    pub(super) fn count_tags(&mut self, names: &[String], by: i64) {
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

    pub(super) fn ask(&mut self) -> Id {
        let users = self.users();
        let question = self.rows.maker.question(self.now, self.now, &users);
        let id = question.id;
        self.count_tags(&question.tags, 1);
        self.put(Row::Question(question));
        id
    }

    pub(super) fn edit(&mut self, id: Id) -> bool {
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

    pub(super) fn answer(&mut self, id: Id) -> Option<Id> {
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

    pub(super) fn edit_answer(&mut self, id: Id) -> bool {
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

    pub(super) fn comment(&mut self, post: Id) -> Option<Id> {
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

    pub(super) fn edit_user(&mut self, id: Id) -> bool {
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

    pub(super) fn delete(&mut self, id: Id) -> bool {
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
    pub(super) fn something(&mut self, chance: u32) {
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

impl Change<'_> {
    /// Makes a site of so many questions of this span, and everything that belongs to them.
    pub(super) fn fill_site(&mut self, count: usize, over: Duration, seed: u64) {
        self.rows.maker.reseed(seed);
        let over = Second::try_from(over.as_secs()).unwrap_or(Second::MAX / 4);
        let from = self.now - over.max(1);
        let users: Vec<Id> = (0..count / 8 + 10)
            .map(|_| {
                let maker = &mut self.rows.maker;
                let created = maker.time(from - 1_500 * DAY, from);
                let user = maker.user(created, self.now - 1);
                let id = user.id;
                self.put(Row::User(user));
                id
            })
            .collect();
        let mut times: Vec<Second> = (0..count)
            .map(|_| self.rows.maker.time(from, self.now - 1))
            .collect();
        times.sort_unstable();
        let mut tags = BTreeMap::<String, (i64, Second)>::new();
        let mut before = from;
        for asked in times {
            // Some come in the very second of another.
            let same = self.rows.maker.chance(5);
            let asked = if same { before } else { asked };
            before = asked;
            let question = self.rows.maker.question(asked, self.now - 1, &users);
            for tag in &question.tags {
                let (count, active) = tags.entry(tag.clone()).or_default();
                *count += 1;
                *active = (*active).max(asked);
            }
            self.fill(question, &users);
        }
        for (name, (count, active)) in tags {
            let before = self.rows.data.now().tag(&name);
            let count = count + before.map_or(0, |tag| tag.count);
            self.put(Row::Tag(new_tag(&name, count, active)));
        }
    }

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
                Owner::Gone(_) | Owner::Nobody => None,
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
