use std::borrow::Cow;

use url::Url;

/// The URL as it may be shown: without user, password and fragment, and with `***` for the value
/// of every query parameter whose name speaks of a secret (`key`, `access_token`, `X-Amz-Signature`).
///
/// ```
/// use tidegate_http::{Url, redact};
///
/// let url = Url::parse("https://me:pw@api.example.com/tags?site=so&api_key=abc#top").unwrap();
/// assert_eq!(redact(&url), "https://***@api.example.com/tags?site=so&api_key=***");
/// ```
pub fn redact(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_fragment(None);
    // `***` stands for both, so that not even the presence of a password shows. Setting them fails
    // for URLs that can't have them, which then have none to hide.
    if !url.username().is_empty() || url.password().is_some() {
        let _ = shown.set_password(None);
        let _ = shown.set_username("***");
    }
    if let Some(query) = url.query() {
        let pairs: Vec<_> = query.split('&').map(redact_pair).collect();
        shown.set_query(Some(&pairs.join("&")));
    }
    shown.to_string()
}

/// Works on the text as it was sent, so that everything else stays as it was.
fn redact_pair(pair: &str) -> Cow<'_, str> {
    match pair.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}=***").into(),
        _ => pair.into(),
    }
}

/// Whether one of the words in a parameter's name says that its value is secret.
pub(crate) fn is_secret(name: &str) -> bool {
    const SECRET: [&str; 14] = [
        "apikey",
        "auth",
        "authorization",
        "credential",
        "jwt",
        "key",
        "passwd",
        "password",
        "pwd",
        "secret",
        "session",
        "sig",
        "signature",
        "token",
    ];
    words(name).any(|word| {
        let word = word.trim_end_matches('s').to_ascii_lowercase();
        SECRET.contains(&word.as_str()) || word.ends_with("token") || word.ends_with("secret")
    })
}

/// The words of `access_token`, `X-Amz-Signature`, `accessToken`; a percent escape parts words.
fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(|c: char| !c.is_ascii_alphanumeric())
        .flat_map(|part| {
            let bytes = part.as_bytes();
            let starts: Vec<usize> = (0..part.len())
                .filter(|&i| {
                    i == 0 || (bytes[i].is_ascii_uppercase() && bytes[i - 1].is_ascii_lowercase())
                })
                .chain([part.len()])
                .collect();
            (1..starts.len()).map(move |i| &part[starts[i - 1]..starts[i]])
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        redact(&Url::parse(url).unwrap())
    }

    #[test]
    fn secrets_in_the_query_are_hidden_and_nothing_else() {
        for (url, expected) in [
            ("http://h/?key=abc", "http://h/?key=***"),
            (
                "http://h/?page=2&access_token=a%26b",
                "http://h/?page=2&access_token=***",
            ),
            ("http://h/?accessToken=a", "http://h/?accessToken=***"),
            ("http://h/?accesstoken=a", "http://h/?accesstoken=***"),
            ("http://h/?APIKEY=a", "http://h/?APIKEY=***"),
            (
                "http://h/?X-Amz-Signature=a",
                "http://h/?X-Amz-Signature=***",
            ),
            (
                "http://h/?client%5Fsecret=a",
                "http://h/?client%5Fsecret=***",
            ),
            (
                "http://h/?keyword=a&monkey=b",
                "http://h/?keyword=a&monkey=b",
            ),
            ("http://h/?flag&q=a%20b", "http://h/?flag&q=a%20b"),
        ] {
            assert_eq!(shown(url), expected);
        }
    }

    #[test]
    fn user_password_and_fragment_are_hidden() {
        assert_eq!(shown("http://me:pw@h/p#frag"), "http://***@h/p");
        assert_eq!(shown("http://me@h/p"), "http://***@h/p");
    }
}
