//! Why a row can't be taken.

use std::fmt;

use arrow_schema::DataType;

use crate::TypeSpec;

/// Why a row can't be taken, and in which column. One pointer wide, as it is the error of every
/// function that runs once per value.
#[derive(Debug)]
pub(crate) struct Fault(Box<Inner>);

#[derive(Debug)]
struct Inner {
    message: String,
    /// The column and, after dots, the fields in it.
    path: String,
}

impl Fault {
    #[cold]
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            message: message.into(),
            path: String::new(),
        }))
    }

    /// `text` is no value of `data_type`.
    #[cold]
    pub(crate) fn value(text: &[u8], data_type: &DataType) -> Self {
        Self::new(format!(
            "{} is not valid as {}",
            excerpt(text),
            name(data_type)
        ))
    }

    /// `text` is a value of the type's kind, but one that it can't hold.
    #[cold]
    pub(crate) fn range(text: &[u8], data_type: &DataType) -> Self {
        Self::new(format!(
            "{} doesn't fit into {}",
            excerpt(text),
            name(data_type)
        ))
    }

    /// `text` would not come back as it is from a column whose type was learnt.
    #[cold]
    pub(crate) fn changed(text: &[u8], data_type: &DataType) -> Self {
        Self::new(format!(
            "{} would not stay as it is as {}, the type learnt from the first records (a `schema` can \
             give another)",
            excerpt(text),
            name(data_type)
        ))
    }

    #[cold]
    pub(crate) fn null() -> Self {
        Self::new("null, but the column must not be null")
    }

    #[cold]
    pub(crate) fn missing() -> Self {
        Self::new("missing, but the column must not be null")
    }

    /// The same, within the field `name`.
    #[cold]
    pub(crate) fn within(mut self, name: &str) -> Self {
        let rest = std::mem::take(&mut self.0.path);
        self.0.path = if rest.is_empty() {
            name.to_owned()
        } else {
            format!("{name}.{rest}")
        };
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.path.is_empty() {
            write!(f, "column `{}`: ", self.0.path)?;
        }
        f.write_str(&self.0.message)
    }
}

/// The beginning of a text that may be long, between backticks.
pub(crate) fn excerpt(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    match text.char_indices().nth(60) {
        None => format!("`{text}`"),
        Some((end, _)) => format!("`{}…`", &text[..end]),
    }
}

/// A type as users write it.
fn name(data_type: &DataType) -> String {
    TypeSpec::from_arrow(data_type).to_string()
}
