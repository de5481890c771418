//! Tokens of the grant "client credentials" (RFC 6749, 4.4).

use std::time::{Duration, Instant};

use serde::Deserialize;
use tidegate_core::{Error, ErrorKind, Result, SecretValue};
use tokio::sync::Mutex;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::authorizer::basic;
use super::config::{Auth, AuthStyle};
use super::wire::{address, one_line};
use crate::{HttpClient, redact};

/// How long before a token expires it isn't used any more, at the most: requests take time, and
/// clocks differ.
const MARGIN: Duration = Duration::from_secs(30);

/// Fetches tokens, and keeps the last.
pub(super) struct TokenSource {
    client: HttpClient,
    url: Url,
    authorization: Option<SecretValue>,
    form: SecretValue,
    client_id: String,
    to_check: String,
    /// Held while a token is fetched, so that those who wait for it find it here.
    kept: Mutex<Option<Token>>,
}

/// A token that was fetched.
struct Token {
    value: SecretValue,
    /// When it had arrived.
    since: Instant,
    /// When to use it no more; `None` if nobody said.
    until: Option<Instant>,
}

/// What a token endpoint answers (RFC 6749, 5.1).
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    token_type: Option<String>,
    expires_in: Option<Seconds>,
}

/// Some endpoints write the number as a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(f64),
    Text(String),
}

impl TokenSource {
    /// Fetches nothing yet. `auth` is an [`Auth::OAuth2ClientCredentials`].
    pub(super) fn new(
        auth: &Auth,
        secret: SecretValue,
        client: &HttpClient,
        to_check: &str,
    ) -> Result<Self> {
        let Auth::OAuth2ClientCredentials {
            token_url,
            client_id,
            scopes,
            audience,
            auth_style,
            ..
        } = auth
        else {
            return Err(Error::internal("only OAuth 2 has a token endpoint"));
        };
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if !scopes.is_empty() {
            form.append_pair("scope", &scopes.join(" "));
        }
        if let Some(audience) = audience {
            form.append_pair("audience", audience);
        }
        let authorization = match auth_style {
            // Both are encoded before they are put together (RFC 6749, 2.3.1).
            AuthStyle::Basic => {
                let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                let secret = encoded(secret.expose()).into();
                Some(basic(&encoded(client_id), &secret, client))
            }
            AuthStyle::Body => {
                form.append_pair("client_id", client_id);
                form.append_pair("client_secret", secret.expose());
                None
            }
        };
        Ok(Self {
            client: client.confined()?,
            url: address("token_url", token_url)?,
            authorization,
            form: form.finish().into(),
            client_id: client_id.clone(),
            to_check: to_check.to_owned(),
            kept: Mutex::default(),
        })
    }

    /// The token to use now: the one that is kept, or another. Asked by many at once, it fetches
    /// one.
    pub(super) async fn token(&self) -> Result<SecretValue> {
        let mut kept = self.kept.lock().await;
        let good = kept.take_if(|token| token.until.is_none_or(|until| Instant::now() < until));
        let token = match good {
            Some(token) => token,
            None => self.fetch().await?,
        };
        Ok(kept.insert(token).value.clone())
    }

    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Uses the token that was there at `then` no more. One that has replaced it meanwhile stays.
    pub(super) async fn forget(&self, then: Instant) {
        let mut kept = self.kept.lock().await;
        kept.take_if(|token| token.since <= then);
    }

    async fn fetch(&self) -> Result<Token> {
        let mut request = self
            .client
            .request(crate::Method::POST, self.url.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(self.form.expose().to_owned())
            // A token that nobody uses does no harm.
            .idempotent(true);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization.expose());
        }
        // From before the answer: its age counts from when the server made it.
        let asked = Instant::now();
        let answer = request.send().await.map_err(|error| self.refused(error))?;
        // No error quotes this body: it may hold a token.
        let Answer {
            access_token,
            token_type,
            expires_in,
        } = serde_json::from_slice(&answer.body).map_err(|_| {
            Error::auth("the token endpoint's answer holds no token")
                .with("url", redact(&self.url))
                .with("status", answer.status.as_u16())
                .hint("check `token_url` of `auth`")
        })?;
        let value = one_line(access_token.into(), "`token_url` of `auth`")?;
        self.client.hide(value.expose());
        if let Some(other) = token_type.filter(|name| !name.eq_ignore_ascii_case("bearer")) {
            // It may echo what the endpoint was told.
            let other = answer.excerpt(other.as_bytes());
            return Err(Error::unsupported(format!(
                "the token endpoint gives tokens of the type `{other}`, not bearer tokens"
            ))
            .with("url", redact(&self.url)));
        }
        let lasts = expires_in.and_then(|told| told.duration());
        tracing::debug!(url = %redact(&self.url), ?lasts, "a token was fetched");
        Ok(Token {
            value,
            since: Instant::now(),
            until: lasts.and_then(|lasts| asked.checked_add(usable(lasts))),
        })
    }

    /// What the endpoint refuses is about authentication, whatever its status (RFC 6749, 5.2: 400).
    fn refused(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Config | ErrorKind::Auth => {
                let mut shown = Error::auth("the token endpoint gives no token");
                for (key, value) in error.context() {
                    shown = shown.with(key, value);
                }
                shown.hint(format!(
                    "check `client_id`, {}, `scopes` and `auth_style`",
                    self.to_check
                ))
            }
            ErrorKind::NotFound => error.hint("check `token_url` of `auth`"),
            _ => error,
        }
    }
}

impl Seconds {
    /// `None` for what is no length of time.
    fn duration(self) -> Option<Duration> {
        let seconds = match self {
            Self::Number(number) => number,
            Self::Text(text) => text.trim().parse().ok()?,
        };
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// How long a token that lasts so long is used.
fn usable(lasts: Duration) -> Duration {
    lasts - MARGIN.min(lasts / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_given_up_before_they_expire() {
        let seconds = Duration::from_secs;
        assert_eq!(usable(seconds(3_600)), seconds(3_570));
        assert_eq!(usable(seconds(8)), seconds(6));
        assert_eq!(usable(seconds(0)), seconds(0));
    }

    #[test]
    fn the_time_is_a_number_or_a_text() {
        let read = |json: &str| serde_json::from_str::<Seconds>(json).unwrap().duration();
        assert_eq!(read("3600"), Some(Duration::from_secs(3_600)));
        assert_eq!(read("\"3600\""), Some(Duration::from_secs(3_600)));
        assert_eq!(read("-1"), None);
        assert_eq!(read("\"soon\""), None);
        assert_eq!(read("1e300"), None);
    }
}
