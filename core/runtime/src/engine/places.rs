//! Where rows stand that a map rejects, also behind other maps.
//!
//! A map drops and multiplies rows, and doesn't tell which row of what it was given another one comes
//! from: that would cost something for every row, and nearly none is rejected. So it is found out
//! for those that are: a map that is given a part of the rows gives that part of what comes of them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use tidegate_core::{Map, Origin, Result, RowPlaces, guarded};

/// Where the rows stand that are carried.
pub(super) struct Places {
    rows: Box<dyn RowPlaces>,
    /// The number of the batch's first row.
    first: usize,
    /// The maps that the batch has gone through, the first one first.
    maps: Vec<Through>,
}

impl Places {
    /// Of rows as they were decoded.
    pub(super) fn new(rows: Box<dyn RowPlaces>) -> Self {
        Self {
            rows,
            first: 0,
            maps: Vec::new(),
        }
    }

    /// Continues behind so many rows of what was decoded, or of what the last map gave.
    pub(super) fn stand_behind(&mut self, rows: usize) {
        match self.maps.last_mut() {
            Some(map) => map.first += rows,
            None => self.first += rows,
        }
    }

    /// What comes next is what a map gave of this batch.
    pub(super) fn enter(&mut self, map: &Arc<dyn Map>, input: usize, batch: &RecordBatch) {
        self.maps.push(Through {
            map: Arc::clone(map),
            input,
            batch: batch.clone(),
            first: 0,
            counts: HashMap::new(),
        });
    }

    /// What comes next is again what was given to the last map.
    pub(super) fn leave(&mut self) {
        self.maps.pop();
    }

    /// Where the `row`-th row of the batch stands; behind a map whose rows can't be told, only the file.
    pub(super) fn origin(&mut self, row: usize) -> Result<Origin> {
        let mut maps = self.maps.iter_mut().rev();
        match maps.try_fold(row, |row, map| map.row_of(row)) {
            Some(row) => self.rows.origin(self.first + row),
            None => {
                let Origin { split, file, .. } = self.rows.origin(self.first)?;
                Ok(Origin {
                    split,
                    file,
                    ..Origin::default()
                })
            }
        }
    }
}

/// A map, and what it was given.
struct Through {
    map: Arc<dyn Map>,
    input: usize,
    batch: RecordBatch,
    /// The number of the first row, of those that the map gave, in the batch that is carried.
    first: usize,
    /// How many rows come of so many rows behind so many. Of a batch with many rejected rows, each part
    /// is looked at once.
    counts: HashMap<(usize, usize), usize>,
}

impl Through {
    /// Which row of what the map was given the `row`-th of what is carried comes from. `None`: it can't
    /// be told, because the map remembers rows, or isn't the same twice.
    fn row_of(&mut self, row: usize) -> Option<usize> {
        if !self.map.deterministic() {
            return None;
        }
        let mut left = self.first + row;
        let (mut from, mut rows) = (0, self.batch.num_rows());
        while rows > 1 {
            let half = rows / 2;
            let given = self.count(from, half)?;
            if left < given {
                rows = half;
            } else {
                (from, rows, left) = (from + half, rows - half, left - given);
            }
        }
        (left < self.count(from, rows)?).then_some(from)
    }

    /// How many rows come of `rows` rows from the `from`-th on.
    fn count(&mut self, from: usize, rows: usize) -> Option<usize> {
        if let Some(count) = self.counts.get(&(from, rows)) {
            return Some(*count);
        }
        let part = self.batch.slice(from, rows);
        let mapped = guarded("a transform", || self.map.map(self.input, &part)).ok()?;
        let count = mapped.batches.iter().map(RecordBatch::num_rows).sum();
        self.counts.insert((from, rows), count);
        Some(count)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use arrow_array::{ArrayRef, Int64Array};
    use arrow_schema::SchemaRef;
    use tidegate_core::{Mapped, Scan};

    use super::*;

    /// Gives each number as often as it says, in batches of two rows.
    #[derive(Debug)]
    struct Repeat(bool);

    fn batch(numbers: impl IntoIterator<Item = i64>) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
        RecordBatch::try_from_iter([("n", numbers)]).unwrap()
    }

    fn numbers(batch: &RecordBatch) -> Vec<i64> {
        batch
            .column(0)
            .as_primitive::<Int64Type>()
            .values()
            .to_vec()
    }

    impl Map for Repeat {
        fn schema(&self) -> SchemaRef {
            batch([]).schema()
        }
        fn deterministic(&self) -> bool {
            self.0
        }
        fn scan(&self, _: usize) -> Scan {
            Scan::all("rows")
        }
        fn map(&self, _: usize, given: &RecordBatch) -> Result<Mapped> {
            let all = numbers(given).into_iter();
            let all = all.flat_map(|n| std::iter::repeat_n(n, usize::try_from(n).unwrap()));
            let all: Vec<_> = all.collect();
            let batches = all.chunks(2).map(|part| batch(part.iter().copied()));
            Ok(Mapped {
                batches: batches.collect(),
                ..Mapped::default()
            })
        }
    }

    /// Lines from 1.
    #[derive(Debug)]
    struct Lines;

    impl RowPlaces for Lines {
        fn origin(&mut self, row: usize) -> Result<Origin> {
            Ok(Origin {
                file: Some("a".into()),
                line: Some(row as u64 + 1),
                ..Origin::default()
            })
        }
    }

    /// The number that each row has behind two maps, with its line.
    fn lines(
        maps: &[Arc<dyn Map>],
        places: &mut Places,
        given: &RecordBatch,
    ) -> Vec<(i64, Option<u64>)> {
        let Some((map, maps)) = maps.split_first() else {
            let all = numbers(given).into_iter().enumerate();
            return all
                .map(|(row, n)| (n, places.origin(row).unwrap().line))
                .collect();
        };
        let mut found = Vec::new();
        places.enter(map, 0, given);
        for batch in map.map(0, given).unwrap().batches {
            found.extend(lines(maps, places, &batch));
            places.stand_behind(batch.num_rows());
        }
        places.leave();
        found
    }

    #[test]
    fn behind_maps_a_row_keeps_its_line() {
        let given = [2, 0, 1, 0, 0, 3, 1, 1, 0];
        let maps: [Arc<dyn Map>; 2] = [Arc::new(Repeat(true)), Arc::new(Repeat(true))];
        let mut places = Places::new(Box::new(Lines));
        places.stand_behind(100);
        let found = lines(&maps, &mut places, &batch(given));
        let wanted = (101..).zip(given).flat_map(|(line, n)| {
            let count = usize::try_from(n * n).unwrap();
            std::iter::repeat_n((n, Some(line)), count)
        });
        assert_eq!(found, wanted.collect::<Vec<_>>());
    }

    #[test]
    fn a_map_that_is_not_the_same_twice_keeps_the_file() {
        let maps: [Arc<dyn Map>; 2] = [Arc::new(Repeat(true)), Arc::new(Repeat(false))];
        let mut places = Places::new(Box::new(Lines));
        let found = lines(&maps, &mut places, &batch([1, 2]));
        assert!(found.iter().all(|(_, line)| line.is_none()));
        assert_eq!(places.origin(1).unwrap().line, Some(2));
    }
}
