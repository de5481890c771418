//! Files that are read together: which columns they have, and where each file has them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, FieldRef, Fields, TimeUnit};
use tidegate_core::{Error, Result};

use crate::merge::{read_together, widen_to_read};

/// The columns of files, with those of one more, called `file`: by name (see [`matched`]), in
/// types that hold the values of all, those that only it has at the end. What a file lacks is NULL
/// there.
///
/// Errors: `Schema` for types that have nothing in common, and for a file that has two columns of
/// one name.
pub fn with_columns_of(columns: Option<&Fields>, more: &Fields, file: &str) -> Result<Fields> {
    distinct(more).map_err(|error| error.with("file", file))?;
    let Some(columns) = columns else {
        return Ok(more.clone());
    };
    let mut merged: Vec<FieldRef> = Vec::with_capacity(columns.len().max(more.len()));
    let mut taken = vec![false; more.len()];
    for (field, at) in columns.iter().zip(matched(columns, more)) {
        let Some(at) = at else {
            merged.push(nullable(field));
            continue;
        };
        taken[at] = true;
        let other = &more[at];
        let both = read_together(field, other).ok_or_else(|| {
            Error::schema(format!(
                "column `{}` is {} in the file, and {} in others: no type holds both",
                field.name(),
                other.data_type(),
                field.data_type()
            ))
            .with("file", file)
            .hint("read files of one kind together, as by a pattern in the path")
        })?;
        merged.push(both);
    }
    let new = more.iter().zip(taken).filter(|(_, taken)| !taken);
    merged.extend(new.map(|(field, _)| nullable(field)));
    Ok(merged.into())
}

/// Whether a column of type `has` is read as `wanted` by [`with_columns_of`]. What lists call
/// their items doesn't matter.
pub fn reads_as(has: &DataType, wanted: &DataType) -> bool {
    let wide = widen_to_read(wanted, has);
    wide.is_some_and(|wide| wide.equals_datatype(wanted))
}

/// For each column that is wanted, which of a file's it is: the one of its name, or else the only
/// one whose name differs in nothing but case. A column that is wanted by its own name is no
/// other's.
pub fn matched(wanted: &[FieldRef], found: &[FieldRef]) -> Vec<Option<usize>> {
    let mut exact: HashMap<&str, usize> = HashMap::with_capacity(found.len());
    for (at, field) in found.iter().enumerate() {
        exact.entry(field.name()).or_insert(at);
    }
    let places = wanted.iter().map(|field| exact.get(field.name().as_str()));
    let mut places: Vec<Option<usize>> = places.map(|place| place.copied()).collect();
    if places.iter().all(Option::is_some) {
        return places;
    }
    let mut taken = vec![false; found.len()];
    for at in places.iter().flatten() {
        taken[*at] = true;
    }
    let rest = found.iter().enumerate().filter(|(at, _)| !taken[*at]);
    let found = by_fold(rest.map(|(at, field)| (at, field.name())));
    let missing = wanted.iter().zip(&places).enumerate();
    let missing = missing.filter(|(_, (_, place))| place.is_none());
    let missing = by_fold(missing.map(|(at, (field, _))| (at, field.name())));
    for (name, wanting) in missing {
        if let ([at], Some([place])) = (&*wanting, found.get(&name).map(Vec::as_slice)) {
            places[*at] = Some(*place);
        }
    }
    places
}

/// Whether two names differ in nothing but case.
pub fn same_name(one: &str, other: &str) -> bool {
    one == other || one.to_lowercase() == other.to_lowercase()
}

/// The first field of this name, or else the first whose name differs in nothing but case: for
/// columns whose names catalogs have folded. Of those of files see [`matched`].
pub fn find(fields: &Fields, name: &str) -> Option<usize> {
    let exact = fields.find(name).map(|(at, _)| at);
    exact.or_else(|| {
        let mut fields = fields.iter();
        fields.position(|field| same_name(field.name(), name))
    })
}

fn by_fold<'a>(names: impl Iterator<Item = (usize, &'a String)>) -> HashMap<String, Vec<usize>> {
    let mut folded: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, name) in names {
        folded.entry(name.to_lowercase()).or_default().push(at);
    }
    folded
}

/// Refuses columns of one name, which nothing here could tell apart.
fn distinct(fields: &Fields) -> Result<()> {
    let mut names = std::collections::HashSet::with_capacity(fields.len());
    match fields.iter().find(|field| !names.insert(field.name())) {
        None => Ok(()),
        Some(field) => Err(Error::schema(format!(
            "the file has two columns called `{}`",
            field.name()
        ))
        .hint("write it again with names that differ")),
    }
}

