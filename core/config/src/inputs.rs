//! What components read: that it exists, is read once, and doesn't go round in a circle.

use std::collections::HashMap;

use tidegate_core::{Kind, StreamName};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::source::Place;
use crate::suggest;

/// A component as far as its inputs matter.
pub(crate) struct Consumer {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) key: Place,
    pub(crate) inputs: Vec<(String, Place)>,
}

/// Checks all inputs of a pipeline.
pub(crate) fn check(components: &[Consumer], out: &mut Diagnostics) {
    let by_id: HashMap<&str, usize> = components
        .iter()
        .enumerate()
        .rev()
        .map(|(index, one)| (one.id.as_str(), index))
        .collect();
    for component in components {
        for (input, place) in &component.inputs {
            check_one(components, &by_id, component, input, place, out);
        }
        check_twice(component, out);
    }
    check_circles(components, &by_id, out);
    warn_of_unread(components, out);
}

fn split(input: &str) -> (&str, Option<&str>) {
    match input.split_once('.') {
        Some((id, stream)) => (id, Some(stream)),
        None => (input, None),
    }
}

fn check_one(
    components: &[Consumer],
    by_id: &HashMap<&str, usize>,
    reader: &Consumer,
    input: &str,
    place: &Place,
    out: &mut Diagnostics,
) {
    let (id, stream) = split(input);
    if id.is_empty() || stream.is_some_and(str::is_empty) {
        out.push(
            Diagnostic::new(place.clone(), format!("`{input}` doesn't name an input"))
                .label("not an input")
                .hint("inputs are written `weekly`, `shop.sales`, `shop.*` or `weekly.rejected`"),
        );
        return;
    }
    let Some(found) = by_id.get(id).map(|index| &components[*index]) else {
        let others = || {
            let readable = |one: &&Consumer| one.kind != Kind::Sink && one.id != reader.id;
            let named = components.iter().filter(readable);
            named.map(|one| one.id.as_str())
        };
        let hint = match suggest::nearest(id, others()) {
            Some(near) => format!("there is `{near}`"),
            None if others().next().is_none() => {
                "there is no source or transform to read from".to_owned()
            }
            None => format!("there are {}", suggest::list(id, others())),
        };
        out.push(
            Diagnostic::new(place.clone(), format!("no component is named `{id}`"))
                .label(format!("`{}` can't read this", reader.id))
                .hint(hint),
        );
        return;
    };
    if found.id == reader.id {
        return;
    }
    let rejected = stream == Some(StreamName::REJECTED);
    match (found.kind, stream) {
        (Kind::Sink, _) if !rejected => out.push(
            Diagnostic::new(place.clone(), format!("`{id}` is a sink and gives no rows"))
                .label("a sink can't be read")
                .also(found.key.clone(), "the sink")
                .hint(format!(
                    "only the rows it could not take can be read: `{id}.rejected`"
                )),
        ),
        (Kind::Transform, Some(stream)) if !rejected => out.push(
            Diagnostic::new(
                place.clone(),
                format!("`{id}` is a transform and has no stream `{stream}`"),
            )
            .label("a transform gives one stream")
            .hint(format!(
                "write `{id}` for its rows, or `{id}.rejected` for those it could not take"
            )),
        ),
        _ => {}
    }
}

/// Rows that come in by two ways would be doubled.
fn check_twice(reader: &Consumer, out: &mut Diagnostics) {
    for (index, (input, place)) in reader.inputs.iter().enumerate() {
        let (id, stream) = split(input);
        let earlier = reader.inputs[..index].iter().find(|(earlier, _)| {
            let (earlier_id, earlier_stream) = split(earlier);
            let whole = |stream: Option<&str>| matches!(stream, None | Some("*"));
            let rejected = |stream| stream == Some(StreamName::REJECTED);
            earlier_id == id
                && (earlier_stream == stream
                    || (whole(earlier_stream) && !rejected(stream))
                    || (whole(stream) && !rejected(earlier_stream)))
        });
        if let Some((earlier, first)) = earlier {
            let message = if earlier == input {
                format!("`{}` reads `{input}` twice", reader.id)
            } else {
                format!("`{}` reads the same rows twice", reader.id)
            };
            out.push(
                Diagnostic::new(place.clone(), message)
                    .label(format!("already in `{earlier}`"))
                    .also(first.clone(), "the first time")
                    .hint("remove one of them"),
            );
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    Open,
    Done,
}

fn check_circles(components: &[Consumer], by_id: &HashMap<&str, usize>, out: &mut Diagnostics) {
    let mut marks = vec![Mark::New; components.len()];
    for start in 0..components.len() {
        if marks[start] != Mark::New {
            continue;
        }
        // Depth first, with a stack of its own: a long chain of components is no reason to crash.
        let mut trail: Vec<(usize, usize)> = vec![(start, 0)];
        marks[start] = Mark::Open;
        while let Some((at, next)) = trail.last_mut() {
            let component = &components[*at];
            let Some((input, place)) = component.inputs.get(*next) else {
                marks[*at] = Mark::Done;
                trail.pop();
                continue;
            };
            *next += 1;
            let Some(&target) = by_id.get(split(input).0) else {
                continue;
            };
            match marks[target] {
                Mark::New => {
                    marks[target] = Mark::Open;
                    trail.push((target, 0));
                }
                Mark::Open => {
                    let from = trail.iter().position(|(at, _)| *at == target);
                    let circle: Vec<_> = trail[from.unwrap_or(0)..]
                        .iter()
                        .map(|(at, _)| components[*at].id.as_str())
                        .collect();
                    out.push(circular(&circle, place));
                }
                Mark::Done => {}
            }
        }
    }
}

fn circular(circle: &[&str], place: &Place) -> Diagnostic {
    let message = match circle {
        [one] => format!("`{one}` reads itself"),
        several => {
            let mut steps: Vec<_> = several.iter().map(|id| format!("`{id}`")).collect();
            steps.push(format!("`{}`", several[0]));
            format!("the inputs go round in a circle: {}", steps.join(" reads "))
        }
    };
    Diagnostic::new(place.clone(), message)
        .label(if circle.len() == 1 {
            "this is the component itself"
        } else {
            "the circle is closed here"
        })
        .hint("data flows from sources to sinks: no component can wait for its own rows")
}

fn warn_of_unread(components: &[Consumer], out: &mut Diagnostics) {
    for component in components.iter().filter(|one| one.kind != Kind::Sink) {
        let read = components
            .iter()
            .flat_map(|one| &one.inputs)
            .map(|(input, _)| split(input))
            .any(|(id, stream)| id == component.id && stream != Some(StreamName::REJECTED));
        if !read {
            out.push(
                Diagnostic::new(
                    component.key.clone(),
                    format!("nothing reads `{}`", component.id),
                )
                .label(format!("this {} is not used", component.kind))
                .hint(format!(
                    "add \"{}\" to the `inputs` of a sink",
                    component.id
                ))
                .warning(),
            );
        }
    }
}
