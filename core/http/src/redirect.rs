//! Which redirections are followed.

use reqwest::StatusCode;
use reqwest::redirect::{Attempt, Policy};
use url::Url;

/// How many are followed one after the other.
const MOST: usize = 10;

/// Those that stay with the host: what was meant for one server goes to no other.
pub(crate) fn confined() -> Policy {
    within_host(|_| true)
}

/// Of those, the ones after which the request is the same: by the others, what was posted comes as a
/// GET without a body.
pub(crate) fn faithful() -> Policy {
    within_host(|status| {
        matches!(
            status,
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
        )
    })
}

fn within_host(also: impl Fn(StatusCode) -> bool + Send + Sync + 'static) -> Policy {
    Policy::custom(move |attempt: Attempt<'_>| {
        let before = attempt.previous();
        if before.len() > MOST {
            return attempt.error("too many redirections");
        }
        let stays = before.last().is_some_and(|last| stays(last, attempt.url()));
        match stays && also(attempt.status()) {
            true => attempt.follow(),
            // The answer then is the redirection itself, which is judged by its status.
            false => attempt.stop(),
        }
    })
}

/// Whether a request that was made of `from` may be made of `to`: the same server, or the same host
/// by https instead of http.
fn stays(from: &Url, to: &Url) -> bool {
    let same_host = from.host() == to.host();
    let same_port = from.port_or_known_default() == to.port_or_known_default();
    let upgrade = (from.scheme(), to.scheme()) == ("http", "https")
        && (from.port(), to.port()) == (None, None);
    same_host && (upgrade || (same_port && from.scheme() == to.scheme()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirection_stays_or_becomes_safer() {
        let stays = |from, to| stays(&Url::parse(from).unwrap(), &Url::parse(to).unwrap());
        assert!(stays("https://h/a", "https://h:443/b?c"));
        assert!(stays("http://h/", "https://h/"));
        assert!(stays("http://h:8080/", "http://h:8080/a"));
        assert!(!stays("https://h/", "http://h/"), "less safe");
        assert!(!stays("https://h/", "https://www.h/"));
        assert!(!stays("http://h:8080/", "http://h:8081/"));
        assert!(!stays("http://h:443/", "https://h/"));
    }
}
