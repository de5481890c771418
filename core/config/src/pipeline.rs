//! From the merged tree to a [`PipelineSpec`].

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value};
use tidegate_core::registry::from_json;
use tidegate_core::{
    ComponentConfig, ComponentId, ComponentSpec, Guarantee, Kind, PipelineOptions, PipelineSpec,
    Registry,
};

use crate::common::{section, table_schema, top_level_schema, untyped_schema};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document;
use crate::inputs::{self, Consumer};
use crate::node::{Data, Entry, Node, Table};
use crate::overlap;
use crate::schema;
use crate::source::{Place, SourceText};
use tidegate_core::suggest;

/// Understands the tree. What comes back is only worth something if nothing was found wrong.
pub(crate) fn read(
    root: &mut Node,
    file: &Arc<SourceText>,
    default_name: &str,
    base: PathBuf,
    registry: &Registry,
    out: &mut Diagnostics,
) -> (PipelineSpec, Vec<ComponentConfig>) {
    schema::check(root, &top_level_schema(), "a pipeline", out);
    let mut reader = Reader {
        registry,
        out,
        specs: Vec::new(),
        consumers: Vec::new(),
        first: HashMap::new(),
        names: names_in_files(root),
        warnings: Vec::new(),
    };
    for kind in Kind::COMPONENTS {
        reader.section(root, kind, file);
    }
    let Reader {
        mut specs,
        consumers,
        warnings,
        ..
    } = reader;
    inputs::check(&consumers, out);
    overlap::check(root, &base, out);
    specs.sort_by_key(|(rank, ..)| *rank);
    let (components, configs) = specs.into_iter().map(|(_, spec, of)| (spec, of)).unzip();

    let mut options = Map::new();
    for (key, entry) in root.as_table().into_iter().flatten() {
        if key != "name" && Kind::COMPONENTS.iter().all(|kind| section(*kind) != key) {
            options.insert(key.clone(), entry.node.to_json());
        }
    }
    let options = read_options(options, root, out);
    for warning in warnings {
        out.push(warning);
    }
    let name = match root.get("name").map(|node| &node.data) {
        Some(Data::Text(text)) => text.value.clone(),
        _ => default_name.to_owned(),
    };
    let spec = PipelineSpec {
        name,
        base,
        options,
        components,
    };
    (spec, configs)
}

/// The options; what is wrong in them is told, and left out, so that the next error is found as well.
fn read_options(
    mut table: Map<String, Value>,
    root: &Node,
    out: &mut Diagnostics,
) -> PipelineOptions {
    loop {
        let error = match from_json(table.clone().into(), "a pipeline's option") {
            Ok(options) => return options,
            Err(error) => error,
        };
        let key = document::key_of(&error).filter(|key| stands(&table, key));
        let is_told = match key.and_then(|key| entry_at(root, key)) {
            // The schema has told what is wrong already.
            Some(entry) => out.iter().any(|told| entry.meets(told.place())),
            None => !out.is_empty(),
        };
        if !is_told {
            out.push(document::explain(root, &error));
        }
        if !key.is_some_and(|key| leave_out(&mut table, key)) {
            return PipelineOptions::default();
        }
    }
}

/// The names of the components that files have, and not only `--set` or the environment.
fn names_in_files(root: &Node) -> Vec<(Kind, String)> {
    let mut names = Vec::new();
    for kind in Kind::COMPONENTS {
        let table = root.get(section(kind)).and_then(Node::as_table);
        let entries = table.into_iter().flatten();
        let of_file = entries.filter(|(_, entry)| entry.key.source.is_file);
        names.extend(of_file.map(|(name, _)| (kind, name.clone())));
    }
    names
}

/// The key that a path ends with, and its value.
fn entry_at<'a>(root: &'a Node, path: &str) -> Option<&'a Entry> {
    let (table, key) = match path.rsplit_once('.') {
        Some((within, key)) => (document::descend(root, within)?, key),
        None => (root, path),
    };
    table.as_table()?.get(key)
}