fn nullable(field: &FieldRef) -> FieldRef {
    match field.is_nullable() {
        true => Arc::clone(field),
        false => Arc::new(field.as_ref().clone().with_nullable(true)),
    }
}

/// The type without what only Arrow knows and no other reader of the file would see: dictionaries,
/// views, layouts of 64 bits, names of zones.
pub fn plain(data_type: &DataType) -> DataType {
    use DataType as T;
    let inner = |field: &FieldRef| -> FieldRef {
        Arc::new(
            field
                .as_ref()
                .clone()
                .with_data_type(plain(field.data_type())),
        )
    };
    match data_type {
        T::Dictionary(_, values) => plain(values),
        T::RunEndEncoded(_, values) => plain(values.data_type()),
        T::Utf8View | T::LargeUtf8 => T::Utf8,
        T::BinaryView | T::LargeBinary => T::Binary,
        T::Decimal32(digits, scale) | T::Decimal64(digits, scale) => T::Decimal128(*digits, *scale),
        T::Timestamp(unit, Some(_)) => T::Timestamp(*unit, Some("UTC".into())),
        T::List(item)
        | T::LargeList(item)
        | T::ListView(item)
        | T::LargeListView(item)
        | T::FixedSizeList(item, _) => T::List(inner(item)),
        T::Struct(fields) => T::Struct(fields.iter().map(inner).collect()),
        T::Map(entries, sorted) => T::Map(inner(entries), *sorted),
        other => other.clone(),
    }
}

/// How Parquet stores the values of a leaf, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Physical {
    /// `INT32`.
    Int32,
    /// `INT96`, and its writer noted no type for it.
    Int96,
    /// Anything else.
    Other,
}

/// A Parquet file's columns as they are read, from what the `parquet` crate makes of them; `None`
/// if they are the same. `leaf` says how each leaf is stored, by its number.
///
/// - `INT96` without a word of its type is what Spark, Hive and Impala wrote for times: they are
///   microseconds, which reach far beyond the years 1 and 9999 (nanoseconds end in 2262).
/// - A `DATE` is a number of days, whatever type its writer had for it.
pub fn as_read(fields: &Fields, leaf: &dyn Fn(usize) -> Physical) -> Option<Fields> {
    let mut at = 0;
    let read: Fields = fields
        .iter()
        .map(|field| leaves(field, leaf, &mut at))
        .collect();
    (read != *fields).then_some(read)
}

/// A field with its leaves as they are read; `at` numbers those, as Parquet does.
fn leaves(field: &FieldRef, leaf: &dyn Fn(usize) -> Physical, at: &mut usize) -> FieldRef {
    use DataType as T;
    use TimeUnit::{Microsecond, Nanosecond};
    let data_type = match field.data_type() {
        T::Struct(members) => T::Struct(
            members
                .iter()
                .map(|member| leaves(member, leaf, at))
                .collect(),
        ),
        T::List(item) => T::List(leaves(item, leaf, at)),
        T::LargeList(item) => T::LargeList(leaves(item, leaf, at)),
        T::ListView(item) => T::ListView(leaves(item, leaf, at)),
        T::LargeListView(item) => T::LargeListView(leaves(item, leaf, at)),
        T::FixedSizeList(item, size) => T::FixedSizeList(leaves(item, leaf, at), *size),
        T::Map(entries, sorted) => T::Map(leaves(entries, leaf, at), *sorted),
        plain => {
            let stored = leaf(*at);
            *at += 1;
            match (plain, stored) {
                (T::Timestamp(Nanosecond, None), Physical::Int96) => {
                    T::Timestamp(Microsecond, None)
                }
                (T::Date64, Physical::Int32) => T::Date32,
                (other, _) => other.clone(),
            }
        }
    };
    match data_type == *field.data_type() {
        true => Arc::clone(field),
        false => Arc::new(field.as_ref().clone().with_data_type(data_type)),
    }
}

#[cfg(test)]
mod tests {
    use arrow_schema::Field;

    use super::*;

