//! Global transaction ids: where we are, in terms that every server of a cluster understands.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// All transactions up to here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Gtids {
    /// MariaDB's: the last one of each domain, with the server that made it: `0-1-8,2-1-5`.
    MariaDb(BTreeMap<u32, (u32, u64)>),
    /// MySQL's: the numbers of each source, as ranges without their ends:
    /// `3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:8`.
    MySql(BTreeMap<[u8; 16], Vec<(u64, u64)>>),
}

/// The text is no set of ids that we know. MySQL's tagged ones (from 8.3 on) aren't known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnknownGtids;

impl Gtids {
    /// Reads what the server says of itself.
    pub(super) fn parse(text: &str, mariadb: bool) -> Result<Self, UnknownGtids> {
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        if mariadb {
            let mut last = BTreeMap::new();
            for part in parts {
                let mut numbers = part.split('-');
                let domain = number(numbers.next())?;
                let server = number(numbers.next())?;
                last.insert(domain, (server, number(numbers.next())?));
            }
            return Ok(Self::MariaDb(last));
        }
        let mut sets: BTreeMap<[u8; 16], Vec<(u64, u64)>> = BTreeMap::new();
        for part in parts {
            let mut pieces = part.split(':').map(str::trim);
            let source = source(pieces.next().unwrap_or_default())?;
            let ranges = sets.entry(source).or_default();
            for range in pieces {
                let (from, to) = range.split_once('-').unwrap_or((range, range));
                let to: u64 = number(Some(to))?;
                ranges.push((number(Some(from))?, to.checked_add(1).ok_or(UnknownGtids)?));
            }
            ranges.sort_unstable();
        }
        Ok(Self::MySql(sets))
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::MariaDb(last) => last.is_empty(),
            Self::MySql(sets) => sets.is_empty(),
        }
    }

    pub(super) fn add_mariadb(&mut self, domain: u32, server: u32, sequence: u64) {
        if let Self::MariaDb(last) = self {
            last.insert(domain, (server, sequence));
        }
    }

    pub(super) fn add_mysql(&mut self, source: [u8; 16], number: u64) {
        let Self::MySql(sets) = self else { return };
        let ranges = sets.entry(source).or_default();
        let at = ranges.partition_point(|(from, _)| *from <= number);
        let before = at.checked_sub(1).and_then(|before| ranges.get_mut(before));
        match before {
            Some((_, to)) if *to > number => return,
            Some((_, to)) if *to == number => *to = number + 1,
            _ => {
                ranges.insert(at, (number, number + 1));
                ranges.sort_unstable();
            }
        }
        // What touches now becomes one.
        ranges.dedup_by(|next, kept| {
            let touches = kept.1 >= next.0;
            if touches {
                kept.1 = kept.1.max(next.1);
            }
            touches
        });
    }

    /// MySQL's set as COM_BINLOG_DUMP_GTID takes it; nothing for MariaDB's.
    pub(super) fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Self::MySql(sets) = self {
            out.extend_from_slice(&(sets.len() as u64).to_le_bytes());
            for (source, ranges) in sets {
                out.extend_from_slice(source);
                out.extend_from_slice(&(ranges.len() as u64).to_le_bytes());
                for (from, to) in ranges {
                    out.extend_from_slice(&from.to_le_bytes());
                    out.extend_from_slice(&to.to_le_bytes());
                }
            }
        }
        out
    }
}

fn number<T: FromStr>(text: Option<&str>) -> Result<T, UnknownGtids> {
    text.and_then(|text| text.trim().parse().ok())
        .ok_or(UnknownGtids)
}

fn source(text: &str) -> Result<[u8; 16], UnknownGtids> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
    let mut source = [0; 16];
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != source.len() || !rest.is_empty() {
        return Err(UnknownGtids);
    }
    for (byte, pair) in source.iter_mut().zip(pairs) {
        let pair = std::str::from_utf8(pair).map_err(|_| UnknownGtids)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| UnknownGtids)?;
    }
    Ok(source)
}

impl fmt::Display for Gtids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MariaDb(last) => {
                for (at, (domain, (server, sequence))) in last.iter().enumerate() {
                    let comma = if at > 0 { "," } else { "" };
                    write!(f, "{comma}{domain}-{server}-{sequence}")?;
                }
            }
            Self::MySql(sets) => {
                for (at, (source, ranges)) in sets.iter().enumerate() {
                    f.write_str(if at > 0 { "," } else { "" })?;
                    for (at, byte) in source.iter().enumerate() {
                        let dash = if matches!(at, 4 | 6 | 8 | 10) {
                            "-"
                        } else {
                            ""
                        };
                        write!(f, "{dash}{byte:02x}")?;
                    }
                    for (from, to) in ranges {
                        match to - from {
                            1 => write!(f, ":{from}")?,
                            _ => write!(f, ":{from}-{}", to - 1)?,
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mariadb_keeps_the_last_of_each_domain() {
        let mut gtids = Gtids::parse("0-1-8,2-1-5", true).unwrap();
        gtids.add_mariadb(0, 3, 9);
        gtids.add_mariadb(1, 1, 1);
        assert_eq!(gtids.to_string(), "0-3-9,1-1-1,2-1-5");
        assert!(Gtids::parse("", true).unwrap().is_empty());
        assert!(Gtids::parse("0-1", true).is_err());
    }

    #[test]
    fn mysql_keeps_ranges_of_each_source() {
        let text = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:8";
        let mut gtids = Gtids::parse(text, false).unwrap();
        assert_eq!(gtids.to_string(), text);
        let Gtids::MySql(sets) = &gtids else { panic!() };
        let source = *sets.keys().next().unwrap();
        for number in [7, 3, 10] {
            gtids.add_mysql(source, number);
        }
        assert_eq!(
            gtids.to_string(),
            "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:7-8:10"
        );
        gtids.add_mysql(source, 6);
        assert_eq!(
            gtids.to_string(),
            "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-8:10"
        );
        assert_eq!(gtids.encoded().len(), 8 + 16 + 8 + 2 * 16);
        // A tag: of MySQL 8.3.
        assert!(Gtids::parse("3e11fa47-71ca-11e1-9e33-c80aa9429562:tag:1", false).is_err());
    }
}
