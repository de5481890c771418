//! From a request to its answer.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use super::answer::{Answer, Problem, created_filter, errors, sites};
use super::filter::Filter;
use super::judge::{Account, Case, Undefined, Verdict};
use super::query::{Ask, Method, Page, Parameters, are_ids, value};
use super::server::{Shared, State, VERSION};
use super::{Failure, Request, Seen};

/// What is done to a connection.
#[derive(Debug)]
pub(super) enum Reply {
    Answer(Answer, DateTime<Utc>),
    /// Half of it, and the connection is reset.
    Cut(Answer, DateTime<Utc>),
    Dropped,
}

/// A request whose turn it is.
struct Turn<'a> {
    case: Case<'a>,
    account: Account,
    now: DateTime<Utc>,
}

impl Shared {
    /// Answers a request to a path with its query, and with the body of a form.
    pub(super) fn respond(&self, target: &str, form: &str) -> Reply {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut parameters = parse(query);
        parameters.extend(parse(form));
        let path = decode(path);
        let method = path.strip_prefix(VERSION).and_then(Method::at);
        let path = path.strip_prefix(VERSION).unwrap_or(&path).to_owned();
        let name = method.as_ref().map_or_else(|| path.clone(), Method::name);
        let question = method
            .as_ref()
            .map_or_else(|| path.clone(), |method| method.question(&parameters));

        let mut state = self.lock();
        let at = self.now_by(&state);
        let request = Request {
            number: state.begin(),
            method: path,
            query: parameters.clone(),
        };
        let case = Case {
            at,
            method: &name,
            question: &question,
            key: value(&parameters, "key"),
            token: value(&parameters, "access_token"),
        };
        let mut seen = Seen {
            request,
            at,
            status: 0,
            error_id: None,
            items: 0,
            backoff: None,
            failure: None,
        };
        let account = match state.judge.arrive(&case) {
            Verdict::Counted(account) => account,
            Verdict::Refused(problem) => {
                let answer = seen.refused(&problem, self);
                state.seen.push(seen);
                return Reply::Answer(answer, at);
            }
            Verdict::Undefined(undefined) => {
                let answer = match undefined {
                    Undefined::Dropped => None,
                    Undefined::Html => Some(Answer::html()),
                    Undefined::Plain => Some(Answer::plain()),
                };
                seen.status = answer.as_ref().map_or(0, |answer| answer.status);
                state.seen.push(seen);
                return answer.map_or(Reply::Dropped, |answer| Reply::Answer(answer, at));
            }
        };
        drop(state);

        seen.failure = self.wished(&seen.request);
        self.linger();
        let mut state = self.lock();
        let turn = Turn {
            case,
            account,
            now: self.now_by(&state),
        };
        let reply = self.answer(&mut state, &turn, method, &mut seen);
        state.judge.leave(&turn.case);
        state.seen.push(seen);
        reply
    }

    /// Does what the test wants done at a request, and says how the answer goes wrong.
    fn wished(&self, request: &Request) -> Option<Failure> {
        let mut wishes = self.wishes();
        if let Some(run) = &mut wishes.run {
            run(request);
        }
        let next = wishes.next.pop_front();
        next.or_else(|| wishes.fails.as_mut().and_then(|fails| fails(request)))
    }

    fn answer(
        &self,
        state: &mut State,
        turn: &Turn<'_>,
        method: Option<Method>,
        seen: &mut Seen,
    ) -> Reply {
        let Turn { case, account, now } = turn;
        if let Some(reply) = self.failed(turn, seen) {
            state.judge.failed(case);
            return reply;
        }
        let found = self.page(state, turn, method, &seen.request.query);
        let (mut page, filter) = match found {
            Ok(found) => found,
            Err(problem) => {
                state.judge.failed(case);
                return Reply::Answer(seen.refused(&problem, self), *now);
            }
        };
        if seen.failure == Some(Failure::Repeated)
            && let Some(last) = state.last.get(case.method)
        {
            page = last.clone();
            page.has_more = true;
        }
        if seen.failure == Some(Failure::MoreAlways) {
            page.has_more = true;
        }
        state.last.insert(case.method.to_owned(), page.clone());
        let backoff = state.judge.backoff(case, *now);
        let quota = state.judge.left(account, *now);
        if filter.has("", "quota_remaining") {
            state.judge.told(account, *now);
        }
        seen.status = 200;
        seen.items = page.count;
        seen.backoff = backoff;
        let answer = Answer::page(&page, &filter, quota, backoff, self.rules.packing);
        if seen.failure == Some(Failure::Cut) {
            Reply::Cut(answer, *now)
        } else {
            Reply::Answer(answer, *now)
        }
    }

