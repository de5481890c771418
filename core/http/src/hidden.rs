//! Texts that are never to be shown, in whatever way they are written.
//!
//! A secret comes back in what we and our libraries make of it, and in what a server echoes: as it is,
//! percent-encoded once or more often, with JSON's escapes in one string or in a string within a string,
//! in base64 (alone, or as a part of something longer: `user:password`) and in hexadecimal digits. All
//! of these are looked for at every place of a text, in any mixture, and everything that any of them
//! covers is replaced.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use url::Url;

use crate::redact::redact;

/// How many characters of a secret's beginning are hidden where the text is cut off behind them.
const PARTIAL: usize = 4;

/// The least characters of base64 and hexadecimal digits that are looked for: fewer are in any text.
const LEAST_ENCODED: usize = 4;

/// The least bytes of a secret that is looked for within a text that is to be stored. A shorter one is
/// in many a text by chance, and is only found where it is the whole text.
const LEAST_ECHOED: usize = 8;

/// The most backslashes that one escape is written with: JSON in JSON in JSON.
const MOST_BACKSLASHES: usize = 8;

/// Texts that are never to be shown.
#[derive(Clone, Default)]
pub(crate) struct Hidden(Arc<RwLock<Vec<Secret>>>);

struct Secret {
    text: String,
    /// Whether it surely is one, not only by its name.
    sure: bool,
    needles: Vec<Needle>,
}

/// One of the texts that a secret is written as, but for escapes.
struct Needle {
    text: String,
    form: Form,
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Plain,
    /// A character on each side may hold bits of the secret too.
    Base64,
    /// In lower case; in the text, in either.
    Hex,
}

impl Hidden {
    /// From now on this text is `***`.
    pub(crate) fn add(&self, secret: &str) {
        self.note(secret, true);
    }

    /// The same for what only seems to be a secret: it may be stored.
    pub(crate) fn mask(&self, text: &str) {
        self.note(text, false);
    }

    fn note(&self, secret: &str, sure: bool) {
        let mut secrets = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match secrets.iter_mut().find(|known| known.text == secret) {
            Some(known) => known.sure |= sure,
            None if secret.is_empty() => {}
            None => secrets.push(Secret::new(secret, sure)),
        }
    }

