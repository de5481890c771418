//! How a text with delimiters looks: a guess from its first lines.

use std::collections::HashSet;

use tidegate_formats::CsvHeader;

/// What may stand between fields, the most usual first.
const DELIMITERS: [char; 5] = [',', '\t', ';', '|', '\u{1}'];

/// How many records are looked at to guess what stands between fields, and whether there is a header.
const RECORDS: usize = 100;

/// Column names aren't longer: a longer text in the first line is data. So in Glue's crawler.
const NAME_LIMIT: usize = 150;

/// How a text without headers that can be trusted looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Guess {
    pub(super) delimiter: char,
    pub(super) header: bool,
}

/// How it looks; `None` for a text that has no delimiter in every line, unless it is `named` CSV.
/// Without `headers` its first line is a row, whatever it looks like.
pub(super) fn guess(text: &str, complete: bool, named: bool, headers: bool) -> Option<Guess> {
    let (said, end) = CsvHeader::separator(text);
    let text = &text[end..];
    let best = DELIMITERS
        .iter()
        .filter(|delimiter| said.is_none_or(|said| said == **delimiter))
        .map(|delimiter| (*delimiter, records(text, *delimiter, complete, RECORDS)))
        .filter(|(_, records)| even(records))
        // The first of several that are as good.
        .rev()
        .max_by_key(|(_, records)| records.first().map_or(0, Vec::len));
    let (delimiter, records) = match best {
        Some((delimiter, records)) if records[0].len() > 1 && (named || records.len() > 1) => {
            (delimiter, records)
        }
        _ if named && !text.trim().is_empty() => (',', records(text, ',', complete, RECORDS)),
        _ => return None,
    };
    Some(Guess {
        delimiter,
        header: headers && has_header(&records),
    })
}

/// What the first records of a text look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Looks {
    /// Whether the first one names the columns.
    pub(super) headed: bool,
    /// Whether there are fields in quotes.
    pub(super) quoted: bool,
}

pub(super) fn looks(text: &str, delimiter: char, complete: bool) -> Looks {
    let (_, end) = CsvHeader::separator(text);
    let text = &text[end..];
    // Quotes may begin far down.
    let most = if text.contains('"') {
        usize::MAX
    } else {
        RECORDS
    };
    let records = records(text, delimiter, complete, most);
    Looks {
        headed: has_header(&records[..records.len().min(RECORDS)]),
        quoted: records.iter().flatten().any(|field| field.quoted),
    }
}

/// Whether all records have as many fields.
fn even(records: &[Vec<Field>]) -> bool {
    let Some((first, others)) = records.split_first() else {
        return false;
    };
    others.iter().all(|record| record.len() == first.len())
}

#[derive(Debug, Default, PartialEq)]
struct Field {
    text: String,
    quoted: bool,
}

/// The first `most` records. A record that the sample cuts off is left out.
fn records(text: &str, delimiter: char, complete: bool, most: usize) -> Vec<Vec<Field>> {
    let mut records = Vec::new();
    let mut record = vec![Field::default()];
    let mut open = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let alone = record.len() == 1;
        let Some(field) = record.last_mut() else {
            break;
        };
        match c {
            '"' if open && chars.peek() == Some(&'"') => {
                field.text.push('"');
                chars.next();
            }
            '"' if open => open = false,
            '"' if field.text.is_empty() => (open, field.quoted) = (true, true),
            _ if open => field.text.push(c),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' | '\r' if alone && *field == Field::default() => {}
            '\n' | '\r' => {
                records.push(std::mem::replace(&mut record, vec![Field::default()]));
                if records.len() == most {
                    return records;
                }
            }
            c if c == delimiter => record.push(Field::default()),
            c => field.text.push(c),
        }
    }
    if complete && !open && record != [Field::default()] {
        records.push(record);
    }
    records
}