    fn fields(columns: &[(&str, DataType)]) -> Fields {
        let field =
            |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), true);
        columns.iter().map(field).collect()
    }

    fn names(names: &[&str]) -> Fields {
        fields(
            &names
                .iter()
                .map(|name| (*name, DataType::Int8))
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn a_column_is_found_by_its_name_or_the_only_one_of_another_case() {
        let found = |wanted: &[&str], has: &[&str]| matched(&names(wanted), &names(has));
        assert_eq!(found(&["a", "b"], &["b", "a"]), [Some(1), Some(0)]);
        assert_eq!(found(&["id", "x"], &["Id"]), [Some(0), None]);
        // `Id` is wanted as such, so `id` is not there.
        assert_eq!(found(&["Id", "id"], &["Id"]), [Some(0), None]);
        assert_eq!(found(&["Id", "id"], &["ID"]), [None, None]);
        assert_eq!(found(&["id"], &["Id", "ID"]), [None]);
        assert_eq!(found(&["id"], &["Id", "id"]), [Some(1)]);
        assert_eq!(found(&["straße"], &["STRASSE"]), [None]);
    }

    #[test]
    fn c2_columns_of_files_are_brought_together_by_name() {
        use DataType as T;
        let first = fields(&[("Id", T::Int32), ("s", T::Utf8), ("n", T::Null)]);
        let second = fields(&[
            ("s", T::LargeUtf8),
            ("id", T::Int64),
            ("n", T::Int8),
            ("z", T::Utf8),
        ]);
        let both = with_columns_of(Some(&first), &second, "b").unwrap();
        let wanted = [
            ("Id", T::Int64),
            ("s", T::LargeUtf8),
            ("n", T::Int8),
            ("z", T::Utf8),
        ];
        assert_eq!(both, fields(&wanted));
        assert_eq!(with_columns_of(Some(&both), &first, "a").unwrap(), both);
        let other = fields(&[("s", T::Int8)]);
        let error = with_columns_of(Some(&both), &other, "c")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`s` is Int8") && error.contains("(file: c)"),
            "{error}"
        );
        let error = with_columns_of(None, &names(&["a", "a"]), "d").unwrap_err();
        assert!(
            error.message().contains("two columns called `a`"),
            "{error}"
        );
    }

    #[test]
    fn c2_nanoseconds_are_read_beside_coarser_units_and_never_stored_for_them() {
        let time = |unit| DataType::Timestamp(unit, None);
        let (micros, nanos) = (time(TimeUnit::Microsecond), time(TimeUnit::Nanosecond));
        assert!(reads_as(&micros, &nanos) && !reads_as(&nanos, &micros));
        assert_eq!(crate::widen(&micros, &nanos), None);
        let list = |of: DataType| DataType::List(Arc::new(Field::new("item", of, true)));
        assert!(reads_as(&list(micros), &list(nanos)));
        let object = |members: &[&str]| DataType::Struct(names(members));
        assert!(reads_as(&object(&["b", "a"]), &object(&["a", "b", "c"])));
        assert!(!reads_as(&object(&["a", "d"]), &object(&["a", "b"])));
    }

    #[test]
    fn what_only_one_file_says_of_a_column_is_not_said_of_both() {
        let json = [("ARROW:extension:name".to_owned(), "arrow.json".to_owned())];
        let text = Field::new("a", DataType::Utf8, true);
        let first: Fields = vec![text.clone().with_metadata(json.into())].into();
        let both = with_columns_of(Some(&first), &vec![text].into(), "b").unwrap();
        assert!(both[0].metadata().is_empty());
        assert_eq!(with_columns_of(Some(&first), &first, "b").unwrap(), first);
    }

    #[test]
    fn a4_int96_leaves_are_counted_as_parquet_counts_them() {
        use DataType as T;
        let nanos = T::Timestamp(TimeUnit::Nanosecond, None);
        let micros = T::Timestamp(TimeUnit::Microsecond, None);
        let table = |time: &T| {
            let inner = T::Struct(fields(&[("n", T::Int8), ("t", time.clone())]));
            let list = T::List(Arc::new(Field::new("item", inner, true)));
            let map = T::Struct(fields(&[("key", T::Utf8), ("value", time.clone())]));
            let map = T::Map(Arc::new(Field::new("entries", map, false)), false);
            fields(&[
                ("a", nanos.clone()),
                ("l", list),
                ("m", map),
                ("t", time.clone()),
            ])
        };
        // Leaves: a, l.n, l.t, m.key, m.value, t.
        let int96 = |leaf| match [2, 4, 5].contains(&leaf) {
            true => Physical::Int96,
            false => Physical::Other,
        };
        assert_eq!(as_read(&table(&nanos), &int96), Some(table(&micros)));
        assert_eq!(as_read(&table(&nanos), &|_| Physical::Other), None);
    }
}
