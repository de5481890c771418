//! Turns a schema's errors into sentences for people.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as Kind;
use serde_json::Value;

use super::shape::{Shape, Unit};
use super::typing::{choose, named_variable};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::node::{Data, Node, Reading};
use tidegate_core::suggest;

/// Explains the errors of one table.
pub(crate) struct Explainer<'a> {
    shape: Shape<'a>,
    root: &'a Node,
    what: &'a str,
    found: Vec<Diagnostic>,
    /// Missing keys, by the path of their table: told only if no unknown key was meant as them.
    missing: Vec<(Vec<String>, String, Diagnostic)>,
    meant: Vec<(Vec<String>, String)>,
}

/// An error's value: where it is and what it is.
struct At<'a> {
    path: Vec<String>,
    node: &'a Node,
}

impl At<'_> {
    /// The value's name in a sentence: `` `rows` ``, `` `columns[2]` ``; `None` for the whole table.
    fn name(&self) -> Option<String> {
        let first = self
            .path
            .iter()
            .rposition(|step| step.parse::<usize>().is_err())?;
        let mut name = self.path[first].clone();
        for index in &self.path[first + 1..] {
            name.push_str(&format!("[{index}]"));
        }
        Some(format!("`{name}`"))
    }
}

impl<'a> Explainer<'a> {
    pub(crate) fn new(shape: Shape<'a>, root: &'a Node, what: &'a str) -> Self {
        Self {
            shape,
            root,
            what,
            found: Vec::new(),
            missing: Vec::new(),
            meant: Vec::new(),
        }
    }

    /// Hands over what was found.
    pub(crate) fn finish(self, out: &mut Diagnostics) {
        for (table, key, diagnostic) in self.missing {
            if !self.meant.contains(&(table, key)) {
                out.push(diagnostic);
            }
        }
        for diagnostic in self.found {
            out.push(diagnostic);
        }
    }

