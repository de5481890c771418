//! Events of a MySQL's or a MariaDB's binary log, by the reader that follows it. Headers and checksums
//! are made here: an event is its number, a byte of flags, two of length, and its body.

#![no_main]

use tidegate_fuzz::wait;
use tidegate_mysql::fuzzing::{Logged, binlog};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tidegate_fuzz::case(data, |data| {
        let [how, rest @ ..] = data else { return };
        let mut rest = rest;
        let mut logged = Vec::new();
        while let [number, flags, low, high, more @ ..] = rest {
            let length = usize::from(u16::from_le_bytes([*low, *high])).min(more.len());
            let (body, after) = more.split_at(length);
            logged.push(Logged {
                number: *number,
                flags: u16::from(*flags),
                body,
            });
            rest = after;
        }
        let _ = wait(binlog(&logged, how & 1 == 1));
    });
});
