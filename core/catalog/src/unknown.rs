//! Columns that a Parquet file has and the table or stream that it is read as hasn't.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, StructArray};
use arrow_buffer::BooleanBuffer;
use arrow_cast::cast;
use arrow_schema::{DataType, FieldRef};
use tidegate_core::Result;

use crate::adapt::{folded, item};
use crate::matched;

/// A column, or a member of one: the names that lead to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownColumn(Vec<String>);

impl UnknownColumn {
    /// Those that `found` has and `known` hasn't.
    pub fn all(known: &[FieldRef], found: &[FieldRef]) -> Vec<Self> {
        let mut all = Vec::new();
        compare(known, found, &mut Vec::new(), &mut all);
        all
    }

    /// The name of the outermost column.
    pub fn outermost(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// As a user writes it.
    pub fn name(&self) -> String {
        self.0.join(".")
    }

    /// Whether a file's leaf is of this column. Between the names of members, its path has those
    /// that lists give to their items.
    pub fn has(&self, leaf: &[String]) -> bool {
        let mut rest = leaf.iter();
        leaf.first() == self.0.first() && self.0.iter().all(|name| rest.any(|part| part == name))
    }

    /// The rows in which a file's outermost column has a value of this one.
    pub fn filled(&self, column: &ArrayRef) -> Result<BooleanBuffer> {
        filled(column, &self.0[1..])
    }
}

fn compare(
    known: &[FieldRef],
    found: &[FieldRef],
    path: &mut Vec<String>,
    all: &mut Vec<UnknownColumn>,
) {
    let mut places = vec![None; found.len()];
    for (at, place) in matched(known, found).into_iter().enumerate() {
        if let Some(place) = place {
            places[place] = Some(at);
        }
    }
    for (field, place) in found.iter().zip(places) {
        path.push(field.name().clone());
        match place {
            None => all.push(UnknownColumn(path.clone())),
            Some(at) => members(known[at].data_type(), field.data_type(), path, all),
        }
        path.pop();
    }
}

fn members(
    known: &DataType,
    found: &DataType,
    path: &mut Vec<String>,
    all: &mut Vec<UnknownColumn>,
) {
    match (known, found) {
        (DataType::Struct(known), DataType::Struct(found)) => compare(known, found, path, all),
        _ => {
            if let (Some(known), Some(found)) = (item(known), item(found)) {
                members(known.data_type(), found.data_type(), path, all);
            }
        }
    }
}

/// A file's type without the members that the stream's doesn't have.
pub fn known_part(found: &DataType, known: &DataType) -> DataType {
    let part = |found: &FieldRef, known: &FieldRef| {
        let part = known_part(found.data_type(), known.data_type());
        Arc::new(found.as_ref().clone().with_data_type(part))
    };
    match (found, known) {
        (DataType::Struct(found), DataType::Struct(known)) => {
            let places = matched(known, found).into_iter().zip(known);
            let members = places.filter_map(|(place, known)| Some(part(&found[place?], known)));
            DataType::Struct(members.collect())
        }
        (DataType::List(found), DataType::List(known)) => DataType::List(part(found, known)),
        (DataType::LargeList(found), DataType::LargeList(known)) => {
            DataType::LargeList(part(found, known))
        }
        _ => found.clone(),
    }
}

fn filled(column: &ArrayRef, path: &[String]) -> Result<BooleanBuffer> {
    let there = |column: &dyn Array| match column.logical_nulls() {
        Some(nulls) => nulls.into_inner(),
        None => BooleanBuffer::new_set(column.len()),
    };
    let Some(name) = path.first() else {
        return Ok(there(column));
    };
    if let Some(of) = column.as_any().downcast_ref::<StructArray>() {
        let Some(member) = of.column_by_name(name) else {
            return Ok(BooleanBuffer::new_unset(column.len()));
        };
        return Ok(&there(column) & &filled(member, &path[1..])?);
    }
    let Some(items) = item(column.data_type()) else {
        return Ok(BooleanBuffer::new_unset(column.len()));
    };
    let list = cast(column, &DataType::List(Arc::clone(items)))?;
    let list = list.as_list::<i32>();
    Ok(&there(column) & &folded(list.offsets(), &filled(list.values(), path)?))
}
