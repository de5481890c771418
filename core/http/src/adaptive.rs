//! A limit of requests under way that follows how the server takes them.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How many requests may be under way at once: as many as was asked for, and fewer where the server
/// can't keep up. Requests share it by [`Request::within`](crate::Request::within).
///
/// After 429, 503 or a time-out, or where answers take more than twice as long as they usually do, a
/// quarter goes, once for all requests that were under way then. (Halved, it would on average be a
/// quarter below what the server takes; where it has to fall far, it is there after a few answers.)
/// While all that is allowed is used and answers come as fast as usual, it grows by one each time that
/// so many answers have come (additive increase, multiplicative decrease). What is usual is learnt, and
/// follows a server that has become slower for good. A `Retry-After` that came with 429 or 503 holds
/// for all requests.
pub struct Adaptive {
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    most: usize,
    limit: usize,
    under_way: usize,
    /// Answers since the limit was last looked at, and how long they took.
    answers: usize,
    took: Duration,
    /// Whether the limit was reached meanwhile.
    full: bool,
    /// How long an answer usually takes.
    usual: Option<Duration>,
    /// When the limit was last lowered.
    lowered: Option<Instant>,
    /// When the server wants to be asked again.
    opens: Option<Instant>,
}

/// What a request that is over tells of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// It did what it was asked to, in this time.
    Answered(Duration),
    /// It has too much to do, and asks for so much time.
    Overloaded(Option<Duration>),
    /// Nothing.
    None,
}

/// Leave to make a request.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    of: &'a Adaptive,
    began: Instant,
}

/// Why a request can't be made now.
#[derive(Debug, PartialEq, Eq)]
enum Closed {
    /// Enough are under way.
    Full,
    /// The server asked to wait until then.
    Until(Instant),
}

impl Adaptive {
    /// Never more than `most` at once (at least one); as many from the beginning.
    pub fn new(most: usize) -> Self {
        let most = most.max(1);
        Self {
            state: Mutex::new(State {
                most,
                limit: most,
                under_way: 0,
                answers: 0,
                took: Duration::ZERO,
                full: false,
                usual: None,
                lowered: None,
                opens: None,
            }),
            changed: Notify::new(),
        }
    }

    /// How many may be under way now.
    pub fn limit(&self) -> usize {
        self.state().limit
    }

    /// Waits until another request may be made. Cancellation: nothing has happened.
    pub(crate) async fn enter(&self) -> Slot<'_> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From now on it hears of what changes.
            changed.as_mut().enable();
            let began = Instant::now();
            let entered = self.state().enter(began);
            match entered {
                Ok(()) => return Slot { of: self, began },
                Err(Closed::Full) => changed.await,
                Err(Closed::Until(time)) => tokio::time::sleep_until(time.into()).await,
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot<'_> {
    /// Ends the request.
    pub(crate) fn leave(self, signal: Signal) {
        let grown = self.of.state().hear(self.began, signal, Instant::now());
        if grown {
            self.of.changed.notify_one();
        }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.of.state().under_way -= 1;
        self.of.changed.notify_one();
    }
}

impl State {
    fn enter(&mut self, now: Instant) -> Result<(), Closed> {
        if let Some(opens) = self.opens.filter(|opens| *opens > now) {
            return Err(Closed::Until(opens));
        }
        if self.under_way >= self.limit {
            self.full = true;
            return Err(Closed::Full);
        }
        self.under_way += 1;
        self.full |= self.under_way == self.limit;
        Ok(())
    }

    /// Learns from a request that began then; says whether more may be under way now.
    fn hear(&mut self, began: Instant, signal: Signal, now: Instant) -> bool {
        match signal {
            Signal::None => false,
            Signal::Overloaded(wait) => {
                if let Some(opens) = wait.and_then(|wait| now.checked_add(wait)) {
                    self.opens = self.opens.max(Some(opens));
                }
                // What was under way when the limit was lowered says nothing of the lower one.
                if self.lowered.is_none_or(|lowered| lowered < began) {
                    self.lower(now);
                }
                false
            }
            Signal::Answered(_) if self.lowered.is_some_and(|lowered| lowered >= began) => false,
            Signal::Answered(took) => {
                self.answers += 1;
                self.took += took;
                // A few at least: one answer says little.
                let enough = self.limit.max(4);
                self.answers >= enough && self.look(now)
            }
        }
    }

