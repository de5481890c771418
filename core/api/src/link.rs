//! The header `Link` (RFC 8288).

/// The target of the first link of relation `next` in the values of the header.
pub(crate) fn next<'a>(headers: impl Iterator<Item = &'a str>) -> Option<String> {
    headers.flat_map(Links).find_map(|link| {
        let is_next = |rel: &str| {
            rel.split_ascii_whitespace()
                .any(|rel| rel.eq_ignore_ascii_case("next"))
        };
        // Only the first `rel` of a link counts (RFC 8288 §3.3).
        link.rel
            .as_deref()
            .is_some_and(is_next)
            .then(|| link.target.to_owned())
    })
}

/// One link of a header's value.
#[derive(Debug, PartialEq, Eq)]
struct Link<'a> {
    target: &'a str,
    rel: Option<String>,
}

/// The links of a header's value, up to where it can't be understood.
struct Links<'a>(&'a str);

impl<'a> Iterator for Links<'a> {
    type Item = Link<'a>;

    fn next(&mut self) -> Option<Link<'a>> {
        let rest = self.0.trim_start_matches([' ', '\t', ',']);
        let (target, mut rest) = rest.strip_prefix('<')?.split_once('>')?;
        let mut rel = None;
        while let Some(after) = rest.trim_start().strip_prefix(';') {
            let after = after.trim_start();
            let end = after.find(['=', ';', ',']).unwrap_or(after.len());
            let name = after[..end].trim_end();
            rest = &after[end..];
            let mut value = None;
            if let Some(after) = rest.strip_prefix('=') {
                let (read, after) = parameter(after.trim_start());
                value = Some(read);
                rest = after;
            }
            if rel.is_none() && name.eq_ignore_ascii_case("rel") {
                rel = value;
            }
        }
        self.0 = rest.trim_start();
        if !self.0.is_empty() && !self.0.starts_with(',') {
            self.0 = "";
        }
        Some(Link {
            target: target.trim(),
            rel,
        })
    }
}

/// A parameter's value, quoted or not, and what comes after it.
fn parameter(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',']).unwrap_or(text.len());
        return (text[..end].trim_end().to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_next_page_is_found_among_links() {
        for (header, expected) in [
            ("", None),
            ("nonsense", None),
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
            (r#"<a>; rel=up; rel=next, <b>; rel=next"#, Some("b")),
            (r#"<a>; rel="nextish", <b>; rev=next"#, None),
            (r#"<a>; rel="open"#, None),
            (r#"<a>; rel=up x <b>; rel=next"#, None),
        ] {
            assert_eq!(next([header].into_iter()).as_deref(), expected, "{header}");
        }
        let two = ["<a>; rel=prev", "<b>; rel=next"];
        assert_eq!(next(two.into_iter()).as_deref(), Some("b"));
    }
    proptest! {
        #[test]
        fn any_header_is_read_to_its_end(header in "[<>;,=\"\\\\ a-zA-Z\u{e9}]{0,40}") {
            let _ = next([&header[..]].into_iter());
            let links = format!("<x>; title=\"<y>, \\\"z\"; rel=prev, <a>; rel=next, {header}");
            prop_assert_eq!(next([&links[..]].into_iter()), Some("a".to_owned()));
        }
    }
}
