//! Which columns were left out, because the stream doesn't have them.

use std::sync::{Mutex, PoisonError};

use tidegate_core::{IgnoredColumn, Origin};

/// How many columns are told apart. Of objects whose keys are data there may be any number.
const KEPT: usize = 100;

/// How many of them are warned of one by one.
const WARNED: usize = 20;

/// The columns that a component left out of the rows it took, each with where it came first.
#[derive(Debug, Default)]
pub struct IgnoredColumns(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    columns: Vec<IgnoredColumn>,
    values: u64,
    /// How many of a column's values, and of all, [`IgnoredColumns::news`] has told.
    told: Vec<u64>,
    told_besides: u64,
}

impl IgnoredColumns {
    /// Takes note of what `component` left out (`None`: a query), and warns of columns that come up.
    pub fn add(&self, component: Option<&str>, more: Vec<IgnoredColumn>) {
        if more.is_empty() {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for column in more {
            kept.values += column.values;
            let known = kept.columns.iter_mut();
            if let Some(known) = known.into_iter().find(|known| known.name == column.name) {
                known.values += column.values;
                if is_before(&column.first, &known.first) {
                    known.first = column.first;
                }
            } else if kept.columns.len() < KEPT {
                warn(component, kept.columns.len(), &column);
                kept.columns.push(column);
                kept.told.push(0);
            }
        }
    }

    /// Takes note of values of columns that are told apart nowhere.
    pub(crate) fn add_besides(&self, values: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values += values;
    }

    /// What was left out since this was last asked: by column, and of columns that aren't listed.
    pub(crate) fn news(&self) -> (Vec<IgnoredColumn>, u64) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut *kept;
        let mut news = Vec::new();
        let mut listed = 0;
        for (column, told) in kept.columns.iter().zip(&mut kept.told) {
            listed += column.values;
            let values = column.values - std::mem::replace(told, column.values);
            if values > 0 {
                let column = column.clone();
                news.push(IgnoredColumn { values, ..column });
            }
        }
        let besides = kept.values - listed;
        let untold = besides - std::mem::replace(&mut kept.told_besides, besides);
        (news, untold)
    }

    /// How many values were left out, those of columns that aren't listed too.
    pub fn values(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values
    }

    /// The first columns that were left out, in the order in which they were met.
    pub fn columns(&self) -> Vec<IgnoredColumn> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.columns.clone()
    }
}

/// Whether a place comes before another; files are read side by side.
fn is_before(one: &Origin, other: &Origin) -> bool {
    let key = |place: &Origin| (place.file.clone(), place.offset);
    key(one) < key(other)
}

fn warn(component: Option<&str>, before: usize, column: &IgnoredColumn) {
    if before == WARNED {
        tracing::warn!(
            component,
            "more columns are left out, which the stream doesn't have: the report names them"
        );
    }
    if before >= WARNED {
        return;
    }
    let Origin {
        file, line, offset, ..
    } = &column.first;
    let why = match component {
        Some(_) => "the stream doesn't have it: `on_new_columns` says what is done with it",
        None => "the table doesn't have it",
    };
    tracing::warn!(
        component,
        file = file.as_deref(),
        line,
        offset = offset.filter(|_| line.is_none()),
        "the column `{}` is left out, because {why}",
        column.name
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, values: u64, file: &str, offset: u64) -> IgnoredColumn {
        IgnoredColumn {
            name: name.to_owned(),
            values,
            first: Origin {
                file: Some(file.into()),
                line: Some(1),
                offset: Some(offset),
                ..Origin::default()
            },
        }
    }

    #[test]
    fn values_are_added_up_and_the_first_place_is_kept() {
        let ignored = IgnoredColumns::default();
        ignored.add(
            Some("in"),
            vec![column("tip", 2, "b", 7), column("x", 1, "b", 9)],
        );
        ignored.add(Some("in"), vec![column("tip", 3, "a", 8)]);
        assert_eq!(
            ignored.columns(),
            [column("tip", 5, "a", 8), column("x", 1, "b", 9)]
        );
        assert_eq!(ignored.values(), 6);
    }

    #[test]
    fn what_is_told_adds_up_to_what_was_left_out() {
        let (one, other) = (IgnoredColumns::default(), IgnoredColumns::default());
        for round in 1..4 {
            for number in 0..200 {
                one.add(
                    None,
                    vec![column(&format!("id{number}"), round, "a", number)],
                );
            }
            let (columns, besides) = one.news();
            other.add(None, columns);
            other.add_besides(besides);
            assert_eq!(other.columns(), one.columns());
            assert_eq!(other.values(), one.values());
        }
        assert_eq!(one.news(), (Vec::new(), 0));
    }

    #[test]
    fn of_columns_without_end_the_first_are_kept_and_all_are_counted() {
        let ignored = IgnoredColumns::default();
        for number in 0..1000 {
            ignored.add(None, vec![column(&format!("id{number}"), 1, "a", number)]);
        }
        assert_eq!((ignored.columns().len(), ignored.values()), (KEPT, 1000));
    }
}
