//! Rows made by hand: what a MariaDB doesn't send, and what no server should.

use arrow_array::Array as _;
use arrow_array::cast::AsArray as _;
use mysql_common::constants::{ColumnFlags, ColumnType};
use mysql_common::packets::Column as Wire;
use tidegate_core::{ErrorKind, Result};

use super::super::Decoder;
use crate::types::{Column, Mapping, Type};
use crate::wire::Chunk;

fn wire(kind: ColumnType) -> Wire {
    Wire::new(kind).with_name(b"c")
}

fn column(kind: Type, nullable: bool) -> Column {
    Column {
        name: "c".to_owned(),
        kind,
        nullable,
        declared: "something".to_owned(),
        charset: None,
        collation: None,
        generated: false,
        invisible: false,
    }
}

/// Rows as a server sends them: each behind the four bytes of its packet's head.
fn chunk(rows: &[Vec<u8>]) -> Chunk {
    let (mut bytes, mut places) = (Vec::new(), Vec::new());
    for row in rows {
        bytes.extend_from_slice(&[0; 4]);
        let start = bytes.len();
        bytes.extend_from_slice(row);
        let place = [start, bytes.len()].map(|at| u32::try_from(at).unwrap());
        places.push((place[0], place[1]));
    }
    Chunk::of(bytes, places)
}

/// A row of one column: its bytes on the wire, or NULL.
fn row(value: Option<&[u8]>) -> Vec<u8> {
    let mut row = vec![0, if value.is_none() { 4 } else { 0 }];
    row.extend_from_slice(value.unwrap_or_default());
    row
}

fn decode(kind: Type, nullable: bool, rows: &[Vec<u8>]) -> Result<tidegate_core::Decoded> {
    let decoder = Decoder::new("t", vec![column(kind, nullable)], 1, Mapping::default())?;
    decoder.decode(&chunk(rows))
}

#[test]
fn mysqls_own_types_have_theirs_in_arrow() {
    let of = |wire: Wire| Column::of_wire(&wire, Mapping::default());
    let json = of(wire(ColumnType::MYSQL_TYPE_JSON).with_character_set(63));
    assert_eq!((json.kind, json.declared.as_str()), (Type::Json, "json"));
    let shape = of(wire(ColumnType::MYSQL_TYPE_GEOMETRY).with_character_set(63));
    assert_eq!(shape.kind, Type::Geometry);
    let vector = wire(ColumnType::MYSQL_TYPE_VECTOR)
        .with_character_set(63)
        .with_column_length(12);
    let vector = of(vector);
    assert_eq!(
        (vector.kind, vector.declared.as_str()),
        (Type::Binary, "vector(3)")
    );
    let tiny = wire(ColumnType::MYSQL_TYPE_TINY).with_column_length(1);
    assert_eq!(of(tiny.clone()).kind, Type::Bool);
    let unsigned = tiny.with_flags(ColumnFlags::UNSIGNED_FLAG | ColumnFlags::NOT_NULL_FLAG);
    assert_eq!(of(unsigned.clone()).kind, Type::TinyInt { unsigned: true });
    assert!(!of(unsigned).nullable);
    let decimal = wire(ColumnType::MYSQL_TYPE_NEWDECIMAL)
        .with_decimals(30)
        .with_column_length(67);
    assert_eq!(
        of(decimal).kind,
        Type::Decimal {
            precision: 65,
            scale: 30
        }
    );
    let blob = wire(ColumnType::MYSQL_TYPE_BLOB)
        .with_character_set(63)
        .with_column_length(65_535);
    assert_eq!(of(blob).kind, Type::Binary);
    let text = wire(ColumnType::MYSQL_TYPE_BLOB)
        .with_character_set(45)
        .with_column_length(262_140);
    assert_eq!(of(text).kind, Type::Text);
}

