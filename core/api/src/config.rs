//! What the configurations of API connectors check alike.

use tidegate_core::{Error, Result};
use tidegate_http::Url;

/// The address of a server, as the key `base_url` gives it.
///
/// Errors: `Config` where it is none.
pub fn base_url(text: &str) -> Result<Url> {
    let url = Url::parse(text).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or_else(|| {
            Error::config("`base_url` is not the address of a server")
                .hint("write it as \"https://api.example.com\"")
        })
}

/// The address of what is called `path` under another address, whose parameters it keeps.
///
/// ```
/// let base = tidegate_api::base_url("https://example.com/v1/?site=so")?;
/// assert_eq!(tidegate_api::under(&base, "a b/c").as_str(), "https://example.com/v1/a%20b/c?site=so");
/// # Ok::<(), tidegate_core::Error>(())
/// ```
pub fn under(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    // An address of a server has segments.
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path.split('/'));
    }
    url
}

/// Checks the names that the key `streams` lists.
///
/// Errors: `Config` where there are none, or one is there twice.
pub fn distinct_streams<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let mut seen = Vec::new();
    for name in names {
        if seen.contains(&name) {
            return Err(Error::config(format!("`streams` names `{name}` twice")));
        }
        seen.push(name);
    }
    match seen.is_empty() {
        true => {
            Err(Error::config("`streams` is empty").hint("leave the key out to read all streams"))
        }
        false => Ok(()),
    }
}
