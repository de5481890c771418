//! Rows made by chance: none is copied, and what is odd about the real ones is odd about these.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::data::{Answer, Comment, Id, Owner, Question, Second, User};

const LICENSE: &str = "CC BY-SA 4.0";

/// Often used ones first.
pub(super) const TAGS: &[&str] = &[
    "python",
    "javascript",
    "java",
    "c#",
    "php",
    "html",
    "android",
    "jquery",
    "c++",
    "css",
    "ios",
    "sql",
    "mysql",
    "r",
    "reactjs",
    "node.js",
    "arrays",
    "c",
    "asp.net",
    "json",
    "python-3.x",
    "ruby-on-rails",
    ".net",
    "sql-server",
    "django",
    "swift",
    "objective-c",
    "angular",
    "excel",
    "pandas",
    "regex",
    "linux",
    "typescript",
    "ruby",
    "ajax",
    "xml",
    "spring",
    "vb.net",
    "wpf",
    "database",
    "git",
    "rust",
    "go",
    "kotlin",
    "flutter",
    "apache-spark",
    "dataframe",
    "docker",
    "kubernetes",
    "aws-glue",
    "parquet",
    "f#",
    "haskell",
    "scala",
    "delphi",
    "ocaml",
    "erlang",
    "com+",
    "q#",
    "zig",
];

const SUBJECTS: &[&str] = &[
    "a window function",
    "nested lists",
    "an async stream",
    "a foreign key",
    "a lazy iterator",
    "time zones",
    "a memory leak",
    "a merge conflict",
    "unicode file names",
    "a left join",
    "two threads",
    "a generic trait",
    "a broken pipe",
    "floating point sums",
    "a CSV header",
];

const BEGINNINGS: &[&str] = &[
    "How to debug",
    "Why is there a problem with",
    "What is the idiomatic way to handle",
    "Unexpected result with",
    "Is it safe to rely on",
    "Performance of",
    "How do I test",
    "Error when I try to serialise",
];

/// Titles that must be encoded in safe texts; the third looks encoded and isn't.
const ODD_ENDINGS: &[&str] = &[
    "if a < b && b > c?",
    "in a Map<String, List<T>>",
    "that prints &amp; instead of &",
    "when it's called \"twice\"",
    "— naïve Übung für Fortgeschrittene",
    "in 日本語 and emoji 🦀🎉",
];

const ENDINGS: &[&str] = &[
    "in production",
    "on a slow machine",
    "with a million rows",
    "after an upgrade",
    "in a loop",
    "",
    "without a framework",
    "as of this year",
];

const CLOSED: &[&str] = &[
    "Needs details or clarity",
    "Duplicate",
    "Opinion-based",
    "Not suitable for this site",
    "Needs more focus",
];

const NAMES: &[&str] = &[
    "Ada",
    "Grace H.",
    "linus<3",
    "O'Neil",
    "José Ñandú",
    "张伟",
    "nobody & co",
    "🦀 crab",
    "Mira",
    "zoe",
    "Zed",
    "bob42",
    "Kwame",
    "Søren",
    "Anya",
    "\"Quotes\"",
    "tab completion",
];

const PLACES: &[&str] = &[
    "Nairobi, Kenya",
    "São Paulo, Brazil",
    "Zürich",
    "東京",
    "Trinidad & Tobago",
    "the Internet",
];

/// Chance with a seed, and the ids of rows to come.
#[derive(Debug)]
pub(super) struct Maker {
    pub(super) random: SmallRng,
    /// Of questions and answers, which share theirs.
    next_post: Id,
    next_comment: Id,
    next_user: Id,
}

