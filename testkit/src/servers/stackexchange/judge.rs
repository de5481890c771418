//! What a client may do and when: rate, repeats, backoff and quota
//! (api.stackexchange.com/docs/throttle).

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::answer::Problem;
use super::query::Page;
use super::{Broken, Rules, Violation};

/// How much too early a question may be asked again: clients round times to milliseconds.
const ROUNDING: TimeDelta = TimeDelta::milliseconds(20);

/// How much longer a backoff lasts than was said. The real one was seen to refuse a client 10.06 s
/// after it had asked for 10 s; how much longer it takes isn't known.
const LONGER: Duration = Duration::from_millis(100);

/// What becomes of a request when it comes.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is answered, and counted here.
    Counted(Account),
    /// It is refused.
    Refused(Problem),
    /// It gets an answer of no documented form.
    Undefined(Undefined),
}

/// Answers of no documented form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undefined {
    Dropped,
    Html,
    Plain,
}

/// Whose quota a request counts for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Account {
    Address,
    /// A user's, by their token.
    Token(String),
}

#[derive(Debug, Default)]
struct Quota {
    most: i64,
    used: i64,
    resets: Option<DateTime<Utc>>,
    /// Whether the client knows that nothing is left.
    told: bool,
}

#[derive(Debug)]
struct Method {
    backoff_until: Option<DateTime<Utc>>,
    under_way: usize,
    random: StdRng,
}

/// A question that was asked.
#[derive(Debug)]
struct Asked {
    at: DateTime<Utc>,
    /// Its answer, and when it was found.
    page: Option<(DateTime<Utc>, Page)>,
}

#[derive(Debug)]
pub(super) struct Judge {
    rules: Rules,
    random: StdRng,
    arrivals: VecDeque<DateTime<Utc>>,
    banned_until: Option<DateTime<Utc>>,
    quotas: BTreeMap<Account, Quota>,
    methods: HashMap<String, Method>,
    asked: HashMap<String, Asked>,
    dead_tokens: BTreeSet<String>,
    pub(super) violations: Vec<Violation>,
}

/// What the judge has to know of a request.
#[derive(Debug)]
pub(super) struct Case<'a> {
    pub(super) at: DateTime<Utc>,
    /// The method without ids: `/questions/{ids}`.
    pub(super) method: &'a str,
    /// Two requests that ask the same have the same.
    pub(super) question: &'a str,
    pub(super) key: Option<&'a str>,
    pub(super) token: Option<&'a str>,
}

impl Judge {
    pub(super) fn new(rules: &Rules) -> Self {
        Self {
            rules: rules.clone(),
            random: StdRng::seed_from_u64(rules.seed),
            arrivals: VecDeque::new(),
            banned_until: None,
            quotas: BTreeMap::new(),
            methods: HashMap::new(),
            asked: HashMap::new(),
            dead_tokens: BTreeSet::new(),
            violations: Vec::new(),
        }
    }

    /// Judges a request when it comes. Only one that is counted is under way from then on.
    pub(super) fn arrive(&mut self, case: &Case<'_>) -> Verdict {
        if let Some(undefined) = self.too_fast(case) {
            return Verdict::Undefined(undefined);
        }
        let account = match self.account(case) {
            Ok(account) => account,
            Err(problem) => return Verdict::Refused(problem),
        };
        if let Some(problem) = self.too_early(case) {
            return Verdict::Refused(problem);
        }
        if let Some(problem) = self.spent(case, &account) {
            return Verdict::Refused(problem);
        }
        self.repeated(case);
        self.method(case.method).under_way += 1;
        Verdict::Counted(account)
    }

