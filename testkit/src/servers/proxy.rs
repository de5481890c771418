//! A proxy in front of a server, where things go wrong.
//!
//! ```no_run
//! use tidegate_testkit::servers::{Faults, Proxy, seaweedfs};
//!
//! let server = seaweedfs();
//! let proxy = Proxy::before(&server.url());
//! proxy.fail(Faults::some(0.1, 42));
//! let aws = server.settings_at(&proxy.url());
//! // … run something with these settings …
//! assert!(proxy.seen().iter().any(|request| request.fault.is_some()));
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::door::Door;
use super::faults::{Fault, Faults, Reply, Request};
use super::http::{Head, Length, copy_body, read_body};

/// An HTTP/1.1 proxy on a port of 127.0.0.1, for one server. Requests go through unchanged, their
/// `Host` too, so that signatures hold. It ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    door: Door,
    shared: Arc<Shared>,
}

/// A request that has come by.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The request.
    pub request: Request,
    /// What was done to it.
    pub fault: Option<Fault>,
}

/// Requests that wait at the proxy until this is dropped.
#[derive(Debug)]
pub struct Hold {
    id: u64,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    closed: bool,
    next: u64,
    faults: Option<Faults>,
    replies: Option<Replies>,
    holds: BTreeMap<u64, Held>,
    seen: Vec<Seen>,
}

type Replies = Box<dyn FnMut(&Request) -> Option<Reply> + Send>;

/// Which requests are held, and how many are.
struct Held {
    these: Box<dyn Fn(&Request) -> bool + Send>,
    waiting: usize,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("upstream", &self.upstream)
            .finish_non_exhaustive()
    }
}

impl Proxy {
    /// One before the server with this address. Nothing goes wrong yet.
    ///
    /// # Panics
    ///
    /// If the address isn't `http://` with an IP address and a port, or no port is free.
    pub fn before(url: &str) -> Self {
        let upstream = url.strip_prefix("http://").map(str::parse);
        let Some(Ok(upstream)) = upstream else {
            panic!("{url} is no address for a proxy");
        };
        Self::start(upstream).unwrap_or_else(|error| panic!("a proxy can't be started: {error}"))
    }

    /// A server that gives these answers to everything, and there is none behind it.
    pub fn that_answers(reply: impl Fn(&Request) -> Reply + Send + 'static) -> Self {
        // Nobody listens on port 0.
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let proxy = Self::start(nowhere)
            .unwrap_or_else(|error| panic!("a proxy can't be started: {error}"));
        proxy.reply(move |request| Some(reply(request)));
        proxy
    }

