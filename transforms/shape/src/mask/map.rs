//! What is done to a batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{
    Array, ArrayRef, LargeStringArray, RecordBatch, new_empty_array, new_null_array,
};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tidegate_core::{Error, Input, Map, Mapped, Result, Scan, SecretValue};
use tidegate_formats::{bytes_of, holds_bytes, plain_texts};

use super::config::{Mask, MaskName, MaskWith};
use crate::inputs::Inputs;

/// What stands in the place of a value, or of a character.
const REDACTED: &str = "***";
const STAR: char = '*';

/// The transform, typed against its inputs.
#[derive(Debug)]
pub(super) struct MaskMap {
    inputs: Inputs,
    /// What is done to each column of the inputs.
    masks: Vec<Option<Masking>>,
    output: SchemaRef,
}

/// What is done to a column.
#[derive(Debug)]
enum Masking {
    /// With the key in it. It shows nothing of it in its `Debug`.
    Hash(Hmac<Sha256>),
    Redact(String),
    Null,
    KeepLast(usize),
    KeepFirst(usize),
}

impl MaskMap {
    pub(super) fn new(
        columns: &BTreeMap<String, Mask>,
        key: Option<&SecretValue>,
        inputs: &[Input],
    ) -> Result<Self> {
        let inputs = Inputs::new(inputs)?;
        let one = inputs.as_one();
        for name in columns.keys() {
            check_column(name, &one)?;
        }
        let mut masks = Vec::new();
        let mut fields = Vec::new();
        for field in inputs.schema().fields() {
            let mask = columns.get(field.name());
            let mask = mask.map(|mask| Masking::new(mask, key, field));
            let mask = mask
                .transpose()
                .map_err(|error| error.with("key", "columns").with("column", field.name()))?;
            fields.push(
                mask.as_ref()
                    .map_or_else(|| Arc::clone(field), |mask| mask.field(field)),
            );
            masks.push(mask);
        }
        Ok(Self {
            inputs,
            masks,
            output: Arc::new(Schema::new(fields)),
        })
    }
}

fn check_column(name: &str, input: &Input) -> Result<()> {
    let Err(error) = input.column(name) else {
        return Ok(());
    };
    let root = name.split('.').next().unwrap_or_default();
    let nested = input
        .column(root)
        .is_ok_and(|field| field.data_type().is_nested());
    let error = error.with("key", "columns");
    Err(match nested {
        true => error.hint(format!(
            "of `{root}`, `flatten` makes columns that can be masked"
        )),
        false => error,
    })
}

impl Masking {
    /// Errors: `Schema` for a type that can't be masked so.
    fn new(mask: &Mask, key: Option<&SecretValue>, field: &Field) -> Result<Self> {
        let data_type = field.data_type();
        Ok(match mask {
            Mask::Name(MaskName::Null) => Self::Null,
            Mask::Name(MaskName::Redact) => Self::Redact(REDACTED.to_owned()),
            Mask::With(MaskWith::Redact(text)) => Self::Redact(text.clone()),
            Mask::Name(MaskName::Hash) => {
                check_texts(field)?;
                let key = key.map_or("", SecretValue::expose);
                if key.is_empty() {
                    return Err(Error::config("the `key` to hash with is empty"));
                }
                let hmac = Hmac::new_from_slice(key.as_bytes());
                Self::Hash(hmac.map_err(|_| Error::config("the `key` can't be used"))?)
            }
            Mask::With(MaskWith::KeepLast(_) | MaskWith::KeepFirst(_))
                if data_type.is_nested() || is_binary(data_type) =>
            {
                return Err(Error::schema(format!(
                    "a {data_type} has no characters of which some could be kept"
                ))
                .hint("use `hash`, `redact` or `null`"));
            }
            Mask::With(MaskWith::KeepLast(count)) => {
                check_texts(field)?;
                Self::KeepLast(*count)
            }
            Mask::With(MaskWith::KeepFirst(count)) => {
                check_texts(field)?;
                Self::KeepFirst(*count)
            }
        })
    }

