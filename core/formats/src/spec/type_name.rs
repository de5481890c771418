//! Types as users write them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow_schema::extension::EXTENSION_TYPE_NAME_KEY;
use arrow_schema::{DataType, Field, TimeUnit};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tidegate_core::{DEEPEST, JSON_EXTENSION, SIMPLE_TYPES, TypeName, is_json, suggest};

/// A column's type: `int64`, `decimal(38,2)`, `list<string>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeSpec {
    data_type: DataType,
    json: bool,
}

/// A text field that holds JSON values (Arrow's extension type `arrow.json`): read as the text of
/// whatever stands there, and written as JSON again.
pub fn json_field(name: &str, nullable: bool) -> Field {
    TypeSpec {
        data_type: DataType::Utf8,
        json: true,
    }
    .to_field(name, nullable)
}

/// The names that aren't of one Arrow type, or whose zone can't stand in a constant.
const OTHERS: [&str; 7] = [
    "timestamp",
    "timestamp_s",
    "timestamp_ms",
    "timestamp_ns",
    "json",
    "list",
    "struct",
];

/// What other systems call them.
const FOREIGN: [(&str, &str); 24] = [
    ("boolean", "bool"),
    ("tinyint", "int8"),
    ("smallint", "int16"),
    ("int", "int32` or `int64"),
    ("integer", "int32` or `int64"),
    ("bigint", "int64"),
    ("long", "int64"),
    ("real", "float32"),
    ("float", "float64"),
    ("double", "float64"),
    ("number", "float64` or `decimal(38,2)"),
    ("numeric", "decimal(38,2)"),
    ("decimal", "decimal(38,2)"),
    ("text", "string"),
    ("str", "string"),
    ("utf8", "string"),
    ("varchar", "string"),
    ("bytes", "binary"),
    ("blob", "binary"),
    ("date32", "date"),
    ("datetime", "timestamp_naive"),
    ("timestamptz", "timestamp"),
    ("object", "json"),
    ("array", "list<string>"),
];

impl TypeSpec {
    /// Of an Arrow type.
    pub fn from_arrow(data_type: &DataType) -> Self {
        Self {
            data_type: data_type.clone(),
            json: false,
        }
    }

    /// Of a field, which knows whether a text is JSON.
    pub fn from_field(field: &Field) -> Self {
        Self {
            data_type: field.data_type().clone(),
            json: is_json(field),
        }
    }

    /// The Arrow type.
    pub fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// A field of this type.
    pub fn to_field(&self, name: &str, nullable: bool) -> Field {
        let field = Field::new(name, self.data_type.clone(), nullable);
        if self.json {
            field.with_metadata(
                [(
                    EXTENSION_TYPE_NAME_KEY.to_owned(),
                    JSON_EXTENSION.to_owned(),
                )]
                .into(),
            )
        } else {
            field
        }
    }
}

impl fmt::Display for TypeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.json {
            return f.write_str("json");
        }
        TypeName::of_type(&self.data_type).fmt(f)
    }
}

impl FromStr for TypeSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if depth(text) > DEEPEST {
            return Err(format!("a type is nested more than {DEEPEST} levels deep"));
        }
        Self::parse(text)
    }
}

/// How deep the brackets of a type are.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'<' => depth += 1,
            b'>' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