    /// The answer without rows that a test wants.
    fn failed(&self, turn: &Turn<'_>, seen: &mut Seen) -> Option<Reply> {
        let packing = self.rules.packing;
        let answer = match seen.failure.clone()? {
            Failure::Cut | Failure::Repeated | Failure::MoreAlways => return None,
            Failure::Dropped => return Some(Reply::Dropped),
            Failure::Error(id) => seen.refused(&Problem::simulated(id), self),
            Failure::Said(id, what) => seen.refused(&Problem::new(id, &what), self),
            Failure::ErrorWith200(id) => {
                seen.error_id = Some(id);
                Answer::error_with_200(&Problem::simulated(id), packing)
            }
            Failure::Html => Answer::html(),
            Failure::NotJson => Answer::not_json(packing),
        };
        seen.status = answer.status;
        Some(Reply::Answer(answer, turn.now))
    }

    /// The rows that are asked for, or were a short while ago, and through which filter.
    fn page(
        &self,
        state: &mut State,
        turn: &Turn<'_>,
        method: Option<Method>,
        parameters: &Parameters,
    ) -> Result<(Page, Filter), Problem> {
        let filter = Filter::named(value(parameters, "filter").unwrap_or("default"))
            .ok_or_else(|| Problem::new(400, "Invalid filter specified"))?;
        let page = match state.judge.kept(&turn.case, turn.now) {
            Some(page) => page,
            None => self.find(state, turn, method, parameters, &filter)?,
        };
        state.judge.keep(&turn.case, turn.now, &page);
        Ok((page, filter))
    }

    fn find(
        &self,
        state: &mut State,
        turn: &Turn<'_>,
        method: Option<Method>,
        parameters: &Parameters,
        filter: &Filter,
    ) -> Result<Page, Problem> {
        let no_method = || Problem::new(404, "no method found with this name").early();
        let (kind, ids) = match method.ok_or_else(no_method)? {
            Method::CreateFilter => return created_filter(parameters),
            Method::Sites => return Ok(sites(state.sites.keys())),
            Method::Errors => return Ok(errors()),
            Method::Simulate(id) => {
                return Err(Problem::simulated(id.parse().unwrap_or_default()));
            }
            Method::Rows(kind) => (kind, None),
            Method::These(kind, ids) => (kind, Some(ids)),
        };
        if ids.as_ref().is_some_and(|ids| !are_ids(kind, ids)) {
            return Err(Problem::new(400, "ids"));
        }
        let site = value(parameters, "site")
            .ok_or_else(|| Problem::new(400, "site is required").early())?;
        // A token comes with a key.
        let deepest = turn
            .case
            .key
            .is_none()
            .then_some(self.rules.anonymous_pages);
        let ask = Ask::new(kind, ids.as_deref(), parameters, deepest)?;
        let rows = state.sites.get_mut(site).ok_or_else(|| {
            Problem::new(400, &format!("No site found for name `{site}`")).early()
        })?;
        let shown = rows.data.shown(turn.now);
        Ok(ask.page(site, shown, filter))
    }
}

impl Seen {
    fn refused(&mut self, problem: &Problem, shared: &Shared) -> Answer {
        self.status = 400;
        self.error_id = Some(problem.id);
        Answer::error(problem, shared.rules.packing)
    }
}

fn parse(query: &str) -> Parameters {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = value.replace('+', " ");
            (decode(name).into_owned(), decode(&value).into_owned())
        })
        .collect()
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return text.into();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = (first == b'%').then(|| after.get(..2)).flatten();
        let hex = hex.and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned().into()
}
