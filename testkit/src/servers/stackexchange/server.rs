use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::io::{self, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rand::Rng as _;
use socket2::SockRef;

use super::happening::Rows;
use super::judge::Judge;
use super::query::Page;
use super::respond::Reply;
use super::{Failure, Request, Rules, Seen, Site, Violation};
use crate::servers::door::Door;
use crate::servers::http::{Head, read_body};

/// The version in paths.
pub(super) const VERSION: &str = "/2.3";

/// A fake of api.stackexchange.com on a port of 127.0.0.1, in this process, until it is dropped. It
/// keeps to the documented rules, and notes whenever a client doesn't.
///
/// ```no_run
/// use std::time::Duration;
/// use tidegate_testkit::servers::{Kind, Rules, StackExchange};
///
/// let api = StackExchange::start(Rules::default());
/// let site = api.site("stackoverflow");
/// site.questions(1_000, Duration::from_secs(86_400), 7);
/// // … read `{api.url()}/questions?site=stackoverflow&sort=activity&order=asc` …
/// site.edit(site.ids(Kind::Questions)[3]);
/// assert_eq!(site.truth(Kind::Questions).len(), 1_000);
/// assert_eq!(api.violations(), []);
/// ```
///
/// The documentation leaves things open. Here
/// - everything but what was throttled or dropped is counted, errors too;
/// - who gets undefined answers for having been too fast breaks no other rule by asking again;
/// - a request without quota is a violation only if the client was told before that none is left,
///   by `quota_remaining` or by an error;
/// - rows with the same value come in an order of which nothing can be told but that it stays;
/// - names are ordered without regard to case;
/// - parameters that nobody knows are ignored;
/// - a backoff lasts a tenth of a second longer than was said, so that who waits exactly so long is
///   early;
/// - a question asked again 20 ms too early isn't early: clients round.
#[derive(Debug)]
pub struct StackExchange {
    door: Door,
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) rules: Rules,
    started: (DateTime<Utc>, Instant),
    state: Mutex<State>,
    pub(super) wishes: Mutex<Wishes>,
}

/// Everything that changes while it runs.
pub(super) struct State {
    ahead: Duration,
    /// When the clock was stopped.
    stopped: Option<Instant>,
    begun: usize,
    pub(super) sites: BTreeMap<String, Rows>,
    pub(super) judge: Judge,
    pub(super) seen: Vec<Seen>,
    /// The rows last sent of each method.
    pub(super) last: HashMap<String, Page>,
}

/// What a test wants to happen. Not part of the state, so that it can be called without it.
#[derive(Default)]
pub(super) struct Wishes {
    pub(super) next: VecDeque<Failure>,
    pub(super) fails: Option<Fails>,
    pub(super) run: Option<Run>,
}

type Fails = Box<dyn FnMut(&Request) -> Option<Failure> + Send>;
type Run = Box<dyn FnMut(&Request) + Send>;

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

impl StackExchange {
    /// Starts one. It has no site yet.
    ///
    /// # Panics
    ///
    /// If no port is free.
    pub fn start(rules: Rules) -> Self {
        Self::try_start(rules)
            .unwrap_or_else(|error| panic!("a fake Stack Exchange can't be started: {error}"))
    }

