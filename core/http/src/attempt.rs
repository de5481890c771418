use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use chrono::Utc;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use tidegate_core::{ByteSize, Error, ErrorKind};
use url::Url;
use uuid::Uuid;

use crate::adaptive::{Signal, Slot};
use crate::dialect::{Again, Refusal};
use crate::hidden::Hidden;
use crate::ledger::{Ask, Ending, digest};
use crate::redact::is_secret;
use crate::request::millis;
use crate::retry_after::retry_after;
use crate::unpack::{ContentEncoding, Fault};
use crate::{Ledger, Request, Response, limiter};

/// Why there is no whole answer.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) refusal: Refusal,
    /// Whether the server surely saw nothing of the request.
    pub(crate) unsent: bool,
    /// Whether it took too long.
    pub(crate) late: bool,
}

impl Request<'_> {
    /// Makes the request once, when it may be made.
    pub(crate) async fn attempt(&self) -> Result<Response, Refusal> {
        let slot = match self.within {
            None => None,
            Some(limit) => Some(limit.enter().await),
        };
        let answer = match self.ledger {
            None => {
                self.keep_pace().await;
                self.exchange(slot).await
            }
            Some((ledger, method)) => {
                let identity = self.identity();
                let ask = Ask {
                    id: Uuid::new_v4(),
                    method,
                    identity: &identity,
                    timeout: self.client.settings.request_timeout.0,
                    spare: ledger.spare(),
                };
                self.by_turn(ledger, ask, slot).await?
            }
        };
        let answer = answer.map_err(|lost| lost.refusal)?;
        if self.conditional && answer.status == StatusCode::NOT_MODIFIED {
            return Ok(answer);
        }
        self.dialect.judge(&answer).map(|()| answer)
    }

    async fn by_turn(
        &self,
        ledger: &Ledger,
        ask: Ask<'_>,
        slot: Option<Slot<'_>>,
    ) -> Result<Result<Response, Lost>, Refusal> {
        let mut ticket = ledger.begin(ask).await.map_err(Refusal::never)?;
        self.keep_pace().await;
        while ticket.is_stale() {
            ticket = ledger.renew(ticket).await.map_err(Refusal::never)?;
        }
        let answer = self.exchange(slot).await;
        let ending = match &answer {
            Ok(answer) => Ending::Answered(self.dialect.told(answer)),
            Err(lost) if lost.unsent => Ending::Unsent,
            Err(_) => Ending::Unanswered,
        };
        ledger.end(ticket, ending).await.map_err(Refusal::never)?;
        Ok(answer)
    }

    /// Waits until the rates of this process allow the request.
    async fn keep_pace(&self) {
        let host = host(&self.url);
        let all = self.client.settings.rate_limit.map(|rate| ("", rate));
        let now = Instant::now();
        let booked = all
            .iter()
            .chain(&self.paces)
            .map(|&(name, rate)| limiter::book(&host, name, rate, now))
            .max();
        let wait = booked.map_or(Duration::ZERO, |booked| booked - now);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
            self.client.metrics.waited_ms(millis(wait));
        }
    }

    /// What tells the request from others, whoever makes it: method, place, parameters in any order,
    /// body; without secrets.
    fn identity(&self) -> String {
        let hidden = &self.client.hidden;
        let mut query: Vec<_> = self
            .url
            .query_pairs()
            .filter(|(name, value)| !is_secret(name) && !hidden.is(value))
            .collect();
        query.sort_unstable();
        let place = [self.method.as_str(), &host(&self.url), self.url.path()];
        let pairs = query.iter().flat_map(|(name, value)| [name, value]);
        let texts = place.into_iter().chain(pairs.map(|text| &**text));
        digest(texts.map(str::as_bytes).chain([&*self.body]))
    }

    /// Sends it and takes the whole answer, whatever it means, and tells the limit of it.
    async fn exchange(&self, slot: Option<Slot<'_>>) -> Result<Response, Lost> {
        let begun = Instant::now();
        let answer = self.send_once().await;
        if let Some(slot) = slot {
            let longest = self.client.settings.max_retry_after.0;
            slot.leave(signal(&answer, begun.elapsed(), longest));
        }
        answer
    }

    async fn send_once(&self) -> Result<Response, Lost> {
        let begun = Instant::now();
        let client = self.client;
        client.metrics.requests(1);
        let lost = |error| transport(&client.hidden, &self.url, error);
        let mut answer = client
            .inner
            .request(self.method.clone(), self.url.clone())
            .headers(self.headers.clone())
            .body(self.body.clone())
            .send()
            .await
            .map_err(lost)?;
        let limit = client.settings.max_response;
        let too_large = || too_large(&client.hidden, &self.url, limit);
        // An error's body is only for the message: it may be cut, a good one may not.
        let good = answer.status().is_success();
        if good && answer.content_length().is_some_and(|told| told > limit.0) {
            return Err(too_large());
        }
        let mut packed = BytesMut::new();
        let mut cut = None;
        let mut bytes = 0;
        while let Some(piece) = answer.chunk().await.map_err(lost)? {
            let arrived = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            bytes += arrived;
            client.metrics.bytes(arrived);
            if packed.len() + piece.len() > limit.as_usize() {
                cut = Some(Fault::TooLarge);
                break;
            }
            packed.extend_from_slice(&piece);
        }
        let mut headers = std::mem::take(answer.headers_mut());
        let coding = ContentEncoding::of(&headers, &packed);
        let unpacked = coding != ContentEncoding::Plain;
        let (body, fault) = unpack(coding, packed.freeze(), limit.as_usize()).await;
        match cut.or(fault) {
            Some(Fault::TooLarge) if good => return Err(too_large()),
            Some(fault @ Fault::Cut) => return Err(self.damaged(fault)),
            Some(fault) if good => return Err(self.damaged(fault)),
            _ => {}
        }
        if unpacked {
            headers.remove(CONTENT_ENCODING);
            headers.remove(CONTENT_LENGTH);
        }
        let response = Response {
            status: answer.status(),
            url: answer.url().clone(),
            headers,
            body,
            fetched_at: Utc::now(),
            hidden: client.hidden.clone(),
        };
        tracing::debug!(
            method = %self.method,
            url = response.shown_url(),
            status = response.status.as_u16(),
            bytes,
            ms = begun.elapsed().as_millis(),
            "answered"
        );
        Ok(response)
    }

    /// A body that can't be unpacked.
    fn damaged(&self, fault: Fault) -> Lost {
        let (kind, message, again) = match &fault {
            Fault::Cut => (
                ErrorKind::Transient,
                "the connection to the server was lost",
                Again::Idempotent,
            ),
            _ => (
                ErrorKind::Data,
                "the server's answer can't be unpacked",
                Again::Never,
            ),
        };
        let error = Error::new(kind, message).with("url", self.client.hidden.url(&self.url));
        let error = match fault {
            Fault::Damaged(cause) => error
                .hint("a proxy or the server sends it damaged; try again later")
                .because(cause),
            Fault::Unknown(coding) => error
                .with("content_encoding", coding)
                .hint("the server packs its answers in a way that was not asked for"),
            Fault::Cut => error.because("its packed body ends too early"),
            Fault::TooLarge => error,
        };
        Lost {
            refusal: Refusal {
                error,
                again,
                wait: None,
            },
            unsent: false,
            late: false,
        }
    }
}