impl Maker {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: SmallRng::seed_from_u64(seed),
            next_post: 70_000_001,
            next_comment: 120_000_001,
            next_user: 1_001,
        }
    }

    /// From now on chance goes by another seed; ids go on.
    pub(super) fn reseed(&mut self, seed: u64) {
        self.random = SmallRng::seed_from_u64(seed);
    }

    pub(super) fn chance(&mut self, percent: u32) -> bool {
        self.random.random_ratio(percent.min(100), 100)
    }

    fn rarely(&mut self, per_thousand: u32) -> bool {
        self.random.random_ratio(per_thousand.min(1_000), 1_000)
    }

    fn one(&mut self, of: &[&'static str]) -> &'static str {
        of.choose(&mut self.random).copied().unwrap_or_default()
    }

    /// A time from the first to the last, both included.
    pub(super) fn time(&mut self, from: Second, to: Second) -> Second {
        self.random.random_range(from..=to.max(from))
    }

    pub(super) fn title(&mut self) -> String {
        let ending = if self.chance(10) {
            self.one(ODD_ENDINGS)
        } else {
            self.one(ENDINGS)
        };
        let (beginning, subject) = (self.one(BEGINNINGS), self.one(SUBJECTS));
        let number = self.random.random_range(1..10_000);
        format!("{beginning} {subject} {ending} #{number}")
    }

    pub(super) fn body(&mut self) -> String {
        let (subject, number) = (self.one(SUBJECTS), self.random.random_range(1..1_000_000));
        format!(
            "<p>I have {subject}, and it isn&#39;t what I expect.</p>\n\
             <pre><code>if x &lt; {number} &amp;&amp; y {{ … }}</code></pre>\n\
             <p>What do I do?</p>"
        )
    }

    pub(super) fn score(&mut self) -> i64 {
        // Few are high.
        let high = self.random.random_range(0..40_i64);
        self.random.random_range(-3..=3) + high * high * high / 2_000
    }

    /// From one to five tags, the first ones more often.
    fn tags(&mut self) -> Vec<String> {
        let count = self.random.random_range(1..=5);
        let mut tags: Vec<String> = Vec::new();
        for _ in 0..count {
            let share: f64 = self.random.random();
            let most = f64::from(u32::try_from(TAGS.len()).unwrap_or(u32::MAX));
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is between 0 and the number of tags"
            )]
            let at = (share * share * share * most) as usize;
            let tag = TAGS.get(at).copied().unwrap_or("python");
            if !tags.iter().any(|other| other == tag) {
                tags.push(tag.to_owned());
            }
        }
        tags
    }

    pub(super) fn owner(&mut self, users: &[Id]) -> Owner {
        if self.rarely(5) {
            return Owner::Nobody;
        }
        if self.chance(3) {
            return Owner::Gone(format!(
                "user{}",
                self.random.random_range(1_000..9_999_999)
            ));
        }
        match users.choose(&mut self.random) {
            Some(&id) => Owner::User(id),
            None => Owner::Gone("user1".to_owned()),
        }
    }

    pub(super) fn user(&mut self, created: Second, now: Second) -> User {
        let id = self.next_user;
        self.next_user += self.random.random_range(1..=9);
        let name = if self.chance(60) {
            format!("{} {id}", self.one(NAMES))
        } else {
            format!("user{id}")
        };
        let reputation = self.random.random_range(1_i64..400);
        let reputation = 1 + reputation * reputation * reputation / 400;
        let place = self.one(PLACES).to_owned();
        User {
            id,
            account: id * 2 + 17,
            name,
            kind: if self.chance(4) {
                "unregistered"
            } else if self.rarely(5) {
                "moderator"
            } else {
                "registered"
            },
            created,
            modified: self.chance(80).then(|| self.time(created, now)),
            seen: self.time(created, now),
            reputation,
            location: self.chance(40).then_some(place),
            website: self
                .chance(20)
                .then(|| format!("https://example.org/~{id}")),
            about: self
                .chance(30)
                .then(|| "<p>I like <b>tests</b> &amp; tea.</p>".to_owned()),
            accept_rate: self.chance(25).then(|| self.random.random_range(10..=100)),
            badges: [reputation / 90, reputation / 400, reputation / 9_000],
            employee: self.rarely(3),
        }
    }

    /// A question without answers and comments.
    pub(super) fn question(&mut self, asked: Second, now: Second, users: &[Id]) -> Question {
        let id = self.next_post;
        self.next_post += self.random.random_range(1..=4);
        let closed = self
            .chance(3)
            .then(|| (self.time(asked, now), self.one(CLOSED)));
        // Closed questions come without a licence at times, as some of the real ones do.
        let licensed = closed.is_none() || self.chance(50);
        let migrated = if closed.is_some() { 100 } else { 3 };
        Question {
            id,
            title: self.title(),
            body: self.body(),
            tags: self.tags(),
            owner: self.owner(users),
            asked,
            active: asked,
            edited: None,
            editor: None,
            closed,
            protected: self.rarely(3).then_some(asked),
            community: self.rarely(3).then_some(asked),
            locked: self.rarely(2).then_some(asked),
            bounty: self
                .rarely(8)
                .then(|| (50 * self.random.random_range(1..=10), now + 400_000)),
            migrated: self.rarely(migrated).then_some((asked, id / 2)),
            score: self.score(),
            views: self.random.random_range(1..20_000),
            accepted: None,
            answers: Vec::new(),
            comments: Vec::new(),
            license: licensed.then_some(LICENSE),
        }
    }

    pub(super) fn answer(&mut self, question: Id, given: Second, users: &[Id]) -> Answer {
        let id = self.next_post;
        self.next_post += self.random.random_range(1..=4);
        Answer {
            id,
            question,
            body: self.body(),
            owner: self.owner(users),
            given,
            active: given,
            edited: None,
            community: self.chance(2).then_some(given),
            score: self.score(),
            comments: Vec::new(),
            license: Some(LICENSE),
        }
    }

    pub(super) fn comment(
        &mut self,
        post: Id,
        post_type: &'static str,
        made: Second,
        users: &[Id],
    ) -> Comment {
        let id = self.next_comment;
        self.next_comment += self.random.random_range(1..=5);
        let reply_to = self.chance(30).then(|| self.owner(users));
        Comment {
            id,
            post,
            post_type,
            body: format!(
                "Have you tried {}? It&#39;s &lt;easy&gt;.",
                self.one(SUBJECTS)
            ),
            owner: self.owner(users),
            reply_to,
            made,
            edited: self.chance(10),
            score: self.random.random_range(0..5),
        }
    }
}
