use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::AUTHORIZATION;
use tidegate_core::{Context, Error, ErrorKind, Result, SecretValue};

use super::Hide;
use super::config::Auth;
use super::oauth2::TokenSource;
use super::wire::{may_carry, one_line};
use crate::{HttpClient, Request, Response};

/// Puts credentials on requests. Its secrets are hidden in whatever its client logs and reports.
pub struct Authorizer {
    with: With,
    allow_http: bool,
    /// What the user should look at when the credentials aren't taken.
    to_check: String,
}

/// What is put on a request.
enum With {
    Nothing,
    Header(String, SecretValue),
    Query(String, SecretValue),
    Token(TokenSource),
}

impl Authorizer {
    /// Reads the secrets, and has `client` hide them from now on. A token is only fetched with the
    /// first request.
    ///
    /// `allow_http` lets credentials go over plain http to another machine.
    ///
    /// Errors: `Config` as [`Auth::validate`]; `Auth` where a secret can't be read or can't be sent.
    pub fn new(auth: &Auth, allow_http: bool, cx: &Context, client: &HttpClient) -> Result<Self> {
        auth.validate(allow_http)?;
        let to_check = auth.to_check();
        let read = |secret: &tidegate_core::Secret| {
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
                let value = basic(user, &password);
                client.hide(value.expose());
                With::Header(authorization, value)
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
                With::Token(TokenSource::new(auth, secret, client.clone(), &to_check)?)
            }
        };
        Ok(Self {
            with,
            allow_http,
            to_check,
        })
    }

    /// Puts nothing on requests: for an API that is open to all.
    pub fn nobody() -> Self {
        Self {
            with: With::Nothing,
            allow_http: true,
            to_check: String::new(),
        }
    }

    /// Whether it puts anything on requests.
    pub fn is_nobody(&self) -> bool {
        matches!(self.with, With::Nothing)
    }

    /// Sends the request that `make` makes, with the credentials. A fetched token that the server
    /// no longer takes is fetched again, once, and the request made again.
    ///
    /// Errors: as [`Request::send`], those of the kind `Auth` with a hint that names the key to
    /// check; `Config` where the credentials may not go to this address; what the token endpoint
    /// says.
    pub async fn send<'a>(&self, make: impl Fn() -> Request<'a>) -> Result<Response> {
        let (request, token) = self.authorize(make()).await?;
        let answer = request.send().await;
        let answer = match (&answer, &self.with, token) {
            (Err(error), With::Token(tokens), Some(token)) if error.kind() == ErrorKind::Auth => {
                tracing::debug!(%error, "another token is fetched");
                tokens.forget(token).await;
                self.authorize(make()).await?.0.send().await
            }
            _ => answer,
        };
        answer.map_err(|error| self.explain(error))
    }

    /// The request with the credentials, and which token they are.
    async fn authorize<'a>(&self, request: Request<'a>) -> Result<(Request<'a>, Option<u64>)> {
        may_carry(request.url(), self.allow_http)?;
        Ok(match &self.with {
            With::Nothing => (request, None),
            With::Header(name, value) => (request.header(name, value.expose()), None),
            With::Query(name, value) => (request.query(name, value.expose()), None),
            With::Token(tokens) => {
                let token = tokens.token().await?;
                let value = format!("Bearer {}", token.value.expose());
                let request = request.header(AUTHORIZATION.as_str(), &value);
                (request, Some(token.number))
            }
        })
    }

    fn explain(&self, error: Error) -> Error {
        if error.kind() != ErrorKind::Auth || error.hint_text().is_some() {
            return error;
        }
        if self.is_nobody() {
            return error.hint("the API wants to know who is asking: see `auth`");
        }
        let forbidden = error.context().contains(&("status", "403".to_owned()));
        let hint = match forbidden {
            true => format!("check {}, and what it is allowed to read", self.to_check),
            false => format!("check {}: it may be wrong, or expired", self.to_check),
        };
        error.hint(hint)
    }
}

/// The value of `Authorization` for a user and a password (RFC 7617).
pub(super) fn basic(user: &str, password: &SecretValue) -> SecretValue {
    let pair = format!("{user}:{}", password.expose());
    SecretValue::from(format!("Basic {}", BASE64_STANDARD.encode(pair)))
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
