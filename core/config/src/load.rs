//! Finds the files, reads them, and puts the layers together.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};
use tidegate_core::{ComponentConfig, PipelineSpec, Registry, suggest};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::Document;
use crate::interpolate::{self, Variables};
use crate::source::SourceText;
use crate::{layers, pipeline, settings};

/// Errors of the settings come after those of the pipeline.
const SETTINGS_RANK: usize = 1 << 20;

/// What to load.
#[derive(Clone)]
pub struct LoadOptions {
    /// The pipeline file.
    pub file: PathBuf,
    /// Takes `FILE.<profile>.toml` beside `FILE.toml` over it. Default: `TIDEGATE_PROFILE`.
    pub profile: Option<String>,
    /// `--set a.b=value`, the last one over the others.
    pub sets: Vec<String>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// The settings file. Default: `tidegate.toml` beside the pipeline file, or else in the
    /// current directory, where there is one.
    pub settings: Option<PathBuf>,
}

impl LoadOptions {
    /// A file with the environment of this process. Variables that aren't Unicode are left out.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        let env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self {
            file: file.into(),
            profile: None,
            sets: Vec::new(),
            env,
            settings: None,
        }
    }
}

impl fmt::Debug for LoadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the environment nor what is set: both may hold secrets.
        f.debug_struct("LoadOptions")
            .field("file", &self.file)
            .field("profile", &self.profile)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// A pipeline file without errors.
#[derive(Debug)]
pub struct Loaded {
    /// The pipeline.
    pub spec: PipelineSpec,
    /// The configurations of its components, in their order.
    pub configs: Vec<ComponentConfig>,
    /// The settings of shared clients: the tables of `tidegate.toml`.
    pub settings: Map<String, Value>,
    /// Where everything stands, for errors that come later.
    pub document: Document,
    /// What is probably not meant, but works.
    pub warnings: Vec<Diagnostic>,
}

/// Reads a pipeline file and its layers, and checks all of it without any I/O beyond these files.
///
/// Errors: every error that can be found, in the order of the file. A file that isn't TOML
/// hides the errors behind the first one.
pub fn load(options: &LoadOptions, registry: &Registry) -> Result<Loaded, Diagnostics> {
    let mut out = Diagnostics::default();
    let variables: Variables = options.env.iter().cloned().collect();
    let settings = read_settings(options, &variables, registry, &mut out);
    let Some(file) = read_file(&options.file, 0, &mut out) else {
        return Err(out.sorted());
    };
    let Some(base) = layers::of_file(&file, &mut out) else {
        return Err(out.sorted());
    };
    let mut all = vec![base];
    all.extend(read_profile(options, &variables, &mut out));
    all.extend(read_sets(options, &mut out));
    let Some(mut root) = layers::merge(&all) else {
        return Err(out.sorted());
    };
    if root.as_table().is_none_or(|table| table.is_empty()) {
        out.push(
            Diagnostic::of_file(&file, "the pipeline file is empty").hint(
                "a pipeline has at least one source and one sink: `[sources.NAME]`, `[sinks.NAME]`",
            ),
        );
        return Err(out.sorted());
    }
    interpolate::apply(&mut root, &variables, &mut out);

    let name = options
        .file
        .file_stem()
        .map_or_else(|| "pipeline".into(), |stem| stem.to_string_lossy());
    let directory = directory_of(&options.file);
    let directory = std::path::absolute(&directory).unwrap_or(directory);
    let (spec, configs) = pipeline::read(&mut root, &file, &name, directory, registry, &mut out);

    let (errors, warnings) = out.sorted().split_warnings();
    if !errors.is_empty() {
        return Err(errors);
    }
    let document = Document::new(root, file, &spec);
    Ok(Loaded {
        spec,
        configs,
        settings,
        document,
        warnings,
    })
}

/// Reads the settings of the program for a command without a pipeline: `file`, or else
/// `tidegate.toml` in the current directory where there is one, and the environment of this process.
///
/// Errors: every error that can be found.
pub fn load_settings(
    file: Option<PathBuf>,
    registry: &Registry,
) -> Result<Map<String, Value>, Diagnostics> {
    let options = LoadOptions {
        settings: file,
        ..LoadOptions::new("")
    };
    let mut out = Diagnostics::default();
    let variables: Variables = options.env.iter().cloned().collect();
    let settings = read_settings(&options, &variables, registry, &mut out);
    let (errors, _) = out.sorted().split_warnings();
    match errors.is_empty() {
        true => Ok(settings),
        false => Err(errors),
    }
}

