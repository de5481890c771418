//! Partitions as directories, `yr_num=2024/kind=a%2Fb`, spelled and read as Hive and Spark do.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, StringArray, new_null_array};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field, FieldRef, Fields};
use tidegate_core::{Error, Result};

use crate::together::same_name;

/// What stands for NULL, and for the empty text, which a directory can't hold either.
pub const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// The longest name that file systems take, in bytes: of `key=value`, encoded.
pub const NAME_LIMIT: usize = 255;

/// A key's name or a value as it stands in a directory's name: Hive's `FileUtils.escapePathName`, that
/// is percent-encoding of what a file system, a shell or `key=value` could stumble over. The empty
/// text becomes [`NULL_PARTITION`].
///
/// ```
/// assert_eq!(tidegate_catalog::encode_value("a/b c"), "a%2Fb c");
/// ```
pub fn encode_value(text: &str) -> String {
    if text.is_empty() {
        return NULL_PARTITION.to_owned();
    }
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0'..='\x1f'
            | '\x7f'
            | '"'
            | '#'
            | '%'
            | '\''
            | '*'
            | '/'
            | ':'
            | '='
            | '?'
            | '\\'
            | '{'
            | '['
            | ']'
            | '^' => {
                encoded.push('%');
                let byte = u32::from(c);
                encoded.extend([byte >> 4, byte & 15].map(hex));
            }
            other => encoded.push(other),
        }
    }
    encoded
}

fn hex(digit: u32) -> char {
    char::from_digit(digit, 16).map_or('0', |c| c.to_ascii_uppercase())
}