/// What an attempt that took so long tells of the server. No longer wait than `longest` is granted.
fn signal(answer: &Result<Response, Lost>, took: Duration, longest: Duration) -> Signal {
    match answer {
        Ok(answer) => match answer.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let wait = retry_after(&answer.headers, Utc::now());
                Signal::Overloaded(wait.filter(|wait| *wait <= longest))
            }
            // What is refused is mostly refused at once, which says nothing of the others.
            status if status.is_success() => Signal::Answered(took),
            _ => Signal::None,
        },
        Err(lost) if lost.late => Signal::Overloaded(None),
        Err(_) => Signal::None,
    }
}

/// The host and its port.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{host}:{port}")
}

/// Unpacks a body, a large one on a thread where it keeps nobody waiting.
async fn unpack(coding: ContentEncoding, body: Bytes, limit: usize) -> (Bytes, Option<Fault>) {
    const LARGE: usize = 256 << 10;
    if coding == ContentEncoding::Plain || body.len() < LARGE {
        return coding.unpack(body, limit);
    }
    match tokio::task::spawn_blocking(move || coding.unpack(body, limit)).await {
        Ok(result) => result,
        Err(error) => (Bytes::new(), Some(Fault::Damaged(error.into()))),
    }
}

/// No answer, or not all of it.
fn transport(hidden: &Hidden, url: &Url, error: reqwest::Error) -> Lost {
    let (kind, message, again) = if error.is_builder() {
        (ErrorKind::Config, "the request can't be made", Again::Never)
    } else if error.is_redirect() {
        (
            ErrorKind::Config,
            "the server redirects without end",
            Again::Never,
        )
    } else if let Some(known) = unresolved(&error) {
        match known {
            // It won't be there in a second either, unlike a name server that doesn't answer.
            true => (
                ErrorKind::NotFound,
                "the server's name can't be resolved: there is no such host",
                Again::Never,
            ),
            false => (
                ErrorKind::Transient,
                "the server's name can't be resolved",
                Again::Always,
            ),
        }
    } else if error.is_connect() {
        (
            ErrorKind::Transient,
            "the server can't be reached",
            Again::Always,
        )
    } else if error.is_timeout() {
        (
            ErrorKind::Transient,
            "the server did not answer in time",
            Again::Idempotent,
        )
    } else {
        (
            ErrorKind::Transient,
            "the connection to the server was lost",
            Again::Idempotent,
        )
    };
    let mut shown = Error::new(kind, message).with("url", hidden.url(url));
    if unresolved(&error).is_some() {
        shown = shown.hint("check how the host is written, and this machine's name servers (DNS)");
    } else if error.is_connect() {
        shown = shown.hint("check the address, and that the server is running");
    } else if error.is_timeout() {
        shown = shown.hint("`request_timeout` of `[http]` sets the time for one request");
    }
    Lost {
        unsent: error.is_connect() || error.is_builder(),
        late: error.is_timeout(),
        refusal: Refusal {
            // The library's own text would show the URL with its secrets.
            error: shown.because(error.without_url()),
            again,
            wait: None,
        },
    }
}

/// Whether the host's name was not resolved, and then whether that is known for sure: only the texts
/// of the library and the system tell.
fn unresolved(error: &reqwest::Error) -> Option<bool> {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let texts: Vec<_> = causes.map(ToString::to_string).collect();
    let of_dns = |text: &String| text.starts_with("dns error");
    let for_sure = [
        "Name or service not known",
        "nodename nor servname",
        "No address associated",
    ];
    texts.iter().any(of_dns).then(|| {
        let told = |text: &String| for_sure.iter().any(|known| text.contains(known));
        texts.iter().any(told)
    })
}

/// An answer that is larger than what is accepted.
fn too_large(hidden: &Hidden, url: &Url, limit: ByteSize) -> Lost {
    Lost {
        refusal: Refusal::never(
            Error::data(format!("the server's answer is larger than {limit}"))
                .with("url", hidden.url(url))
                .hint("ask for smaller pages, or raise `max_response` of `[http]`"),
        ),
        unsent: false,
        late: false,
    }
}
