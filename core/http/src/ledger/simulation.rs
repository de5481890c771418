//! Many processes, some of which are killed, share a ledger and ask a server that forgives nothing.
//! Time is made up, so that hours pass in an instant; chance comes from a seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::document::{Ask, Document, Ending, Note, Turn};
use super::options::LedgerOptions;
use crate::dialect::Told;

const METHODS: [&str; 3] = ["questions", "answers", "tags"];
const TIMEOUT: Duration = Duration::from_millis(600);
const REPEAT_MS: i64 = 3_000;
const BACKOFF_MS: i64 = 1_500;
const WINDOW_MS: i64 = 100_000;
const SPACE_MS: i64 = 40;

fn options() -> LedgerOptions {
    LedgerOptions {
        per_second: Some(25.0),
        repeat_after: Some(Duration::from_millis(3_000)),
        caution: Duration::from_millis(2_500),
        window: Duration::from_millis(100_000),
        ..LedgerOptions::new("api.test")
    }
}

fn moment(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_700_000_000_000 + ms).unwrap()
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        i64::try_from((z ^ (z >> 31)) % u64::try_from(n).unwrap()).unwrap()
    }

    fn once_in(&mut self, n: i64) -> bool {
        self.below(n) == 0
    }
}

/// The server, which judges.
#[derive(Default)]
struct Server {
    serving: BTreeMap<&'static str, u32>,
    backoffs: BTreeMap<&'static str, i64>,
    asked: BTreeMap<String, i64>,
    /// When the quota is whole again, and how much is left.
    resets: i64,
    left: u64,
    max: u64,
    served: u64,
    violations: Vec<String>,
}

impl Server {
    fn arrive(&mut self, now: i64, what: &Wish) {
        if now >= self.resets {
            self.resets = now + WINDOW_MS;
            self.left = self.max;
        }
        let mut wrong = |text: &str| self.violations.push(format!("{now} {what:?}: {text}"));
        let serving = self.serving.entry(what.method).or_default();
        *serving += 1;
        if *serving > 1 {
            wrong("two at once");
        }
        if self.backoffs.get(what.method).is_some_and(|&end| now < end) {
            wrong("before the backoff was over");
        }
        if let Some(before) = self.asked.insert(what.identity.clone(), now)
            && now - before < REPEAT_MS
        {
            wrong("repeated too soon");
        }
        if self.left == 0 {
            wrong("over the quota");
        }
        self.left = self.left.saturating_sub(1);
        self.served += 1;
    }

    fn answer(&mut self, now: i64, what: &Wish, chance: &mut Chance) -> Told {
        *self.serving.entry(what.method).or_default() -= 1;
        let backoff = chance.once_in(5).then(|| 1 + chance.below(BACKOFF_MS));
        if let Some(backoff) = backoff {
            self.backoffs.insert(what.method, now + backoff);
        }
        Told {
            quota_max: Some(self.max),
            quota_left: (!chance.once_in(4)).then_some(self.left),
            backoff: backoff.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap())),
            resets_in: None,
        }
    }
}

/// A request that some process wants to make.
#[derive(Debug, Clone)]
struct Wish {
    id: Uuid,
    method: &'static str,
    identity: String,
}

impl Wish {
    fn ask(&self) -> Ask<'_> {
        Ask {
            id: self.id,
            method: self.method,
            identity: &self.identity,
            timeout: TIMEOUT,
            spare: Duration::ZERO,
        }
    }
}

/// What happens next to a process.
#[derive(Clone)]
enum Step {
    Look(Wish),
    /// Its change is written, if nobody was faster.
    Note(Wish, Box<Document>, u64, Note),
    Send(Wish, Note),
    Arrive(Wish, Note),
    Answer(Wish, Note),
    Settle(Wish, Note, Ending),
}

struct World {
    now: i64,
    chance: Chance,
    document: Document,
    version: u64,
    server: Server,
    queue: BinaryHeap<Reverse<(i64, u64)>>,
    steps: BTreeMap<u64, (Step, bool)>,
    next: u64,
    last_note: i64,
    done: u64,
    killed: u64,
}

impl World {
    fn new(seed: u64, quota: u64) -> Self {
        Self {
            now: 0,
            chance: Chance(seed),
            document: Document::default(),
            version: 0,
            server: Server {
                max: quota,
                ..Server::default()
            },
            queue: BinaryHeap::new(),
            steps: BTreeMap::new(),
            next: 0,
            last_note: i64::MIN / 2,
            done: 0,
            killed: 0,
        }
    }