    fn try_start(rules: Rules) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                ahead: Duration::ZERO,
                stopped: None,
                begun: 0,
                sites: BTreeMap::new(),
                judge: Judge::new(&rules),
                seen: Vec::new(),
                last: HashMap::new(),
            }),
            rules,
            started: (Utc::now(), Instant::now()),
            wishes: Mutex::default(),
        });
        let own = Arc::clone(&shared);
        let door = Door::open(move |client| own.serve(client))?;
        Ok(Self { door, shared })
    }

    /// Its base URL, with the version and without a slash at the end:
    /// `http://127.0.0.1:4711/2.3`.
    pub fn url(&self) -> String {
        format!("{}{VERSION}", self.origin())
    }

    /// Its address without the version, for a [`Proxy`](crate::servers::Proxy) before it:
    /// `http://127.0.0.1:4711`.
    pub fn origin(&self) -> String {
        self.door.url()
    }

    /// The site with this name, as the parameter `site` gives it. It is made, without rows, when
    /// asked for the first time; any other is unknown to clients.
    pub fn site(&self, name: &str) -> Site {
        let mut state = self.shared.lock();
        state.rows(name, &self.shared.rules);
        Site {
            name: name.to_owned(),
            shared: self.shared.clone(),
        }
    }

    /// The time by the server's clock, which the header `Date` and all rules go by.
    pub fn now(&self) -> DateTime<Utc> {
        self.shared.now_by(&self.shared.lock())
    }

    /// Moves the server's clock forward.
    pub fn advance(&self, by: Duration) {
        self.shared.lock().ahead += by;
    }

    /// Stops the server's clock: from now on it only goes as far as it is moved.
    pub fn stop_clock(&self) {
        self.shared.lock().stopped.get_or_insert_with(Instant::now);
    }

    /// The rules that were broken so far.
    pub fn violations(&self) -> Vec<Violation> {
        self.shared.lock().judge.violations.clone()
    }

    /// All requests so far, in the order in which they were answered.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.lock().seen.clone()
    }

    /// How many requests of this address were counted since its quota was last reset. Those that
    /// were throttled, or dropped for their rate, aren't.
    pub fn quota_used(&self) -> i64 {
        let mut state = self.shared.lock();
        let now = self.shared.now_by(&state);
        state.judge.used(now)
    }

    /// Counts requests that another program made from this address.
    pub fn spend(&self, requests: i64) {
        let mut state = self.shared.lock();
        let now = self.shared.now_by(&state);
        state.judge.spend(requests, now);
    }

    /// Makes the next answers go wrong, one after the other. More are added to those that are
    /// still to come. Requests that break a rule take none away.
    pub fn fail_next(&self, failures: impl IntoIterator<Item = Failure>) {
        self.shared.wishes().next.extend(failures);
    }

    /// From now on answers to which this says so go wrong, instead of what was said before.
    pub fn fail_when(&self, fails: impl FnMut(&Request) -> Option<Failure> + Send + 'static) {
        self.shared.wishes().fails = Some(Box::new(fails));
    }

    /// From now on this runs when a request has come, before its rows are looked up: to change
    /// data between any two pages. One request at a time; not for those that break a rule.
    pub fn on_request(&self, run: impl FnMut(&Request) + Send + 'static) {
        self.shared.wishes().run = Some(Box::new(run));
    }
}

impl Drop for StackExchange {
    fn drop(&mut self) {
        // They may hold sites, which hold the server.
        *self.shared.wishes() = Wishes::default();
    }
}

impl State {
    /// The number of a request that has come.
    pub(super) fn begin(&mut self) -> usize {
        self.begun += 1;
        self.begun - 1
    }

    pub(super) fn rows(&mut self, site: &str, rules: &Rules) -> &mut Rows {
        let late = !rules.answers_late.is_zero();
        self.sites
            .entry(site.to_owned())
            .or_insert_with(|| Rows::new(late))
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panics in one of its functions has failed anyway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now_by(&self, state: &State) -> DateTime<Utc> {
        let (at, since) = self.started;
        let passed = match state.stopped {
            Some(stopped) => stopped.saturating_duration_since(since),
            None => since.elapsed(),
        };
        at + passed + state.ahead
    }

    /// Serves one connection until its client closes it. A request that has come is worked on
    /// and counted even if its client has gone by then, as in any server.
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut from_client = BufReader::new(client.try_clone()?);
        while let Some(head) = Head::read(&mut from_client)? {
            let body = read_body(&mut from_client, head.request_length()?)?;
            let mut first = head.first.split(' ').skip(1);
            let target = first.next().unwrap_or_default();
            let form = String::from_utf8_lossy(&body);
            match self.respond(target, &form) {
                Reply::Answer(answer, date) => client.write_all(&bytes(&answer, date, None))?,
                Reply::Cut(answer, date) => {
                    let half = answer.body.len() / 2;
                    client.write_all(&bytes(&answer, date, Some(half)))?;
                    return reset(&client);
                }
                Reply::Dropped => return reset(&client),
            }
        }
        Ok(())
    }

    /// Waits as long as an answer takes.
    pub(super) fn linger(&self) {
        let (least, most) = (*self.rules.latency.start(), *self.rules.latency.end());
        if most > Duration::ZERO {
            thread::sleep(rand::rng().random_range(least..=most.max(least)));
        }
    }
}

/// An answer as it goes over the wire, with all of its body or only so many bytes.
fn bytes(answer: &super::answer::Answer, date: DateTime<Utc>, only: Option<usize>) -> Vec<u8> {
    let mut headers = vec![
        ("Content-Type".to_owned(), answer.kind.to_owned()),
        ("Content-Length".to_owned(), answer.body.len().to_string()),
        (
            "Date".to_owned(),
            date.format("%a, %d %b %Y %H:%M:%S GMT").to_string(),
        ),
        ("Cache-Control".to_owned(), "private".to_owned()),
    ];
    if let Some(encoding) = answer.encoding {
        headers.push(("Content-Encoding".to_owned(), encoding.to_owned()));
    }
    let head = Head {
        first: format!("HTTP/1.1 {} Said by a fake", answer.status),
        headers,
    };
    let mut bytes = head.bytes();
    bytes.extend(&answer.body[..only.unwrap_or(answer.body.len())]);
    bytes
}

/// Makes the connection end with RST when it is dropped, as when a machine dies.
fn reset(client: &TcpStream) -> io::Result<()> {
    SockRef::from(client).set_linger(Some(Duration::ZERO))
}