    /// Looks at the answers that have come; says whether more may be under way now.
    fn look(&mut self, now: Instant) -> bool {
        /// Differences below it are chance.
        const NOTHING: Duration = Duration::from_millis(10);
        let count = u32::try_from(self.answers).unwrap_or(u32::MAX);
        let mean = self.took / count;
        let usual = self.usual.unwrap_or(mean);
        self.usual = Some(match mean.checked_sub(usual) {
            None => mean,
            Some(more) => usual + more / 16,
        });
        if mean > 2 * usual + NOTHING {
            self.lower(now);
            return false;
        }
        let grows = self.full && self.limit < self.most;
        self.limit += usize::from(grows);
        self.begin_again();
        grows
    }

    fn lower(&mut self, now: Instant) {
        self.limit = (self.limit * 3 / 4).max(1);
        self.lowered = Some(now);
        self.begin_again();
    }

    fn begin_again(&mut self) {
        self.answers = 0;
        self.took = Duration::ZERO;
        self.full = self.under_way >= self.limit;
    }
}

impl fmt::Debug for Adaptive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Adaptive")
            .field("most", &state.most)
            .field("limit", &state.limit)
            .field("under_way", &state.under_way)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(100);

    /// `rounds` times as many answers as are allowed, each after `took`, all allowed used.
    fn rounds(limit: &Adaptive, rounds: usize, took: Duration, clock: &mut Instant) {
        for _ in 0..rounds {
            *clock += Duration::from_secs(2);
            let mut state = limit.state();
            while state.enter(*clock).is_ok() {}
            let under_way = state.under_way.max(4);
            for _ in 0..under_way {
                state.hear(*clock, Signal::Answered(took), *clock + took);
            }
            state.under_way = 0;
        }
    }

    #[test]
    fn a_quarter_goes_once_for_all_that_were_under_way_and_it_grows_one_by_one() {
        let limit = Adaptive::new(16);
        let mut clock = Instant::now();
        rounds(&limit, 3, QUICK, &mut clock);
        assert_eq!(limit.limit(), 16, "never more than asked for");
        let later = clock + QUICK;
        for _ in 0..8 {
            let mut state = limit.state();
            state.hear(clock, Signal::Overloaded(None), later);
        }
        assert_eq!(limit.limit(), 12);
        clock = later;
        rounds(&limit, 3, QUICK, &mut clock);
        assert_eq!(limit.limit(), 15);
        rounds(&limit, 20, QUICK, &mut clock);
        assert_eq!(limit.limit(), 16);
    }

    #[test]
    fn slow_answers_lower_it_until_they_are_usual() {
        let limit = Adaptive::new(32);
        let mut clock = Instant::now();
        rounds(&limit, 3, QUICK, &mut clock);
        rounds(&limit, 1, 10 * QUICK, &mut clock);
        assert_eq!(limit.limit(), 24);
        rounds(&limit, 2, QUICK, &mut clock);
        assert_eq!(limit.limit(), 26);
        rounds(&limit, 200, 10 * QUICK, &mut clock);
        assert_eq!(limit.limit(), 32, "the server is like that");
    }

    #[test]
    fn it_never_closes_altogether() {
        let limit = Adaptive::new(0);
        let mut clock = Instant::now();
        for _ in 0..9 {
            clock += QUICK;
            limit
                .state()
                .hear(clock, Signal::Overloaded(None), clock + QUICK / 2);
        }
        assert_eq!(limit.limit(), 1);
    }

    #[test]
    fn a_wait_that_one_was_told_holds_for_all() {
        let limit = Adaptive::new(4);
        let now = Instant::now();
        let wait = Duration::from_secs(5);
        let mut state = limit.state();
        state.hear(now, Signal::Overloaded(Some(wait)), now);
        assert_eq!(state.enter(now), Err(Closed::Until(now + wait)));
        assert_eq!(state.enter(now + wait), Ok(()));
    }

    #[tokio::test]
    async fn who_waits_enters_when_another_leaves_or_is_dropped() {
        let limit = Adaptive::new(1);
        let first = limit.enter().await;
        let (second, ()) = tokio::join!(limit.enter(), async { drop(first) });
        let (third, ()) = tokio::join!(limit.enter(), async {
            second.leave(Signal::Answered(QUICK));
        });
        drop(third);
        assert_eq!(limit.state().under_way, 0);
    }
}
