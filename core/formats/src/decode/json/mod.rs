//! JSON text, read once from front to back.

mod cursor;
mod elements;
mod lines;
mod object;
mod rows;
mod string;
mod walk;

pub(crate) use cursor::{Cursor, Type};
pub use elements::{check, elements};
pub(crate) use lines::decode;
pub(crate) use object::Object;
pub use rows::JsonRows;
pub(crate) use string::{plain_end, unescaped};
pub use walk::{JsonVisitor, walk};
