//! The config loader: a pipeline file, perhaps with its settings behind a NUL. Whatever they hold,
//! there is a pipeline, or errors that can be shown with their places.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use tidegate_config::{LoadOptions, load};
use tidegate_core::Registry;

// The components have to be named somewhere, or they aren't linked.
use tidegate_files as _;
use tidegate_generate as _;
use tidegate_mysql as _;
use tidegate_rest as _;
use tidegate_sink_console as _;

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| Registry::linked().expect("a registry"));
static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = std::env::temp_dir().join(format!("tidegate-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    directory
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidegate_fuzz::case(data, run));

fn run(data: &[u8]) {
    let mut parts = data.split(|byte| *byte == 0);
    let file = DIRECTORY.join("pipeline.toml");
    std::fs::write(&file, parts.next().unwrap_or_default()).expect("a file");
    let settings = parts.next().map(|settings| {
        let file = DIRECTORY.join("settings.toml");
        std::fs::write(&file, settings).expect("a file");
        file
    });
    let set = parts
        .next()
        .map(|set| String::from_utf8_lossy(set).into_owned());
    let options = LoadOptions {
        file,
        profile: None,
        sets: set.into_iter().collect(),
        env: vec![
            ("X".to_owned(), "1".to_owned()),
            ("Y".to_owned(), "a ${X} \" b".to_owned()),
        ],
        settings,
    };
    match load(&options, &REGISTRY) {
        Ok(loaded) => {
            assert!(!loaded.configs.is_empty());
            for warning in &loaded.warnings {
                let _ = (warning.source_line(), warning.render(true));
            }
        }
        Err(mistakes) => {
            assert!(!mistakes.is_empty());
            assert!(!mistakes.to_string().is_empty());
            for mistake in mistakes.iter() {
                assert!(mistake.line() >= 1 && mistake.column() >= 1);
                let _ = (
                    mistake.source_line(),
                    mistake.render(true),
                    mistake.render(false),
                );
            }
        }
    }
}
