//! What a MySQL server says, from its greeting to the last row, and the decoding of rows. The first
//! byte says what is asked, and whether what follows is the bytes as they come over the wire, or
//! payloads with a length of two bytes each, perhaps of a server that has let us in.

#![no_main]

use tidegate_fuzz::wait;
use tidegate_mysql::ZeroDates;
use tidegate_mysql::fuzzing::{Question, session};

/// A MySQL 8.0 that takes any password, and says so.
const GREETING: &[u8] = b"\x0a8.0.36\0\x07\0\0\012345678\0\xdf\xf7\x2d\x02\0\x0f\x01\x15\0\0\0\0\0\0\0\0\0\0ABCDEFGHIJKL\0mysql_native_password\0";
const OK: &[u8] = b"\0\0\0\x02\0\0\0";

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tidegate_fuzz::case(data, |data| {
        let [how, rest @ ..] = data else { return };
        let question = [
            Question::Rows,
            Question::Texts,
            Question::Columns,
            Question::Done,
        ];
        let dates = [
            ZeroDates::Error,
            ZeroDates::Null,
            ZeroDates::Text,
            ZeroDates::Error,
        ];
        let mut said = Vec::new();
        if how & 16 != 0 {
            say(&mut said, GREETING);
            say(&mut said, OK);
        }
        match how & 32 {
            0 => payloads(&mut said, rest),
            _ => said.extend_from_slice(rest),
        }
        let question = question[usize::from(how & 3)];
        let dates = dates[usize::from(how >> 2 & 3)];
        let _ = wait(session(said, question, dates));
    });
});

fn say(said: &mut Vec<u8>, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a short payload");
    said.extend_from_slice(&length.to_le_bytes()[..3]);
    said.push(0);
    said.extend_from_slice(payload);
}

fn payloads(said: &mut Vec<u8>, mut rest: &[u8]) {
    while let [low, high, more @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(more.len());
        let (payload, after) = more.split_at(length);
        say(said, payload);
        rest = after;
    }
}
