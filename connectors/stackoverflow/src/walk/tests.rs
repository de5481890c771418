#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tidegate_core::ErrorKind;

use super::*;

/// An API with these rows: by id, the value that they are sorted by.
#[derive(Debug, Clone)]
struct Api {
    rows: BTreeMap<i64, i64>,
    size: usize,
    direction: Direction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Edit(usize),
    Delete(usize),
    Add,
}

struct Reply {
    items: Vec<Item>,
    has_more: bool,
    total: Option<u64>,
}

impl Reply {
    fn answer(&self) -> Answer<'_> {
        Answer {
            items: &self.items,
            has_more: self.has_more,
            total: self.total,
        }
    }
}

impl Api {
    fn pagesize(&self) -> u32 {
        self.size.try_into().unwrap()
    }

    fn answer(&self, ask: &PageAsk) -> Reply {
        let bound = |value: &Option<Value>, other| match value {
            Some(Value::Number(bound)) => *bound,
            None => other,
            Some(Value::Text(text)) => panic!("{text} is not a number"),
        };
        let range = bound(&ask.min, i64::MIN)..=bound(&ask.max, i64::MAX);
        let rows = self.rows.iter().filter(|(_, at)| range.contains(at));
        let mut rows: Vec<_> = rows.map(|(id, at)| (*at, *id)).collect();
        rows.sort_unstable();
        if self.direction == Direction::Down {
            rows.reverse();
        }
        let size = if ask.count { 1 } else { self.size };
        let from = (usize::try_from(ask.page).unwrap() - 1) * size;
        let page = rows.iter().skip(from).take(size);
        Reply {
            items: page.map(|(at, id)| item(*id, *at)).collect(),
            has_more: rows.len() > from + size,
            total: ask.total.then_some(rows.len() as u64),
        }
    }

    fn change(&mut self, change: Change, now: i64) {
        let nth = |rows: &BTreeMap<i64, i64>, n: usize| {
            (!rows.is_empty()).then(|| *rows.keys().nth(n % rows.len()).unwrap())
        };
        match change {
            Change::Add => {
                let id = self.rows.keys().last().map_or(1, |id| id + 1);
                self.rows.insert(id, now);
            }
            Change::Edit(n) => {
                if let Some(id) = nth(&self.rows, n) {
                    self.rows.insert(id, now);
                }
            }
            Change::Delete(n) => {
                if let Some(id) = nth(&self.rows, n) {
                    self.rows.remove(&id);
                }
            }
        }
    }
}

fn item(id: i64, at: i64) -> Item {
    Item {
        id: Value::Number(id),
        at: Value::Number(at),
    }
}

const TO: i64 = 1_000;

fn open(from: Option<i64>) -> Window {
    Window::Dates { from, to: None }
}

fn dates(from: Option<i64>) -> Window {
    Window::Dates { from, to: Some(TO) }
}

/// Reads to the end. Each page is taken by a walk that resumes from a stored position, as a
/// later process would.
fn read(
    api: &mut Api,
    window: Window,
    changes: impl Iterator<Item = Change>,
) -> Result<(Vec<(i64, i64)>, usize), Error> {
    read_on(api, window, window, changes)
}

/// The same with a first page that is asked for by another window.
fn read_on(
    api: &mut Api,
    first: Window,
    window: Window,
    mut changes: impl Iterator<Item = Change>,
) -> Result<(Vec<(i64, i64)>, usize), Error> {
    let mut position = serde_json::to_value(Position::default()).unwrap();
    let (mut rows, mut requests) = (Vec::new(), 0);
    loop {
        let stored = serde_json::from_value(position).unwrap();
        let mut walk = Walk::new(window, api.direction, api.pagesize(), stored);
        let Some(mut ask) = walk.next() else {
            return Ok((rows, requests));
        };
        if requests == 0 {
            let start = Walk::new(first, api.direction, api.pagesize(), Position::default());
            ask = start.next().unwrap();
        }
        requests += 1;
        let reply = api.answer(&ask);
        for i in walk.take(&ask, reply.answer())? {
            let Item { id, at } = &reply.items[i];
            let (Value::Number(id), Value::Number(at)) = (id, at) else {
                panic!("only numbers were sent");
            };
            rows.push((*id, *at));
        }
        position = serde_json::to_value(walk.position()).unwrap();
        if let Some(change) = changes.next() {
            api.change(change, TO + 1 + i64::try_from(requests).unwrap());
        }
    }
}

fn api(values: &[i64], size: usize, direction: Direction) -> Api {
    let rows = (1..).zip(values.iter().copied()).collect();
    Api {
        rows,
        size,
        direction,
    }
}

fn directions() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::Up), Just(Direction::Down)]
}