    /// The field of what comes out.
    fn field(&self, field: &FieldRef) -> FieldRef {
        Arc::new(match self {
            Self::Null => field.as_ref().clone().with_nullable(true),
            // Metadata may say of what kind a text is, which it isn't any more.
            _ => Field::new(field.name(), DataType::Utf8, field.is_nullable()),
        })
    }

    fn apply(&self, field: &Field, column: &ArrayRef) -> Result<ArrayRef> {
        let redacted = match self {
            Self::Null => return Ok(new_null_array(column.data_type(), column.len())),
            Self::Redact(text) => Some(text.as_str()),
            _ => None,
        };
        let nulls = column.logical_nulls();
        let values = match redacted.is_none() && !holds_bytes(column.data_type()) {
            true => Some(plain_texts(field, column)?),
            false => None,
        };
        let mut out = StringBuilder::with_capacity(column.len(), 0);
        let mut masked = String::new();
        for row in 0..column.len() {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                out.append_null();
                continue;
            }
            masked.clear();
            match self {
                Self::Hash(hmac) => hash(hmac, value(column, values.as_ref(), row), &mut masked),
                Self::KeepLast(count) => {
                    keep(
                        text(column, values.as_ref(), row)?,
                        *count,
                        true,
                        &mut masked,
                    );
                }
                Self::KeepFirst(count) => {
                    keep(
                        text(column, values.as_ref(), row)?,
                        *count,
                        false,
                        &mut masked,
                    );
                }
                Self::Redact(text) => masked.push_str(text),
                Self::Null => {}
            }
            out.append_value(&masked);
        }
        Ok(Arc::new(out.finish()))
    }
}

/// The value that is masked: the column's own bytes, or its text.
fn value<'a>(column: &'a ArrayRef, texts: Option<&'a LargeStringArray>, row: usize) -> &'a [u8] {
    match texts {
        Some(texts) => texts.value(row).as_bytes(),
        None => bytes_of(column, row),
    }
}

fn text<'a>(
    column: &'a ArrayRef,
    texts: Option<&'a LargeStringArray>,
    row: usize,
) -> Result<&'a str> {
    // The value is no part of the message.
    std::str::from_utf8(value(column, texts, row))
        .map_err(|_| Error::internal("a text to be masked is not UTF-8"))
}

fn is_binary(data_type: &DataType) -> bool {
    use DataType as T;
    match data_type {
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => true,
        T::Dictionary(_, values) => is_binary(values),
        _ => false,
    }
}

/// Refuses a type that has no text.
fn check_texts(field: &Field) -> Result<()> {
    let data_type = field.data_type();
    if holds_bytes(data_type) {
        return Ok(());
    }
    plain_texts(field, &new_empty_array(data_type)).map(drop)
}

fn hash(key: &Hmac<Sha256>, value: &[u8], out: &mut String) {
    let mut hmac = key.clone();
    hmac.update(value);
    out.push_str(&hex::encode(hmac.finalize().into_bytes()));
}

/// Appends the text with all characters replaced but the last or the first `count`; all of them, where
/// there are no more than that.
fn keep(text: &str, count: usize, last: bool, out: &mut String) {
    let characters = text.chars().count();
    let masked = match characters > count {
        true => characters - count,
        false => characters,
    };
    let kept = characters - masked;
    for (at, character) in text.chars().enumerate() {
        let shown = match last {
            true => at >= masked,
            false => at < kept,
        };
        out.push(if shown { character } else { STAR });
    }
}

impl Map for MaskMap {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.output)
    }

    fn scan(&self, input: usize) -> Scan {
        self.inputs.scan(input)
    }

    fn map(&self, _: usize, batch: &RecordBatch) -> Result<Mapped> {
        let fields = self.inputs.schema().fields().iter();
        let columns = self.inputs.columns(batch)?;
        let masked = fields.zip(&self.masks).zip(columns);
        let masked = masked.map(|((field, mask), column)| match mask {
            Some(mask) => mask.apply(field, &column),
            None => Ok(column),
        });
        let columns = masked.collect::<Result<Vec<_>>>()?;
        Ok(Mapped {
            batches: vec![RecordBatch::try_new(self.schema(), columns)?],
            ..Mapped::default()
        })
    }
}
