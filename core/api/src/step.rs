//! Which page to ask for, and how.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidegate_core::{Error, Result};
use tidegate_http::{Method, Request, Response, Url};

use crate::hash::hash;
use crate::{Access, Endpoint, Pagination, Place, Pointer};

/// A page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// The first, of pages that have no numbers.
    First,
    /// By its number.
    Page(u64),
    /// By what is before it.
    Offset(u64),
    /// By what the page before told.
    Cursor(Value),
    /// By its URL, without credentials.
    Url(String),
}

impl Step {
    /// The first page.
    pub(crate) fn first(pagination: &Pagination) -> Self {
        match pagination {
            Pagination::Page { first, .. } => Self::Page(*first),
            Pagination::Offset { first, .. } => Self::Offset(*first),
            _ => Self::First,
        }
    }

    /// Tells it from the others of an endpoint.
    pub(crate) fn hash(&self) -> u64 {
        match self {
            Self::First => hash(b""),
            Self::Page(number) | Self::Offset(number) => hash(&number.to_be_bytes()),
            Self::Cursor(cursor) => hash(cursor.to_string().as_bytes()),
            Self::Url(url) => hash(url.as_bytes()),
        }
    }
}

/// What is asked for a page.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) url: Url,
    body: Option<Value>,
}

impl Asked {
    /// The page `step` of an endpoint, from the bound `since` on.
    ///
    /// Errors: `Internal` where a stored URL is none, `Config` where a parameter has no place in the
    /// body.
    pub(crate) fn new(endpoint: &Endpoint, step: &Step, since: Option<&Value>) -> Result<Self> {
        let mut asked = Self {
            url: endpoint.url.clone(),
            body: endpoint.body.clone(),
        };
        if let Step::Url(url) = step {
            asked.url = endpoint.url.join(url).map_err(|error| {
                Error::internal("the URL of a next page got lost").because(error)
            })?;
            // It is stored without them.
            if asked.url.host() == endpoint.url.host() {
                let _ = asked.url.set_username(endpoint.url.username());
                let _ = asked.url.set_password(endpoint.url.password());
            }
        } else {
            for (name, value) in &endpoint.params {
                asked.url.query_pairs_mut().append_pair(name, value);
            }
        }
        if let (Some(incremental), Some(since)) = (&endpoint.incremental, since) {
            // The URL of a next page has it already.
            let told = matches!(step, Step::Url(_)) && incremental.place == Place::Query;
            if !told {
                asked.set(incremental.place, &incremental.param, since.clone())?;
            }
        }
        match &endpoint.pagination {
            Pagination::Page {
                param,
                size_param,
                size,
                place,
                ..
            }
            | Pagination::Offset {
                param,
                size_param,
                size,
                place,
                ..
            } => {
                if let Step::Page(number) | Step::Offset(number) = step {
                    asked.set(*place, param, (*number).into())?;
                }
                if let (Some(param), Some(size)) = (size_param, size) {
                    asked.set(*place, param, size.get().into())?;
                }
            }
            Pagination::Cursor { param, place, .. } => {
                if let Step::Cursor(cursor) = step {
                    asked.set(*place, param, cursor.clone())?;
                }
            }
            Pagination::None | Pagination::Link { .. } | Pagination::NextUrl { .. } => {}
        }
        Ok(asked)
    }

    /// Sets a parameter, in the place of one that has its name.
    fn set(&mut self, place: Place, param: &str, value: Value) -> Result<()> {
        match place {
            Place::Query => {
                remove_params(&mut self.url, |name, _| name == param);
                let value = plain(&value);
                self.url.query_pairs_mut().append_pair(param, &value);
                Ok(())
            }
            Place::Body => {
                let body = self.body.get_or_insert_with(|| Map::new().into());
                set_in(body, param, value).ok_or_else(|| {
                    Error::config(format!("the parameter `{param}` has no place in `body`"))
                        .hint("where parameters stand in the body, it and what leads to them are JSON objects")
                })
            }
        }
    }

