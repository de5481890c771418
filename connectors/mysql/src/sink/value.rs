//! One value as a literal, if the column holds it exactly.

use std::io::Write as _;

use arrow_schema::TimeUnit;
use tidegate_formats::decimal_text;

use super::target::Slot;
use super::text as form;
use crate::types::Type;

const OUT_OF_RANGE: &str = "is out of the column's range";
pub(super) const TIME_OF_DAY: &str = "has a time of day, and the column is a DATE";

pub(super) fn quoted(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Option<()>,
) -> Result<(), String> {
    out.push(b'\'');
    write(out).ok_or(OUT_OF_RANGE)?;
    out.push(b'\'');
    Ok(())
}

pub(super) fn integer(value: i128, slot: &Slot, out: &mut Vec<u8>) -> Result<(), String> {
    let within = match slot.kind {
        Type::Bit { bits } => (0..1_i128 << bits).contains(&value),
        Type::Year => value == 0 || (1901..=2155).contains(&value),
        // Beyond these, two neighbours have the same float.
        Type::Float => value.abs() <= 1 << 24,
        Type::Double => value.abs() <= 1 << 53,
        Type::Decimal { precision, scale } => {
            let digits = value.unsigned_abs().to_string();
            form::decimal_fits(&digits, 0, precision, scale)?;
            true
        }
        kind => kind.integer().is_none_or(|(bits, unsigned)| {
            let low = if unsigned { 0 } else { -1_i128 << (bits - 1) };
            (low..low + (1 << bits)).contains(&value)
        }),
    };
    if !within {
        return Err(format!("{value} {OUT_OF_RANGE}"));
    }
    // The number 0 in two digits would be the year 2000.
    let _ = match slot.kind {
        Type::Year => write!(out, "'{value:04}'"),
        _ => write!(out, "{value}"),
    };
    Ok(())
}

/// A FLOAT. Of FLOAT(7,3), the server rounds to so many digits behind the point.
pub(super) fn single(value: f32, slot: &Slot, out: &mut Vec<u8>) -> Result<(), String> {
    match slot.declared.places() {
        Some(n)
            if slot.kind == Type::Float && format!("{value:.*}", n.into()).parse() != Ok(value) =>
        {
            Err(rounded(slot))
        }
        _ => double(value.into(), slot, out),
    }
}

/// A DOUBLE, with all digits that tell the number from its neighbours; the server reads them
/// exactly.
pub(super) fn double(value: f64, slot: &Slot, out: &mut Vec<u8>) -> Result<(), String> {
    if !value.is_finite() {
        return Err(format!("is {value}, which the server has no number for"));
    }
    if slot.mariadb && value == 0.0 && value.is_sign_negative() {
        return Err(
            "is -0, of which the server makes 0: if that is meant, write CASE WHEN x = 0 THEN 0 \
             ELSE x END in a `sql` transform"
                .to_owned(),
        );
    }
    match slot.declared.places() {
        Some(n)
            if slot.kind == Type::Double
                && format!("{value:.*}", n.into()).parse() != Ok(value) =>
        {
            Err(rounded(slot))
        }
        _ => {
            let _ = write!(out, "{value:e}");
            Ok(())
        }
    }
}

fn rounded(slot: &Slot) -> String {
    format!("has more digits behind the point than {}", slot.declared)
}

pub(super) fn decimal(
    digits: &str,
    scale: i8,
    slot: &Slot,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    if let Type::Decimal {
        precision,
        scale: places,
    } = slot.kind
    {
        form::decimal_fits(digits, scale, precision, places)?;
        decimal_text(digits, scale, out);
        return Ok(());
    }
    // Whole numbers may go into integers.
    form::decimal_fits(digits, scale, 38, 0).map_err(|_| "is no whole number".to_owned())?;
    let mut text = Vec::new();
    decimal_text(digits, scale, &mut text);
    let text = String::from_utf8_lossy(&text);
    let whole = text.split_once('.').map_or(&*text, |(whole, _)| whole);
    let value = whole.parse::<i128>().map_err(|_| OUT_OF_RANGE.to_owned())?;
    integer(value, slot, out)
}

