//! How a pipeline's components are joined: that what they read exists, is read once, and doesn't go
//! round in a circle. The same for pipeline files and for pipelines that are built in code.

use std::collections::HashMap;

use crate::{Kind, StreamName, suggest};

/// A component as far as its inputs matter.
#[derive(Debug, Clone)]
pub struct Wired<'a> {
    /// Its name.
    pub id: &'a str,
    /// What it is.
    pub kind: Kind,
    /// The entries of its `inputs`.
    pub inputs: Vec<&'a str>,
}

/// Something wrong with how components are joined, or probably not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WiringProblem {
    /// The component that it is about, by its position.
    pub component: usize,
    /// The entry of its `inputs`, by its position; `None`: the component itself.
    pub input: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// The same in a few words, to stand beside the place.
    pub label: String,
    /// What to do.
    pub hint: String,
    /// A place that has to do with it, and what it is.
    pub also: Option<(usize, Option<usize>, &'static str)>,
    /// It works, and is probably not meant.
    pub is_warning: bool,
}

/// Checks all inputs of a pipeline. Of components with one name the first is meant.
pub fn check_wiring(components: &[Wired<'_>]) -> Vec<WiringProblem> {
    let by_id: HashMap<&str, usize> = components
        .iter()
        .enumerate()
        .rev()
        .map(|(index, one)| (one.id, index))
        .collect();
    let mut check = Check {
        components,
        by_id,
        found: Vec::new(),
    };
    for (component, reader) in components.iter().enumerate() {
        for input in 0..reader.inputs.len() {
            check.one(component, input);
        }
        check.twice(component);
    }
    check.circles();
    check.unread();
    check.found
}

struct Check<'a> {
    components: &'a [Wired<'a>],
    by_id: HashMap<&'a str, usize>,
    found: Vec<WiringProblem>,
}

/// The streams that a sink may have.
const OF_SINKS: [&str; 2] = [StreamName::REJECTED, StreamName::ANSWERS];