fn directory_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn read_file(path: &Path, rank: usize, out: &mut Diagnostics) -> Option<Arc<SourceText>> {
    let name = path.display().to_string();
    match std::fs::read(path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Some(SourceText::file(name, text, rank)),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let source = SourceText::file(name, text, rank);
                // Up to here the lossy text is the file's own.
                let place = source.place(valid..valid + char::REPLACEMENT_CHARACTER.len_utf8());
                out.push(
                    Diagnostic::new(place, "the file is not UTF-8")
                        .label("this byte is no UTF-8")
                        .hint("save the file as UTF-8"),
                );
                None
            }
        },
        Err(error) => {
            let source = SourceText::file(name, "", rank);
            let (message, hint) = match error.kind() {
                ErrorKind::NotFound => ("there is no such file".to_owned(), neighbour(path)),
                kind => {
                    let hint = match kind {
                        ErrorKind::PermissionDenied => {
                            Some("its permissions don't let this user read it".to_owned())
                        }
                        ErrorKind::IsADirectory => Some(inside(path)),
                        _ => None,
                    };
                    (format!("the file can't be read: {error}"), hint)
                }
            };
            out.push(Diagnostic::of_file(&source, message).maybe_hint(hint));
            None
        }
    }
}

/// What pipeline files a directory has that was named instead of one.
fn inside(directory: &Path) -> String {
    let names = toml_files(directory);
    match names.first() {
        Some(name) if names.len() == 1 => {
            format!("name the file in it: {}", directory.join(name).display())
        }
        _ => "a pipeline is one file: name it".to_owned(),
    }
}

/// A file of a similar name.
fn neighbour(path: &Path) -> Option<String> {
    let names = toml_files(&directory_of(path));
    let wanted = path.file_name()?.to_string_lossy();
    match suggest::nearest(&wanted, names.iter().map(String::as_str)) {
        Some(near) => Some(format!(
            "did you mean {}?",
            path.with_file_name(near).display()
        )),
        None if path.extension().is_none()
            && names.iter().any(|name| *name == format!("{wanted}.toml")) =>
        {
            Some(format!("did you mean {}.toml?", path.display()))
        }
        None => None,
    }
}

fn toml_files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    names.sort_unstable();
    names
}

fn read_profile(
    options: &LoadOptions,
    variables: &Variables,
    out: &mut Diagnostics,
) -> Option<crate::node::Node> {
    let given = options.profile.as_ref();
    let profile = given.or_else(|| variables.get("TIDEGATE_PROFILE"))?;
    let stem = options.file.file_stem()?.to_string_lossy();
    let path = options
        .file
        .with_file_name(format!("{stem}.{profile}.toml"));
    if path.exists() {
        return layers::of_file(&read_file(&path, 1, out)?, out);
    }
    let source = SourceText::file(path.display().to_string(), "", 1);
    let profiles: Vec<_> = toml_files(&directory_of(&options.file))
        .into_iter()
        .filter_map(|name| {
            let rest = name.strip_prefix(&*stem)?.strip_prefix('.')?;
            Some(rest.strip_suffix(".toml")?.to_owned())
        })
        .collect();
    let hint = if profiles.is_empty() {
        "write that file, or leave the profile out".to_owned()
    } else {
        let list = suggest::list(profile, profiles.iter().map(String::as_str));
        format!("there are the profiles {list}")
    };
    out.push(
        Diagnostic::of_file(&source, format!("the profile `{profile}` has no file")).hint(hint),
    );
    None
}

fn read_sets(options: &LoadOptions, out: &mut Diagnostics) -> Vec<crate::node::Node> {
    let mut variables: Vec<_> = options
        .env
        .iter()
        .filter(|(name, _)| name.starts_with(layers::SET_PREFIX))
        .collect();
    variables.sort_unstable();
    let mut rank = 2;
    let mut found = Vec::new();
    for (name, value) in variables {
        found.extend(layers::of_variable(name, value, rank, out));
        rank += 1;
    }
    for set in &options.sets {
        found.extend(layers::of_set(set, rank, out));
        rank += 1;
    }
    found
}

fn read_settings(
    options: &LoadOptions,
    variables: &Variables,
    registry: &Registry,
    out: &mut Diagnostics,
) -> Map<String, Value> {
    let path = options.settings.clone().or_else(|| {
        [directory_of(&options.file), PathBuf::from(".")]
            .into_iter()
            .map(|directory| directory.join("tidegate.toml"))
            .find(|path| path.is_file())
    });
    let file = path.and_then(|path| read_file(&path, SETTINGS_RANK, out));
    settings::load(file.as_ref(), variables, SETTINGS_RANK + 1, registry, out)
}
