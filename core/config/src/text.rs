//! Where each byte of a string value stands in its file.

use std::ops::Range;

/// Maps offsets in a string value to offsets in the text it was written in. Escapes, line
/// continuations and interpolated variables make them differ.
#[derive(Debug, Clone, Default)]
pub(crate) struct TextMap(Vec<Piece>);

/// From `at` on, the value comes from `source` on: byte by byte, or (`!exact`) as a whole.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Piece {
    at: usize,
    source: usize,
    exact: bool,
}

impl TextMap {
    /// The map of a TOML string that stands as `raw` at the offset `base`. Falls back to the
    /// value's start where the two can't be aligned.
    pub(crate) fn of_literal(raw: &str, base: usize, value: &str) -> Self {
        let mut map = Self::default();
        let aligned = align(raw, value, |at, source| map.exact(at, base + source));
        if !aligned {
            map.0.clear();
            map.whole(0, base);
        }
        map
    }

    /// The map of a value that stands as it is at the offset `base`.
    pub(crate) fn verbatim(base: usize) -> Self {
        Self(vec![Piece {
            at: 0,
            source: base,
            exact: true,
        }])
    }

    fn exact(&mut self, at: usize, source: usize) {
        let continues = self
            .0
            .last()
            .is_some_and(|last| last.exact && last.source + (at - last.at) == source);
        if !continues {
            self.0.push(Piece {
                at,
                source,
                exact: true,
            });
        }
    }

    /// From `at` on, the value was put in for what stands at `source`.
    pub(crate) fn whole(&mut self, at: usize, source: usize) {
        self.0.push(Piece {
            at,
            source,
            exact: false,
        });
    }

    /// Continues this map at `at` with a range of another one.
    pub(crate) fn copy(&mut self, at: usize, other: &Self, range: Range<usize>) {
        self.0.push(Piece {
            at,
            source: other.offset(range.start),
            exact: other.piece(range.start).is_none_or(|piece| piece.exact),
        });
        for piece in &other.0 {
            if range.start < piece.at && piece.at < range.end {
                self.0.push(Piece {
                    at: at + (piece.at - range.start),
                    ..*piece
                });
            }
        }
    }

    fn piece(&self, at: usize) -> Option<&Piece> {
        let next = self.0.partition_point(|piece| piece.at <= at);
        self.0.get(next.checked_sub(1)?)
    }

    /// Where the byte at `at` of the value stands.
    pub(crate) fn offset(&self, at: usize) -> usize {
        match self.piece(at) {
            Some(piece) if piece.exact => piece.source + (at - piece.at),
            Some(piece) => piece.source,
            None => 0,
        }
    }
}

/// Walks a TOML string literal and its value side by side, and tells for each character of the
/// value where it stands in the literal. `false` if they don't belong together.
fn align(raw: &str, value: &str, mut found: impl FnMut(usize, usize)) -> bool {
    let (basic, quotes) = if raw.starts_with("\"\"\"") {
        (true, 3)
    } else if raw.starts_with("'''") {
        (false, 3)
    } else if raw.starts_with('"') {
        (true, 1)
    } else if raw.starts_with('\'') {
        (false, 1)
    } else {
        return false;
    };
    let Some(end) = raw.len().checked_sub(quotes).filter(|end| *end >= quotes) else {
        return false;
    };
    let mut at = quotes;
    if quotes == 3 {
        // The line break right after the opening quotes is not part of the value.
        let body = &raw[at..end];
        at += if body.starts_with("\r\n") {
            2
        } else {
            usize::from(body.starts_with('\n'))
        };
    }
    let mut done = 0;
    while at < end {
        let rest = &raw[at..end];
        let Some(c) = rest.chars().next() else {
            return false;
        };
        if basic && c == '\\' {
            let after = &rest[1..];
            let trimmed = after.trim_start_matches([' ', '\t', '\r', '\n']);
            let skipped = &after[..after.len() - trimmed.len()];
            if skipped.contains('\n') {
                at += 1 + skipped.len();
                continue;
            }
            let length = match after.chars().next() {
                Some('u') => 6,
                Some('U') => 10,
                Some('x') => 4,
                Some(_) => 2,
                None => return false,
            };
            let Some(decoded) = value[done..].chars().next() else {
                return false;
            };
            found(done, at);
            done += decoded.len_utf8();
            at += length;
        } else if value[done..].starts_with(c) {
            found(done, at);
            done += c.len_utf8();
            at += c.len_utf8();
        } else if c == '\r' {
            // The parser may have made a plain line break of CRLF.
            at += 1;
        } else {
            return false;
        }
    }
    found(done, at);
    done == value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &str) {
        let document: toml_edit::Document<String> = format!("k = {raw}").parse().unwrap();
        let value = document["k"].as_str().unwrap();
        let map = TextMap::of_literal(raw, 4, value);
        for (at, c) in value.char_indices() {
            let source = &document.raw()[map.offset(at)..];
            assert!(
                source.starts_with(c) || source.starts_with('\\'),
                "{raw}: {at} {c:?}"
            );
        }
        assert!(map.0.iter().all(|piece| piece.exact), "{raw}");
    }

    #[test]
    fn every_way_to_write_a_string_is_aligned() {
        check(r#""plain""#);
        check(r#""tab\tquote\"snow\u2603 \U0001F600 x""#);
        check("'C:\\dir'");
        check("\"\"\"\nSELECT *\nFROM \\\n    shop\n\"\"\"");
        check("'''\r\na\r\nb'''");
        check("\"\"\"ends with a quote\"\"\"\"");
        check("\"üñí → x\"");
    }
}