    /// The text as it may be shown.
    pub(crate) fn text<'a>(&self, text: impl Into<Cow<'a, str>>) -> Cow<'a, str> {
        let text = text.into();
        let secrets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let needles = secrets.iter().flat_map(|secret| &secret.needles);
        let spans = needles.flat_map(|needle| needle.spans(&text, true));
        let mut spans: Vec<_> = spans.collect();
        if spans.is_empty() {
            return text;
        }
        spans.sort_by_key(|span| span.start);
        let mut shown = String::with_capacity(text.len());
        let mut done = 0;
        for span in spans {
            if span.start >= done {
                shown.push_str(&text[done..span.start]);
                shown.push_str("***");
            }
            // What overlaps is hidden together.
            done = done.max(span.end);
        }
        shown.push_str(&text[done..]);
        shown.into()
    }

    /// Whether the whole text is one that is hidden.
    pub(crate) fn is(&self, text: &str) -> bool {
        let secrets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut sure = secrets.iter().filter(|secret| secret.sure);
        sure.any(|secret| secret.text == text)
    }

    /// Whether the text is one that is hidden, or has one within it, in whatever way it is written.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        let secrets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut sure = secrets.iter().filter(|secret| secret.sure);
        sure.any(|secret| secret.text == text || secret.is_within(text))
    }

    /// The URL as it may be shown.
    pub(crate) fn url(&self, url: &Url) -> String {
        self.text(redact(url)).into_owned()
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

impl Secret {
    fn new(text: &str, sure: bool) -> Self {
        let needle = |text, form| Needle { text, form };
        let mut needles = vec![needle(text.to_owned(), Form::Plain)];
        // What base64 makes of bytes depends on where they stand in a group of three. Of what it makes
        // of them here, the characters count that hold nothing of the bytes before and after.
        for before in 0..3 {
            let bytes = [&[0; 2][..before], text.as_bytes()].concat();
            let whole = STANDARD_NO_PAD.encode(&bytes);
            let core = &whole[(before * 8).div_ceil(6)..bytes.len() * 8 / 6];
            if core.len() >= LEAST_ENCODED {
                needles.push(needle(core.to_owned(), Form::Base64));
                let url_safe = core.replace('+', "-").replace('/', "_");
                if url_safe != core {
                    needles.push(needle(url_safe, Form::Base64));
                }
            }
        }
        let digits = hex::encode(text);
        if digits.len() >= LEAST_ENCODED {
            needles.push(needle(digits, Form::Hex));
        }
        Self {
            text: text.to_owned(),
            sure,
            needles,
        }
    }

    fn is_within(&self, text: &str) -> bool {
        let mut needles = self.needles.iter();
        self.text.len() >= LEAST_ECHOED
            && needles.any(|needle| needle.spans(text, false).next().is_some())
    }
}

impl Needle {
    /// Where the text has it, from each place where it begins as far as it can go. `cut`: also where
    /// the text ends in the middle of it.
    fn spans<'a>(&'a self, text: &'a str, cut: bool) -> impl Iterator<Item = Range<usize>> + 'a {
        let starts = text.char_indices().map(|(start, _)| start);
        starts.filter_map(move |start| self.span(text, start, cut))
    }

    fn span(&self, text: &str, start: usize, cut: bool) -> Option<Range<usize>> {
        let (first, wanted) = (text.as_bytes()[start], self.text.as_bytes()[0]);
        // So it is nearly everywhere.
        if !first.eq_ignore_ascii_case(&wanted) && !b"%+\\".contains(&first) {
            return None;
        }
        // By how much of the needle was found, the places in the text behind it. There are several
        // where a text can be read in several ways: `%25` is `%`, and begins what is `%` as well.
        let mut behind: Vec<Vec<usize>> = vec![Vec::new(); self.text.len() + 1];
        behind[0].push(start);
        for found in 0..self.text.len() {
            for place in std::mem::take(&mut behind[found]) {
                if cut && self.is_cut_off(text, place, found) {
                    return Some(start..text.len());
                }
                self.go_on(text, place, found, &mut behind);
            }
        }
        let end = behind.pop()?.into_iter().max()?;
        Some(match self.form {
            Form::Base64 => around(text, start..end),
            Form::Plain | Form::Hex => start..end,
        })
    }

    /// Whether the text ends in the middle of the secret: somebody has cut it off there.
    fn is_cut_off(&self, text: &str, place: usize, found: usize) -> bool {
        let rest = &text[place..];
        self.form == Form::Plain
            && matches!(rest, "" | "…" | "...")
            && self.text[..found].chars().count() >= PARTIAL
    }

    /// Adds the places behind the needle's next character, in each way that it may be written.
    fn go_on(&self, text: &str, place: usize, found: usize, behind: &mut [Vec<usize>]) {
        let wanted = &self.text.as_bytes()[found..];
        let mut add = |length: usize, place: usize| {
            let places = &mut behind[found + length];
            if text.is_char_boundary(place) && !places.contains(&place) {
                places.push(place);
            }
        };
        let is_wanted = |byte: u8| match self.form {
            Form::Hex => byte.to_ascii_lowercase() == wanted[0],
            Form::Plain | Form::Base64 => byte == wanted[0],
        };
        // A character of several bytes is percent-encoded byte by byte, so within one the text needs
        // no boundary; as it stands, it is taken as a whole.
        let Some(character) = self.text.get(found..).and_then(|rest| rest.chars().next()) else {
            return;
        };
        let length = character.len_utf8();
        let mut places = vec![place];
        for (number, byte) in wanted[..length].iter().enumerate() {
            let next = places.into_iter().flat_map(|place| bytes_at(text, place));
            let right = next.filter(|(other, _)| match number {
                0 => is_wanted(*other),
                _ => other == byte,
            });
            places = right.map(|(_, place)| place).collect();
        }
        for place in places {
            add(length, place);
        }
        for (other, place) in escapes_at(text, place) {
            if other == character {
                add(length, place);
            }
        }
    }
}

/// The bytes that the text may mean at a place, and the places behind them: the byte itself, or what it
/// is percent-encoded as, however often.
fn bytes_at(text: &str, place: usize) -> Vec<(u8, usize)> {
    let bytes = text.as_bytes();
    let Some(byte) = bytes.get(place) else {
        return Vec::new();
    };
    let mut found = vec![(*byte, place + 1)];
    match byte {
        b'+' => found.push((b' ', place + 1)),
        b'%' => {
            let mut place = place + 1;
            while let Some(value) = bytes.get(place..place + 2).and_then(hex_of) {
                place += 2;
                found.push((value, place));
                if value == b'+' {
                    found.push((b' ', place));
                }
                if value != b'%' {
                    break;
                }
            }
        }
        _ => {}
    }
    found
}

fn hex_of(digits: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok()?;
    // It would take a sign.
    let are_digits = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    are_digits.then(|| u8::from_str_radix(digits, 16).ok())?
}

/// The characters that the text may mean by an escape of JSON at a place, and the places behind them.
fn escapes_at(text: &str, place: usize) -> Vec<(char, usize)> {
    let mut found = Vec::new();
    for place in backslashes_at(text, place) {
        for (byte, place) in bytes_at(text, place) {
            let short = match byte {
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                other => char::from(other),
            };
            if byte.is_ascii() {
                found.push((short, place));
            }
            if byte == b'u'
                && let Some((unit, place)) = unit_at(text, place)
            {
                let seconds = match unit {
                    0xD800..0xDC00 => backslashes_at(text, place),
                    _ => Vec::new(),
                };
                let seconds = seconds.into_iter().filter_map(|place| {
                    let (_, place) = bytes_at(text, place)
                        .into_iter()
                        .find(|(byte, _)| *byte == b'u')?;
                    unit_at(text, place)
                });
                let pairs = seconds.map(|(second, place)| (vec![unit, second], place));
                for (units, place) in pairs.chain([(vec![unit], place)]) {
                    if let Some(Ok(character)) = char::decode_utf16(units).next() {
                        found.push((character, place));
                    }
                }
            }
        }
    }
    found
}

/// The places behind one backslash, two, and so on.
fn backslashes_at(text: &str, place: usize) -> Vec<usize> {
    let mut behind = Vec::new();
    let mut places = vec![place];
    for _ in 0..MOST_BACKSLASHES {
        let next = places.into_iter().flat_map(|place| bytes_at(text, place));
        let next = next.filter(|(byte, _)| *byte == b'\\');
        places = next.map(|(_, place)| place).collect();
        behind.extend(&places);
    }
    behind
}

/// Four hexadecimal digits, and the place behind them.
fn unit_at(text: &str, place: usize) -> Option<(u16, usize)> {
    let digits = text.as_bytes().get(place..place + 4)?;
    let unit = u16::from_be_bytes([hex_of(&digits[..2])?, hex_of(&digits[2..])?]);
    Some((unit, place + 4))
}

/// With the character on each side that may hold bits of what is between, and the padding.
fn around(text: &str, span: Range<usize>) -> Range<usize> {
    let bytes = text.as_bytes();
    let is_base64 = |at: usize| {
        let byte = bytes.get(at);
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte))
    };
    let Range { mut start, mut end } = span;
    if start > 0 && is_base64(start - 1) {
        start -= 1;
    }
    if is_base64(end) {
        end += 1;
    }
    while bytes.get(end) == Some(&b'=') {
        end += 1;
    }
    start..end
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    fn hidden(secrets: &[&str]) -> Hidden {
        let hidden = Hidden::default();
        for secret in secrets {
            hidden.add(secret);
        }
        hidden
    }

    #[test]
    fn an_echo_is_found_within_a_text_and_chance_is_not() {
        let hidden = hidden(&["sword&fish 1", "me"]);
        for echo in [
            "sword&fish 1",
            "next/sword%26fish%201/2",
            "a-c3dvcmQmZmlzaCAx-b",
            "73776F726426666973682031",
            "me",
        ] {
            assert!(hidden.is_in(echo), "{echo}");
        }
        // What ends like a beginning, and what is too short to be looked for.
        for text in ["sword", "a sword&fish", "name", "time", ""] {
            assert!(!hidden.is_in(text), "{text}");
        }
        hidden.mask("descending");
        assert_eq!(hidden.text("sort=descending"), "sort=***");
        assert!(!hidden.is_in("descending") && !hidden.is("descending"));
        hidden.add("descending");
        assert!(hidden.is_in("descending"));
    }

    #[test]
    fn a_hidden_text_is_found_however_it_is_written() {
        let hidden = hidden(&["a b\"/ü𝄞\n", "a b", ""]);
        for text in [
            "a b\"/ü𝄞\n",
            "a+b%22%2f%C3%bc%F0%9D%84%9E%0A",
            "a%20b\\\"\\/\\u00fc\\uD834\\uDD1e\\n",
            "%61 b\"/%C3%BC𝄞%0a",
            "a%2520b%2522%252F%25C3%25BC%25F0%259D%2584%259E%250A",
            "a b\\\\\\\"/ü𝄞\\\\n",
            "a b%5C%22/ü𝄞%5Cn",
            "a b",
        ] {
            assert_eq!(hidden.text(format!("<{text}>")), "<***>", "{text}");
            assert_eq!(hidden.text(text.repeat(2)), "******");
        }
        for text in ["ab", "%6", "%61%zz", "a\\u0", "é%", "a\\", "%+1"] {
            assert_eq!(hidden.text(text), text);
        }
        assert!(hidden.is("a b") && !hidden.is("a"));
    }

    #[test]
    fn a_percent_sign_is_no_way_out() {
        let hidden = hidden(&["abc%def#secret", "50%25 off"]);
        for text in [
            "?appid=abc%25def%23secret&x=1",
            "?appid=abc%2525def%2523secret&x=1",
            "?appid=abc%def#secret&x=1",
        ] {
            assert_eq!(hidden.text(text), "?appid=***&x=1", "{text}");
        }
        for text in ["50%25 off", "50%2525%20off", "50%252525+off"] {
            assert_eq!(hidden.text(text), "***", "{text}");
        }
    }

    #[test]
    fn texts_that_overlap_are_hidden_together() {
        assert_eq!(hidden(&["abcd", "cdef"]).text("<abcdef>"), "<***>");
        assert_eq!(hidden(&["abab"]).text("<ababab>"), "<***>");
        assert_eq!(hidden(&["abcd", "bc"]).text("<abcd bc>"), "<*** ***>");
    }

    #[test]
    fn a_text_that_is_cut_off_in_a_secret_ends_before_it() {
        let hidden = hidden(&["correct-horse"]);
        assert_eq!(hidden.text("key=correct-h"), "key=***");
        assert_eq!(hidden.text("key=correct-h…"), "key=***");
        assert_eq!(hidden.text("key=correct-h..."), "key=***");
        assert_eq!(hidden.text("correct-h and more"), "correct-h and more");
        assert_eq!(hidden.text("key=cor"), "key=cor");
    }

    #[test]
    fn base64_of_something_longer_is_found() {
        let hidden = hidden(&["pass?>word"]);
        for before in ["", "u:", "me:", "you:"] {
            for after in ["", "!", "!!", "!!!"] {
                let whole = format!("{before}pass?>word{after}");
                for encoded in [STANDARD.encode(&whole), URL_SAFE.encode(&whole)] {
                    let shown = hidden.text(format!("<{encoded}>"));
                    let left = shown.replace("***", "");
                    assert_ne!(left, shown, "{encoded}");
                    // Only what holds nothing of the secret is left.
                    let left = left.trim_matches(['<', '>', '=']).len();
                    assert!(
                        left <= before.len() * 8 / 6 + (after.len() * 8).div_ceil(6),
                        "{shown}"
                    );
                }
            }
        }
        assert_eq!(hidden.text("706173733f3e776f7264"), "***");
        assert_eq!(hidden.text("706173733F3E776F7264"), "***");
    }

    fn json(text: &str) -> String {
        let json = serde_json::to_string(text).unwrap();
        json[1..json.len() - 1].to_owned()
    }

    fn percent(text: &str) -> String {
        utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
    }

    fn form(text: &str) -> String {
        url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
    }

    proptest! {
        #[test]
        fn no_encoding_shows_a_secret(
            secret in "[ -~äß𝄞\\n\\t]{4,12}",
            before in "[^*]{0,6}",
            after in "[^*]{0,6}",
            ways in proptest::collection::vec(0..3_usize, 0..3),
        ) {
            let hidden = Hidden::default();
            hidden.add(&secret);
            let written = ways.iter().fold(secret.clone(), |text, way| match way {
                0 => json(&text),
                1 => percent(&text),
                _ => form(&text),
            });
            let shown = hidden.text(format!("{before}<{written}>{after}")).into_owned();
            prop_assert!(shown.contains("<***>"), "{written}: {shown}");
        }

        #[test]
        fn a_text_without_a_secret_stays(text in "[a-m%+\\\\u0-9]{0,40}") {
            let hidden = Hidden::default();
            hidden.add("xyzz");
            // Not its hexadecimal digits, nor its base64.
            prop_assume!(!text.contains("78797a7a") && !text.contains('7'));
            prop_assert_eq!(hidden.text(text.as_str()), text.as_str());
        }
    }
}