    /// `alive`: whether a process is behind it; what was sent continues without.
    fn later(&mut self, wait: i64, step: Step, alive: bool) {
        self.next += 1;
        self.queue.push(Reverse((self.now + wait, self.next)));
        self.steps.insert(self.next, (step, alive));
    }

    fn wish(&mut self) -> Step {
        let method = METHODS[usize::try_from(self.chance.below(3)).unwrap()];
        let identity = format!("{method}/{}", self.chance.below(6));
        let id = Uuid::from_u128(self.next.into());
        Step::Look(Wish {
            id,
            method,
            identity,
        })
    }

    fn run(&mut self, processes: usize, requests: u64) {
        for _ in 0..processes {
            let step = self.wish();
            self.later(0, step, true);
        }
        while self.done < requests {
            let Reverse((now, id)) = self.queue.pop().expect("processes go on forever");
            assert!(now < 3_600_000, "no progress: {} done", self.done);
            self.now = now;
            let (step, mut alive) = self.steps.remove(&id).unwrap();
            if alive && self.chance.once_in(60) {
                // Killed; another process comes at once.
                self.killed += 1;
                alive = false;
                let step = self.wish();
                self.later(0, step, true);
            }
            self.step(step, alive);
        }
    }

    fn step(&mut self, step: Step, alive: bool) {
        let now = moment(self.now);
        let delay = self.chance.below(50);
        match step {
            Step::Look(wish) if alive => {
                let mut document = self.document.clone();
                match document.turn(wish.ask(), &options(), now) {
                    Turn::Go(note) => {
                        let change = Step::Note(wish, document.into(), self.version, note);
                        let written = self.chance.below(8);
                        self.later(written, change, true);
                    }
                    Turn::Wait { until, noted, .. } => {
                        if noted {
                            self.document = document;
                            self.version += 1;
                        }
                        let wait = (until - now).num_milliseconds().clamp(1, 500);
                        self.later(wait, Step::Look(wish), true);
                    }
                    Turn::Spent { until } => {
                        let wait = (until - now).num_milliseconds().clamp(1, 500);
                        self.later(wait, Step::Look(wish), true);
                    }
                }
            }
            Step::Note(wish, document, version, note) => {
                // A change on its way to the store is written even if its process is gone.
                if version != self.version {
                    self.later(1, Step::Look(wish), alive);
                    return;
                }
                let since = self.now - self.last_note;
                assert!(since + 10 >= SPACE_MS, "{since} ms after the last one");
                self.last_note = self.now;
                self.document = *document;
                self.version += 1;
                self.later(delay, Step::Send(wish, note), alive);
            }
            Step::Send(wish, note) if alive => {
                if self.chance.once_in(20) {
                    self.later(1, Step::Settle(wish, note, Ending::Unsent), true);
                } else {
                    self.later(delay, Step::Arrive(wish, note), true);
                }
            }
            Step::Arrive(wish, note) => {
                self.server.arrive(self.now, &wish);
                let service = 1 + self.chance.below(200);
                self.later(service, Step::Answer(wish, note), alive);
            }
            Step::Answer(wish, note) => {
                let told = self.server.answer(self.now, &wish, &mut self.chance);
                let lost = self.chance.once_in(20);
                let ending = if lost {
                    Ending::Unanswered
                } else {
                    Ending::Answered(told)
                };
                self.later(delay, Step::Settle(wish, note, ending), alive);
            }
            Step::Settle(wish, note, ending) if alive => {
                self.document
                    .end(&note, wish.ask(), ending, &options(), now);
                self.version += 1;
                self.done += 1;
                let step = self.wish();
                self.later(0, step, true);
            }
            // A killed process does nothing more.
            Step::Look(_) | Step::Send(..) | Step::Settle(..) => {}
        }
    }
}

#[test]
fn no_rule_is_broken_whatever_happens_and_everybody_gets_on() {
    for seed in 0..40 {
        let mut world = World::new(seed, 40);
        world.run(6, 200);
        let violations = &world.server.violations;
        assert!(violations.is_empty(), "seed {seed}: {violations:#?}");
        assert!(world.killed > 5, "seed {seed}");
    }
}

#[test]
fn what_is_stored_stays_small() {
    let mut world = World::new(7, 1_000_000);
    world.run(6, 2_000);
    let size = serde_json::to_string(&world.document).unwrap().len();
    assert!(size < 3_000, "{size} bytes");
}
