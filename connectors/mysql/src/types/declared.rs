//! A type as it is declared: `decimal(10,2) unsigned`, `enum('a','it''s')`.

use std::fmt;

/// A declared type, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Declared {
    text: String,
    /// Its first word, in lower case: `decimal`.
    pub(crate) word: String,
    numbers: [Option<u64>; 2],
    /// Of an ENUM or SET, in order.
    pub(crate) members: Option<Vec<String>>,
    pub(crate) unsigned: bool,
    zerofill: bool,
    /// Whether nothing stands there beside what is said here.
    whole: bool,
}

impl Declared {
    pub(crate) fn parse(text: &str) -> Self {
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let (word, rest) = text.split_at(end.unwrap_or(text.len()));
        let mut declared = Self {
            text: text.to_owned(),
            word: word.to_ascii_lowercase(),
            numbers: [None, None],
            members: None,
            unsigned: false,
            zerofill: false,
            whole: word.starts_with(|c: char| c.is_ascii_alphabetic()),
        };
        let rest = match rest.strip_prefix('(') {
            None => rest,
            Some(list) => declared.list(list),
        };
        for attribute in rest.split_ascii_whitespace() {
            match attribute.to_ascii_lowercase().as_str() {
                "unsigned" => declared.unsigned = true,
                // Which makes it unsigned, said or not.
                "zerofill" => (declared.unsigned, declared.zerofill) = (true, true),
                _ => declared.whole = false,
            }
        }
        declared
    }

    /// Takes in what stands in the parentheses, and gives what stands behind them.
    fn list<'a>(&mut self, list: &'a str) -> &'a str {
        if list.starts_with('\'') {
            let Some((members, rest)) = members(list) else {
                self.whole = false;
                return "";
            };
            self.members = Some(members);
            return rest;
        }
        let Some((numbers, rest)) = list.split_once(')') else {
            self.whole = false;
            return "";
        };
        let mut slots = self.numbers.iter_mut();
        for number in numbers.split(',') {
            match (slots.next(), number.trim().parse()) {
                (Some(slot), Ok(number)) => *slot = Some(number),
                _ => self.whole = false,
            }
        }
        rest
    }

    /// The number in its parentheses, or the first of two.
    pub(crate) fn number(&self) -> Option<u64> {
        self.numbers[0]
    }

    /// The digits behind the point, where it says how many: `double(8,3)`.
    pub(crate) fn places(&self) -> Option<u8> {
        self.numbers[1].map(small)
    }

    /// The same number as a size of less than 256, or what it is where it isn't said.
    pub(super) fn size(&self, usual: u8) -> u8 {
        self.number().map_or(usual, small)
    }

    /// Whether what is shorter is filled up, with spaces or with zero bytes.
    pub(crate) fn is_padded(&self) -> bool {
        matches!(self.word.as_str(), "char" | "binary")
    }

    /// The most characters or bytes of a value, if it says so.
    pub(crate) fn most(&self) -> Option<u64> {
        match self.word.as_str() {
            "char" | "binary" => Some(self.number().unwrap_or(1)),
            "varchar" | "varbinary" => Some(self.number().unwrap_or(0)),
            _ => None,
        }
    }

    /// The same as it stands in a statement, where a backslash is a backslash; none if there is more
    /// to it than a type. It may come from a field's metadata, and that from anywhere, so it is put
    /// together anew.
    pub(crate) fn for_statement(mut self) -> Option<Self> {
        if !self.whole {
            return None;
        }
        let list: Vec<_> = match &self.members {
            Some(members) => members.iter().map(|member| quoted(member)).collect(),
            None => self.numbers.iter().flatten().map(u64::to_string).collect(),
        };
        let mut sql = self.word.clone();
        if !list.is_empty() {
            sql.push_str(&format!("({})", list.join(",")));
        }
        for (said, attribute) in [(self.unsigned, " unsigned"), (self.zerofill, " zerofill")] {
            sql.push_str(if said { attribute } else { "" });
        }
        self.text = sql;
        Some(self)
    }
}

impl fmt::Display for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn small(number: u64) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

fn quoted(member: &str) -> String {
    format!("'{}'", member.replace('\'', "''"))
}

/// How a time is declared with so many digits behind the second.
pub(crate) fn with_fraction(word: &str, digits: u8) -> String {
    match digits {
        0 => word.to_owned(),
        digits => format!("{word}({digits})"),
    }
}

/// How a server declares an ENUM or SET (`word`) of these members.
pub(crate) fn of_members(word: &str, members: &[String]) -> String {
    let members: Vec<_> = members
        .iter()
        .map(|member| quoted(&member.replace('\\', "\\\\")))
        .collect();
    format!("{word}({})", members.join(","))
}

/// The members in `'a','it''s')`, and what stands behind them. MariaDB 10 and MySQL 8 write `?` for
/// a character of 4 bytes.
fn members(list: &str) -> Option<(Vec<String>, &str)> {
    let mut members = Vec::new();
    let mut rest = list.chars();
    loop {
        if rest.next()? != '\'' {
            return None;
        }
        let mut member = String::new();
        loop {
            match rest.next()? {
                '\'' if rest.as_str().starts_with('\'') => {
                    rest.next();
                    member.push('\'');
                }
                '\'' => break,
                // So servers write what can't be seen, whatever the SQL mode; a quote they double.
                '\\' => member.push(match rest.next()? {
                    '\'' => return None,
                    'n' => '\n',
                    'r' => '\r',
                    '0' => '\0',
                    'Z' => '\u{1a}',
                    character => character,
                }),
                character => member.push(character),
            }
        }
        members.push(member);
        match rest.next()? {
            ',' => {}
            ')' => return Some((members, rest.as_str())),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_from_a_declaration() {
        let of = |text| Declared::parse(text).members;
        let some = |members: &[&str]| Some(members.iter().map(|&one| one.to_owned()).collect());
        assert_eq!(of("enum('a','b')"), some(&["a", "b"]));
        assert_eq!(of("enum('1','b c','it''s')"), some(&["1", "b c", "it's"]));
        assert_eq!(of("set('it''s','','ä,b)')"), some(&["it's", "", "ä,b)"]));
        assert_eq!(of(r"enum('a\nb','c\\d')"), some(&["a\nb", r"c\d"]));
        for none in ["enum", "enum('a", "varchar(10)"] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn a_type_is_a_type_and_nothing_else() {
        let sql = |text| Some(Declared::parse(text).for_statement()?.to_string());
        for good in [
            "int(10) unsigned zerofill",
            "enum('a','it''s','b)')",
            "decimal(38,2)",
            "json",
        ] {
            assert_eq!(sql(good).as_deref(), Some(good));
        }
        for bad in [
            "",
            "int; DROP TABLE x",
            "int) ENGINE=MyISAM, (a int",
            "enum('a'",
            r"enum('a\') ENGINE = x -- ')",
            "int default 7",
            "int -- x",
            "int/*",
            "(3)",
            "varchar(now())",
        ] {
            assert_eq!(sql(bad), None, "{bad}");
        }
        let escaped = sql(r"enum('\\','a\nb','it''s')");
        assert_eq!(escaped.as_deref(), Some("enum('\\','a\nb','it''s')"));
    }
}