fn a_change() -> impl Strategy<Value = Option<Change>> {
    prop_oneof![
        2 => Just(None),
        2 => any::<usize>().prop_map(|n| Some(Change::Edit(n))),
        1 => any::<usize>().prop_map(|n| Some(Change::Delete(n))),
        1 => Just(Some(Change::Add)),
    ]
}

proptest! {
    #[test]
    fn what_stays_in_the_window_is_read_once_whatever_changes(
        values in prop::collection::vec(prop_oneof![0..TO + 10, 400..405_i64], 0..120),
        size in 2..12_usize,
        direction in directions(),
        from in prop::option::of(0..600_i64),
        planned in any::<bool>(),
        changes in prop::collection::vec(a_change(), 0..40),
    ) {
        let mut api = api(&values, size, direction);
        let changes = changes.into_iter().flatten();
        // A plan asks for the first page before it knows the end.
        let first = if planned { open(from) } else { dates(from) };
        let (rows, _) = read_on(&mut api, first, dates(from), changes).unwrap();
        let ids: BTreeSet<_> = rows.iter().map(|(id, _)| *id).collect();
        prop_assert_eq!(ids.len(), rows.len(), "no row is given twice");
        prop_assert!(rows.iter().all(|(_, at)| *at <= TO), "what is late is left out");
        for (id, at) in &api.rows {
            let within = *at <= TO && from.is_none_or(|from| *at >= from);
            prop_assert!(!within || ids.contains(id), "row {} is lost", id);
        }
    }

    #[test]
    fn all_of_what_stands_still_is_read_once_and_in_order(
        values in prop::collection::vec(-20..20_i64, 0..100),
        size in 1..12_usize,
        direction in directions(),
    ) {
        let mut api = api(&values, size, direction);
        let (rows, _) = read(&mut api, Window::All, std::iter::empty()).unwrap();
        let mut want: Vec<_> = api.rows.iter().map(|(id, at)| (*at, *id)).collect();
        want.sort_unstable();
        if direction == Direction::Down {
            want.reverse();
        }
        let rows: Vec<_> = rows.into_iter().map(|(id, at)| (at, id)).collect();
        prop_assert_eq!(rows, want);
    }
}

#[test]
fn requests_are_few() {
    let values: Vec<_> = (0..50_000).map(|n| n * 7 / 10).collect();
    for direction in [Direction::Up, Direction::Down] {
        let mut api = api(&values, 100, direction);
        let window = Window::Dates {
            from: None,
            to: Some(50_000),
        };
        let (rows, requests) = read(&mut api, window, std::iter::empty()).unwrap();
        assert_eq!(rows.len(), values.len());
        assert!(
            requests <= 510,
            "{requests} requests, and 500 are the fewest"
        );
    }
}

fn take(walk: &mut Walk, items: &[Item], has_more: bool) -> Result<Vec<usize>, Error> {
    let ask = walk.next().unwrap();
    let answer = Answer {
        items,
        has_more,
        total: ask.total.then_some(items.len() as u64),
    };
    walk.take(&ask, answer)
}

fn walk(window: Window, size: u32) -> Walk {
    Walk::new(window, Direction::Up, size, Position::default())
}

#[test]
fn a_page_that_repeats_is_an_error_and_no_loop() {
    let page = [item(1, 10), item(2, 11), item(3, 12)];
    let mut dates = walk(dates(None), 3);
    take(&mut dates, &page, true).unwrap();
    let before = dates.position().clone();
    let error = take(&mut dates, &page, true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "{error:?}");
    assert_eq!(*dates.position(), before, "nothing is lost by it");

    let mut all = walk(Window::All, 3);
    let error = (0..10).find_map(|_| take(&mut all, &page, true).err());
    assert_eq!(error.unwrap().kind(), ErrorKind::Transient);
}

#[test]
fn a_page_without_rows_that_says_there_is_more_is_an_error() {
    let error = take(&mut walk(Window::All, 3), &[], true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "{error:?}");
    // Where it can be counted, it is an end if there is nothing.
    for (total, ends) in [(0, true), (1, false)] {
        let mut walk = walk(dates(None), 3);
        assert!(take(&mut walk, &[], true).unwrap().is_empty());
        let ask = walk.next().unwrap();
        assert!(ask.total && ask.count);
        let answer = Answer {
            items: &[],
            has_more: true,
            total: Some(total),
        };
        match walk.take(&ask, answer) {
            Ok(new) => assert!(ends && new.is_empty() && walk.next().is_none()),
            Err(error) => assert!(!ends && error.kind() == ErrorKind::Transient, "{error:?}"),
        }
    }
}

