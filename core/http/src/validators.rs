use reqwest::header::{ETAG, HeaderMap, LAST_MODIFIED};
use serde::{Deserialize, Serialize};

/// What tells one version of an answer from another: its `ETag` and `Last-Modified`. Kept with what
/// was read, and sent with the next request ([`Request::conditional`](crate::Request::conditional)),
/// they save both sides an answer that hasn't changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// The entity tag, with its quotes and the `W/` of a weak one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// When it was changed last, as the server wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
}

impl Validators {
    /// What the headers hold of them; `None` where they hold neither.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let found = Self {
            etag: text(ETAG),
            last_modified: text(LAST_MODIFIED),
        };
        (found.etag.is_some() || found.last_modified.is_some()).then_some(found)
    }
}
