//! The type of JSON values.

use arrow_schema::{DataType, Field};

use crate::decode::Fault;
use crate::decode::exact;
use crate::decode::json::{Cursor, Type, unescaped};
use crate::decode::number::Number;
use crate::json_field;
use crate::limit::MOST_COLUMNS;

/// What all values of a column so far have in common.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Kind {
    /// Only nulls were seen.
    #[default]
    Unknown,
    Bool,
    /// Integers of 64 bits that a float holds too.
    Int,
    /// Integers of 64 bits.
    Long,
    /// Integers of up to 38 digits.
    Big,
    Float,
    Text,
    List(Box<Kind>),
    /// Fields in the order in which they were first seen.
    Object(Vec<(String, Kind)>),
    /// No type holds them all but their JSON text.
    Mixed,
}

impl Kind {
    /// Takes note of the value at the cursor.
    pub(crate) fn learn(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        match cursor.type_here()? {
            Type::Null => cursor.literal(b"null"),
            Type::Array => {
                let inner = match self {
                    Self::List(items) => Some(&mut **items),
                    Self::Unknown => {
                        *self = Self::List(Box::default());
                        match self {
                            Self::List(items) => Some(&mut **items),
                            _ => None,
                        }
                    }
                    _ => None,
                };
                match inner {
                    Some(items) => cursor.each(|cursor| items.learn(cursor)),
                    None => self.mix(cursor),
                }
            }
            Type::Object => {
                if *self == Self::Unknown {
                    *self = Self::Object(Vec::new());
                }
                match self {
                    Self::Object(fields) => learn_fields(fields, cursor),
                    _ => self.mix(cursor),
                }
            }
            Type::Bool => self.scalar(cursor, Self::Bool),
            Type::Text => self.scalar(cursor, Self::Text),
            Type::Number => {
                let (number, text) = cursor.number()?;
                self.widen(Self::of_number(number, text));
                Ok(())
            }
        }
    }

    /// Numbers are those that come back from their type as they are: an integer too large for 38
    /// digits, or a fraction too long for a float, is text.
    fn of_number(number: Number, text: &[u8]) -> Self {
        let float = exact::float(number, text).is_some();
        // An integer would lose the sign.
        let zero = number.negative && number.to_i128(text) == Some(0);
        if !number.integer || zero {
            return if float { Self::Float } else { Self::Mixed };
        }
        match number.to_i128(text) {
            Some(value) if i64::try_from(value).is_err() => match text.len() <= 38 {
                true => Self::Big,
                false => Self::Mixed,
            },
            Some(_) if float => Self::Int,
            Some(_) => Self::Long,
            None => Self::Mixed,
        }
    }

    fn scalar(&mut self, cursor: &mut Cursor<'_>, kind: Self) -> Result<(), Fault> {
        cursor.raw()?;
        self.widen(kind);
        Ok(())
    }

    fn mix(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        cursor.raw()?;
        *self = Self::Mixed;
        Ok(())
    }

    fn widen(&mut self, kind: Self) {
        use Kind::{Big, Float, Int, Long, Mixed, Unknown};
        *self = match (std::mem::take(self), kind) {
            (Unknown, kind) => kind,
            (old, new) if old == new => old,
            (Int | Long, Int | Long) => Long,
            (Int | Long | Big, Int | Long | Big) => Big,
            (Int | Float, Int | Float) => Float,
            // Many digits here and fractions there: neither type would keep both.
            _ => Mixed,
        };
    }

    /// Takes note of what another one has seen.
    pub(crate) fn merge(&mut self, other: &Self) {
        match (&mut *self, other) {
            (_, Self::Unknown) => {}
            (Self::List(items), Self::List(others)) => items.merge(others),
            (Self::Object(fields), Self::Object(others)) => merge_fields(fields, others),
            _ => self.widen(other.clone()),
        }
    }

    /// A field for these values. What is only null is text; so is what is mixed, as its JSON.
    pub(crate) fn field(&self, name: &str) -> Field {
        let data_type = match self {
            Self::Unknown | Self::Text => DataType::Utf8,
            Self::Bool => DataType::Boolean,
            Self::Int | Self::Long => DataType::Int64,
            Self::Big => DataType::Decimal128(38, 0),
            Self::Float => DataType::Float64,
            Self::List(items) => DataType::List(items.field(Field::LIST_FIELD_DEFAULT_NAME).into()),
            // A struct without fields is something that few formats can hold.
            Self::Object(fields) if fields.is_empty() => return json_field(name, true),
            Self::Object(fields) => {
                DataType::Struct(fields.iter().map(|(name, kind)| kind.field(name)).collect())
            }
            Self::Mixed => DataType::Utf8,
        };
        Field::new(name, data_type, true)
    }

    fn leaves(&self) -> usize {
        match self {
            Self::Object(fields) => leaves(fields).max(1),
            Self::List(items) => items.leaves(),
            _ => 1,
        }
    }
}

/// How many columns there are, members of structs counted one by one.
pub(crate) fn leaves(fields: &[(String, Kind)]) -> usize {
    fields.iter().map(|(_, kind)| kind.leaves()).sum()
}

/// Adds what others have seen of these fields. One that differs in nothing but case is the same.
pub(crate) fn merge_fields(fields: &mut Vec<(String, Kind)>, others: &[(String, Kind)]) {
    for (name, other) in others {
        match place(fields, name) {
            Some(at) => fields[at].1.merge(other),
            None => fields.push((name.clone(), other.clone())),
        }
    }
}

/// Which of the columns this is, by its name or else whatever its case.
pub(crate) fn place<K>(columns: &[(String, K)], name: &str) -> Option<usize> {
    let exact = columns.iter().position(|(known, _)| known == name);
    exact.or_else(|| {
        let folded = name.to_lowercase();
        let mut names = columns.iter();
        names.position(|(known, _)| known.to_lowercase() == folded)
    })
}

/// Takes note of the object at the cursor.
pub(crate) fn learn_fields(
    fields: &mut Vec<(String, Kind)>,
    cursor: &mut Cursor<'_>,
) -> Result<(), Fault> {
    let mut expected = 0;
    cursor.each(|cursor| {
        let raw = cursor.raw_key()?;
        let text = unescaped(raw)?.into_owned();
        let name = String::from_utf8(text).map_err(|_| Fault::new("a key is not valid UTF-8"))?;
        let known = match fields.get(expected) {
            Some((next, _)) if *next == name => Some(expected),
            _ => fields.iter().position(|(other, _)| *other == name),
        };
        // One more than that, so that it is seen that there were more.
        if known.is_none() && fields.len() > MOST_COLUMNS {
            return Err(Fault::new("there are too many keys"));
        }
        let at = known.unwrap_or_else(|| {
            // Beside its neighbours, where the order is natural.
            let at = expected.min(fields.len());
            fields.insert(at, (name, Kind::Unknown));
            at
        });
        expected = at + 1;
        fields[at].1.learn(cursor)
    })
}