    /// Explains one error.
    pub(crate) fn explain(&mut self, error: &ValidationError<'_>) {
        let Some(at) = self.at(error) else { return };
        let pointer = error.schema_path().as_str();
        let owner = pointer.rfind('/').map_or("", |end| &pointer[..end]);
        let owner = self.shape.pointer(owner);
        match error.kind() {
            Kind::AdditionalProperties { unexpected }
            | Kind::UnevaluatedProperties { unexpected } => {
                for key in unexpected {
                    self.unknown_key(&at, key, &owner.keys(), owner);
                }
            }
            Kind::Required { property } => {
                if let Some(key) = property.as_str() {
                    self.missing_key(&at, key, owner);
                }
            }
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
                let keyword = error.kind().keyword();
                self.alternatives(&at, owner, keyword, context);
            }
            Kind::Type { .. } => self.wrong_type(&at, owner),
            Kind::Enum { .. } | Kind::Constant { .. } if owner.literals().is_some() => {
                let literals = owner.literals().unwrap_or_default();
                self.not_one_of(&at, &literals);
            }
            Kind::Format { format } => self.wrong_unit(&at, Unit::of(format)),
            other => self.out_of_bounds(&at, owner, other, error),
        }
    }

    /// `None` if nothing is to be said, because a variable in it is not set.
    fn at(&self, error: &ValidationError<'_>) -> Option<At<'a>> {
        let mut node = self.root;
        let mut path = Vec::new();
        for step in error.instance_path() {
            let step = step.to_string();
            node = node.child(&step)?;
            path.push(step);
        }
        (!node.is_broken()).then_some(At { path, node })
    }

    fn push(&mut self, diagnostic: Diagnostic) {
        self.found.push(diagnostic);
    }

    fn table_name(&self, at: &At<'_>) -> String {
        at.name().unwrap_or_else(|| self.what.to_owned())
    }

    fn unknown_key(&mut self, at: &At<'_>, key: &str, known: &[&str], owner: Shape<'_>) {
        let Some(entry) = at.node.as_table().and_then(|table| table.get(key)) else {
            return;
        };
        let place = entry.key.clone();
        let free = known
            .iter()
            .copied()
            .filter(|known| at.node.get(known).is_none());
        let near_free = suggest::nearest(key, free);
        if let Some(near) = near_free {
            self.meant.push((at.path.clone(), near.to_owned()));
        }
        let near = near_free.or_else(|| suggest::nearest(key, known.iter().copied()));
        let hint = match near {
            _ if let Some(now) = owner.renamed(key) => format!("it is called `{now}` now"),
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "it has no keys".to_owned(),
            None => format!("its keys are {}", suggest::list(key, known.iter().copied())),
        };
        let label = format!("not a key of {}", self.table_name(at));
        let diagnostic = match key {
            "inputs" if self.what.starts_with("a source") && at.path.is_empty() => {
                Diagnostic::new(place, "a source has no `inputs`")
                    .label("a source reads from outside")
                    .hint("transforms and sinks have `inputs`; remove it here")
            }
            _ => Diagnostic::new(place, format!("unknown key `{key}`"))
                .label(label)
                .hint(hint),
        };
        self.push(diagnostic);
    }

    fn missing_key(&mut self, at: &At<'_>, key: &str, owner: Shape<'_>) {
        let about = owner
            .property(key)
            .and_then(Shape::summary)
            .map(|text| format!(": {text}"))
            .unwrap_or_default();
        let choice = owner
            .property(key)
            .and_then(Shape::choices)
            .map(|choices| format!("; it can be {}", suggest::quoted(choices)))
            .unwrap_or_default();
        let example = match owner.property(key) {
            Some(property) => example(property),
            None => "…".to_owned(),
        };
        let diagnostic = Diagnostic::new(
            at.node.place.first_line(),
            format!("the key `{key}` is missing"),
        )
        .label(format!("{} needs `{key}`", self.table_name(at)))
        .hint(format!("add `{key} = {example}`{about}{choice}"));
        self.missing
            .push((at.path.clone(), key.to_owned(), diagnostic));
    }

    fn alternatives(
        &mut self,
        at: &At<'_>,
        owner: Shape<'_>,
        keyword: &str,
        context: &[Vec<ValidationError<'static>>],
    ) {
        if owner.is_secret() && !matches!(at.node.data, Data::Table(_)) {
            return self.plain_secret(at);
        }
        if let (Some(choices), Data::Text(_)) = (owner.choices(), &at.node.data) {
            return self.not_one_of(at, &choices);
        }
        let Some(alternatives) = owner.keyword(keyword).as_array() else {
            return;
        };
        let (shapes, errors): (Vec<_>, Vec<_>) = alternatives
            .iter()
            .map(|alternative| owner.at(alternative).resolved())
            .zip(context)
            .filter(|(shape, _)| shape.keyword("type") != "null")
            .unzip();
        let chosen = match shapes.len() {
            1 => Some(0),
            _ => choose(&shapes, at.node),
        };
        if let Some(errors) = chosen.and_then(|index| errors.get(index)) {
            for error in *errors {
                self.explain(error);
            }
            return;
        }
        self.no_alternative(at, owner, &shapes);
    }

    /// None of the alternatives is meant clearly.
    fn no_alternative(&mut self, at: &At<'_>, owner: Shape<'_>, shapes: &[Shape<'_>]) {
        let Data::Table(table) = &at.node.data else {
            return self.wrong_type(at, owner);
        };
        let tags: Vec<_> = shapes.iter().filter_map(|shape| shape.tag()).collect();
        if let Some((tag, _)) = tags.first() {
            let values: Vec<_> = tags.iter().map(|(_, value)| *value).collect();
            match table.get(*tag) {
                Some(entry) => {
                    let mut path = at.path.clone();
                    path.push((*tag).to_owned());
                    let node = &entry.node;
                    if !node.is_broken() {
                        self.not_one_of(&At { path, node }, &values);
                    }
                }
                None => {
                    let message = format!("the key `{tag}` is missing");
                    let name = self.table_name(at);
                    self.push(
                        Diagnostic::new(at.node.place.first_line(), message)
                            .label(format!("{name} needs `{tag}`"))
                            .hint(format!("`{tag}` is one of {}", suggest::quoted(values))),
                    );
                }
            }
            return;
        }
        let variants: Vec<_> = shapes.iter().filter_map(|shape| shape.variant()).collect();
        if variants.is_empty() {
            return self.wrong_type(at, owner);
        }
        for key in table.keys() {
            self.unknown_key(at, key, &variants, owner);
        }
        if table.is_empty() {
            self.wrong_type(at, owner);
        }
    }

    fn plain_secret(&mut self, at: &At<'_>) {
        let name = at.name().unwrap_or_else(|| "a secret".to_owned());
        let key = name.trim_matches('`').to_owned();
        let diagnostic = match named_variable(at.node) {
            Some(variable) => Diagnostic::new(
                at.node.place.clone(),
                format!("{name} is a secret and is not interpolated"),
            )
            .label("this would put the secret itself into the configuration")
            .hint(format!("write `{key} = {{ env = \"{variable}\" }}`")),
            None if !at.node.place.source.is_file => Diagnostic::new(
                at.node.place.first_line(),
                format!("{name} is a secret and can't be given as text"),
            )
            .label("a reference is needed here")
            .hint(format!(
                "give `{key}.env=NAME`, the name of a variable that holds the secret, or \
                 `{key}.file=PATH`"
            )),
            None => Diagnostic::new(
                at.node.place.first_line(),
                format!("{name} is a secret and can't stand in the file itself"),
            )
            .label("a reference is needed here")
            .hint(format!(
                "write `{key} = {{ env = \"NAME\" }}` or `{key} = {{ file = \"PATH\" }}`, and \
                 change the secret if others have seen this file"
            )),
        };
        self.push(diagnostic);
    }

    fn wrong_type(&mut self, at: &At<'_>, owner: Shape<'_>) {
        if owner.is_secret() && !matches!(at.node.data, Data::Table(_)) {
            return self.plain_secret(at);
        }
        let name = self.table_name(at);
        let wanted = owner.describe();
        let label = match variable_of(at.node) {
            Some(_) => format!("the variable holds {}", at.node.kind()),
            None => format!("this is {}", at.node.kind()),
        };
        let place = match at.node.data {
            Data::Table(_) => at.node.place.first_line(),
            _ => at.node.place.clone(),
        };
        let about = || owner.summary().map(|text| format!("{name}: {text}"));
        let hint = rewrite(at, owner).or_else(about);
        self.push(
            Diagnostic::new(place, format!("{name} must be {wanted}"))
                .label(label)
                .maybe_hint(hint),
        );
    }

    fn not_one_of(&mut self, at: &At<'_>, literals: &[&str]) {
        let name = self.table_name(at);
        let Data::Text(text) = &at.node.data else {
            let wanted = suggest::quoted(literals.iter().copied());
            let kind = at.node.kind();
            self.push(
                Diagnostic::new(
                    at.node.place.first_line(),
                    format!("{name} must be one of {wanted}"),
                )
                .label(format!("this is {kind}")),
            );
            return;
        };
        let message = match shown(at.node) {
            Some(value) => format!("{name} can't be {value}"),
            None => format!("{name} can't have this value"),
        };
        let list = suggest::list(&text.value, literals.iter().copied());
        let hint = match suggest::nearest(&text.value, literals.iter().copied()) {
            Some(near) if literals.len() > 1 => {
                format!("did you mean `{near}`? It can be {list}")
            }
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it can be {list}"),
        };
        self.push(
            Diagnostic::new(at.node.place.clone(), message)
                .label("not one of its values")
                .hint(hint),
        );
    }

    fn wrong_unit(&mut self, at: &At<'_>, unit: Option<Unit>) {
        let Some(unit) = unit else { return };
        let name = self.table_name(at);
        let message = match shown(at.node) {
            Some(value) => format!("{value} is not {}", unit.name()),
            None => format!("{name} is not {}", unit.name()),
        };
        self.push(
            Diagnostic::new(at.node.place.clone(), message)
                .label(format!("{name} must be {}", unit.name()))
                .hint(unit.hint()),
        );
    }

    fn out_of_bounds(
        &mut self,
        at: &At<'_>,
        owner: Shape<'_>,
        kind: &Kind,
        error: &ValidationError<'_>,
    ) {
        let name = self.table_name(at);
        let message = match kind {
            Kind::Minimum { limit } if limit == 0 => format!("{name} can't be negative"),
            Kind::Minimum { limit } => format!("{name} must be at least {limit}"),
            Kind::Maximum { limit } => format!("{name} must be at most {limit}"),
            Kind::ExclusiveMinimum { limit } => format!("{name} must be more than {limit}"),
            Kind::ExclusiveMaximum { limit } => format!("{name} must be less than {limit}"),
            Kind::MinItems { limit: 1 } | Kind::MinLength { limit: 1 } => {
                format!("{name} can't be empty")
            }
            Kind::MinItems { limit } => {
                format!("{name} needs at least {}", counted(*limit, "item"))
            }
            Kind::MaxItems { limit } => {
                format!("{name} can have {} at most", counted(*limit, "item"))
            }
            Kind::MinLength { limit } => {
                format!("{name} needs at least {}", counted(*limit, "character"))
            }
            Kind::MaxLength { limit: 1 } | Kind::Pattern { .. } if one_character(owner) => {
                format!("{name} must be one character")
            }
            Kind::MaxLength { limit } => {
                format!("{name} can have {} at most", counted(*limit, "character"))
            }
            Kind::MinProperties { limit } => {
                format!("{name} needs at least {}", counted(*limit, "key"))
            }
            Kind::MaxProperties { limit } => {
                format!("{name} can have {} at most", counted(*limit, "key"))
            }
            Kind::UniqueItems => format!("{name} has the same item twice"),
            Kind::Pattern { pattern } => format!("{name} doesn't match the pattern `{pattern}`"),
            Kind::Constant { expected_value } => format!("{name} must be `{expected_value}`"),
            Kind::Enum { options } => format!("{name} must be one of {options}"),
            Kind::OneOfMultipleValid { .. } => format!("{name} can be understood in two ways"),
            // The library's sentence, without the value: it might be a secret.
            _ => format!("{name} doesn't fit: {}", error.masked_with("the value")),
        };
        let about = || owner.summary().map(|text| format!("{name}: {text}"));
        let hint = match kind {
            Kind::Pattern { pattern } if pattern.starts_with("^(/") => as_pointer(at),
            _ => None,
        };
        let hint = hint.or_else(about);
        let place = match at.node.data {
            Data::Table(_) | Data::Array(_) => at.node.place.first_line(),
            _ => at.node.place.clone(),
        };
        let label = match kind {
            Kind::MinItems { limit: 1 } | Kind::MinLength { limit: 1 } => "nothing is here",
            _ => "this doesn't fit",
        };
        self.push(
            Diagnostic::new(place, message)
                .label(label)
                .maybe_hint(hint),
        );
    }
}

/// Whether it is a text of one character, such as a delimiter.
fn one_character(shape: Shape<'_>) -> bool {
    shape.keyword("minLength") == 1 && shape.keyword("maxLength") == 1
}

/// So many of what one is called `one`.
fn counted(number: u64, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        number => format!("{number} {one}s"),
    }
}

/// The variable that a file's text was put in for.
fn variable_of(node: &Node) -> Option<&str> {
    if !node.place.source.is_file {
        return None;
    }
    named_variable(node)
}

/// The value as a sentence may show it: only what stands in the file or on the command line, and
/// only if it is short and no secret.
fn shown(node: &Node) -> Option<String> {
    let text = node.as_text()?;
    let visible = match text.reading {
        Reading::String => true,
        Reading::Open => variable_of(node).is_none() && !node.place.source.is_file,
        Reading::Interpolated | Reading::Broken => false,
    };
    let short = text.value.chars().count() <= 40 && !text.value.contains(char::is_control);
    (visible && short && !node.place.is_concealed()).then(|| format!("`{}`", text.value))
}

/// How the value would be written right, where that is plain.
fn rewrite(at: &At<'_>, owner: Shape<'_>) -> Option<String> {
    let key = at.path.last().filter(|key| key.parse::<usize>().is_err());
    let assign = key.map(|key| format!("{key} = ")).unwrap_or_default();
    let place = &at.node.place;
    if !place.source.is_file || place.is_concealed() || variable_of(at.node).is_some() {
        return None;
    }
    let written = place.text();
    if written.len() > 60 || written.contains('\n') {
        return None;
    }
    let admits = |kind| owner.branches().iter().any(|shape| shape.admits(kind));
    match &at.node.data {
        Data::Text(text) => {
            let bare = text.value.trim();
            let plain = (admits("integer") && bare.parse::<i64>().is_ok())
                || (admits("number") && bare.parse::<f64>().is_ok_and(f64::is_finite))
                || (admits("boolean") && matches!(bare, "true" | "false"));
            if plain {
                Some(format!("write it without quotes: `{assign}{bare}`"))
            } else if admits("array") {
                Some(format!("write it as an array: `{assign}[{written}]`"))
            } else {
                None
            }
        }
        Data::Integer(_) | Data::Float(_) | Data::Bool(_) if admits("string") => {
            Some(format!("write it in quotes: `{assign}\"{written}\"`"))
        }
        Data::Table(_) if admits("array") && written.starts_with('[') => {
            let header = written.trim_matches(['[', ']']);
            Some(format!(
                "write its header with two brackets: `[[{header}]]`"
            ))
        }
        _ => None,
    }
}

/// How a path that is written in another way (`data.items`, `$.data[0].items`) is a JSON pointer.
fn as_pointer(at: &At<'_>) -> Option<String> {
    let text = at.node.as_text()?.value.as_str();
    shown(at.node)?;
    let steps = text
        .trim_start_matches('$')
        .replace(['[', '/'], ".")
        .replace(']', "");
    let steps: Vec<_> = steps.split('.').filter(|step| !step.is_empty()).collect();
    let key = at.path.last().filter(|key| key.parse::<usize>().is_err());
    let assign = key.map(|key| format!("{key} = ")).unwrap_or_default();
    let plain = |step: &&str| {
        step.chars()
            .all(|c| c.is_alphanumeric() || "_-".contains(c))
    };
    (!steps.is_empty() && steps.iter().all(plain)).then(|| {
        format!(
            "it is a JSON pointer: write `{assign}\"/{}\"`",
            steps.join("/")
        )
    })
}

/// A value of this shape, for a hint.
fn example(shape: Shape<'_>) -> String {
    if shape.is_secret() {
        return "{ env = \"NAME\" }".to_owned();
    }
    let Some(first) = shape.branches().into_iter().next() else {
        return "…".to_owned();
    };
    if first.literals().is_some() {
        return "\"…\"".to_owned();
    }
    match (first.unit(), first.types().first().copied()) {
        (Some(Unit::Size), _) => "\"5 MB\"".to_owned(),
        (Some(Unit::Span), _) => "\"60s\"".to_owned(),
        (None, Some("string")) => "\"…\"".to_owned(),
        (None, Some("array")) => match first.item(0).map(Shape::types).as_deref() {
            Some(["string"]) => "[\"…\"]".to_owned(),
            _ => "[…]".to_owned(),
        },
        (None, Some("object")) => "{ … }".to_owned(),
        (None, Some("boolean")) => "true".to_owned(),
        _ => match first.keyword("default") {
            Value::Null => "…".to_owned(),
            value => value.to_string(),
        },
    }
}