/// Leaves out the key that a path ends with, or the table or array in which it would be. Says whether
/// anything was there.
fn leave_out(table: &mut Map<String, Value>, path: &str) -> bool {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let within = match table.get_mut(first) {
        Some(Value::Object(inner)) => leave_out(inner, rest),
        _ => false,
    };
    within || table.remove(first).is_some()
}

type Rank = (usize, usize);

struct Reader<'a> {
    registry: &'a Registry,
    out: &'a mut Diagnostics,
    specs: Vec<(Rank, ComponentSpec, ComponentConfig)>,
    consumers: Vec<Consumer>,
    first: HashMap<String, (Kind, Place)>,
    /// The components' names as they are in files.
    names: Vec<(Kind, String)>,
    /// Told last, because nothing is wrong that they are about.
    warnings: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn section(&mut self, root: &mut Node, kind: Kind, file: &Arc<SourceText>) {
        let name = section(kind);
        let Some(table) = root.as_table_mut() else {
            return;
        };
        // Told already as an unknown key: `[source.shop]`. Its components are known by name, so
        // that whoever reads them is not blamed.
        let misspelt = table
            .iter()
            .find(|(key, _)| {
                *key != name && suggest::nearest(key, Kind::COMPONENTS.map(section)) == Some(name)
            })
            .map(|(_, entry)| entry);
        for (id, entry) in misspelt
            .and_then(|entry| entry.node.as_table())
            .into_iter()
            .flatten()
        {
            self.consumers.push(Consumer {
                id: id.clone(),
                kind,
                key: entry.key.clone(),
                inputs: Vec::new(),
            });
        }
        let misspelt = misspelt.is_some();
        let entries = match table.get_mut(name) {
            Some(Entry { key, node }) => match &mut node.data {
                Data::Table(entries) => entries,
                _ => {
                    let key = key.clone();
                    self.out.push(
                        Diagnostic::new(key, format!("`{name}` must hold tables with names"))
                            .label(format!("this is {}", node.kind()))
                            .hint(format!("write `[{name}.NAME]`, with a name of your own")),
                    );
                    return;
                }
            },
            None if misspelt => return,
            None => {
                self.nothing(kind, file);
                return;
            }
        };
        if entries.is_empty() {
            self.nothing(kind, file);
        }
        let is_key = |entry: &Entry| !matches!(entry.node.data, Data::Table(_) | Data::Array(_));
        if let Some((key, entry)) = entries.iter().find(|(_, entry)| is_key(entry)) {
            self.out.push(
                Diagnostic::new(
                    entry.key.clone(),
                    format!("`{name}` holds tables with names, not keys such as `{key}`"),
                )
                .label(format!("this belongs to a {kind} without a name"))
                .hint(format!(
                    "write `[{name}.NAME]` above it, with a name of your own"
                )),
            );
        }
        for (id, entry) in entries.iter_mut().filter(|(_, entry)| !is_key(entry)) {
            self.component(kind, id, entry);
        }
    }

    fn nothing(&mut self, kind: Kind, file: &Arc<SourceText>) {
        if kind == Kind::Transform {
            return;
        }
        let name = section(kind);
        let example = match kind {
            Kind::Sink => "`[sinks.out]` with a `type` and `inputs`",
            _ => "`[sources.NAME]` with a `type`",
        };
        self.out.push(
            Diagnostic::of_file(file, format!("the pipeline has no {name}")).hint(format!(
                "add {example}; this program has the types {}",
                suggest::quoted(self.registry.tags(kind))
            )),
        );
    }

    fn component(&mut self, kind: Kind, id: &str, entry: &mut Entry) {
        let before = self.out.len();
        let key = entry.key.clone();
        self.check_id(kind, id, &key);
        if entry.node.as_table().is_none() {
            self.out.push(
                Diagnostic::new(key.clone(), format!("the {kind} `{id}` must be one table"))
                    .label(format!("this is {}", entry.node.kind()))
                    .hint(format!(
                        "write `[{}.{id}]` with single brackets; each {kind} has a name of its own",
                        section(kind)
                    )),
            );
            self.consumers.push(Consumer {
                id: id.to_owned(),
                kind,
                key,
                inputs: Vec::new(),
            });
            return;
        }
        let node = &mut entry.node;
        if node.get("type").is_none() && self.is_misspelt(kind, id, node) {
            return;
        }
        let tag = self.tag(kind, id, node);
        match tag.as_deref().and_then(|tag| self.registry.get(kind, tag)) {
            Some(registration) => {
                let what = format!("a {kind} of type `{}`", registration.tag());
                let table = table_schema(registration);
                schema::check(node, &table, &what, self.out);
                self.warnings.extend(schema::plain_secrets(node, &table));
            }
            None => schema::check(node, &untyped_schema(kind), &format!("a {kind}"), self.out),
        }
        let inputs = match kind {
            Kind::Source => Vec::new(),
            _ => inputs_of(node),
        };
        self.consumers.push(Consumer {
            id: id.to_owned(),
            kind,
            key: key.clone(),
            inputs: inputs.clone(),
        });
        let (Some(tag), Ok(id)) = (tag, ComponentId::new(id)) else {
            return;
        };
        let mut spec = spec_of(kind, id, tag, inputs, node);
        let mut is_right = self.out.len() == before;
        for (key, entry) in node.as_table().into_iter().flatten() {
            let mut told = self.out.iter().skip(before);
            if is_broken(&entry.node) || told.any(|told| entry.meets(told.place())) {
                spec.config.remove(key);
                is_right = false;
            }
        }
        self.configure(spec, node, key.rank(), is_right);
    }

    /// Parses a component, whose wrong keys were left out. An error that is found is left out too,
    /// so that the next one is found as well. What doesn't say its key may be wrong only because
    /// others are left out.
    fn configure(&mut self, mut spec: ComponentSpec, node: &Node, rank: Rank, mut is_right: bool) {
        let mut without = Without::default();
        loop {
            let error = match ComponentConfig::parse(self.registry, &spec) {
                Ok(config) if is_right => return self.specs.push((rank, spec, config)),
                Ok(_) => return,
                Err(error) => error,
            };
            let key = document::key_of(&error).map(str::to_owned);
            let key = key.filter(|key| stands(&spec.config, key));
            if is_right || key.is_some() {
                let place = key.as_deref().map(|key| without.original(key));
                let told = document::explain_at(node, place.as_deref(), &error);
                self.out.push(told);
            }
            is_right = false;
            match key {
                Some(key) => without.leave_out(&mut spec.config, &key),
                None => return,
            }
        }
    }

    fn check_id(&mut self, kind: Kind, id: &str, key: &Place) {
        if let Err(error) = ComponentId::new(id) {
            let fixed = fixed_id(id);
            let hint = match ComponentId::new(&fixed) {
                Ok(_) => format!(
                    "write it as `{fixed}`: {}",
                    error.hint_text().unwrap_or_default()
                ),
                Err(_) => error.hint_text().unwrap_or_default().to_owned(),
            };
            self.out.push(
                Diagnostic::new(key.clone(), error.message())
                    .label("not a component's name")
                    .hint(hint),
            );
        }
        match self.first.get(id) {
            Some((first_kind, first)) => self.out.push(
                Diagnostic::new(key.clone(), format!("two components are named `{id}`"))
                    .label(format!("the {kind}"))
                    .also(first.clone(), format!("the {first_kind}"))
                    .hint("names are shared by sources, transforms and sinks: rename one of them"),
            ),
            None => {
                self.first.insert(id.to_owned(), (kind, key.clone()));
            }
        }
    }

    /// Whether a component is only there because a key was set of it (`--set sinks.lak.url=x`) whose
    /// name is that of none in the file; then says so.
    fn is_misspelt(&mut self, kind: Kind, id: &str, node: &Node) -> bool {
        let set = |entry: &Entry| !entry.key.source.is_file;
        let all_set = |table: &Table| !table.is_empty() && table.values().all(set);
        if !node.as_table().is_some_and(all_set) {
            return false;
        }
        let name = section(kind);
        let names = || self.names.iter().filter(|(of, _)| *of == kind);
        let names = || {
            names()
                .map(|(_, name)| name.as_str())
                .filter(|name| *name != id)
        };
        let hint = match suggest::nearest(id, names()) {
            Some(near) => format!("did you mean `{name}.{near}`?"),
            None => format!("the file has the {name} {}", suggest::list(id, names())),
        };
        let place = node.as_table().and_then(|table| table.values().next());
        let place = place.map_or_else(|| node.place.clone(), |entry| entry.key.clone());
        self.out.push(
            Diagnostic::new(place, format!("there is no {kind} `{id}`"))
                .label("the file has none of this name")
                .hint(hint),
        );
        true
    }

    /// The component's `type`, if it is one that is linked; else says so.
    fn tag(&mut self, kind: Kind, id: &str, node: &Node) -> Option<String> {
        let tags = self.registry.tags(kind);
        let Some(found) = node.get("type") else {
            self.out.push(
                Diagnostic::new(node.place.first_line(), format!("`{id}` has no `type`"))
                    .label(format!("a {kind} needs a `type`"))
                    .hint(format!("it can be {}", suggest::quoted(tags))),
            );
            return None;
        };
        let text = found.as_text()?;
        if found.is_broken() {
            return None;
        }
        let tag = text.value.as_str();
        if tags.contains(&tag) {
            return Some(tag.to_owned());
        }
        let elsewhere = Kind::ALL
            .into_iter()
            .find(|other| *other != kind && self.registry.get(*other, tag).is_some());
        let list = suggest::list(tag, tags.iter().copied());
        let near = suggest::nearest(tag, tags.iter().copied());
        let hint = match (near, elsewhere) {
            _ if let Some(meant) = meant_by(kind, tag).filter(|_| tags.contains(&"files")) => {
                meant.to_owned()
            }
            (Some(near), _) => format!("did you mean `{near}`? This program has {list}"),
            (None, Some(other)) => {
                format!("`{tag}` is a {other}; the {kind}s of this program are {list}")
            }
            (None, None) if tags.is_empty() => format!("this program has no {kind}s"),
            (None, None) => format!("this program has {list}"),
        };
        self.out.push(
            Diagnostic::new(
                found.place.clone(),
                format!("there is no {kind} of type `{tag}`"),
            )
            .label("unknown type")
            .hint(hint),
        );
        None
    }
}

