//! Types of any kind, for properties.

use std::sync::Arc;

use arrow_schema::{DataType, Field, TimeUnit};
use proptest::prelude::*;

fn unit() -> impl Strategy<Value = TimeUnit> {
    prop::sample::select(vec![
        TimeUnit::Second,
        TimeUnit::Millisecond,
        TimeUnit::Microsecond,
        TimeUnit::Nanosecond,
    ])
}

fn zone() -> impl Strategy<Value = Option<Arc<str>>> {
    prop::sample::select(vec![
        None,
        Some("UTC"),
        Some("Europe/Berlin"),
        Some("+02:00"),
    ])
    .prop_map(|zone| zone.map(Arc::from))
}

fn plain() -> impl Strategy<Value = DataType> {
    use DataType as T;
    let named = prop::sample::select(vec![
        T::Boolean,
        T::Int8,
        T::Int16,
        T::Int32,
        T::Int64,
        T::UInt8,
        T::UInt16,
        T::UInt32,
        T::UInt64,
        T::Float16,
        T::Float32,
        T::Float64,
        T::Utf8,
        T::LargeUtf8,
        T::Utf8View,
        T::Binary,
        T::LargeBinary,
        T::BinaryView,
        T::FixedSizeBinary(4),
        T::FixedSizeBinary(16),
        T::Date32,
        T::Date64,
        T::Time32(TimeUnit::Second),
        T::Time64(TimeUnit::Nanosecond),
    ]);
    prop_oneof![
        4 => named,
        1 => (unit(), zone()).prop_map(|(unit, zone)| T::Timestamp(unit, zone)),
        1 => (1..=9_u8, 0..=9_i8).prop_map(|(p, s)| T::Decimal32(p.max(s.unsigned_abs()), s)),
        1 => (1..=18_u8, 0..=18_i8).prop_map(|(p, s)| T::Decimal64(p.max(s.unsigned_abs()), s)),
        2 => (1..=38_u8, -5..=38_i8)
            .prop_map(|(p, s)| T::Decimal128(if s > 0 { p.max(s.unsigned_abs()) } else { p }, s)),
    ]
}

/// Types that occur in files: nested a few times, members by few names so that they meet.
pub(crate) fn any_type() -> impl Strategy<Value = DataType> {
    plain().prop_recursive(3, 12, 3, |inner| {
        let members = prop::collection::btree_map("[abcX]", (inner.clone(), any::<bool>()), 1..4)
            .prop_filter("one name in lower case", |members| {
                let mut names: Vec<_> = members.keys().map(|n| n.to_lowercase()).collect();
                names.dedup();
                names.len() == members.len()
            });
        let item = prop::sample::select(vec!["item", "element", "x"]);
        prop_oneof![
            (inner.clone(), item, any::<bool>()).prop_map(|(inner, name, large)| {
                let item = Arc::new(Field::new(name, inner, true));
                match large {
                    true => DataType::LargeList(item),
                    false => DataType::List(item),
                }
            }),
            (plain(), inner.clone()).prop_map(|(key, value)| {
                let pair = vec![
                    Field::new("keys", key, false),
                    Field::new("values", value, true),
                ];
                let entries = Field::new("entries", DataType::Struct(pair.into()), false);
                DataType::Map(Arc::new(entries), false)
            }),
            members.prop_map(|members| {
                let members = members.into_iter();
                let fields = members.map(|(name, (inner, null))| Field::new(name, inner, null));
                DataType::Struct(fields.collect::<Vec<_>>().into())
            }),
            inner.prop_map(|inner| match inner.is_nested() {
                true => inner,
                false => DataType::Dictionary(Box::new(DataType::Int32), Box::new(inner)),
            }),
        ]
    })
}

/// Two types, which are more often alike than chance would have it.
pub(crate) fn two_types() -> impl Strategy<Value = (DataType, DataType)> {
    prop_oneof![
        (any_type(), any_type()),
        (any_type(), any_type()).prop_map(|(a, b)| {
            let with = |name: &str, other: &DataType| {
                let fields = vec![
                    Field::new("same", a.clone(), true),
                    Field::new(name, other.clone(), true),
                ];
                DataType::Struct(fields.into())
            };
            (with("left", &b), with("right", &a))
        }),
        (any::<[u8; 4]>()).prop_map(|[p, s, q, t]| {
            let decimal = |p: u8, s: u8| {
                let s = i8::try_from(s % 20).unwrap();
                DataType::Decimal128((p % 38 + 1).max(s.unsigned_abs()), s)
            };
            (decimal(p, s), decimal(q, t))
        }),
    ]
}
