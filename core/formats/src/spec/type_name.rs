//! Types as users write them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow_schema::{DataType, Field, TimeUnit};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tidegate_core::{DEEPEST, suggest};

const EXTENSION: &str = "ARROW:extension:name";
const JSON: &str = "arrow.json";

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

/// Whether a text field holds JSON values.
pub(crate) fn is_json(field: &Field) -> bool {
    field
        .metadata()
        .get(EXTENSION)
        .is_some_and(|name| name == JSON)
}

const SIMPLE: [(&str, DataType); 31] = [
    ("bool", DataType::Boolean),
    ("int8", DataType::Int8),
    ("int16", DataType::Int16),
    ("int32", DataType::Int32),
    ("int64", DataType::Int64),
    ("uint8", DataType::UInt8),
    ("uint16", DataType::UInt16),
    ("uint32", DataType::UInt32),
    ("uint64", DataType::UInt64),
    ("float32", DataType::Float32),
    ("float64", DataType::Float64),
    ("string", DataType::Utf8),
    ("large_string", DataType::LargeUtf8),
    ("binary", DataType::Binary),
    ("large_binary", DataType::LargeBinary),
    ("date", DataType::Date32),
    ("time", DataType::Time64(TimeUnit::Microsecond)),
    ("time_s", DataType::Time32(TimeUnit::Second)),
    ("time_ms", DataType::Time32(TimeUnit::Millisecond)),
    ("time_ns", DataType::Time64(TimeUnit::Nanosecond)),
    (
        "timestamp_naive",
        DataType::Timestamp(TimeUnit::Microsecond, None),
    ),
    (
        "timestamp_naive_s",
        DataType::Timestamp(TimeUnit::Second, None),
    ),
    (
        "timestamp_naive_ms",
        DataType::Timestamp(TimeUnit::Millisecond, None),
    ),
    (
        "timestamp_naive_ns",
        DataType::Timestamp(TimeUnit::Nanosecond, None),
    ),
    // A zone can't stand in a constant: the names tell it.
    ("timestamp", DataType::Null),
    ("timestamp_s", DataType::Null),
    ("timestamp_ms", DataType::Null),
    ("timestamp_ns", DataType::Null),
    ("json", DataType::Null),
    ("list", DataType::Null),
    ("struct", DataType::Null),
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
            field.with_metadata([(EXTENSION.to_owned(), JSON.to_owned())].into())
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
        let simple = SIMPLE
            .iter()
            .find(|(_, data_type)| *data_type == self.data_type);
        if let Some((name, _)) = simple
            && self.data_type != DataType::Null
        {
            return f.write_str(name);
        }
        match &self.data_type {
            DataType::Timestamp(unit, Some(zone)) if &**zone == "UTC" => f.write_str(match unit {
                TimeUnit::Second => "timestamp_s",
                TimeUnit::Millisecond => "timestamp_ms",
                TimeUnit::Microsecond => "timestamp",
                TimeUnit::Nanosecond => "timestamp_ns",
            }),
            DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
                write!(f, "decimal({precision},{scale})")
            }
            DataType::List(item) => write!(f, "list<{}>", Self::from_field(item)),
            DataType::Struct(fields) => {
                f.write_str("struct<")?;
                for (at, field) in fields.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    write!(f, "{comma}{}:{}", field.name(), Self::from_field(field))?;
                }
                f.write_str(">")
            }
            other => write!(f, "{other}"),
        }
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
                name => SIMPLE
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
        .or_else(|| suggest::nearest(name, SIMPLE.iter().map(|(simple, _)| *simple)));
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
