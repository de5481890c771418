//! `cargo xtask docs`: the reference under `docs/reference/`, as the program describes itself.
//!
//! ```text
//! tidegate list, describe, schema, --help ── program.rs ──> page.rs, table.rs ──> docs/reference/
//! ```
//!
//! The program is asked, not linked: so an edit of a component rebuilds nothing here.

mod page;
mod program;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::place;
use program::Program;

/// Write the reference under docs/reference from what the program says of itself
#[derive(Debug, Args)]
pub(crate) struct Docs {
    /// Only compare: fail where the committed pages say something else
    #[arg(long)]
    check: bool,
}

/// The pages, by their path below `docs/reference`.
type Pages = BTreeMap<PathBuf, String>;

impl Docs {
    pub(crate) fn run(&self) -> Result<()> {
        let directory = place::workspace().join("docs/reference");
        let wanted = page::all(&Program::build()?)?;
        let mut there = Pages::new();
        read(&directory, Path::new(""), &mut there)?;
        let differing: Vec<_> = there
            .keys()
            .chain(wanted.keys())
            .filter(|path| there.get(*path) != wanted.get(*path))
            .map(|path| path.display().to_string())
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect();
        if self.check {
            if !differing.is_empty() {
                bail!(
                    "docs/reference is not what the program says: {}; run `cargo xtask docs`",
                    differing.join(", ")
                );
            }
            println!("docs/reference: {} pages are right", wanted.len());
            return Ok(());
        }
        for path in there.keys().filter(|path| !wanted.contains_key(*path)) {
            fs::remove_file(directory.join(path))?;
        }
        for (path, text) in &wanted {
            let path = directory.join(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&path, text)
                .with_context(|| format!("{} can't be written", path.display()))?;
        }
        println!("docs/reference: {} changed", differing.len());
        Ok(())
    }
}

fn read(directory: &Path, below: &Path, pages: &mut Pages) -> Result<()> {
    let Ok(entries) = fs::read_dir(directory.join(below)) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            read(directory, &path, pages)?;
        } else {
            let text = fs::read_to_string(directory.join(&path))
                .with_context(|| format!("docs/reference/{} can't be read", path.display()))?;
            pages.insert(path, text);
        }
    }
    Ok(())
}
