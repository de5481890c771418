use std::fmt;
use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::StatusCode;
use reqwest::header::AUTHORIZATION;
use tidegate_core::{Context, Error, ErrorKind, Result, Secret, SecretValue};

use super::config::{Auth, named};
use super::oauth2::TokenSource;
use super::wire::{empty, may_carry, one_line};
use crate::{HttpClient, Ledger, Request, Response};

/// Puts credentials on requests. Its secrets are hidden in whatever its client logs and reports.
pub struct Authorizer {
    with: With,
    /// Secrets that go along in headers and in the query, by their names.
    headers: Vec<(String, SecretValue)>,
    params: Vec<(String, SecretValue)>,
    /// Whether requests have others in their bodies, which whoever makes them puts there.
    in_bodies: bool,
    allow_http: bool,
    /// What the user should look at when the credentials aren't taken.
    to_check: String,
}

/// Where a secret stands that goes along with each request, beside what `auth` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Along<'a> {
    /// In the header of this name.
    Header(&'a str),
    /// In a parameter of the URL's query.
    Param(&'a str),
    /// In the body, at this JSON pointer. Whoever makes the request puts it there.
    Body(&'a str),
}

/// What is put on a request.
enum With {
    Nothing,
    Header(String, SecretValue),
    Query(String, SecretValue),
    Token(Box<TokenSource>),
}

impl Authorizer {
    /// Reads the secrets, and has `client` hide them from now on. A token is only fetched with the
    /// first request.
    ///
    /// `allow_http` lets credentials go over plain http to another machine. Make the requests with a
    /// client that is [`HttpClient::confined`], so that no redirection takes them elsewhere.
    ///
    /// Errors: `Config` as [`Auth::validate`]; `Auth` where a secret can't be read or can't be sent.
    pub fn new(auth: &Auth, allow_http: bool, cx: &Context, client: &HttpClient) -> Result<Self> {
        auth.validate(allow_http)?;
        let to_check = auth.to_check();
        let read = |secret: &Secret| {
            let value = one_line(secret.resolve(cx)?, &to_check)?;
            client.hide(value.expose());
            Ok::<_, Error>(value)
        };
        let bearer = |token: &SecretValue| SecretValue::from(format!("Bearer {}", token.expose()));
        let authorization = AUTHORIZATION.as_str().to_owned();
        let with = match auth {
            Auth::Bearer { token } => With::Header(authorization, bearer(&read(token)?)),
            Auth::Basic { user, password } => {
                let password = password.resolve(cx)?;
                client.hide(password.expose());
                With::Header(authorization, basic(user, &password, client))
            }
            Auth::Header {
                name,
                value,
                prefix,
            } => {
                let value = read(value)?;
                let value = match prefix {
                    Some(prefix) => SecretValue::from(format!("{prefix} {}", value.expose())),
                    None => value,
                };
                With::Header(name.clone(), value)
            }
            Auth::Query { name, value } => With::Query(name.clone(), read(value)?),
            Auth::OAuth2ClientCredentials { client_secret, .. } => {
                let secret = read(client_secret)?;
                With::Token(Box::new(TokenSource::new(auth, secret, client, &to_check)?))
            }
        };
        Ok(Self {
            with,
            headers: Vec::new(),
            params: Vec::new(),
            in_bodies: false,
            allow_http,
            to_check,
        })
    }

    /// Puts nothing on requests: for an API that is open to all.
    pub fn nobody() -> Self {
        Self {
            with: With::Nothing,
            headers: Vec::new(),
            params: Vec::new(),
            in_bodies: false,
            allow_http: true,
            to_check: String::new(),
        }
    }

    /// Lets another secret go along with each request, has `client` hide it from now on, and gives
    /// its value. It goes where the others go, and nowhere else: `allow_http` and
    /// [`HttpClient::confined`] count for it as well.
    ///
    /// Errors: `Auth` where it can't be read or can't be sent.
    pub fn along(
        &mut self,
        place: Along<'_>,
        secret: &Secret,
        allow_http: bool,
        cx: &Context,
        client: &HttpClient,
    ) -> Result<SecretValue> {
        let what = match place {
            Along::Header(name) => format!("`{name}` of `headers`"),
            Along::Param(name) => format!("`{name}` of `params`"),
            Along::Body(pointer) => format!("`{pointer}` of `body`"),
        };
        let to_check = named(&what, secret);
        let value = secret.resolve(cx).map_err(|error| error.with("at", what))?;
        let value = match place {
            Along::Body(_) if value.expose().is_empty() => return Err(empty(&to_check)),
            Along::Body(_) => value,
            Along::Header(_) | Along::Param(_) => one_line(value, &to_check)?,
        };
        client.hide(value.expose());
        match place {
            Along::Header(name) => self.headers.push((name.to_owned(), value.clone())),
            Along::Param(name) => self.params.push((name.to_owned(), value.clone())),
            Along::Body(_) => self.in_bodies = true,
        }
        self.allow_http = allow_http;
        self.to_check = match self.to_check.as_str() {
            "" => to_check,
            before => format!("{before}, {to_check}"),
        };
        Ok(value)
    }

    /// Whether it lets no secret go along with requests.
    pub fn is_nobody(&self) -> bool {
        let nothing = matches!(self.with, With::Nothing);
        nothing && self.headers.is_empty() && self.params.is_empty() && !self.in_bodies
    }

    /// Sends the request that `make` makes, with the credentials. Where they are a token that has to
    /// be fetched, it may be fetched now. One that the server no longer takes is fetched again, once,
    /// and the request made anew.
    ///
    /// Errors: `Config` where the credentials may not go to this address; what the token endpoint
    /// says; those of [`Request::send`].
    pub async fn send<'a>(&self, make: impl Fn() -> Request<'a>) -> Result<Response> {
        let request = self.authorize(make()).await?;
        let then = Instant::now();
        match (request.send().await, &self.with) {
            (Err(error), With::Token(tokens)) if error.kind() == ErrorKind::Auth => {
                tracing::debug!(%error, "another token is fetched");
                tokens.forget(then).await;
                self.authorize(make()).await?.send().await
            }
            (answer, _) => answer,
        }
    }

    async fn authorize<'a>(&self, request: Request<'a>) -> Result<Request<'a>> {
        if self.is_nobody() {
            return Ok(request);
        }
        may_carry(request.url(), self.allow_http)?;
        let headers = self.headers.iter();
        let request = headers.fold(request, |request, (name, value)| {
            request.header(name, value.expose())
        });
        let params = self.params.iter();
        let request = params.fold(request, |request, (name, value)| {
            request.query(name, value.expose())
        });
        Ok(match &self.with {
            With::Nothing => request,
            With::Header(name, value) => request.header(name, value.expose()),
            With::Query(name, value) => request.query(name, value.expose()),
            With::Token(tokens) => {
                let value = format!("Bearer {}", tokens.token().await?.expose());
                request.header(AUTHORIZATION.as_str(), &value)
            }
        })
    }

    /// The name under which a [`Ledger`] keeps the quota of these credentials with a host.
    pub fn account(&self, host: &str) -> String {
        let own = match &self.with {
            With::Nothing => None,
            With::Header(_, value) | With::Query(_, value) => Some(value.expose()),
            With::Token(tokens) => Some(tokens.client_id()),
        };
        let along = self.headers.iter().chain(&self.params);
        let along = along.map(|(_, value)| value.expose());
        Ledger::account_of(host, &own.into_iter().chain(along).collect::<Vec<_>>())
    }

    /// Whether it adds a parameter of this name to the URL's query.
    pub fn adds(&self, param: &str) -> bool {
        let along = self.params.iter().any(|(name, _)| name == param);
        along || matches!(&self.with, With::Query(name, _) if name == param)
    }

    /// What the user should do when the server doesn't accept the credentials (401), or doesn't allow
    /// what is asked (403).
    pub fn hint(&self, status: StatusCode) -> String {
        if self.is_nobody() {
            return "the API may need authentication: see `auth`".to_owned();
        }
        match status {
            StatusCode::FORBIDDEN => format!("check {}, and what it may do", self.to_check),
            _ => format!("check {}: it may be wrong or expired", self.to_check),
        }
    }
}

/// The value of `Authorization` for a user and a password (RFC 7617), which `client` hides from now
/// on.
pub(super) fn basic(user: &str, password: &SecretValue, client: &HttpClient) -> SecretValue {
    let pair = BASE64_STANDARD.encode(format!("{user}:{}", password.expose()));
    client.hide(&pair);
    SecretValue::from(format!("Basic {pair}"))
}

impl fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = match &self.with {
            With::Nothing => "nothing",
            With::Header(name, _) => name,
            With::Query(name, _) => name,
            With::Token(_) => "a fetched token",
        };
        f.debug_struct("Authorizer")
            .field("with", &with)
            .finish_non_exhaustive()
    }
}
