use reqwest::header::{AUTHORIZATION, HeaderName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Result, Secret};
use url::Url;

use super::wire;

/// How requests are authenticated.
///
/// Secrets don't stand in the file: `{ env = "NAME" }` names an environment variable and
/// `{ file = "PATH" }` a file that holds them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// A token, sent as `Authorization: Bearer …`.
    Bearer {
        /// The token.
        token: Secret,
    },
    /// A user and a password, sent as `Authorization: Basic …`.
    Basic {
        /// The user. It can't hold a colon, and may be empty.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A key in a header of its own, such as `X-Api-Key`.
    Header {
        /// The header's name.
        name: String,
        /// Its value.
        value: Secret,
        /// What stands before the value, with a space between: `Token` where the API wants
        /// `Authorization: Token …`. Default: nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prefix: Option<String>,
    },
    /// A key in the URL's query, such as `api_key`. Servers and proxies on the way often log URLs:
    /// prefer a header where the API takes one.
    Query {
        /// The parameter's name.
        name: String,
        /// Its value.
        value: Secret,
    },
    /// A token that is fetched from the API's token endpoint (OAuth 2.0, the grant "client
    /// credentials"), sent as `Authorization: Bearer …`, and fetched again before it expires.
    #[serde(rename = "oauth2_client_credentials")]
    OAuth2ClientCredentials {
        /// The address of the token endpoint.
        token_url: String,
        /// The client's id.
        client_id: String,
        /// The client's secret.
        client_secret: Secret,
        /// What the token is to allow, in the words of the API. Default: what the API gives
        /// without being asked.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        scopes: Vec<String>,
        /// Whom the token is for, where the endpoint serves several APIs (Auth0, Okta). Default:
        /// not sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        audience: Option<String>,
        /// How the endpoint is told the id and the secret.
        #[serde(default)]
        auth_style: AuthStyle,
    },
}

/// How a client authenticates at the token endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthStyle {
    /// As `Authorization: Basic …`, which every endpoint must understand (RFC 6749, 2.3.1).
    #[default]
    Basic,
    /// As `client_id` and `client_secret` in the form that is posted.
    Body,
}

impl Auth {
    /// Checks what can be checked without the secrets. `allow_http` says whether they may go over
    /// plain http to another machine.
    ///
    /// Errors: `Config`, about the key `auth`.
    pub fn validate(&self, allow_http: bool) -> Result<()> {
        match self {
            Self::Bearer { .. } => Ok(()),
            Self::Basic { user, .. } if user.contains(':') => Err(of_auth(
                "`user` of `auth` holds a colon, which would end it",
            )),
            Self::Basic { .. } => Ok(()),
            Self::Header { name, prefix, .. } => {
                if name.parse::<HeaderName>().is_err() {
                    return Err(of_auth(format!("`{name}` can't be a header's name"))
                        .hint("`name` of `auth` is a name such as \"X-Api-Key\""));
                }
                if prefix.as_ref().is_some_and(|text| !wire::fits(text)) {
                    return Err(of_auth("`prefix` of `auth` can't be sent")
                        .hint("headers hold one line of visible ASCII"));
                }
                Ok(())
            }
            Self::Query { name, .. } if name.is_empty() => {
                Err(of_auth("`name` of `auth` is empty")
                    .hint("it is the parameter's name in the URL, such as \"api_key\""))
            }
            Self::Query { .. } => Ok(()),
            Self::OAuth2ClientCredentials {
                token_url,
                client_id,
                scopes,
                ..
            } => {
                let url = wire::address("token_url", token_url)?;
                wire::may_carry(&url, allow_http)?;
                if client_id.is_empty() {
                    return Err(of_auth("`client_id` of `auth` is empty"));
                }
                // Scopes are told apart by spaces (RFC 6749, 3.3).
                let bad = scopes
                    .iter()
                    .find(|scope| scope.is_empty() || scope.contains(char::is_whitespace));
                match bad {
                    Some(bad) => Err(of_auth(format!("`{bad}` is not one scope"))
                        .hint("write each scope as a text of its own: [\"read\", \"list\"]")),
                    None => Ok(()),
                }
            }
        }
    }

    /// Refuses an address to which the credentials may not go: plain http to another machine,
    /// unless `allow_http`.
    ///
    /// Errors: `Config`, about the key `auth`.
    pub fn may_go_to(&self, url: &Url, allow_http: bool) -> Result<()> {
        wire::may_carry(url, allow_http)
    }

