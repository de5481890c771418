//! Redaction: a secret, written in any of the ways that we, our libraries and a server's echo write
//! it, is in no text that is shown.

#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tidegate_http::fuzzing::{is_echo, shown};

#[derive(Debug, Arbitrary)]
enum Way {
    Json,
    JsonAscii,
    Percent,
    Form,
    Base64,
    UrlSafe,
    Hex,
    UpperHex,
}

#[derive(Debug, Arbitrary)]
struct Case<'a> {
    secret: &'a str,
    other: &'a str,
    before: &'a str,
    after: &'a str,
    /// Escapes can be nested; what they are within is decoded first.
    escapes: [Option<Way>; 3],
    beside: (&'a str, &'a str),
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tidegate_fuzz::case(data, |data| {
        if let Ok(case) = Case::arbitrary(&mut Unstructured::new(data)) {
            run(&case);
        }
    });
});

fn run(case: &Case<'_>) {
    let secrets = [case.secret, case.other];
    // Whatever it is, it doesn't panic, and hiding twice hides no less.
    let any = shown(&secrets, case.before);
    let _ = is_echo(&secrets, case.before);
    for secret in secrets {
        assert!(
            secret.len() < 4 || !any.contains(secret) || "***".contains(secret),
            "{any}"
        );
    }
    let plain = case.secret.chars().filter(|char| *char != '*');
    let secret: String = plain.take(24).collect();
    // Fewer characters are in any text.
    if secret.chars().count() < 6 {
        return;
    }
    let mut written = secret.clone();
    // Whether it is in a form that is only looked for as the outermost.
    let mut packed = false;
    let mut beside = (0, 0);
    for way in case.escapes.iter().flatten() {
        if packed && !matches!(way, Way::Percent | Way::Form | Way::Json) {
            break;
        }
        written = match way {
            Way::Json => json(&written),
            Way::JsonAscii => ascii(&written),
            Way::Percent => utf8_percent_encode(&written, NON_ALPHANUMERIC).to_string(),
            Way::Form => url::form_urlencoded::byte_serialize(written.as_bytes()).collect(),
            // Of what is escaped before, nobody makes base64.
            _ if written != secret => break,
            Way::Base64 | Way::UrlSafe => {
                packed = true;
                beside = (case.beside.0.len().min(12), case.beside.1.len().min(12));
                let around = [cut(case.beside.0, 12), &secret, cut(case.beside.1, 12)].concat();
                match way {
                    Way::Base64 => STANDARD.encode(around),
                    _ => URL_SAFE_NO_PAD.encode(around),
                }
            }
            Way::Hex | Way::UpperHex => {
                packed = true;
                let digits = hex::encode(&secret);
                match way {
                    Way::Hex => digits,
                    _ => digits.to_uppercase(),
                }
            }
        };
    }
    let text = format!("{}<{written}>{}", cut(case.before, 40), cut(case.after, 40));
    let secrets = [secret.as_str()];
    let shown = shown(&secrets, &text);
    assert!(
        shown.contains("***"),
        "{secret:?} as {written:?} is shown: {shown:?}"
    );
    assert!(
        !shown.contains(&secret),
        "{secret:?} as {written:?} is shown: {shown:?}"
    );
    if beside == (0, 0) {
        assert!(
            !shown.contains(&written),
            "{secret:?} as {written:?} is shown: {shown:?}"
        );
    }
    if secret.len() >= 8 {
        assert!(
            is_echo(&secrets, &text),
            "{secret:?} as {written:?} would be stored"
        );
    }
}

fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

fn json(text: &str) -> String {
    let json = serde_json::to_string(text).expect("a text");
    json[1..json.len() - 1].to_owned()
}

/// As servers write JSON that escape all but ASCII, and the slash.
fn ascii(text: &str) -> String {
    let mut written = String::new();
    for char in text.chars() {
        match char {
            '/' => written.push_str("\\/"),
            '"' | '\\' => written.extend(['\\', char]),
            ' '..='~' => written.push(char),
            _ => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    written.push_str(&format!("\\u{unit:04X}"));
                }
            }
        }
    }
    written
}
