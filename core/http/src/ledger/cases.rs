//! What the ledger decides, case by case.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::document::{Ask, Document, Ending, Note, Turn, Why};
use super::options::LedgerOptions;
use crate::dialect::Told;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn options() -> LedgerOptions {
    LedgerOptions {
        repeat_after: Some(seconds(60)),
        ..LedgerOptions::new("api.test/anonymous")
    }
}

fn ask<'a>(method: &'a str, identity: &'a str) -> Ask<'a> {
    Ask {
        id: Uuid::new_v4(),
        method,
        identity,
        timeout: seconds(30),
        spare: Duration::ZERO,
    }
}

fn left(left: u64) -> Told {
    Told {
        quota_max: Some(300),
        quota_left: Some(left),
        ..Told::default()
    }
}

/// A ledger and its clock.
#[derive(Default)]
struct Case {
    document: Document,
    now: i64,
}

impl Case {
    fn turn(&mut self, method: &str, identity: &str) -> Turn {
        self.document
            .turn(ask(method, identity), &options(), at(self.now))
    }

    #[track_caller]
    fn go(&mut self, method: &str, identity: &str) -> Note {
        match self.turn(method, identity) {
            Turn::Go(note) => note,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn waits(&mut self, method: &str, identity: &str, until: i64, why: Why) {
        // Nobody looks by again.
        let document = self.document.clone();
        let turn = self.turn(method, identity);
        let noted = why == Why::Next;
        let until = at(until);
        assert_eq!(turn, Turn::Wait { until, why, noted });
        self.document = document;
    }

    fn end(&mut self, note: &Note, method: &str, identity: &str, ending: Ending) {
        let ask = ask(method, identity);
        self.document
            .end(note, ask, ending, &options(), at(self.now));
    }

    /// Asks and is told, a second later.
    fn told(&mut self, method: &str, identity: &str, told: Told) {
        let note = self.go(method, identity);
        self.now += 1;
        self.end(&note, method, identity, Ending::Answered(told));
    }

    fn quota(&self) -> Option<(u64, Option<i64>)> {
        let quota = self.document.quota(at(self.now))?;
        let resets = quota.resets_at.map(|then| (then - at(0)).num_seconds());
        Some((quota.left, resets))
    }

    /// What another process reads.
    fn stored(&mut self) {
        let text = serde_json::to_string(&self.document).unwrap();
        assert_eq!(
            serde_json::from_str::<Document>(&text).unwrap(),
            self.document
        );
    }
}

#[test]
fn one_request_by_a_method_is_under_way() {
    let mut case = Case::default();
    let note = case.go("questions", "1");
    case.waits("questions", "2", 60, Why::Next);
    case.go("answers", "1a");
    case.stored();
    case.end(&note, "questions", "1", Ending::Unsent);
    case.go("questions", "2");
}

#[test]
fn those_who_wait_have_their_turns_before_those_who_come() {
    let mut case = Case::default();
    let (first, second) = (ask("m", "1"), ask("m", "2"));
    let turn = |case: &mut Case, ask, now| {
        case.now = now;
        case.document.turn(ask, &options(), at(now))
    };
    let wait = |until, why, noted| Turn::Wait {
        until: at(until),
        why,
        noted,
    };
    let note = case.go("m", "0");
    assert_eq!(turn(&mut case, first, 0), wait(60, Why::Next, true));
    assert_eq!(turn(&mut case, first, 0), wait(60, Why::Next, false));
    assert_eq!(turn(&mut case, second, 0), wait(60, Why::UnderWay, false));
    assert_eq!(
        turn(&mut case, first, 1),
        wait(60, Why::Next, true),
        "it is still there"
    );
    case.end(&note, "m", "0", Ending::Answered(Told::default()));
    let late = Turn::Wait {
        until: at(1) + Duration::from_millis(1_500),
        why: Why::UnderWay,
        noted: false,
    };
    assert_eq!(turn(&mut case, second, 1), late);
    assert!(matches!(turn(&mut case, first, 1), Turn::Go(_)));
    assert_eq!(turn(&mut case, second, 1), wait(61, Why::Next, true));
    // One who went away is not waited for.
    case.document = Document::default();
    let note = case.go("m", "0");
    turn(&mut case, first, 1);
    case.end(&note, "m", "0", Ending::Answered(Told::default()));
    assert!(matches!(turn(&mut case, second, 3), Turn::Go(_)));
}

#[test]
fn a_dead_process_holds_a_method_for_as_long_as_its_request_may_matter() {
    let mut case = Case::default();
    case.told("questions", "0", left(100));
    case.go("questions", "1");
    case.now = 60;
    case.waits("questions", "2", 61, Why::Next);
    assert_eq!(case.quota(), Some((99, Some(86_401))));
    case.now = 61;
    case.go("questions", "2");
    assert_eq!(case.quota(), Some((98, Some(86_401))), "it counts");

    // A time-out that is longer than the caution counts, and a little more.
    let mut case = Case::default();
    let slow = Ask {
        timeout: seconds(600),
        ..ask("questions", "1")
    };
    case.document.turn(slow, &options(), at(0));
    case.waits("questions", "2", 605, Why::Next);
}

#[test]
fn a_late_answer_of_a_process_that_was_taken_for_dead_counts_once() {
    let mut case = Case::default();
    case.told("questions", "0", left(100));
    let note = case.go("questions", "1");
    case.now = 100;
    let other = case.go("questions", "2");
    let told = Told {
        backoff: Some(seconds(10)),
        ..Told::default()
    };
    case.end(&note, "questions", "1", Ending::Answered(told));
    assert_eq!(case.quota().unwrap().0, 98);
    case.waits("questions", "3", 160, Why::Next);
    case.end(&other, "questions", "2", Ending::Unsent);
    case.waits("questions", "3", 110, Why::Backoff);
}

#[test]
fn a_backoff_and_a_lost_answer_hold_their_method_only() {
    let mut case = Case::default();
    let backoff = Told {
        backoff: Some(seconds(10)),
        ..Told::default()
    };
    case.told("questions", "1", backoff);
    case.waits("questions", "2", 11, Why::Backoff);
    let note = case.go("answers", "1a");
    case.now = 5;
    case.end(&note, "answers", "1a", Ending::Unanswered);
    // From when it was asked.
    case.waits("answers", "2a", 61, Why::Backoff);
    case.now = 11;
    case.go("questions", "2");
}

#[test]
fn the_same_request_waits_until_it_surely_is_so_long_ago() {
    let mut case = Case::default();
    let note = case.go("questions", "1");
    case.now = 20;
    case.end(&note, "questions", "1", Ending::Answered(Told::default()));
    case.go("tags", "t");
    case.waits("questions", "1", 80, Why::Repeated);
    let note = case.go("questions", "2");
    case.end(&note, "questions", "2", Ending::Unsent);
    case.go("questions", "2");
}

#[test]
fn the_servers_word_for_the_quota_counts_but_not_if_it_is_older() {
    let mut case = Case::default();
    assert_eq!(case.quota(), None);
    case.told("questions", "1", left(290));
    assert_eq!(case.quota(), Some((290, Some(86_401))));
    let (old, new) = (case.go("questions", "2"), case.go("answers", "2a"));
    assert_eq!(
        case.quota().unwrap().0,
        288,
        "those under way are taken off"
    );
    case.now = 5;
    case.end(&new, "answers", "2a", Ending::Answered(left(250)));
    assert_eq!(case.quota().unwrap().0, 249, "somebody else asks too");
    case.end(&old, "questions", "2", Ending::Answered(left(251)));
    assert_eq!(case.quota().unwrap().0, 250);
    // One that is silent counts as one.
    case.told("questions", "3", Told::default());
    assert_eq!(case.quota().unwrap().0, 249);
    case.stored();
    // Far more than is known: it was renewed.
    case.told("questions", "4", left(299));
    assert_eq!(case.quota(), Some((299, Some(86_407))));
}

#[test]
fn an_answer_does_not_know_of_a_request_that_was_lost_meanwhile() {
    let mut case = Case::default();
    case.told("questions", "1", left(3));
    let (lost, told) = (case.go("questions", "2"), case.go("answers", "2a"));
    case.now = 2;
    case.end(&lost, "questions", "2", Ending::Unanswered);
    assert_eq!(case.quota().unwrap().0, 1);
    // The server counted this one first.
    case.end(&told, "answers", "2a", Ending::Answered(left(2)));
    assert_eq!(case.quota().unwrap().0, 1);
    case.stored();
    // The next one does.
    case.told("answers", "3a", left(0));
    assert_eq!(case.quota().unwrap().0, 0);
}

#[test]
fn a_spent_quota_holds_until_it_is_renewed() {
    let mut case = Case::default();
    case.told("questions", "1", left(1));
    let last = case.go("questions", "2");
    case.waits("answers", "1a", 61, Why::Last);
    case.now = 2;
    case.end(&last, "questions", "2", Ending::Answered(left(0)));
    let spent = |until| Turn::Spent { until: at(until) };
    assert_eq!(case.turn("answers", "1a"), spent(86_401));
    assert_eq!(case.document.spent(), (2, Some(300)));
    case.now = 86_401;
    assert_eq!(case.quota(), Some((300, None)));
    case.go("answers", "1a");
}

#[test]
fn what_a_refusal_says_of_the_next_quota_counts() {
    let mut case = Case::default();
    let refused = Told {
        quota_left: Some(0),
        resets_in: Some(seconds(38_731)),
        ..Told::default()
    };
    case.told("questions", "1", refused);
    let until = at(38_732);
    assert_eq!(case.turn("answers", "1a"), Turn::Spent { until });
    // Nothing is known of how much there will be.
    case.now = 38_732;
    assert_eq!(case.quota(), None);
    case.go("answers", "1a");
}

#[test]
fn an_answer_from_before_the_renewal_does_not_spoil_the_new_quota() {
    let mut case = Case::default();
    case.told("questions", "1", left(5));
    case.now = 86_390;
    let old = case.go("questions", "2");
    case.now = 86_402;
    case.end(&old, "questions", "2", Ending::Answered(left(0)));
    assert_eq!(case.quota(), Some((299, None)));
    case.go("answers", "1a");
}

#[test]
fn a_clock_that_is_set_back_makes_no_wait_longer_than_it_was() {
    let mut case = Case {
        now: 1_000_000,
        ..Case::default()
    };
    let told = Told {
        backoff: Some(seconds(30)),
        ..left(0)
    };
    case.told("questions", "1", told);
    let dead = |case: &mut Case| {
        case.document = Document::default();
        case.go("questions", "2");
    };
    assert!(!case.document.mend(at(case.now)));
    case.now = 0;
    assert!(case.document.mend(at(0)));
    assert!(!case.document.mend(at(0)), "stored, it stays mended");
    case.waits("questions", "2", 30, Why::Backoff);
    let until = at(86_400);
    assert_eq!(case.turn("answers", "1a"), Turn::Spent { until });

    case.now = 1_000_000;
    dead(&mut case);
    case.now = 0;
    assert!(case.document.mend(at(0)));
    case.waits("questions", "3", 60, Why::Next);
}

#[test]
fn requests_are_spaced() {
    let options = LedgerOptions {
        per_second: Some(0.5),
        ..LedgerOptions::new("api.test")
    };
    let mut document = Document::default();
    let mut turn = |method, now| document.turn(ask(method, method), &options, at(now));
    assert!(matches!(turn("a", 0), Turn::Go(_)));
    let until = at(2);
    let wait = Turn::Wait {
        until,
        why: Why::Pace,
        noted: false,
    };
    assert_eq!(turn("b", 1), wait);
    assert!(matches!(turn("b", 2), Turn::Go(_)));
}

#[test]
fn a_note_is_written_anew_only_while_it_stands() {
    let mut case = Case::default();
    let mut note = case.go("questions", "1");
    let asks = ask("questions", "1");
    assert!(!note.is_stale(asks, at(3)));
    assert!(note.is_stale(asks, at(4)));
    assert!(note.is_stale(asks, at(-4)), "the clock was set back");
    assert!(case.document.renew(&mut note, asks, &options(), at(50)));
    assert!(!note.is_stale(asks, at(50)));
    case.now = 51;
    case.waits("questions", "2", 110, Why::Next);
    case.now = 110;
    let other = case.go("questions", "2");
    assert!(!case.document.renew(&mut note, asks, &options(), at(110)));
    case.end(&other, "questions", "2", Ending::Unsent);
}

/// What is granted to a slow store is added to how long the note stands, so that a request that is
/// made late is over in time.
#[test]
fn a_request_that_is_made_late_is_over_before_its_note() {
    for (timeout, spare, latest) in [(30, 0, 3), (30, 8, 11), (600, 0, 5), (600, 60, 65)] {
        let mut case = Case::default();
        let asks = Ask {
            timeout: seconds(timeout),
            spare: seconds(spare),
            ..ask("questions", "1")
        };
        let Turn::Go(note) = case.document.turn(asks, &options(), at(0)) else {
            panic!("it goes")
        };
        assert!(!note.is_stale(asks, at(latest)), "{asks:?}");
        assert!(note.is_stale(asks, at(latest + 1)), "{asks:?}");
        let ends = at(latest + i64::try_from(timeout).unwrap());
        assert!(note.held.until() >= ends, "{asks:?}");
        // Its answer may ask for a break, which is waited for from when it was made.
        let lost = Ending::Unanswered;
        { &mut case.document }.end(&note, asks, lost, &options(), at(1));
        case.now = 1;
        let until = 60 + i64::try_from(spare).unwrap();
        case.waits("questions", "2", until, Why::Backoff);
    }
}

#[test]
fn a_few_requests_are_forgotten_rather_than_all_kept() {
    let mut case = Case::default();
    for n in 0..4_100 {
        let identity = n.to_string();
        let note = case.go("questions", &identity);
        case.end(
            &note,
            "questions",
            &identity,
            Ending::Answered(Told::default()),
        );
    }
    let size = serde_json::to_string(&case.document).unwrap().len();
    assert!(size < 250_000, "{size} bytes");
    case.waits("questions", "4099", 60, Why::Repeated);
}