    /// More than so many requests in a second: undefined answers for a while. That is one
    /// violation, and those who go on asking get no others.
    fn too_fast(&mut self, case: &Case<'_>) -> Option<Undefined> {
        if self.banned_until.is_some_and(|until| case.at < until) {
            return Some(self.undefined());
        }
        let second_ago = case.at - TimeDelta::seconds(1);
        while self.arrivals.front().is_some_and(|at| *at <= second_ago) {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back(case.at);
        if self.arrivals.len() <= self.rules.per_second {
            return None;
        }
        let what = format!("{} requests within a second", self.arrivals.len());
        self.note(case, Broken::Rate, what);
        self.banned_until = Some(case.at + self.rules.banned_for);
        self.arrivals.clear();
        Some(self.undefined())
    }

    fn undefined(&mut self) -> Undefined {
        match self.random.random_range(0..3) {
            0 => Undefined::Dropped,
            1 => Undefined::Html,
            _ => Undefined::Plain,
        }
    }

    /// Whose quota it is; what is wrong with key and token otherwise
    /// (api.stackexchange.com/docs/authentication, /docs/error-handling).
    fn account(&mut self, case: &Case<'_>) -> Result<Account, Problem> {
        if let Some(key) = case.key
            && !self.rules.keys.iter().any(|known| known == key)
        {
            let what = "`key` doesn't match a known application";
            return Err(Problem::new(400, what).early());
        }
        let Some(token) = case.token else {
            return Ok(Account::Address);
        };
        if case.key.is_none() {
            let what = "`key` is required when `access_token` is passed";
            return Err(Problem::new(405, what).early());
        }
        let compromised = Problem::new(406, "`access_token` was sent over http").early();
        if !self.rules.tokens_over_http {
            let what = "an access token was sent over http".to_owned();
            self.note(case, Broken::TokenOverHttp, what);
            self.dead_tokens.insert(token.to_owned());
        }
        if self.dead_tokens.contains(token) {
            return Err(compromised);
        }
        if !self.rules.tokens.iter().any(|known| known == token) {
            return Err(Problem::new(402, "`access_token` is not valid").early());
        }
        Ok(Account::Token(token.to_owned()))
    }

    fn too_early(&mut self, case: &Case<'_>) -> Option<Problem> {
        let until = self.method(case.method).backoff_until?;
        if case.at >= until {
            return None;
        }
        let early = (until - case.at).num_milliseconds();
        let what = format!("{early} ms before the backoff was over");
        self.note(case, Broken::Backoff, what);
        Some(Problem::new(502, "Violation of backoff parameter").early())
    }

    /// Counts the request, unless nothing is left.
    fn spent(&mut self, case: &Case<'_>, account: &Account) -> Option<Problem> {
        let most = match (account, case.key) {
            (Account::Token(_), _) => self.rules.token_quota,
            (Account::Address, Some(_)) => self.rules.key_quota,
            (Account::Address, None) => self.rules.quota,
        };
        let day = self.rules.day;
        let quota = self.quota(account, case.at);
        // An address has the quota of the best key that it has used.
        quota.most = quota.most.max(most);
        if quota.used < quota.most {
            quota.count(1, case.at, day);
            return None;
        }
        let resets = *quota.resets.get_or_insert(case.at + day);
        // Rounded up, so that a client that waits so long isn't early.
        let left = (resets - case.at).num_milliseconds();
        let seconds = (left.max(1) + 999) / 1_000;
        if std::mem::replace(&mut quota.told, true) {
            let what = "no request was left, and it had been said".to_owned();
            self.note(case, Broken::Quota, what);
        }
        let what =
            format!("too many requests from this IP, more requests available in {seconds} seconds");
        Some(Problem::new(502, &what).early())
    }

    fn repeated(&mut self, case: &Case<'_>) {
        let window = self.rules.repeat_window;
        if window.is_zero() {
            return;
        }
        self.asked.retain(|_, asked| asked.at + window > case.at);
        let asked = Asked {
            at: case.at,
            page: None,
        };
        if let Some(before) = self.asked.insert(case.question.to_owned(), asked) {
            if case.at + ROUNDING < before.at + window {
                let ago = (case.at - before.at).num_milliseconds();
                let what = format!("the same was asked {ago} ms before");
                self.note(case, Broken::Repeat, what);
            }
            if let Some(asked) = self.asked.get_mut(case.question) {
                asked.page = before.page;
            }
        }
    }

    /// The rows that were found for the same question a short while ago.
    pub(super) fn kept(&self, case: &Case<'_>, now: DateTime<Utc>) -> Option<Page> {
        let (found, page) = self.asked.get(case.question)?.page.as_ref()?;
        (*found + self.rules.repeat_window > now).then(|| page.clone())
    }

    /// Keeps the rows found for a question.
    pub(super) fn keep(&mut self, case: &Case<'_>, now: DateTime<Utc>, page: &Page) {
        if let Some(asked) = self.asked.get_mut(case.question) {
            asked.page = Some((now, page.clone()));
        }
    }

    /// A question that was answered with an error may be asked again at once.
    pub(super) fn failed(&mut self, case: &Case<'_>) {
        if self
            .asked
            .get(case.question)
            .is_some_and(|asked| asked.page.is_none())
        {
            self.asked.remove(case.question);
        }
    }

    /// A request is no longer under way.
    pub(super) fn leave(&mut self, case: &Case<'_>) {
        let method = self.method(case.method);
        method.under_way = method.under_way.saturating_sub(1);
    }

    /// Decides whether an answer with rows asks for a backoff, in seconds. Other requests to the
    /// method that are under way then break it already.
    pub(super) fn backoff(&mut self, case: &Case<'_>, now: DateTime<Utc>) -> Option<u32> {
        let (every, seconds) = self.rules.backoff.clone()?;
        let method = self.method(case.method);
        if !method.random.random_ratio(1, every.max(1)) {
            return None;
        }
        let seconds = method.random.random_range(seconds);
        let until = now + Duration::from_secs(u64::from(seconds)) + LONGER;
        method.backoff_until = method.backoff_until.max(Some(until));
        let others = method.under_way.saturating_sub(1);
        if others > 0 {
            let what = format!("{others} more under way when a backoff was asked for");
            self.note(case, Broken::Backoff, what);
        }
        Some(seconds)
    }

    /// The most requests of an account and those left.
    pub(super) fn left(&mut self, account: &Account, now: DateTime<Utc>) -> (i64, i64) {
        let quota = self.quota(account, now);
        (quota.most, (quota.most - quota.used).max(0))
    }

    /// The client has read how many are left.
    pub(super) fn told(&mut self, account: &Account, now: DateTime<Utc>) {
        let quota = self.quota(account, now);
        quota.told = quota.used >= quota.most;
    }

    pub(super) fn used(&mut self, now: DateTime<Utc>) -> i64 {
        self.quota(&Account::Address, now).used
    }

    pub(super) fn spend(&mut self, requests: i64, now: DateTime<Utc>) {
        let day = self.rules.day;
        let least = self.rules.quota;
        let quota = self.quota(&Account::Address, now);
        quota.most = quota.most.max(least);
        quota.count(requests, now, day);
    }

    fn quota(&mut self, account: &Account, now: DateTime<Utc>) -> &mut Quota {
        let quota = self.quotas.entry(account.clone()).or_default();
        if quota.resets.is_some_and(|resets| now >= resets) {
            *quota = Quota {
                most: quota.most,
                ..Quota::default()
            };
        }
        quota
    }

    fn method(&mut self, name: &str) -> &mut Method {
        let seed = name.bytes().fold(self.rules.seed, |seed, byte| {
            seed.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
        self.methods
            .entry(name.to_owned())
            .or_insert_with(|| Method {
                backoff_until: None,
                under_way: 0,
                random: StdRng::seed_from_u64(seed),
            })
    }

    fn note(&mut self, case: &Case<'_>, rule: Broken, what: String) {
        self.violations.push(Violation {
            at: case.at,
            method: case.method.to_owned(),
            rule,
            what,
        });
    }
}

impl Quota {
    fn count(&mut self, requests: i64, now: DateTime<Utc>, day: Duration) {
        self.used += requests;
        self.resets.get_or_insert(now + day);
    }
}
