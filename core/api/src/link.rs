//! The header `Link` (RFC 8288).

use std::borrow::Cow;

/// The target of the first link of relation `next` in the values of the header.
///
/// Errors: the value that can't be understood, where no such link comes before it. To take it for
/// none could be to lose pages.
pub(crate) fn next<'a>(
    headers: impl Iterator<Item = Cow<'a, str>>,
) -> Result<Option<String>, String> {
    for header in headers {
        let mut rest = header.trim_matches([' ', '\t', ',']);
        while !rest.is_empty() {
            let (link, after) = link(rest).ok_or_else(|| header.clone().into_owned())?;
            // Only the first `rel` of a link counts (RFC 8288 §3.3).
            let mut relations = link.rel.iter().flat_map(|rel| rel.split_ascii_whitespace());
            if relations.any(|rel| rel.eq_ignore_ascii_case("next")) {
                return Ok(Some(link.target.to_owned()));
            }
            rest = after;
        }
    }
    Ok(None)
}

/// One link of a header's value.
#[derive(Debug, PartialEq, Eq)]
struct Link<'a> {
    target: &'a str,
    rel: Option<String>,
}

/// The link that a header's value begins with, and what comes after it.
fn link(text: &str) -> Option<(Link<'_>, &str)> {
    let (target, mut rest) = text.strip_prefix('<')?.split_once('>')?;
    let mut rel = None;
    while let Some(after) = rest.trim_start().strip_prefix(';') {
        let after = after.trim_start();
        let end = after.find(['=', ';', ',']).unwrap_or(after.len());
        let name = after[..end].trim_end();
        rest = &after[end..];
        let mut value = None;
        if let Some(after) = rest.strip_prefix('=') {
            let (read, after) = parameter(after.trim_start())?;
            value = Some(read);
            rest = after;
        }
        if rel.is_none() && name.eq_ignore_ascii_case("rel") {
            rel = value;
        }
    }
    let target = target.trim();
    let rest = rest.trim_start();
    let next = rest.trim_start_matches([' ', '\t', ',']);
    (rest.is_empty() || rest.starts_with(',')).then_some((Link { target, rel }, next))
}

/// A parameter's value, quoted or not, and what comes after it; `None` where a quote has no end.
fn parameter(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',']).unwrap_or(text.len());
        return Some((text[..end].trim_end().to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(header: &str) -> Result<Option<String>, String> {
        next([header.into()].into_iter())
    }

    #[test]
    fn the_next_page_is_found_among_links() {
        for (header, expected) in [
            ("", None),
            (" , ", None),
            ("<a>", None),
            ("<a>; rel=prev", None),
            ("<a>; rel=next", Some("a")),
            ("<a>;rel=\"next\"", Some("a")),
            (
                r#"<a>; rel="prev", <b?x=1,2;3>; rel="next""#,
                Some("b?x=1,2;3"),
            ),
            (
                r#"<a>; title="; rel=next, <z>"; rel="last next"; x, <b>; REL=NEXT"#,
                Some("a"),
            ),
            (
                r#"<a>; title="\"<z>; rel=next"; rel=up ,, < b > ; rel = "Next" "#,
                Some("b"),
            ),
            ("<a>; rel=up; rel=next, <b>; rel=next", Some("b")),
            (r#"<a>; rel="nextish", <b>; rev=next"#, None),
            ("<ä>; title=ö; rel=next, nonsense", Some("ä")),
        ] {
            assert_eq!(found(header).unwrap().as_deref(), expected, "{header}");
        }
        let two = ["<a>; rel=prev".into(), "<b>; rel=next".into()];
        assert_eq!(next(two.into_iter()).unwrap().as_deref(), Some("b"));
    }

    #[test]
    fn what_can_not_be_understood_is_not_taken_for_none() {
        for header in [
            "nonsense",
            "http://example.com/2; rel=next",
            "<a; rel=next",
            r#"<a>; rel="open"#,
            "<a>; rel=up, x <b>; rel=next",
            r#"<a>; rel="up" x, <b>; rel=next"#,
        ] {
            assert_eq!(found(header).unwrap_err(), header);
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read_to_its_end(header in "[<>;,=\"\\\\ a-zA-Z\u{e9}]{0,40}") {
            let _ = found(&header);
            let links = format!("<x>; title=\"<y>, \\\"z\"; rel=prev, <a>; rel=next, {header}");
            prop_assert_eq!(found(&links), Ok(Some("a".to_owned())));
        }
    }
}