/// Whether the first record names the columns: its fields are texts of their own, and what follows
/// has something that isn't, or looks otherwise. A field without a name says nothing, and a name
/// that comes twice needs more to be one.
fn has_header(records: &[Vec<Field>]) -> bool {
    let Some((first, others)) = records.split_first() else {
        return true;
    };
    let could_name = |name: &str| name.chars().count() <= NAME_LIMIT && !typed(name);
    let named = || first.iter().filter(|field| !field.text.trim().is_empty());
    let could = named().all(|field| could_name(field.text.trim()));
    if !could || named().next().is_none() {
        return false;
    }
    let mut names = HashSet::new();
    let distinct = named().all(|field| names.insert(field.text.trim().to_lowercase()));
    if others.is_empty() {
        return distinct;
    }
    // What stands below something.
    let data = || {
        let below = others.iter().flat_map(|record| record.iter().zip(first));
        let below = below.filter(|(_, above)| !above.text.trim().is_empty());
        below.map(|(field, _)| field)
    };
    if data().any(|field| field.text.is_empty())
        || others.iter().flatten().any(|field| typed(&field.text))
    {
        return true;
    }
    // All is text. Names are words where data isn't, or are written as names are.
    let words = named().all(|field| is_word(&field.text));
    let names = named().all(|field| is_identifier(&field.text));
    distinct && words && (names || data().any(|field| !is_word(&field.text)))
}

/// Whether a text is written as columns usually are: `order_id`.
fn is_identifier(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Whether a text is a number, a boolean, a date or a time.
fn typed(text: &str) -> bool {
    let text = text.trim();
    text.parse::<f64>().is_ok()
        || text.eq_ignore_ascii_case("true")
        || text.eq_ignore_ascii_case("false")
        || text
            .get(..10)
            .is_some_and(|day| chrono::NaiveDate::parse_from_str(day, "%Y-%m-%d").is_ok())
}

/// Whether a text looks like a name.
fn is_word(text: &str) -> bool {
    let mut chars = text.trim().chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(text: &str) -> Option<(char, bool, bool)> {
        let Guess { delimiter, header } = guess(text, true, false, true)?;
        Some((
            delimiter,
            header,
            super::looks(text, delimiter, true).quoted,
        ))
    }

    #[test]
    fn delimiters_headers_and_quotes_are_guessed() {
        assert_eq!(looks("id,name\n1,a\n2,b\n"), Some((',', true, false)));
        assert_eq!(looks("1,a\n2,b\n"), Some((',', false, false)));
        assert_eq!(looks("id;price\n1;1,5\n2;2,5\n"), Some((';', true, false)));
        assert_eq!(looks("id\tnote\n1\t\"a\nb\"\n"), Some(('\t', true, true)));
        assert_eq!(looks("a|b|c\nx|y|\n"), Some(('|', true, false)));
        assert_eq!(looks("day,n\n2024-01-01,x\n"), Some((',', true, false)));
        assert_eq!(looks("dear all,\nthis is no table\n"), None);
        assert_eq!(
            looks("sep=;\r\nid;b,c\r\n1;2,3\r\n"),
            Some((';', true, false))
        );
        assert_eq!(looks("id,name\r1,a\r2,b\r"), Some((',', true, false)));
        assert_eq!(looks("id,name,\n1,x,\n"), Some((',', true, false)));
        assert_eq!(looks(",a,b\n0,x,y\n"), Some((',', true, false)));
        assert_eq!(looks(",a,b\n0,1,2\n"), Some((',', true, false)));
        assert_eq!(looks("id,name,name\n1,x,y\n"), Some((',', true, false)));
        assert_eq!(looks("x,x\ny,z\n"), Some((',', false, false)));
        assert_eq!(looks("a,,\n,,\n"), Some((',', true, false)));
        assert_eq!(looks(",\n1,2\n"), Some((',', false, false)));
        assert_eq!(looks("one line, only\n"), None);
        assert_eq!(looks(""), None);
    }

    #[test]
    fn a_file_named_csv_may_have_one_column() {
        let guess = |text| guess(text, true, true, true);
        assert!(guess("name\nx y?\n").is_some_and(|guess| guess.header));
        assert!(guess("\n").is_none());
    }

    #[test]
    fn a_record_that_the_sample_cuts_does_not_count() {
        assert_eq!(records("a,b\n1,2\n3", ',', false, RECORDS).len(), 2);
        assert_eq!(records("a,b\n1,2\n3", ',', true, RECORDS).len(), 3);
        assert_eq!(records("a\n\n\nb\n", ',', true, RECORDS).len(), 2);
    }
}