#[test]
fn json_and_geometries_come_as_texts_and_wkb() {
    let decoded = decode(Type::Json, true, &[row(Some(b"\x08{\"a\": 1}")), row(None)]).unwrap();
    let json = decoded.batches[0].column(0).as_string::<i32>();
    assert_eq!(json.iter().collect::<Vec<_>>(), [Some("{\"a\": 1}"), None]);
    let mut point = vec![25, 0xE6, 0x10, 0, 0, 1, 1, 0, 0, 0];
    point.extend_from_slice(&[0; 16]);
    let decoded = decode(
        Type::Geometry,
        true,
        &[row(Some(&point)), row(Some(&[2, 0, 0]))],
    )
    .unwrap();
    let wkb = decoded.batches[0].column(0).as_binary::<i32>();
    assert_eq!(wkb.value(0), &point[5..]);
    assert_eq!(wkb.len(), 1);
    assert!(decoded.rejected.rows[0].reason.contains("no geometry"));
}

#[test]
fn a_text_that_is_none_is_rejected_alone() {
    // Together, the second and the third would be one character.
    let rows = [&b"\x01a"[..], b"\x01\xC3", b"\x01\xA4", b"\x02\xC3\xA4"];
    let decoded = decode(Type::Text, false, &rows.map(|bytes| row(Some(bytes)))).unwrap();
    let texts = decoded.batches[0].column(0).as_string::<i32>();
    assert_eq!(texts.iter().collect::<Vec<_>>(), [Some("a"), Some("ä")]);
    assert_eq!(decoded.rejected.len(), 2);
    let reason = &decoded.rejected.rows[0].reason;
    assert!(reason.contains("not UTF-8: 0xC3"), "{reason}");
}

#[test]
fn a_null_where_none_may_be_is_rejected() {
    let one = row(Some(&1_i32.to_le_bytes()));
    let decoded = decode(Type::Int { unsigned: false }, false, &[one, row(None)]).unwrap();
    assert_eq!(decoded.batches[0].num_rows(), 1);
    assert_eq!(decoded.rejected.rows[0].row, r#"{"c":null}"#);
}

#[test]
fn rows_of_another_shape_end_the_reading() {
    let kind = Type::Int { unsigned: false };
    for bytes in [&[1, 2, 3][..], &[1, 2, 3, 4, 5], &[]] {
        let error = decode(kind, false, &[row(Some(bytes))]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{bytes:?}");
    }
    // A length that goes beyond everything.
    for bytes in [
        &b"\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"[..],
        b"\xFB",
        b"\x05abc",
        b"\xFC\x01",
    ] {
        assert!(
            decode(Type::Text, false, &[row(Some(bytes))]).is_err(),
            "{bytes:?}"
        );
        assert!(decode(Type::Time { fraction: 0 }, false, &[row(Some(bytes))]).is_err());
    }
    assert!(decode(kind, false, &[vec![0]]).is_err());
}

#[test]
fn a_table_that_was_altered_is_refused_before_its_rows_are_read() {
    let columns = vec![column(Type::Int { unsigned: false }, false)];
    let decoder = Decoder::new("sales", columns, 1, Mapping::default()).unwrap();
    assert!(decoder.expect(&[wire(ColumnType::MYSQL_TYPE_LONG)]).is_ok());
    for other in [
        wire(ColumnType::MYSQL_TYPE_LONGLONG),
        wire(ColumnType::MYSQL_TYPE_LONG).with_flags(ColumnFlags::UNSIGNED_FLAG),
        wire(ColumnType::MYSQL_TYPE_VAR_STRING),
    ] {
        let error = decoder.expect(&[other]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Schema);
        assert!(error.to_string().contains("sales"), "{error}");
    }
    assert!(decoder.expect(&[]).is_err());
}

#[test]
fn rows_without_columns_are_still_rows() {
    let columns = vec![column(Type::Int { unsigned: false }, false)];
    let decoder = Decoder::new("t", columns, 0, Mapping::default()).unwrap();
    let rows = vec![row(Some(&[0; 4])); 1_000];
    let decoded = decoder.decode(&chunk(&rows)).unwrap();
    assert_eq!(decoded.batches[0].num_rows(), 1_000);
}
