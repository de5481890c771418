//! Over which wires credentials may go.

use reqwest::header::HeaderValue;
use tidegate_core::{Result, SecretValue};
use url::{Host, Url};

use super::config::of_auth;
use crate::redact;

/// Refuses to send credentials where anybody on the way can read them: over plain http to another
/// machine, unless `allow_http`.
///
/// Errors: `Config`, about the key `auth`.
pub fn may_carry(url: &Url, allow_http: bool) -> Result<()> {
    if url.scheme() == "https" || allow_http || is_loopback(url) {
        return Ok(());
    }
    Err(
        of_auth("the credentials would go over plain http, where others can read them")
            .with("url", redact(url))
            .hint("write https://, or set `allow_http = true` if the network between is trusted"),
    )
}

/// Whether the server is this machine.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The address that the key `key` of `auth` holds.
pub(super) fn address(key: &str, text: &str) -> Result<Url> {
    let url = Url::parse(text).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| {
            of_auth(format!("`{key}` of `auth` is not the address of a server"))
                .hint("write it as \"https://login.example.com/oauth/token\"")
        })
}

/// Whether a text can be sent in a header.
pub(super) fn fits(text: &str) -> bool {
    HeaderValue::from_str(text).is_ok()
}

/// A secret that is to be sent in a header: not empty, on one line.
pub(super) fn one_line(secret: SecretValue, to_check: &str) -> Result<SecretValue> {
    let wrong = match secret.expose() {
        "" => return Err(empty(to_check)),
        text if !fits(text) => "a secret can't be sent: it is not one line of text",
        _ => return Ok(secret),
    };
    Err(tidegate_core::Error::auth(wrong).hint(format!("check {to_check}")))
}

/// The error of a secret that is empty.
pub(super) fn empty(to_check: &str) -> tidegate_core::Error {
    tidegate_core::Error::auth("a secret is empty").hint(format!("check {to_check}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_over_https_or_not_at_all_but_for_this_machine() {
        let may = |url: &str, allow| may_carry(&Url::parse(url).unwrap(), allow).is_ok();
        for url in [
            "https://api.example.com",
            "http://127.0.0.1:8080",
            "http://127.1.2.3",
            "http://[::1]/",
            "http://localhost:3000/x",
            "http://api.localhost./",
        ] {
            assert!(may(url, false), "{url}");
        }
        for url in [
            "http://api.example.com",
            "http://10.0.0.7",
            "http://localhost.example.com",
            "http://notlocalhost/",
            "http://[::2]/",
        ] {
            assert!(!may(url, false), "{url}");
            assert!(may(url, true), "{url}");
        }
    }

    #[test]
    fn the_refusal_shows_no_secret() {
        let url = Url::parse("http://me:hunter2@h.example.com/?key=swordfish").unwrap();
        let text = format!("{:?}", may_carry(&url, false).unwrap_err());
        assert!(
            !text.contains("hunter2") && !text.contains("swordfish"),
            "{text}"
        );
    }
}