impl TypeSpec {
    /// Parses a type of which it is known that it isn't nested too deep.
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let data_type = if let Some(inside) = enclosed(text, "list<", ">") {
            DataType::List(Arc::new(
                Self::parse(inside?)?.to_field(Field::LIST_FIELD_DEFAULT_NAME, true),
            ))
        } else if let Some(inside) = enclosed(text, "struct<", ">") {
            struct_of(inside?)?
        } else if let Some(inside) = enclosed(text, "decimal(", ")") {
            decimal(text, inside?)?
        } else {
            let utc = |unit| DataType::Timestamp(unit, Some("UTC".into()));
            match text {
                "json" => {
                    return Ok(Self {
                        data_type: DataType::Utf8,
                        json: true,
                    });
                }
                "timestamp" => utc(TimeUnit::Microsecond),
                "timestamp_s" => utc(TimeUnit::Second),
                "timestamp_ms" => utc(TimeUnit::Millisecond),
                "timestamp_ns" => utc(TimeUnit::Nanosecond),
                "list" => return Err("a list needs the type of its items: `list<string>`".into()),
                "struct" => {
                    return Err("a struct needs its fields: `struct<a:int64,b:string>`".into());
                }
                name => SIMPLE_TYPES
                    .iter()
                    .find(|(simple, _)| *simple == name)
                    .map(|(_, data_type)| data_type.clone())
                    .ok_or_else(|| unknown(name))?,
            }
        };
        Ok(Self {
            data_type,
            json: false,
        })
    }
}

/// What stands between `open` and `close`, if the text begins with `open`.
fn enclosed<'a>(text: &'a str, open: &str, close: &str) -> Option<Result<&'a str, String>> {
    let inside = text.strip_prefix(open)?;
    Some(
        inside
            .strip_suffix(close)
            .ok_or_else(|| format!("`{text}` begins with `{open}` but doesn't end with `{close}`")),
    )
}

fn decimal(text: &str, inside: &str) -> Result<DataType, String> {
    let parsed = inside.split_once(',').unwrap_or((inside, "0"));
    let (Ok(precision), Ok(scale)) = (parsed.0.trim().parse::<u8>(), parsed.1.trim().parse::<i8>())
    else {
        return Err(format!("`{text}` is not a type such as `decimal(38,2)`"));
    };
    if precision == 0 || precision > 76 || scale < 0 || scale.unsigned_abs() > precision {
        return Err(format!(
            "`{text}`: a decimal has 1 to 76 digits, and at most that many behind the point"
        ));
    }
    Ok(if precision <= 38 {
        DataType::Decimal128(precision, scale)
    } else {
        DataType::Decimal256(precision, scale)
    })
}

fn struct_of(inside: &str) -> Result<DataType, String> {
    let (mut fields, mut depth, mut start) = (Vec::<Field>::new(), 0u32, 0);
    for (at, char) in inside.char_indices().chain([(inside.len(), ',')]) {
        match char {
            '<' | '(' => depth += 1,
            '>' | ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                let part = &inside[start..at];
                let Some((name, type_)) = part.split_once(':') else {
                    return Err(format!(
                        "`{part}` is not a field of a struct such as `a:int64`"
                    ));
                };
                if fields.iter().any(|field| field.name() == name.trim()) {
                    return Err(format!("a struct has the field `{}` twice", name.trim()));
                }
                fields.push(TypeSpec::parse(type_)?.to_field(name.trim(), true));
                start = at + 1;
            }
            _ => {}
        }
    }
    if start <= inside.len() {
        return Err(format!("`struct<{inside}>`: its brackets don't match"));
    }
    Ok(DataType::Struct(fields.into()))
}

fn unknown(name: &str) -> String {
    let lower = name.to_lowercase();
    let base = lower.split(['(', ' ']).next().unwrap_or_default();
    let near = FOREIGN
        .iter()
        .find(|(foreign, _)| *foreign == base)
        .map(|(_, ours)| *ours)
        .or_else(|| {
            suggest::nearest(
                name,
                SIMPLE_TYPES.iter().map(|(simple, _)| *simple).chain(OTHERS),
            )
        });
    match near {
        Some(near) => format!("there is no type `{name}`: did you mean `{near}`?"),
        None => format!(
            "there is no type `{name}`: there are bool, int8 to int64, uint8 to uint64, float32, \
             float64, decimal(p,s), string, binary, date, time, timestamp, timestamp_naive, json, \
             list<…> and struct<…>"
        ),
    }
}

impl Serialize for TypeSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TypeSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl JsonSchema for TypeSpec {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "TypeSpec".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "examples": ["int64", "string", "decimal(38,2)", "timestamp", "list<string>", "struct<a:int64,b:string>"],
        })
    }
}
