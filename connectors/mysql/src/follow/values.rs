//! Values as the binlog stores them, written as the binary protocol sends them.

use std::net::{Ipv4Addr, Ipv6Addr};

use tidegate_formats::civil;

use super::bytes::{Broken, Bytes, put_measured};

/// A date: years of 15 bits, months of 4, days of 5.
pub(super) fn date(bytes: &mut Bytes<'_>, out: &mut Vec<u8>) -> Result<(), Broken> {
    let packed = bytes.uint(3)?;
    put_datetime(
        out,
        Moment {
            year: packed >> 9,
            month: packed >> 5 & 15,
            day: packed & 31,
            ..Moment::default()
        },
    )
}

/// Fields as they stand, whether or not a calendar has them.
#[derive(Debug, Clone, Copy, Default)]
struct Moment {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    micros: u64,
}

fn byte(value: u64) -> Result<u8, Broken> {
    u8::try_from(value).map_err(|_| Broken)
}

fn put_datetime(out: &mut Vec<u8>, moment: Moment) -> Result<(), Broken> {
    let start = out.len();
    out.push(0);
    let has_clock = moment.hour | moment.minute | moment.second | moment.micros != 0;
    if moment.year | moment.month | moment.day == 0 && !has_clock {
        return Ok(());
    }
    let year = u16::try_from(moment.year).map_err(|_| Broken)?;
    out.extend_from_slice(&year.to_le_bytes());
    out.extend_from_slice(&[byte(moment.month)?, byte(moment.day)?]);
    out[start] = 4;
    if has_clock {
        out.extend_from_slice(&[
            byte(moment.hour)?,
            byte(moment.minute)?,
            byte(moment.second)?,
        ]);
        out[start] = 7;
    }
    if moment.micros != 0 {
        let micros = u32::try_from(moment.micros).map_err(|_| Broken)?;
        out.extend_from_slice(&micros.to_le_bytes());
        out[start] = 11;
    }
    Ok(())
}

/// How many bytes the fraction of a second takes.
pub(super) fn fraction_width(fraction: u8) -> usize {
    usize::from(fraction.min(6)).div_ceil(2)
}

fn micros(bytes: &mut Bytes<'_>, fraction: u8) -> Result<u64, Broken> {
    let width = fraction_width(fraction);
    Ok(micros_of(bytes.uint_be(width)?, width))
}

/// A fraction of so many bytes, each of which holds two digits.
fn micros_of(units: u64, width: usize) -> u64 {
    match width {
        0 => 0,
        1 => units * 10_000,
        2 => units * 100,
        _ => units,
    }
}

pub(super) fn datetime(
    bytes: &mut Bytes<'_>,
    fraction: u8,
    out: &mut Vec<u8>,
) -> Result<(), Broken> {
    let packed = bytes.uint_be(5)?.checked_sub(1 << 39).ok_or(Broken)?;
    let micros = micros(bytes, fraction)?;
    let months = packed >> 22;
    put_datetime(
        out,
        Moment {
            year: months / 13,
            month: months % 13,
            day: packed >> 17 & 31,
            hour: packed >> 12 & 31,
            minute: packed >> 6 & 63,
            second: packed & 63,
            micros,
        },
    )
}

/// A DATETIME as before MySQL 5.6: the digits of YYYYMMDDhhmmss as a number.
pub(super) fn old_datetime(bytes: &mut Bytes<'_>, out: &mut Vec<u8>) -> Result<(), Broken> {
    let digits = bytes.u64()?;
    let (date, clock) = (digits / 1_000_000, digits % 1_000_000);
    put_datetime(
        out,
        Moment {
            year: date / 10_000,
            month: date / 100 % 100,
            day: date % 100,
            hour: clock / 10_000,
            minute: clock / 100 % 100,
            second: clock % 100,
            micros: 0,
        },
    )
}

/// Seconds since 1970, as the date and time in UTC. 0 stands for the zero date.
pub(super) fn timestamp(
    bytes: &mut Bytes<'_>,
    fraction: u8,
    out: &mut Vec<u8>,
) -> Result<(), Broken> {
    let seconds = bytes.uint_be(4)?;
    let micros = micros(bytes, fraction)?;
    put_timestamp(seconds, micros, out)
}

pub(super) fn old_timestamp(bytes: &mut Bytes<'_>, out: &mut Vec<u8>) -> Result<(), Broken> {
    let seconds = bytes.u32()?;
    put_timestamp(seconds.into(), 0, out)
}

fn put_timestamp(seconds: u64, micros: u64, out: &mut Vec<u8>) -> Result<(), Broken> {
    if seconds == 0 && micros == 0 {
        return put_datetime(out, Moment::default());
    }
    let (days, clock) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil::date(days.cast_signed());
    put_datetime(
        out,
        Moment {
            year: year.cast_unsigned(),
            month: month.cast_unsigned(),
            day: day.cast_unsigned(),
            hour: clock / 3_600,
            minute: clock / 60 % 60,
            second: clock % 60,
            micros,
        },
    )
}

