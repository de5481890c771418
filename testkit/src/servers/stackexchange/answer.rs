//! How answers are put: the wrapper, errors, and what the bytes are.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};

use super::Packing;
use super::filter::Filter;
use super::query::{Page, Parameters, value};

/// The documented errors: id, name, description (api.stackexchange.com/docs/error-handling).
pub(super) const ERRORS: &[(i64, &str, &str)] = &[
    (400, "bad_parameter", "An invalid parameter was passed"),
    (
        401,
        "access_token_required",
        "A method that requires an access token was called without one",
    ),
    (
        402,
        "invalid_access_token",
        "An invalid access token was passed to a method",
    ),
    (
        403,
        "access_denied",
        "A method which requires certain permissions was called without them",
    ),
    (
        404,
        "no_method",
        "An attempt was made to call a method that does not exist",
    ),
    (
        405,
        "key_required",
        "A method was called in a manner that requires an app key",
    ),
    (
        406,
        "access_token_compromised",
        "An access token is no longer believed to be secure",
    ),
    (407, "write_failed", "A write operation was rejected"),
    (
        409,
        "duplicate_request",
        "A request identified by the request_id has already been run",
    ),
    (
        500,
        "internal_error",
        "An unexpected error occurred in the API",
    ),
    (
        502,
        "throttle_violation",
        "An application has violated part of the rate limiting contract",
    ),
    (
        503,
        "temporarily_unavailable",
        "Some or all of the API is unavailable",
    ),
];

/// An error of the API's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) id: i64,
    pub(super) message: String,
    /// Found before a method was called; such answers aren't packed.
    pub(super) early: bool,
}

/// An answer before it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    /// The value of `Content-Encoding`.
    pub(super) encoding: Option<&'static str>,
    pub(super) body: Vec<u8>,
}

impl Problem {
    pub(super) fn new(id: i64, message: &str) -> Self {
        Self {
            id,
            message: message.to_owned(),
            early: false,
        }
    }

    pub(super) fn early(mut self) -> Self {
        self.early = true;
        self
    }

    /// One of the documented, with its own description; any other is a bad parameter.
    pub(super) fn simulated(id: i64) -> Self {
        match ERRORS.iter().find(|(other, ..)| *other == id) {
            Some((id, _, description)) => Self::new(*id, description),
            None => Self::new(400, "id"),
        }
    }

    fn wrapper(&self) -> Value {
        let name = ERRORS.iter().find(|(id, ..)| *id == self.id);
        json!({
            "error_id": self.id,
            "error_message": self.message,
            "error_name": name.map_or("unknown", |(_, name, _)| name),
        })
    }
}

impl Answer {
    /// HTTP 400, whatever the error.
    pub(super) fn error(problem: &Problem, packing: Packing) -> Self {
        let packing = if problem.early {
            Packing::Plain
        } else {
            packing
        };
        Self::json(400, &problem.wrapper().to_string(), packing)
    }

    /// An error with HTTP 200.
    pub(super) fn error_with_200(problem: &Problem, packing: Packing) -> Self {
        Self::json(200, &problem.wrapper().to_string(), packing)
    }

    /// A page in the wrapper: only the fields that the filter has, and of those only what there
    /// is (api.stackexchange.com/docs/wrapper).
    pub(super) fn page(
        page: &Page,
        filter: &Filter,
        (most, left): (i64, i64),
        backoff: Option<u32>,
        packing: Packing,
    ) -> Self {
        let mut rest = Map::new();
        let mut put = |field: &str, value: Value| {
            if filter.has("", field) {
                rest.insert(field.to_owned(), value);
            }
        };
        put("has_more", page.has_more.into());
        if let Some(backoff) = backoff {
            put("backoff", backoff.into());
        }
        put("quota_max", most.into());
        put("quota_remaining", left.into());
        if let Some(total) = page.total {
            put("total", total.into());
        }
        put("page", page.number.into());
        put("page_size", page.size.into());
        put("type", page.kind.into());
        let rest = Value::from(rest).to_string();
        let body = if filter.has("", "items") {
            let rest = rest.strip_prefix('{').unwrap_or_default();
            let comma = if rest == "}" { "" } else { "," };
            format!("{{\"items\":{}{comma}{rest}", page.items)
        } else {
            rest
        };
        Self::json(200, &body, packing)
    }

    pub(super) fn html() -> Self {
        let body = "<html><head><title>503 Service Unavailable</title></head>\n\
                    <body><h1>No server is available to handle this request.</h1></body></html>\n";
        Self {
            status: 503,
            kind: "text/html",
            encoding: None,
            body: body.as_bytes().to_vec(),
        }
    }

    pub(super) fn plain() -> Self {
        Self {
            status: 429,
            kind: "text/plain",
            encoding: None,
            body: b"Too Many Requests\n".to_vec(),
        }
    }

    pub(super) fn not_json(packing: Packing) -> Self {
        Self::json(200, "{\"items\": [ this is no JSON", packing)
    }

    fn json(status: u16, text: &str, packing: Packing) -> Self {
        let (body, encoding) = match packing {
            Packing::Plain => (text.as_bytes().to_vec(), None),
            Packing::Gzip => (gzip(text), Some("gzip")),
            Packing::GzipWithoutHeader => (gzip(text), None),
        };
        Self {
            status,
            kind: "application/json; charset=utf-8",
            encoding,
            body,
        }
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    // Memory doesn't fail.
    let _ = packed.write_all(text.as_bytes());
    packed.finish().unwrap_or_default()
}

/// What `/filters/create` answers (api.stackexchange.com/docs/create-filter).
pub(super) fn created_filter(parameters: &Parameters) -> Result<Page, Problem> {
    let text = |name| value(parameters, name);
    let unsafe_texts = match text("unsafe") {
        None | Some("false" | "False") => false,
        Some("true" | "True") => true,
        Some(_) => return Err(Problem::new(400, "unsafe")),
    };
    let filter = Filter::created(
        text("base"),
        text("include").unwrap_or_default(),
        text("exclude").unwrap_or_default(),
        unsafe_texts,
    )
    .map_err(|what| Problem::new(400, &what))?;
    let item = json!({
        "filter": filter.id(),
        "filter_type": if unsafe_texts { "unsafe" } else { "safe" },
        "included_fields": filter.included(),
    });
    Ok(Page::of("filter", &[item]))
}

/// What `/errors` answers.
pub(super) fn errors() -> Page {
    let items: Vec<Value> = ERRORS
        .iter()
        .map(|(id, name, description)| {
            json!({ "error_id": id, "error_name": name, "description": description })
        })
        .collect();
    Page::of("error", &items)
}

/// What `/sites` answers.
pub(super) fn sites<'a>(names: impl Iterator<Item = &'a String>) -> Page {
    let items: Vec<Value> = names
        .map(|name| {
            json!({
                "site_type": "main_site",
                "name": name,
                "api_site_parameter": name,
                "site_url": format!("https://{name}.com"),
                "audience": "people who test",
                "site_state": "normal",
            })
        })
        .collect();
    Page::of("site", &items)
}