#[test]
fn rows_that_were_not_asked_for_are_an_error() {
    for (what, page) in [
        ("before the window", vec![item(1, 9)]),
        ("out of order", vec![item(1, 12), item(2, 11)]),
    ] {
        let error = take(&mut walk(dates(Some(10)), 3), &page, false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data, "{what}: {error:?}");
    }
}

#[test]
fn a_row_that_changed_meanwhile_is_left_to_the_next_run() {
    let mut walk = walk(dates(None), 3);
    let page = [item(1, 10), item(2, TO + 1), item(3, 12)];
    assert_eq!(take(&mut walk, &page, true).unwrap(), [0, 2]);
    assert_eq!(walk.next().unwrap().min, Some(Value::Number(12)));
}

#[test]
fn a_first_page_that_goes_past_the_end_spares_requests() {
    let within = [10, 11, 12, 13, 14];
    let second = [10, 10, 10, 10];
    let late = |rows: &[i64], late: i64| [rows, &Vec::from_iter(TO + 1..=TO + late)].concat();
    // A page has 7 rows.
    for (what, values, up, down) in [
        ("nothing late", late(&within, 0), 1, 1),
        ("late, and more of it", late(&within, 5), 1, 2),
        ("late, and one row within", late(&[10], 8), 1, 2),
        ("late, and one second within", late(&second, 5), 1, 2),
        (
            "one late row at its end",
            late(&[&within[..], &[15]].concat(), 2),
            2,
            2,
        ),
        ("all late", late(&[], 9), 1, 2),
    ] {
        for (direction, most) in [(Direction::Up, up), (Direction::Down, down)] {
            let mut api = api(&values, 7, direction);
            let changes = std::iter::empty();
            let (rows, requests) = read_on(&mut api, open(None), dates(None), changes).unwrap();
            let expected = values.iter().filter(|at| **at <= TO).count();
            assert_eq!(rows.len(), expected, "{what}, {direction:?}");
            assert_eq!(requests, most, "{what}, {direction:?}");
        }
    }
}

#[test]
fn rows_that_change_while_a_first_page_is_made_end_nothing() {
    for page in [
        [item(1, 10), item(2, 11), item(3, TO + 1)],
        [item(1, TO + 9), item(2, TO + 1), item(3, TO + 2)],
    ] {
        let start = walk(open(None), 3).next().unwrap();
        let mut walk = walk(dates(None), 3);
        let answer = Answer {
            items: &page,
            has_more: true,
            total: None,
        };
        walk.take(&start, answer).unwrap();
        assert_eq!(walk.next().unwrap().max, Some(Value::Number(TO)));
    }
}

#[test]
fn texts_are_walked_as_the_api_sorts_them() {
    // Without regard to case, and several share a name.
    let names = ["Alex", "alex", "ALEX", "alex", "beth", "Carl", "dora"];
    let row = |id: usize| Item {
        id: Value::Number(id.try_into().unwrap()),
        at: Value::Text(names[id].to_owned()),
    };
    for size in 1..=names.len() {
        let mut walk = walk(Window::All, u32::try_from(size).unwrap());
        let mut read = Vec::new();
        while let Some(ask) = walk.next() {
            let min = match &ask.min {
                Some(Value::Text(min)) => min.to_lowercase(),
                _ => String::new(),
            };
            let rows = (0..names.len()).filter(|id| names[*id].to_lowercase() >= min);
            let skip = (usize::try_from(ask.page).unwrap() - 1) * size;
            let rows: Vec<_> = rows.skip(skip).map(row).collect();
            let page = &rows[..size.min(rows.len())];
            let answer = Answer {
                items: page,
                has_more: rows.len() > size,
                total: None,
            };
            let new = walk.take(&ask, answer).unwrap();
            read.extend(new.into_iter().map(|i| page[i].id.clone()));
        }
        let all: Vec<_> = (0..names.len()).map(|id| row(id).id).collect();
        assert_eq!(read, all, "pages of {size}");
    }
}

#[test]
fn pages_of_another_size_are_counted_anew() {
    // More rows of one value than fit on pages, and another size after each.
    for window in [dates(None), Window::All] {
        let mut api = api(&[7; 60], 5, Direction::Up);
        let (mut position, mut read) = (Position::default(), BTreeSet::new());
        let sizes = [5_u32, 5, 5, 5, 9, 9, 9, 9].into_iter();
        for size in sizes.chain(std::iter::repeat_n(7, 30)) {
            api.size = size.try_into().unwrap();
            let mut walk = Walk::new(window, Direction::Up, size, position);
            let Some(ask) = walk.next() else { break };
            let reply = api.answer(&ask);
            for i in walk.take(&ask, reply.answer()).unwrap() {
                read.insert(reply.items[i].id.clone());
            }
            position = walk.position().clone();
        }
        assert_eq!(read.len(), 60, "{window:?}");
    }
}