pub(super) fn micros(value: i64, unit: TimeUnit) -> Result<i64, String> {
    match unit {
        TimeUnit::Second => value.checked_mul(1_000_000),
        TimeUnit::Millisecond => value.checked_mul(1_000),
        TimeUnit::Microsecond => Some(value),
        TimeUnit::Nanosecond if value % 1_000 != 0 => {
            return Err("has nanoseconds, and the server has microseconds".to_owned());
        }
        TimeUnit::Nanosecond => Some(value / 1_000),
    }
    .ok_or_else(|| OUT_OF_RANGE.to_owned())
}

pub(super) fn fraction(micros: i64, slot: &Slot) -> Result<(), String> {
    match slot.kind {
        Type::Time { fraction } | Type::DateTime { fraction } | Type::Timestamp { fraction }
            if !form::fits_fraction(micros, fraction) =>
        {
            Err(format!(
                "has more digits behind the second than {}",
                slot.declared
            ))
        }
        _ => Ok(()),
    }
}

pub(super) fn moment(micros: i64, slot: &Slot, out: &mut Vec<u8>) -> Result<(), String> {
    const DAY: i64 = 86_400_000_000;
    if slot.kind == Type::Date {
        if micros.rem_euclid(DAY) != 0 {
            return Err(TIME_OF_DAY.to_owned());
        }
        return quoted(out, |out| form::date(micros.div_euclid(DAY), out));
    }
    fraction(micros, slot)?;
    quoted(out, |out| form::moment(micros, out))
}

/// Sessions of the sink have NO_BACKSLASH_ESCAPES, so quotes are all there is to escape.
fn quote(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'\'');
    let mut rest = value;
    while let Some(at) = memchr::memchr(b'\'', rest) {
        let (before, after) = rest.split_at(at + 1);
        out.extend_from_slice(before);
        out.push(b'\'');
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'\'');
}

pub(super) fn text(value: &str, slot: &Slot, out: &mut Vec<u8>) -> Result<(), String> {
    match slot.kind {
        // What is too long would be refused by the server, but for spaces, which it cuts.
        Type::Text => {
            let most = slot.declared.most().unwrap_or(u64::MAX);
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            if value.len() > most && value.chars().count() > most {
                return Err(format!(
                    "has {} characters, too many for {}",
                    value.chars().count(),
                    slot.declared
                ));
            }
            if slot.declared.is_padded() && value.ends_with(' ') {
                return Err(format!(
                    "ends with a space, which {} forgets",
                    slot.declared
                ));
            }
        }
        Type::Binary => return bytes(value.as_bytes(), slot, out),
        // A number that is none of the values would be taken for the place of one.
        Type::Enum | Type::Set
            if form::is_number(value)
                && !slot
                    .declared
                    .members
                    .iter()
                    .flatten()
                    .any(|one| one == value) =>
        {
            return Err(format!("`{value}` is none of the column's"));
        }
        _ if !form::is_temporal(value, slot.kind) => {
            return Err(format!("is no {} as the server writes it", slot.declared));
        }
        _ => {}
    }
    quote(value.as_bytes(), out);
    Ok(())
}

pub(super) fn bytes(value: &[u8], slot: &Slot, out: &mut Vec<u8>) -> Result<(), String> {
    let most = match slot.kind {
        Type::Bit { bits } => u64::from(bits).div_ceil(8),
        Type::Geometry => {
            let guarded = slot.mariadb;
            out.extend_from_slice(if guarded { b"IFNULL(" } else { b"" });
            out.extend_from_slice(b"ST_GeomFromWKB(");
            hex_literal(value, out);
            // What stands for NULL is no geometry either, and the column refuses it.
            out.extend_from_slice(if guarded { b"), X'00')" } else { b")" });
            return Ok(());
        }
        Type::Uuid => {
            quote(hex::encode(value).as_bytes(), out);
            return Ok(());
        }
        _ => slot.declared.most().unwrap_or(u64::MAX),
    };
    let size = u64::try_from(value.len()).unwrap_or(u64::MAX);
    if size > most {
        return Err(format!("has {size} bytes, too many for {}", slot.declared));
    }
    match slot.kind {
        Type::Binary if slot.declared.is_padded() && size < most => Err(format!(
            "has {size} bytes, and {} would fill it up with zeros",
            slot.declared
        )),
        Type::Bit { .. } => {
            hex_literal(value, out);
            Ok(())
        }
        _ => {
            out.extend_from_slice(b"_binary");
            quote(value, out);
            Ok(())
        }
    }
}

fn hex_literal(value: &[u8], out: &mut Vec<u8>) {
    let _ = write!(out, "X'{}'", hex::encode_upper(value));
}