pub(super) fn time(bytes: &mut Bytes<'_>, fraction: u8, out: &mut Vec<u8>) -> Result<(), Broken> {
    // The whole value, fraction included, is one number, shifted so that it sorts as bytes; so the
    // fraction of a negative one is counted from the other side.
    let width = fraction_width(fraction);
    let packed = bytes.uint_be(3 + width)?;
    let middle = 1_u64 << (8 * (3 + width) - 1);
    let (negative, packed) = match packed >= middle {
        true => (false, packed - middle),
        false => (true, middle - packed),
    };
    let bits = 8 * width;
    let micros = micros_of(packed & ((1 << bits) - 1), width);
    let clock = packed >> bits;
    put_time(
        negative,
        clock >> 12 & 1023,
        clock >> 6 & 63,
        clock & 63,
        micros,
        out,
    )
}

/// A TIME as before MySQL 5.6: the digits of hhmmss as a number, with a sign.
pub(super) fn old_time(bytes: &mut Bytes<'_>, out: &mut Vec<u8>) -> Result<(), Broken> {
    let digits = bytes.uint(3)?;
    let (negative, digits) = match digits >> 23 {
        0 => (false, digits),
        _ => (true, (1 << 24) - digits),
    };
    put_time(
        negative,
        digits / 10_000,
        digits / 100 % 100,
        digits % 100,
        0,
        out,
    )
}

fn put_time(
    negative: bool,
    hours: u64,
    minutes: u64,
    seconds: u64,
    micros: u64,
    out: &mut Vec<u8>,
) -> Result<(), Broken> {
    if hours | minutes | seconds | micros == 0 {
        out.push(0);
        return Ok(());
    }
    out.push(if micros == 0 { 8 } else { 12 });
    out.push(negative.into());
    let days = u32::try_from(hours / 24).map_err(|_| Broken)?;
    out.extend_from_slice(&days.to_le_bytes());
    out.extend_from_slice(&[byte(hours % 24)?, byte(minutes)?, byte(seconds)?]);
    if micros != 0 {
        let micros = u32::try_from(micros).map_err(|_| Broken)?;
        out.extend_from_slice(&micros.to_le_bytes());
    }
    Ok(())
}

/// Bytes that `digits` decimal digits take, of a group of up to nine.
const DIGIT_BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

/// How many bytes a DECIMAL takes.
pub(super) fn decimal_width(precision: u8, scale: u8) -> usize {
    let whole = usize::from(precision.saturating_sub(scale));
    let scale = usize::from(scale);
    4 * (whole / 9) + DIGIT_BYTES[whole % 9] + 4 * (scale / 9) + DIGIT_BYTES[scale % 9]
}

/// A DECIMAL: groups of nine digits in four bytes, the odd ones at both ends in fewer, the highest
/// bit turned over, all bits turned over if it is negative.
pub(super) fn decimal(
    bytes: &mut Bytes<'_>,
    precision: u8,
    scale: u8,
    out: &mut Vec<u8>,
) -> Result<(), Broken> {
    let packed = bytes.take(decimal_width(precision, scale))?;
    let mut buffer = [0; 40];
    let packed_copy = buffer.get_mut(..packed.len()).ok_or(Broken)?;
    packed_copy.copy_from_slice(packed);
    let first = packed_copy.first_mut().ok_or(Broken)?;
    let negative = *first & 0x80 == 0;
    *first ^= 0x80;
    if negative {
        packed_copy.iter_mut().for_each(|byte| *byte = !*byte);
    }
    let mut groups = Bytes(packed_copy);
    put_measured(out, |out| {
        if negative {
            out.push(b'-');
        }
        let start = out.len();
        let whole = usize::from(precision.saturating_sub(scale));
        put_group(&mut groups, whole % 9, out)?;
        for _ in 0..whole / 9 {
            put_group(&mut groups, 9, out)?;
        }
        let digits = &out[start..];
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        out.drain(start..start + zeros);
        if out.len() == start {
            out.push(b'0');
        }
        if scale > 0 {
            out.push(b'.');
            for _ in 0..scale / 9 {
                put_group(&mut groups, 9, out)?;
            }
            put_group(&mut groups, usize::from(scale % 9), out)?;
        }
        Ok(())
    })
}

fn put_group(groups: &mut Bytes<'_>, digits: usize, out: &mut Vec<u8>) -> Result<(), Broken> {
    let mut value = groups.uint_be(DIGIT_BYTES[digits])?;
    let start = out.len();
    out.resize(start + digits, b'0');
    for digit in out[start..].iter_mut().rev() {
        *digit = b'0' + byte(value % 10)?;
        value /= 10;
    }
    match value {
        0 => Ok(()),
        _ => Err(Broken),
    }
}