/// The component that does what a type that isn't one says.
fn meant_by(kind: Kind, tag: &str) -> Option<&'static str> {
    let written = match tag.to_ascii_lowercase().as_str() {
        "csv" | "tsv" | "json" | "jsonl" | "ndjson" | "excel" | "text" | "txt" | "file"
        | "local" | "filesystem" | "directory" | "folder" => "format",
        "s3" | "minio" | "r2" => "s3",
        "parquet" => "parquet",
        "api" | "rest_api" | "graphql" => "api",
        "mariadb" => "mysql",
        "stdout" | "print" | "debug" | "log" => "screen",
        _ => return None,
    };
    Some(match (written, kind) {
        ("format", Kind::Source) => {
            "files are read by `type = \"files\"`; `format` says what they hold, or their names do"
        }
        ("format", Kind::Sink) => {
            "files are written by `type = \"files\"`; `format` says what they hold, or `url` does"
        }
        ("s3", Kind::Source) => "objects are read by `type = \"files\"` with `url = \"s3://…\"`",
        ("s3", Kind::Sink) => {
            "objects are written by `type = \"files\"` or `\"parquet\"` with `url = \"s3://…\"`"
        }
        ("parquet", Kind::Source) => "Parquet files are read by `type = \"files\"`",
        ("api", Kind::Source) => "APIs are read by `type = \"rest\"`",
        ("mysql", Kind::Source | Kind::Sink) => "MariaDB is spoken to by `type = \"mysql\"`",
        ("screen", Kind::Sink) => "rows are shown by `type = \"console\"`",
        _ => return None,
    })
}

