//! From Hive to Arrow.

use std::collections::HashSet;

use arrow_schema::{DataType, Field};
use tidegate_core::{Error, Result};

use super::types::{list, map, timestamp};

/// How deep types may be nested, so that no text can exhaust the stack.
const DEEPEST: usize = 64;

/// Reads a type as Hive's metastore writes it, in any case, with the other names that programs use
/// (`integer`, `varchar(20)`), and with spaces between its parts.
///
/// Errors: `Schema`, with the position (from 1), for what is no type or has no counterpart in Arrow.
pub fn parse_type(text: &str) -> Result<DataType> {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
    };
    let data_type = parser.data_type()?;
    match parser.rest().trim_start() {
        "" => Ok(data_type),
        _ => Err(parser.expected("the end")),
    }
}

struct Parser<'a> {
    text: &'a str,
    /// The byte that comes next.
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn data_type(&mut self) -> Result<DataType> {
        use DataType as T;
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.error("a type is nested too deeply"));
        }
        self.spaces();
        let start = self.at;
        let word = self.word().to_ascii_lowercase();
        let data_type = match word.as_str() {
            "boolean" => T::Boolean,
            "tinyint" | "byte" => T::Int8,
            "smallint" | "short" => T::Int16,
            "int" | "integer" => T::Int32,
            "bigint" | "long" => T::Int64,
            "float" | "real" => T::Float32,
            "double" => {
                let before = self.at;
                self.spaces();
                if !self.word().eq_ignore_ascii_case("precision") {
                    self.at = before;
                }
                T::Float64
            }
            "string" => T::Utf8,
            "char" | "varchar" => {
                if self.take('(') {
                    self.number()?;
                    self.demand(')')?;
                }
                T::Utf8
            }
            "binary" => T::Binary,
            "date" => T::Date32,
            "timestamp" | "timestamptz" => timestamp(),
            "decimal" | "dec" | "numeric" => self.decimal()?,
            "array" => {
                self.demand('<')?;
                let item = self.data_type()?;
                self.demand('>')?;
                list(item)
            }
            "map" => {
                self.demand('<')?;
                let key = self.data_type()?;
                self.demand(',')?;
                let value = self.data_type()?;
                self.demand('>')?;
                map(key, value)
            }
            "struct" | "row" => self.members()?,
            _ => {
                self.at = start;
                let error = match word.as_str() {
                    "" => self.expected("a type"),
                    word => self.error(format!("`{word}` is no type that Tidegate reads")),
                };
                return Err(error);
            }
        };
        self.depth -= 1;
        Ok(data_type)
    }

    fn decimal(&mut self) -> Result<DataType> {
        // Hive's own default.
        let (mut precision, mut scale) = (10, 0);
        self.spaces();
        let start = self.at;
        if self.take('(') {
            precision = self.number()?;
            if self.take(',') {
                scale = self.number()?;
            }
            self.demand(')')?;
        }
        match (u8::try_from(precision), i8::try_from(scale)) {
            (Ok(digits @ 1..=38), Ok(after)) if scale <= precision => {
                Ok(DataType::Decimal128(digits, after))
            }
            _ => {
                self.at = start;
                Err(self.error("a decimal has 1 to 38 digits, no more of them after the point"))
            }
        }
    }

    fn members(&mut self) -> Result<DataType> {
        self.demand('<')?;
        let mut fields: Vec<Field> = Vec::new();
        let mut names = HashSet::new();
        loop {
            self.spaces();
            let start = self.at;
            let name = self.name()?;
            if !names.insert(name.clone()) {
                self.at = start;
                return Err(self.error(format!("two members are called `{name}`")));
            }
            self.demand(':')?;
            fields.push(Field::new(name, self.data_type()?, true));
            if !self.take(',') {
                break;
            }
        }
        self.demand('>')?;
        Ok(DataType::Struct(fields.into()))
    }

    /// A member's name: up to the `:`, or in backquotes (two of them stand for one).
    fn name(&mut self) -> Result<String> {
        if self.take('`') {
            let mut name = String::new();
            loop {
                let rest = self.rest();
                let Some(length) = rest.find('`') else {
                    return Err(self.expected("a closing backquote"));
                };
                name.push_str(&rest[..length]);
                self.at += length + 1;
                if !self.rest().starts_with('`') {
                    return Ok(name);
                }
                name.push('`');
                self.at += 1;
            }
        }
        let rest = self.rest();
        let length = rest.find([':', ',', '<', '>']).unwrap_or(rest.len());
        let name = rest[..length].trim_end();
        if name.is_empty() {
            return Err(self.expected("a member's name"));
        }
        self.at += length;
        Ok(name.to_owned())
    }

    fn number(&mut self) -> Result<u32> {
        self.spaces();
        let rest = self.rest();
        let length = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let number = rest[..length].parse();
        let number = number.map_err(|_| self.expected("a number"))?;
        self.at += length;
        Ok(number)
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let length = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn take(&mut self, c: char) -> bool {
        self.spaces();
        let found = self.rest().starts_with(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn demand(&mut self, c: char) -> Result<()> {
        match self.take(c) {
            true => Ok(()),
            false => Err(self.expected(&format!("`{c}`"))),
        }
    }

    fn spaces(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn expected(&self, what: &str) -> Error {
        let found = self.rest().trim_start().chars().next();
        self.error(match found {
            Some(found) => format!("a type has `{found}` where {what} should be"),
            None => format!("a type ends where {what} should be"),
        })
    }

    fn error(&self, message: impl Into<String>) -> Error {
        let spaces = self.rest().len() - self.rest().trim_start().len();
        let before = &self.text[..self.at + spaces];
        // A type may have 131,072 characters; the position says where to look.
        let mut shown: String = self.text.chars().take(200).collect();
        if shown.len() < self.text.len() {
            shown.push('…');
        }
        Error::schema(message)
            .with("type", shown)
            .with("position", before.chars().count() + 1)
    }
}