    fn start(upstream: SocketAddr) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            upstream,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let own = Arc::clone(&shared);
        let door = Door::open(move |client| own.serve(client))?;
        Ok(Self { door, shared })
    }

    /// Its address, without a slash at the end.
    pub fn url(&self) -> String {
        self.door.url()
    }

    /// From now on requests go wrong like this, instead of how they did before.
    pub fn fail(&self, faults: Faults) {
        self.shared.lock().faults = Some(faults);
    }

    /// From now on the server is asked only for requests to which this gives no reply.
    pub fn reply(&self, reply: impl FnMut(&Request) -> Option<Reply> + Send + 'static) {
        self.shared.lock().replies = Some(Box::new(reply));
    }

    /// From now on nothing goes wrong, and nothing is answered but by the server.
    pub fn calm(&self) {
        let mut state = self.shared.lock();
        state.faults = None;
        state.replies = None;
    }

    /// Holds requests before they reach the server, until the hold is dropped. Those whose client
    /// has gone by then never reach it.
    pub fn hold(&self, these: impl Fn(&Request) -> bool + Send + 'static) -> Hold {
        let mut state = self.shared.lock();
        let id = state.number();
        let these = Box::new(these);
        state.holds.insert(id, Held { these, waiting: 0 });
        Hold {
            id,
            shared: self.shared.clone(),
        }
    }

    /// All requests that have come so far, in their order.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.lock().seen.clone()
    }

    /// How many requests had a fault that makes a client try again.
    pub fn failures(&self) -> usize {
        let state = self.shared.lock();
        let faults = state.seen.iter().filter_map(|seen| seen.fault);
        faults.filter(Fault::fails).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Those that are held or late wake up; the door ends their connections.
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

impl Hold {
    /// How many requests wait now.
    pub fn waiting(&self) -> usize {
        let state = self.shared.lock();
        state.holds.get(&self.id).map_or(0, |held| held.waiting)
    }

    /// Waits until so many requests wait, or the time is over; says which.
    pub fn wait_for(&self, requests: usize, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut state = self.shared.lock();
        loop {
            let waiting = state.holds.get(&self.id).map_or(0, |held| held.waiting);
            let left = deadline.saturating_duration_since(Instant::now());
            if waiting >= requests || left.is_zero() {
                return waiting >= requests;
            }
            let woken = self.shared.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Lets them go on. The same as dropping it.
    pub fn release(self) {}
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shared.lock().holds.remove(&self.id);
        self.shared.changed.notify_all();
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panics in one of its predicates has failed anyway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves one connection until its client closes it, or a fault does.
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut from_client = BufReader::new(client.try_clone()?);
        while let Some(head) = Head::read(&mut from_client)? {
            if head
                .header("expect")
                .is_some_and(|expected| expected.eq_ignore_ascii_case("100-continue"))
            {
                client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            let body = read_body(&mut from_client, head.request_length()?)?;
            let request = Request::new(head, body.len());
            let (reply, fault) = self.decide(&request);
            if !self.held(&request, &client) {
                return Ok(());
            }
            if let Some(reply) = reply {
                client.write_all(&reply.bytes(&request.method))?;
                continue;
            }
            if !self.pass(&mut client, &request, &body, fault)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn decide(&self, request: &Request) -> (Option<Reply>, Option<Fault>) {
        let mut state = self.lock();
        let reply = state.replies.as_mut().and_then(|reply| reply(request));
        let fault = match &reply {
            Some(_) => None,
            None => state
                .faults
                .as_mut()
                .and_then(|faults| faults.next(request)),
        };
        state.seen.push(Seen {
            request: request.clone(),
            fault,
        });
        (reply, fault)
    }

    /// Waits while the request is held; says whether its client is still there.
    fn held(&self, request: &Request, client: &TcpStream) -> bool {
        let mut state = self.lock();
        let found = state
            .holds
            .iter_mut()
            .find(|(_, held)| (held.these)(request));
        let Some((&id, held)) = found else {
            return true;
        };
        held.waiting += 1;
        self.changed.notify_all();
        while !state.closed && state.holds.contains_key(&id) {
            let woken = self.changed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
        !state.closed && is_there(client)
    }

    /// Passes a request on, with what goes wrong; says whether the connection lives on.
    fn pass(
        &self,
        client: &mut TcpStream,
        request: &Request,
        body: &[u8],
        fault: Option<Fault>,
    ) -> io::Result<bool> {
        match fault {
            Some(Fault::InternalError) => {
                let text = "We encountered an internal error. Please try again.";
                let reply = Reply::s3_error(500, "InternalError", text);
                client.write_all(&reply.bytes(&request.method))?;
                return Ok(true);
            }
            Some(Fault::SlowDown) => {
                let reply = Reply::s3_error(503, "SlowDown", "Please reduce your request rate.");
                client.write_all(&reply.bytes(&request.method))?;
                return Ok(true);
            }
            Some(Fault::ResetBefore) => {
                reset(client)?;
                return Ok(false);
            }
            Some(Fault::Late(time)) => {
                let deadline = Instant::now() + time;
                let mut state = self.lock();
                loop {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() || state.closed {
                        break;
                    }
                    let woken = self.changed.wait_timeout(state, left);
                    state = woken.unwrap_or_else(PoisonError::into_inner).0;
                }
                if state.closed || !is_there(client) {
                    return Ok(false);
                }
            }
            Some(Fault::ResetAfter | Fault::Cut) | None => {}
        }
        let Ok((answer, mut from_server)) = self.ask(request, body) else {
            reset(client)?;
            return Ok(false);
        };
        let length = answer.answer_length(&request.method)?;
        if matches!(fault, Some(Fault::ResetAfter | Fault::Cut)) {
            let whole = read_body(&mut from_server, length)?;
            let known = matches!(length, Length::Known(_));
            if fault == Some(Fault::Cut) && known && whole.len() > 1 {
                client.write_all(&answer.bytes())?;
                client.write_all(&whole[..whole.len() / 2])?;
            }
            reset(client)?;
            return Ok(false);
        }
        client.write_all(&answer.bytes())?;
        copy_body(&mut from_server, client, length)?;
        let closes = answer
            .header("connection")
            .is_some_and(|kept| kept.eq_ignore_ascii_case("close"));
        Ok(!closes && length != Length::ToTheEnd)
    }

    /// Asks the server, on a connection of the request's own: one that was kept may be closed
    /// just then, and the client would see a fault that nobody asked for.
    fn ask(&self, request: &Request, body: &[u8]) -> io::Result<(Head, BufReader<TcpStream>)> {
        let mut head = request.head().clone();
        if head.header("transfer-encoding").is_some() {
            head.remove("transfer-encoding");
            let length = body.len().to_string();
            head.headers.push(("Content-Length".into(), length));
        }
        let mut server = TcpStream::connect(self.upstream)?;
        server.set_nodelay(true)?;
        server.write_all(&head.bytes())?;
        server.write_all(body)?;
        let mut server = BufReader::new(server);
        loop {
            let answer = Head::read(&mut server)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            // 100 Continue was said to the client already.
            if answer.status()? >= 200 {
                return Ok((answer, server));
            }
        }
    }
}

/// Whether the other side hasn't closed.
fn is_there(client: &TcpStream) -> bool {
    if client.set_nonblocking(true).is_err() {
        return false;
    }
    let there = match client.peek(&mut [0]) {
        Ok(bytes) => bytes > 0,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    };
    client.set_nonblocking(false).is_ok() && there
}

/// Makes the connection end with RST when it is dropped, as when a machine dies.
fn reset(client: &TcpStream) -> io::Result<()> {
    SockRef::from(client).set_linger(Some(Duration::ZERO))
}