/// Whether the configuration has what a key's path begins with.
fn stands(config: &Map<String, Value>, key: &str) -> bool {
    key.split('.')
        .next()
        .is_some_and(|first| config.contains_key(first))
}

/// What was left out of a configuration: keys, and items of arrays, whose numbers are told again as
/// the file has them.
#[derive(Default)]
struct Without {
    /// The numbers that the items that are left have in the file.
    items: HashMap<String, Vec<usize>>,
}

impl Without {
    /// Leaves out the item of an array that a path leads through, or else the key that it begins with.
    fn leave_out(&mut self, config: &mut Map<String, Value>, path: &str) {
        let mut steps = path.split('.');
        let key = steps.next().unwrap_or_default();
        let index = steps.next().and_then(|step| step.parse::<usize>().ok());
        if let Some(index) = index
            && let Some(Value::Array(items)) = config.get_mut(key)
            && index < items.len()
            && items.len() > 1
        {
            let count = items.len();
            items.remove(index);
            let numbers = self.items.entry(key.to_owned());
            numbers
                .or_insert_with(|| (0..count).collect())
                .remove(index);
            return;
        }
        config.remove(key);
    }

    /// The path in the file of one in what is left.
    fn original(&self, path: &str) -> String {
        let mut steps: Vec<_> = path.split('.').map(str::to_owned).collect();
        if let [key, index, ..] = steps.as_mut_slice()
            && let Some(numbers) = self.items.get(key)
            && let Some(number) = index.parse().ok().and_then(|at: usize| numbers.get(at))
        {
            *index = number.to_string();
        }
        steps.join(".")
    }
}

