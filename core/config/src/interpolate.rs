//! `${VAR}` and `${VAR:-default}` in string values.

use std::collections::HashMap;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::node::{Data, Node, Reading, Text};
use crate::source::Place;
use crate::text::TextMap;
use tidegate_core::suggest;

/// The environment's variables.
pub(crate) type Variables = HashMap<String, String>;

/// Puts variables into every string value below `node`.
pub(crate) fn apply(node: &mut Node, variables: &Variables, out: &mut Diagnostics) {
    node.visit_mut(&mut |node| {
        let place = node.place.clone();
        if let Data::Text(text) = &mut node.data
            && text.reading != Reading::Broken
            && text.value.contains("${")
        {
            let mut work = Interpolation {
                place: &place,
                original: text,
                variables,
                out,
                value: String::new(),
                map: TextMap::default(),
                broken: false,
            };
            let whole = work.run();
            *text = Text {
                value: work.value,
                map: work.map,
                reading: match text.reading {
                    _ if work.broken => Reading::Broken,
                    Reading::String if whole => Reading::Open,
                    Reading::String => Reading::Interpolated,
                    other => other,
                },
            };
        }
    });
}

struct Interpolation<'a> {
    place: &'a Place,
    original: &'a Text,
    variables: &'a Variables,
    out: &'a mut Diagnostics,
    value: String,
    map: TextMap,
    broken: bool,
}

impl Interpolation<'_> {
    /// Says whether the text was one variable whole.
    fn run(&mut self) -> bool {
        let length = self.original.value.len();
        self.expand(0, length)
    }

    fn expand(&mut self, start: usize, end: usize) -> bool {
        let original = self.original;
        let mut at = start;
        let mut whole = false;
        while at < end {
            let rest = &original.value[at..end];
            let Some(dollar) = rest.find("${").map(|found| at + found) else {
                self.literal(at, end);
                break;
            };
            if dollar > at && original.value[at..dollar].ends_with('$') {
                // `$${` stands for `${`.
                self.literal(at, dollar - 1);
                self.literal(dollar, dollar + 2);
                at = dollar + 2;
                continue;
            }
            self.literal(at, dollar);
            let Some(close) = closing(&original.value[dollar + 2..end]) else {
                self.refuse(dollar, end, "`${` without its `}`", "this is never closed");
                self.literal(dollar, end);
                break;
            };
            let close = dollar + 2 + close;
            whole = dollar == start && close + 1 == end;
            self.variable(dollar, close);
            at = close + 1;
        }
        whole
    }

    fn literal(&mut self, start: usize, end: usize) {
        if start < end {
            self.map
                .copy(self.value.len(), &self.original.map, start..end);
            self.value.push_str(&self.original.value[start..end]);
        }
    }

    /// `${` stands at `dollar`, its `}` at `close`.
    fn variable(&mut self, dollar: usize, close: usize) {
        let original = self.original;
        let inside = &original.value[dollar + 2..close];
        let (name, default) = match inside.split_once(":-") {
            Some((name, _)) => (name, Some(dollar + 2 + name.len() + 2)),
            None => (inside, None),
        };
        if !is_name(name) {
            let message = format!("`${{{name}}}` doesn't name a variable");
            self.refuse(dollar, close + 1, &message, "letters, digits and `_` only");
            return;
        }
        match (self.variables.get(name), default) {
            (Some(value), None) => self.put(dollar, value),
            (Some(value), Some(_)) if !value.is_empty() => self.put(dollar, value),
            (_, Some(default)) => {
                self.expand(default, close);
            }
            (None, None) => {
                let place = self.span(dollar, close + 1);
                let known = self.variables.keys().map(String::as_str);
                let known = known.filter(|known| !known.starts_with("TIDEGATE_"));
                let hint = match suggest::nearest(name, known) {
                    Some(near) => format!("did you mean `${{{near}}}`? It is set"),
                    None => format!("set {name}, or give a default: `${{{name}:-…}}`"),
                };
                self.out.push(
                    Diagnostic::new(place, format!("the variable `{name}` is not set"))
                        .label("not set in the environment")
                        .hint(hint),
                );
                self.broken = true;
            }
        }
    }

    fn put(&mut self, dollar: usize, value: &str) {
        self.map
            .whole(self.value.len(), self.original.map.offset(dollar));
        self.value.push_str(value);
    }

    fn span(&self, start: usize, end: usize) -> Place {
        let map = &self.original.map;
        self.place.part(map.offset(start)..map.offset(end))
    }

    fn refuse(&mut self, start: usize, end: usize, message: &str, label: &str) {
        let place = self.span(start, end).first_line();
        self.out.push(
            Diagnostic::new(place, message)
                .label(label)
                .hint("write `$${` where the text `${` itself is meant"),
        );
        self.broken = true;
    }
}

/// The offset of the `}` that closes, given what follows `${`. Braces inside are counted, so that
/// a default may hold `{date}` or another variable.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceText;

    fn expand(text: &str) -> Result<(String, Reading), String> {
        let source = SourceText::file("t", text, 0);
        let mut node = Node::text(source.whole(), text, Reading::String);
        let variables = [("A", "1"), ("EMPTY", ""), ("NESTED", "${A}")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        let mut out = Diagnostics::default();
        apply(&mut node, &Variables::from(variables), &mut out);
        if !out.is_empty() {
            return Err(out.iter().map(|one| one.message().to_owned()).collect());
        }
        let text = node.as_text().unwrap();
        Ok((text.value.clone(), text.reading))
    }

    #[test]
    fn variables_defaults_and_escapes() {
        let part = |text: &str| Ok((text.to_owned(), Reading::Interpolated));
        let whole = |text: &str| Ok((text.to_owned(), Reading::Open));
        assert_eq!(expand("x${A}y"), part("x1y"));
        assert_eq!(expand("${A}"), whole("1"));
        assert_eq!(expand("${A}${A}"), part("11"));
        assert_eq!(expand("${NO:-7}"), whole("7"));
        assert_eq!(expand("${EMPTY:-7}${EMPTY}"), part("7"));
        assert_eq!(expand("${NO:-out/{date}/${A}}/x"), part("out/{date}/1/x"));
        assert_eq!(expand("$${A} and $A"), part("${A} and $A"));
        // What a variable holds is not looked into.
        assert_eq!(expand("${NESTED}"), whole("${A}"));
        assert!(expand("${A").unwrap_err().contains("without"));
        assert!(expand("${1A}").is_err());
        assert!(expand("${NO}").unwrap_err().contains("`NO` is not set"));
    }
}