/// A UUID of MariaDB, as the server prints it.
///
/// Values of versions 1 to 5 are stored with their parts in the reverse order, so that those made
/// one after the other lie together (MariaDB's `sql_type_uuid.h`).
pub(super) fn uuid(stored: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
    let stored: &[u8; 16] = stored.try_into().map_err(|_| Broken)?;
    let mut swapped = [0; 16];
    swapped[10..].copy_from_slice(&stored[..6]);
    swapped[8..10].copy_from_slice(&stored[6..8]);
    swapped[6..8].copy_from_slice(&stored[8..10]);
    swapped[4..6].copy_from_slice(&stored[10..12]);
    swapped[..4].copy_from_slice(&stored[12..]);
    // What was swapped shows the marks of its variant and version where the swap puts them.
    let is_swapped = stored[6] & 0x80 != 0 && stored[8] & 0xF0 > 0 && stored[8] < 0x60;
    let value = if is_swapped { &swapped } else { stored };
    put_measured(out, |out| {
        for (at, byte) in value.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                out.push(b'-');
            }
            for digit in [byte >> 4, byte & 15] {
                out.push(b"0123456789abcdef"[usize::from(digit)]);
            }
        }
        Ok(())
    })
}

pub(super) fn inet4(stored: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
    let octets: [u8; 4] = stored.try_into().map_err(|_| Broken)?;
    put_measured(out, |out| {
        out.extend_from_slice(Ipv4Addr::from(octets).to_string().as_bytes());
        Ok(())
    })
}

pub(super) fn inet6(stored: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
    let octets: [u8; 16] = stored.try_into().map_err(|_| Broken)?;
    let words = Ipv6Addr::from(octets).segments();
    // Not as Rust has it: one zero alone is left out too, and an IPv4 address behind zeros alone is
    // printed as one (MariaDB's `sql_type_inet.cc`).
    let (mut gap, mut length) = (0, 0);
    for at in 0..words.len() {
        let zeros = words[at..].iter().take_while(|word| **word == 0).count();
        if zeros > length {
            (gap, length) = (at, zeros);
        }
    }
    let is_ipv4 = gap == 0 && (length == 6 || length == 5 && words[5] == 0xFFFF);
    let mut text = String::new();
    let mut at = 0;
    while at < words.len() {
        if length > 0 && at == gap {
            text.push_str(if at == 0 { "::" } else { ":" });
            at += length;
        } else if at == 6 && is_ipv4 {
            let [.., a, b, c, d] = octets;
            text.push_str(&Ipv4Addr::new(a, b, c, d).to_string());
            break;
        } else {
            text.push_str(&format!("{:x}", words[at]));
            at += 1;
            if at < words.len() {
                text.push(':');
            }
        }
    }
    put_measured(out, |out| {
        out.extend_from_slice(text.as_bytes());
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>) -> Result<(), Broken>) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        out
    }

    fn text(write: impl FnOnce(&mut Vec<u8>) -> Result<(), Broken>) -> String {
        String::from_utf8(written(write)[1..].to_vec()).unwrap()
    }

    #[test]
    fn decimals_are_unpacked() {
        // The example of MySQL's strings/decimal.c: 1234567890.1234 and its negative.
        let positive = [0x81, 0x0D, 0xFB, 0x38, 0xD2, 0x04, 0xD2];
        let negative = positive.map(|byte| !byte);
        let read = |bytes: &[u8]| text(|out| decimal(&mut Bytes(bytes), 14, 4, out));
        assert_eq!(read(&positive), "1234567890.1234");
        assert_eq!(read(&negative), "-1234567890.1234");
        assert_eq!(read(&[0x80, 0, 0, 0, 0, 0, 0]), "0.0000");
        assert_eq!(decimal_width(65, 30), 30);
    }

    #[test]
    fn moments_are_unpacked() {
        // 2024-02-29 12:34:56.789000, packed as MySQL's my_datetime_packed_to_binary does.
        let months: u64 = 2024 * 13 + 2;
        let packed = ((months << 5 | 29) << 17 | 12 << 12 | 34 << 6 | 56) + (1 << 39);
        let mut bytes = packed.to_be_bytes()[3..].to_vec();
        bytes.extend_from_slice(&7890_u16.to_be_bytes());
        assert_eq!(
            written(|out| datetime(&mut Bytes(&bytes), 4, out)),
            [11, 0xE8, 7, 2, 29, 12, 34, 56, 0x08, 0x0A, 0x0C, 0]
        );
        assert_eq!(
            written(|out| timestamp(&mut Bytes(&951_782_400_u32.to_be_bytes()), 0, out)),
            [4, 0xD0, 7, 2, 29]
        );
        assert_eq!(written(|out| timestamp(&mut Bytes(&[0; 4]), 0, out)), [0]);
    }

    #[test]
    fn times_have_a_sign() {
        // -00:00:00.10, the example of MySQL's my_time.cc: 7FFFFF.F6.
        assert_eq!(
            written(|out| time(&mut Bytes(&[0x7F, 0xFF, 0xFF, 0xF6]), 2, out)),
            [12, 1, 0, 0, 0, 0, 0, 0, 0, 0xA0, 0x86, 1, 0]
        );
        assert_eq!(
            written(|out| time(&mut Bytes(&[0x80, 0x30, 0x00]), 0, out)),
            [8, 0, 0, 0, 0, 0, 3, 0, 0]
        );
    }
}