fn inputs_of(node: &Node) -> Vec<(String, Place)> {
    let Some(Data::Array(items)) = node.get("inputs").map(|node| &node.data) else {
        return Vec::new();
    };
    items
        .iter()
        .filter(|item| !item.is_broken())
        .filter_map(|item| Some((item.as_text()?.value.clone(), item.place.clone())))
        .collect()
}

fn spec_of(
    kind: Kind,
    id: ComponentId,
    tag: String,
    inputs: Vec<(String, Place)>,
    node: &Node,
) -> ComponentSpec {
    let mut config = Map::new();
    let mut guarantee = None;
    for (key, entry) in node.as_table().into_iter().flat_map(Table::iter) {
        match (key.as_str(), kind) {
            ("type", _) | ("inputs", Kind::Transform | Kind::Sink) => {}
            ("guarantee", Kind::Sink) => {
                guarantee = serde_json::from_value::<Guarantee>(entry.node.to_json()).ok();
            }
            _ => {
                config.insert(key.clone(), entry.node.to_json());
            }
        }
    }
    ComponentSpec {
        id,
        kind,
        tag,
        inputs: inputs.into_iter().map(|(input, _)| input).collect(),
        guarantee,
        config,
    }
}

fn is_broken(node: &Node) -> bool {
    match &node.data {
        Data::Array(items) => items.iter().any(is_broken),
        Data::Table(table) => table.values().any(|entry| is_broken(&entry.node)),
        _ => node.is_broken(),
    }
}

/// The nearest name that a component may have: `Shop-EU` → `shop_eu`.
fn fixed_id(id: &str) -> String {
    let mapped: String = id
        .chars()
        .map(|c| match c {
            c if c.is_ascii_alphanumeric() => c.to_ascii_lowercase(),
            _ => '_',
        })
        .collect();
    mapped
        .trim_start_matches(|c: char| !c.is_ascii_lowercase())
        .to_owned()
}