/// What [`encode_value`] has made of a text; `None` is NULL. A `%` that encodes nothing stands for
/// itself; bytes that other programs encoded (`%C3%BC`) are read as UTF-8.
pub fn decode_value(encoded: &str) -> Option<String> {
    if encoded == NULL_PARTITION {
        return None;
    }
    if !encoded.contains('%') {
        return Some(encoded.to_owned());
    }
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let [first, after @ ..] = rest {
        match (first, after) {
            (b'%', [high, low, after @ ..])
                if let (Some(high), Some(low)) = (digit(*high), digit(*low)) =>
            {
                bytes.push(high << 4 | low);
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    Some(String::from_utf8(bytes).unwrap_or_else(|_| encoded.to_owned()))
}

fn digit(c: u8) -> Option<u8> {
    char::from(c)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// `key=value` as a directory's name, encoded. A key's first `.` is encoded, too: it would hide the
/// directory from readers.
pub fn directory_name(key: &str, value: Option<&str>) -> String {
    let (dot, key) = match key.strip_prefix('.') {
        Some(rest) if !rest.is_empty() => ("%2E", rest),
        _ => ("", key),
    };
    let (key, value) = (encode_value(key), encode_value(value.unwrap_or("")));
    format!("{dot}{key}={value}")
}

/// The directory of a partition, `a=1/b=x%3A`; empty without keys.
pub fn directory<K: AsRef<str>>(keys: &[K], values: &[Option<String>]) -> String {
    let names = keys.iter().zip(values);
    let names = names.map(|(key, value)| directory_name(key.as_ref(), value.as_deref()));
    names.collect::<Vec<_>>().join("/")
}

/// The keys and values of a directory that [`directory`] named; `None` if a part of it isn't `key=value`.
pub fn parse_directory(path: &str) -> Option<Vec<(String, Option<String>)>> {
    let names = path.split('/').filter(|name| !name.is_empty());
    names.map(parse_name).collect()
}

/// The key and the value of one directory's name; `None` if it isn't `key=value`.
pub fn parse_name(name: &str) -> Option<(String, Option<String>)> {
    let (key, value) = name.split_once('=')?;
    let key = decode_value(key).filter(|key| !key.is_empty())?;
    // `key=` is written by programs that don't know the word for it.
    let value = decode_value(value).filter(|value| !value.is_empty());
    Some((key, value))
}

/// The partition keys that the directories of files name, as columns.
#[derive(Debug)]
pub struct DirectoryKeys {
    /// The keys, in the order in which they are met, typed by their values ([`key_type`]).
    pub keys: Vec<FieldRef>,
    /// For each file the values of the keys. NULL, too, where its path has no such directory.
    pub values: Vec<Vec<Option<String>>>,
    /// For each key the first file without such a directory.
    pub missing: Vec<Option<usize>>,
}

impl DirectoryKeys {
    /// Reads the paths of files, `year=2024/x.csv`; names that are no `key=value` say nothing. Keys
    /// that differ only in case are one.
    ///
    /// Errors: `Schema` where a path has a key twice.
    pub fn of<'a>(paths: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut names: Vec<String> = Vec::new();
        let mut found: Vec<Vec<Option<Option<String>>>> = Vec::new();
        for path in paths {
            let mut values = vec![None; names.len()];
            for (key, value) in named(path)? {
                let known = names.iter().position(|name| same_name(name, &key));
                let at = known.unwrap_or_else(|| {
                    names.push(key);
                    values.push(None);
                    names.len() - 1
                });
                values[at] = Some(value);
            }
            found.push(values);
        }
        let value = |file: &[Option<Option<String>>], at: usize| file.get(at).cloned().flatten();
        let keys = names.iter().enumerate().map(|(at, name)| {
            let values: Vec<_> = found.iter().map(|file| value(file, at).flatten()).collect();
            let kind = key_type(values.iter().map(Option::as_deref));
            Arc::new(Field::new(name, kind, true))
        });
        let all = 0..names.len();
        Ok(Self {
            keys: keys.collect(),
            missing: all
                .clone()
                .map(|at| found.iter().position(|file| value(file, at).is_none()))
                .collect(),
            values: found
                .iter()
                .map(|file| all.clone().map(|at| value(file, at).flatten()).collect())
                .collect(),
        })
    }

    /// The key that a column has the name of, whatever its case.
    pub fn position(&self, column: &str) -> Option<usize> {
        let mut keys = self.keys.iter();
        keys.position(|key| same_name(key.name(), column))
    }

    /// The columns of the files without those that directories name: a directory's value counts. `show` says
    /// what a file is called, by its number.
    ///
    /// Errors: `Schema` where the directories of only some files name such a column.
    pub fn stored(&self, columns: &Fields, show: impl Fn(usize) -> String) -> Result<Fields> {
        let mut stored = Vec::with_capacity(columns.len());
        for field in columns {
            let Some(key) = self.position(field.name()) else {
                stored.push(Arc::clone(field));
                continue;
            };
            if let Some(file) = self.missing[key] {
                return Err(not_all(field.name()).with("path", show(file)));
            }
        }
        Ok(stored.into())
    }
}

/// What the directories of a file say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DirectoryValues {
    /// The values of the keys that were asked for; `None` where no directory names the key.
    pub values: Vec<Option<Option<String>>>,
    /// Other keys that they name.
    pub others: Vec<String>,
}

impl DirectoryValues {
    /// Reads a file's path, as [`DirectoryKeys::of`] does, for the values of these keys.
    ///
    /// Errors: `Schema` where it has a key twice.
    pub fn of(path: &str, keys: &[FieldRef]) -> Result<Self> {
        let mut found = Self {
            values: vec![None; keys.len()],
            others: Vec::new(),
        };
        for (key, value) in named(path)? {
            let mut known = false;
            for (field, its) in keys.iter().zip(&mut found.values) {
                if same_name(field.name(), &key) {
                    known = true;
                    *its = Some(value.clone());
                }
            }
            if !known {
                found.others.push(key);
            }
        }
        Ok(found)
    }
}

/// That a column of the files is named by some of their directories only.
pub fn not_all(column: &str) -> Error {
    Error::schema(format!(
        "the column `{column}` is named by the directories of some files, and not of all"
    ))
    .hint("choose files that are alike by a pattern")
}

/// The keys and values in a file's path. Errors: `Schema` where it has a key twice.
fn named(path: &str) -> Result<Vec<(String, Option<String>)>> {
    let directories = path
        .rsplit_once('/')
        .map_or("", |(directories, _)| directories);
    let mut found: Vec<(String, Option<String>)> = Vec::new();
    for (key, value) in directories.split('/').filter_map(parse_name) {
        if found.iter().any(|(known, _)| same_name(known, &key)) {
            return Err(Error::schema(format!("the directories name `{key}` twice"))
                .with("path", path)
                .hint("a partition has one value of each key"));
        }
        found.push((key, value));
    }
    Ok(found)
}

/// The type of a partition key with these values: integers, dates or text, whichever writes all of
/// them back as they are. So `07` and `1.10` are text.
pub fn key_type<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> DataType {
    let values: BTreeSet<&str> = values.into_iter().flatten().collect();
    let written_back = |data_type: &DataType| {
        let key = Field::new("key", data_type.clone(), true);
        let Ok(typed) = parse_values(values.iter().map(|text| Some(*text)), &key) else {
            return false;
        };
        let mut rows = values.iter().enumerate();
        rows.all(|(row, text)| {
            let again = value_text(&*typed, row);
            again.is_ok_and(|again| again.as_deref() == Some(*text))
        })
    };
    let types = [DataType::Int64, DataType::Date32].into_iter();
    let mut fits = types.filter(|data_type| !values.is_empty() && written_back(data_type));
    fits.next().unwrap_or(DataType::Utf8)
}

/// Refuses a partition key whose values can't name directories and be read back: what is no text,
/// integer, date, time stamp, decimal or boolean. Errors: `Schema`.
pub fn check_key(field: &Field) -> Result<()> {
    use DataType as T;
    let fits = |data_type: &T| {
        data_type.is_integer()
            || matches!(
                data_type,
                T::Boolean
                    | T::Utf8
                    | T::LargeUtf8
                    | T::Utf8View
                    | T::Date32
                    | T::Date64
                    | T::Timestamp(..)
                    | T::Decimal32(..)
                    | T::Decimal64(..)
                    | T::Decimal128(..)
                    | T::Decimal256(..)
            )
    };
    let fit = match field.data_type() {
        T::Dictionary(_, values) => fits(values),
        other => fits(other),
    };
    if fit {
        return Ok(());
    }
    Err(Error::schema(format!(
        "column `{}` of type {} can't be a partition key",
        field.name(),
        field.data_type()
    ))
    .hint("partition by text, integers, dates, times, decimals or booleans"))
}

/// A value of a partition key as catalogs and directories have it; `None` for NULL and for empty text.
///
/// Times are `2024-02-29 07:08:09.5`, in the column's zone and without it.
pub fn value_text(values: &dyn Array, row: usize) -> Result<Option<String>> {
    if values.is_null(row) {
        return Ok(None);
    }
    let options = FormatOptions::new()
        .with_datetime_format(Some("%Y-%m-%d"))
        .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
        .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f"));
    let text = ArrayFormatter::try_new(values, &options)?
        .value(row)
        .try_to_string()?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Values of a partition key, typed: what [`value_text`] made them of.
///
/// Errors: `Schema`, naming the key and the value that its type can't be read from.
pub fn parse_values<'a>(
    values: impl IntoIterator<Item = Option<&'a str>>,
    key: &Field,
) -> Result<ArrayRef> {
    let texts: StringArray = values.into_iter().collect();
    let texts: ArrayRef = Arc::new(texts);
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(&texts, key.data_type(), &strict).map_err(|error| {
        // Only one of them is to blame; which one, the library doesn't tell.
        let bad = (0..texts.len()).find(|row| {
            let one = texts.slice(*row, 1);
            cast_with_options(&one, key.data_type(), &strict).is_err()
        });
        let bad = bad.and_then(|row| value_text(&texts, row).ok().flatten());
        Error::schema(format!(
            "the partition `{}={}` is no {}",
            key.name(),
            bad.unwrap_or_default(),
            key.data_type()
        ))
        .hint("the table's partition key needs another type, or the partition another name")
        .because(error)
    })
}

/// One row of partition values, an array of length 1 for each key, in their order. Values that are
/// missing at the end are NULL.
///
/// Errors: see [`parse_values`].
pub fn parse_row(values: &[Option<String>], keys: &[FieldRef]) -> Result<Vec<ArrayRef>> {
    let row = keys.iter().enumerate();
    row.map(|(index, key)| match values.get(index) {
        Some(value) => parse_values([value.as_deref()], key),
        None => Ok(new_null_array(key.data_type(), 1)),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use arrow_array::{
        BooleanArray, Date32Array, Decimal128Array, Int64Array, StringArray,
        TimestampMicrosecondArray,
    };
    use arrow_schema::TimeUnit;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_those_of_hive() {
        let texts = [
            (Some("plain text-1.5"), "c%3D1=plain text-1.5"),
            (Some("a/b=c:d%e"), "c%3D1=a%2Fb%3Dc%3Ad%25e"),
            (
                Some("q?\"'#*[x]{y}^\\"),
                "c%3D1=q%3F%22%27%23%2A%5Bx%5D%7By}%5E%5C",
            ),
            (Some("tab\tdel\x7f"), "c%3D1=tab%09del%7F"),
            (Some("ü/日本"), "c%3D1=ü%2F日本"),
            (Some(""), "c%3D1=__HIVE_DEFAULT_PARTITION__"),
            (None, "c%3D1=__HIVE_DEFAULT_PARTITION__"),
        ];
        for (value, name) in texts {
            assert_eq!(directory_name("c=1", value), name);
        }
        assert_eq!(
            directory(&["a", "b"], &[Some("1".into()), None]),
            "a=1/b=__HIVE_DEFAULT_PARTITION__"
        );
        assert_eq!(directory::<&str>(&[], &[]), "");
        assert_eq!(directory_name(".x", Some(".y")), "%2Ex=.y");
        assert_eq!(
            parse_name("%2Ex=.y"),
            Some((".x".into(), Some(".y".into())))
        );
    }

    #[test]
    fn directories_of_other_programs_are_read() {
        let read = |path| parse_directory(path).unwrap();
        assert_eq!(read(""), []);
        assert_eq!(
            read("a=1/b%3D=x%3Ay/"),
            [
                ("a".into(), Some("1".into())),
                ("b=".into(), Some("x:y".into()))
            ]
        );
        assert_eq!(read("a=%C3%BC"), [("a".into(), Some("ü".into()))]);
        assert_eq!(
            read("a=100%/b=%zz/c=%ff"),
            [
                ("a".into(), Some("100%".into())),
                ("b".into(), Some("%zz".into())),
                ("c".into(), Some("%ff".into())),
            ]
        );
        assert_eq!(read("a="), [("a".into(), None)]);
        assert_eq!(read("a=x=y"), [("a".into(), Some("x=y".into()))]);
        for path in ["a", "a=1/b", "=1", "2024/02/29"] {
            assert_eq!(parse_directory(path), None, "{path}");
        }
    }

    #[test]
    fn c9_directories_of_uneven_depth_keep_their_keys() {
        let paths = [
            "a=1/x",
            "a=2/b=u/x",
            "x",
            "plain/B=v/A=/x",
            "a=__HIVE_DEFAULT_PARTITION__/x",
        ];
        let found = DirectoryKeys::of(paths).unwrap();
        let keys: Vec<_> = found
            .keys
            .iter()
            .map(|key| (key.name().as_str(), key.data_type()))
            .collect();
        assert_eq!(keys, [("a", &DataType::Int64), ("b", &DataType::Utf8)]);
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            found.values,
            [
                [text("1"), None],
                [text("2"), text("u")],
                [None, None],
                [None, text("v")],
                [None, None]
            ]
        );
        assert_eq!(found.missing, [Some(2), Some(0)]);
        let again = DirectoryValues::of("B=v/c=1/x", &found.keys).unwrap();
        assert_eq!(again.values, [None, Some(text("v"))]);
        assert_eq!(again.others, ["c"]);
        let error = DirectoryKeys::of(["a=1/A=2/x"]).unwrap_err();
        assert!(error.message().contains("twice"), "{error}");
    }

    #[test]
    fn a_directories_value_counts_and_has_to_be_there_for_all() {
        let int = |name: &str| Arc::new(Field::new(name, DataType::Int64, true));
        let columns: Fields = vec![int("id"), int("Year")].into();
        let show = |at: usize| at.to_string();
        let all = DirectoryKeys::of(["year=1/x", "year=2/x"]).unwrap();
        assert_eq!(all.stored(&columns, show).unwrap(), vec![int("id")].into());
        let some = DirectoryKeys::of(["year=1/x", "x"]).unwrap();
        let error = some.stored(&columns, show).unwrap_err();
        assert!(error.to_string().contains("`Year`"), "{error}");
    }

    #[test]
    fn keys_have_a_type_only_if_it_writes_all_values_back() {
        let of = |values: &[Option<&'static str>]| key_type(values.iter().copied());
        let int = ["2024", "-1", "0", "9223372036854775807"];
        assert_eq!(of(&int.map(Some)), DataType::Int64);
        assert_eq!(of(&[Some("1"), None]), DataType::Int64);
        for text in [
            "007",
            "+7",
            " 7",
            "-0",
            "1e3",
            "1.10",
            "9223372036854775808",
            "true",
            "٣",
        ] {
            assert_eq!(of(&[Some("1"), Some(text)]), DataType::Utf8, "{text}");
        }
        assert_eq!(
            of(&[Some("2024-02-29"), Some("0001-01-01")]),
            DataType::Date32
        );
        for text in [
            "2024-1-5",
            "2024-02-30",
            "20240105",
            "2024-01-05T00:00:00",
            "+2024-1-5",
        ] {
            assert_eq!(
                of(&[Some("2024-02-29"), Some(text)]),
                DataType::Utf8,
                "{text}"
            );
        }
        assert_eq!(of(&[None]), DataType::Utf8);
        assert_eq!(of(&[]), DataType::Utf8);
    }

    #[test]
    fn a_value_that_its_key_cannot_hold_is_named() {
        let key = Field::new("week", DataType::Int32, true);
        let error = parse_values([Some("1"), None, Some("x9")], &key).unwrap_err();
        assert!(error.message().contains("`week=x9`"), "{error}");
        let row = parse_row(&[Some("7".into())], &[Arc::new(key.clone()), Arc::new(key)]).unwrap();
        assert_eq!(value_text(&row[0], 0).unwrap().as_deref(), Some("7"));
        assert!(row[1].is_null(0));
    }

    #[test]
    fn values_are_read_back_as_they_were() {
        let zone = |array: TimestampMicrosecondArray| Arc::new(array.with_timezone("UTC"));
        let times = || TimestampMicrosecondArray::from(vec![Some(1_500_000), None, Some(-1)]);
        let decimals = Decimal128Array::from(vec![Some(-12_345), Some(0), None]);
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(Date32Array::from(vec![Some(19_000), None, Some(-1)])),
            Arc::new(times()),
            zone(times()),
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
            Arc::new(decimals.with_precision_and_scale(10, 2).unwrap()),
            Arc::new(Int64Array::from(vec![i64::MIN, 0, i64::MAX])),
            Arc::new(StringArray::from(vec!["a/b", " x ", "ü%3A"])),
        ];
        for array in arrays {
            let key = Field::new("k", array.data_type().clone(), true);
            check_key(&key).unwrap();
            let texts: Vec<_> = (0..array.len())
                .map(|row| value_text(&array, row).unwrap())
                .map(|text| decode_value(&encode_value(text.as_deref().unwrap_or(""))))
                .collect();
            let back = parse_values(texts.iter().map(Option::as_deref), &key).unwrap();
            assert_eq!(&back, &array, "{texts:?}");
        }
        let time = value_text(&times(), 0).unwrap().unwrap();
        assert_eq!(
            directory_name("t", Some(&time)),
            "t=1970-01-01 00%3A00%3A01.500"
        );
        let millis = DataType::Timestamp(TimeUnit::Millisecond, None);
        parse_values([Some(time.as_str())], &Field::new("t", millis, true)).unwrap();
        assert!(check_key(&Field::new("f", DataType::Float64, true)).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_encoded_is_decoded(
            values in prop::collection::vec(prop::option::of("\\PC*|.{0,8}"), 1..4)
        ) {
            let values: Vec<_> = values
                .into_iter()
                .map(|value| value.filter(|text| !text.is_empty() && text != NULL_PARTITION))
                .collect();
            let keys: Vec<_> = (0..values.len()).map(|n| format!("k={n}/")).collect();
            let path = directory(&keys, &values);
            let expected: Vec<_> = keys.into_iter().zip(values).collect();
            prop_assert_eq!(parse_directory(&path), Some(expected));
        }
    }
}