    /// The request.
    pub(crate) fn request<'a>(
        &self,
        client: &'a tidegate_http::HttpClient,
        endpoint: &Endpoint,
    ) -> Request<'a> {
        let mut request = client.request(endpoint.method.clone(), self.url.clone());
        if let Some(body) = &self.body {
            request = match endpoint.body_secrets.is_empty() {
                true => request.json(body),
                false => request.json(&self.with_secrets(body, endpoint)),
            };
        }
        // After the body: one of them may say of what type it is.
        for (name, value) in &endpoint.headers {
            request = request.header(name, value);
        }
        // Whatever its method, it only reads.
        request.idempotent(true)
    }

    /// A body with its secrets. They stand where the endpoint's own body names them, and nowhere else:
    /// what a server gave to be sent back names none.
    fn with_secrets(&self, body: &Value, endpoint: &Endpoint) -> Value {
        let mut body = body.clone();
        for (pointer, secret) in &endpoint.body_secrets {
            let named = endpoint.body.as_ref();
            let named = named.and_then(|body| body.pointer(pointer.as_str()));
            if let Some(value) = body.pointer_mut(pointer.as_str())
                && Some(&*value) == named
            {
                *value = secret.expose().into();
            }
        }
        body
    }

    /// Tells the question from others.
    pub(crate) fn hash(&self, method: &Method) -> u64 {
        let body = self.body.as_ref().map(Value::to_string);
        let parts = [
            method.as_str(),
            self.url.as_str(),
            &body.unwrap_or_default(),
        ];
        hash(parts.join("\n").as_bytes())
    }
}

/// A value as it stands in a query.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Sets a member of an object by its name or a pointer to it; `None` where something else is in the
/// way.
fn set_in(body: &mut Value, param: &str, value: Value) -> Option<()> {
    let pointer: Pointer;
    let names: Vec<Cow<'_, str>> = if param.starts_with('/') {
        pointer = param.parse().ok()?;
        pointer.names().collect()
    } else {
        vec![param.into()]
    };
    let (last, way) = names.split_last()?;
    let mut at = body;
    for name in way {
        let members = at.as_object_mut()?;
        at = members
            .entry(name.as_ref())
            .or_insert_with(|| Map::new().into());
    }
    at.as_object_mut()?.insert(last.clone().into_owned(), value);
    Some(())
}

/// Takes parameters out of the query; the others stay as they are written.
fn remove_params(url: &mut Url, these: impl Fn(&str, &str) -> bool) {
    let Some(query) = url.query() else {
        return;
    };
    let is_one = |pair: &&str| {
        let mut parsed = url::form_urlencoded::parse(pair.as_bytes());
        parsed
            .next()
            .is_some_and(|(name, value)| these(&name, &value))
    };
    if !query.split('&').any(|pair| is_one(&pair)) {
        return;
    }
    let kept: Vec<_> = query.split('&').filter(|pair| !is_one(pair)).collect();
    let kept = kept.join("&");
    url.set_query((!kept.is_empty()).then_some(&kept));
}

/// A next page's URL that an answer gave, without credentials. A server may echo it as a parameter
/// that we never sent, such as a token that was in a header, and may make something longer of it.
pub(crate) fn cleaned(mut url: Url, access: &dyn Access, answer: &Response) -> Url {
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    remove_params(&mut url, |name, value| {
        access.adds(name) || answer.holds_hidden(value) || answer.holds_hidden(name)
    });
    url
}

/// Whether a URL without such parameters may be stored: the rest of it echoes nothing either.
pub(crate) fn may_be_stored(url: &Url, endpoint: &Endpoint, answer: &Response) -> bool {
    let mut segments = url.path().split('/');
    let echoes =
        answer.holds_hidden(url.as_str()) || segments.any(|segment| answer.holds_hidden(segment));
    // What the user has written into the address is no secret.
    !echoes || answer.holds_hidden(endpoint.url.as_str())
}