fn split(input: &str) -> (&str, Option<&str>) {
    match input.split_once('.') {
        Some((id, stream)) => (id, Some(stream)),
        None => (input, None),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    Open,
    Done,
}

impl Check<'_> {
    fn problem(
        &mut self,
        place: (usize, Option<usize>),
        message: String,
        label: impl Into<String>,
        hint: impl Into<String>,
    ) -> &mut WiringProblem {
        self.found.push(WiringProblem {
            component: place.0,
            input: place.1,
            message,
            label: label.into(),
            hint: hint.into(),
            also: None,
            is_warning: false,
        });
        let last = self.found.len() - 1;
        &mut self.found[last]
    }

    /// That the entry names something that gives rows.
    fn one(&mut self, component: usize, index: usize) {
        let reader = &self.components[component];
        let input = reader.inputs[index];
        let place = (component, Some(index));
        let (id, stream) = split(input);
        if id.is_empty() || stream.is_some_and(str::is_empty) {
            self.problem(
                place,
                format!("`{input}` doesn't name an input"),
                "not an input",
                "inputs are written `weekly`, `shop.sales`, `shop.*` or `weekly.rejected`",
            );
            return;
        }
        let Some(&found) = self.by_id.get(id) else {
            let others = || {
                let readable = |one: &&Wired<'_>| one.kind != Kind::Sink && one.id != reader.id;
                let named = self.components.iter().filter(readable);
                named.map(|one| one.id)
            };
            let hint = match suggest::nearest(id, others()) {
                Some(near) => format!("there is `{near}`"),
                None if others().next().is_none() => {
                    "there is no source or transform to read from".to_owned()
                }
                None => format!("there are {}", suggest::list(id, others())),
            };
            self.problem(
                place,
                format!("no component is named `{id}`"),
                format!("`{}` can't read this", reader.id),
                hint,
            );
            return;
        };
        if found == component {
            return;
        }
        let rejected = stream == Some(StreamName::REJECTED);
        let answers = stream == Some(StreamName::ANSWERS);
        match (self.components[found].kind, stream) {
            (Kind::Sink, _) if !rejected && !answers => {
                let problem = self.problem(
                    place,
                    format!("`{id}` is a sink and gives no rows"),
                    "a sink can't be read",
                    match stream.and_then(|stream| suggest::nearest(stream, OF_SINKS)) {
                        Some(near) => format!("did you mean `{id}.{near}`?"),
                        None => format!(
                            "what can be read are the rows it could not take, `{id}.rejected`, and \
                             of some sinks the answers, `{id}.answers`"
                        ),
                    },
                );
                problem.also = Some((found, None, "the sink"));
            }
            (Kind::Transform, Some(stream)) if !rejected => {
                self.problem(
                    place,
                    format!("`{id}` is a transform and has no stream `{stream}`"),
                    "a transform gives one stream",
                    format!(
                        "write `{id}` for its rows, or `{id}.rejected` for those it could not take"
                    ),
                );
            }
            _ => {}
        }
    }

    /// Rows that come in by two ways would be duplicated.
    fn twice(&mut self, component: usize) {
        let reader = &self.components[component];
        for (index, input) in reader.inputs.iter().enumerate() {
            let (id, stream) = split(input);
            let earlier = reader.inputs[..index].iter().position(|earlier| {
                let (earlier_id, earlier_stream) = split(earlier);
                let whole = |stream: Option<&str>| matches!(stream, None | Some("*"));
                let aside = |stream: Option<&str>| stream.is_some_and(StreamName::is_aside);
                earlier_id == id
                    && (earlier_stream == stream
                        || (whole(earlier_stream) && !aside(stream))
                        || (whole(stream) && !aside(earlier_stream)))
            });
            if let Some(first) = earlier {
                if self.names_no_stream(component, index, id, stream) {
                    continue;
                }
                let earlier = reader.inputs[first];
                let message = if earlier == *input {
                    format!("`{}` reads `{input}` twice", reader.id)
                } else {
                    format!("`{}` reads the same rows twice", reader.id)
                };
                let problem = self.problem(
                    (component, Some(index)),
                    message,
                    format!("already in `{earlier}`"),
                    "remove one of them",
                );
                problem.also = Some((component, Some(first), "the first time"));
            }
        }
    }

    /// Whether what an input names is no stream at all. If one that is read aside is probably meant, says so; of a
    /// transform's it was said before.
    fn names_no_stream(
        &mut self,
        component: usize,
        input: usize,
        id: &str,
        stream: Option<&str>,
    ) -> bool {
        let of = self.by_id.get(id).map(|at| self.components[*at].kind);
        let (Some(of), Some(stream)) = (of, stream) else {
            return false;
        };
        if of != Kind::Source {
            let answers = of == Kind::Sink && stream == StreamName::ANSWERS;
            return stream != StreamName::REJECTED && !answers;
        }
        let aside = [StreamName::REJECTED, StreamName::FAILED_FILES];
        let meant = suggest::nearest(stream, aside);
        if let Some(meant) = meant {
            self.problem(
                (component, Some(input)),
                format!("`{id}` has no stream `{stream}`"),
                "no such stream",
                format!("did you mean `{id}.{meant}`?"),
            );
        }
        meant.is_some()
    }

    fn circles(&mut self) {
        let components = self.components;
        let mut marks = vec![Mark::New; components.len()];
        for start in 0..components.len() {
            if marks[start] != Mark::New {
                continue;
            }
            // Depth first, with a stack of its own: a long chain of components is no reason to crash.
            let mut trail: Vec<(usize, usize)> = vec![(start, 0)];
            marks[start] = Mark::Open;
            while let Some((at, next)) = trail.last_mut() {
                let (at, index) = (*at, *next);
                let Some(input) = components[at].inputs.get(index) else {
                    marks[at] = Mark::Done;
                    trail.pop();
                    continue;
                };
                *next += 1;
                let Some(&target) = self.by_id.get(split(input).0) else {
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
                            .map(|(at, _)| components[*at].id)
                            .collect();
                        self.circle(&circle, (at, Some(index)));
                    }
                    Mark::Done => {}
                }
            }
        }
    }

    fn circle(&mut self, circle: &[&str], place: (usize, Option<usize>)) {
        let (message, label) = match circle {
            [one] => (
                format!("`{one}` reads itself"),
                "this is the component itself",
            ),
            several => {
                let mut steps: Vec<_> = several.iter().map(|id| format!("`{id}`")).collect();
                steps.push(format!("`{}`", several[0]));
                let steps = steps.join(" reads ");
                let message = format!("the inputs go round in a circle: {steps}");
                (message, "the circle is closed here")
            }
        };
        let hint = "data flows from sources to sinks: no component can wait for its own rows";
        self.problem(place, message, label, hint);
    }

    fn unread(&mut self) {
        for (at, component) in self.components.iter().enumerate() {
            let read = || {
                let inputs = self.components.iter().flat_map(|one| &one.inputs);
                inputs.map(|input| split(input)).any(|(id, stream)| {
                    id == component.id && !stream.is_some_and(StreamName::is_aside)
                })
            };
            if component.kind == Kind::Sink || read() {
                continue;
            }
            let problem = self.problem(
                (at, None),
                format!("nothing reads `{}`", component.id),
                format!("this {} is not used", component.kind),
                format!("add \"{}\" to the `inputs` of a sink", component.id),
            );
            problem.is_warning = true;
        }
    }
}