    /// The parameter of the URL's query that they are, if they are one.
    pub fn query_param(&self) -> Option<&str> {
        match self {
            Self::Query { name, .. } => Some(name),
            _ => None,
        }
    }

    /// The header that they are sent in, if they are sent in one.
    pub fn header_name(&self) -> Option<&str> {
        match self {
            Self::Header { name, .. } => Some(name),
            Self::Query { .. } => None,
            _ => Some(AUTHORIZATION.as_str()),
        }
    }

    /// What the user should look at when the server doesn't take the credentials.
    pub(super) fn to_check(&self) -> String {
        let (key, secret) = match self {
            Self::Bearer { token } => ("token", token),
            Self::Basic { password, .. } => ("password", password),
            Self::Header { value, .. } | Self::Query { value, .. } => ("value", value),
            Self::OAuth2ClientCredentials { client_secret, .. } => ("client_secret", client_secret),
        };
        named(&format!("`{key}` of `auth`"), secret)
    }
}

/// What holds a secret, and where it is to be found.
pub(super) fn named(what: &str, secret: &Secret) -> String {
    match secret {
        Secret::Env(name) => format!("{what} (the environment variable {name})"),
        Secret::File(path) => format!("{what} (the file {})", path.display()),
    }
}

/// An error of the key `auth`.
pub(super) fn of_auth(message: impl Into<String>) -> Error {
    Error::config(message).with("key", "auth")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidegate_core::ErrorKind;

    use super::*;

    fn auth(keys: Value) -> Result<Auth, serde_json::Error> {
        serde_json::from_value(keys)
    }

    fn oauth(more: &Value) -> Value {
        let mut all = json!({ "type": "oauth2_client_credentials", "client_id": "us",
            "token_url": "https://id.example.com/token", "client_secret": { "env": "S" } });
        for (key, value) in more.as_object().unwrap() {
            all[key] = value.clone();
        }
        all
    }

    #[test]
    fn each_kind_is_written_as_documented_and_stays_so() {
        let secret = json!({ "env": "S" });
        for keys in [
            json!({ "type": "bearer", "token": secret }),
            json!({ "type": "basic", "user": "me", "password": { "file": "/run/pw" } }),
            json!({ "type": "header", "name": "X-Api-Key", "value": secret }),
            json!({ "type": "header", "name": "Authorization", "value": secret, "prefix": "Token" }),
            json!({ "type": "query", "name": "api_key", "value": secret }),
            oauth(&json!({ "auth_style": "body", "scopes": ["read"], "audience": "https://api" })),
        ] {
            let read = auth(keys.clone()).unwrap();
            read.validate(false).unwrap();
            let mut written = serde_json::to_value(&read).unwrap();
            written.sort_all_objects();
            let mut keys = keys;
            keys.sort_all_objects();
            assert_eq!(written, keys);
        }
    }

    #[test]
    fn a_secret_in_the_file_itself_is_refused_without_being_quoted() {
        let error = auth(json!({ "type": "bearer", "token": "hunter2" })).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("{ env = ") && !text.contains("hunter2"),
            "{text}"
        );
    }

    #[test]
    fn a_key_too_many_is_refused() {
        let error = auth(json!({ "type": "bearer", "token": { "env": "S" }, "user": "me" }));
        assert!(error.unwrap_err().to_string().contains("user"));
    }

    #[test]
    fn what_can_never_work_is_refused_without_a_server() {
        let secret = json!({ "env": "S" });
        for (keys, words) in [
            (
                json!({ "type": "basic", "user": "a:b", "password": secret }),
                "colon",
            ),
            (
                json!({ "type": "header", "name": "X Key", "value": secret }),
                "header's name",
            ),
            (
                json!({ "type": "header", "name": "X", "value": secret, "prefix": "a\nb" }),
                "`prefix`",
            ),
            (
                json!({ "type": "query", "name": "", "value": secret }),
                "`name`",
            ),
            (
                oauth(&json!({ "token_url": "id.example.com" })),
                "`token_url`",
            ),
            (
                oauth(&json!({ "token_url": "http://id.example.com/" })),
                "allow_http",
            ),
            (oauth(&json!({ "client_id": "" })), "`client_id`"),
            (oauth(&json!({ "scopes": ["read list"] })), "`read list`"),
        ] {
            let error = auth(keys.clone()).unwrap().validate(false).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{keys}");
            let text = format!("{error:?}");
            assert!(text.contains(words) && text.contains("key: auth"), "{text}");
        }
    }
}
