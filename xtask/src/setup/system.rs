//! What comes from the system's own package manager.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};

use crate::process::{answer, run_quietly};

/// The version of Node.js, if it is there with npm and new enough for the servers.
pub(super) fn node() -> Option<String> {
    let version = answer("node", &["--version"])?;
    answer("npm", &["--version"])?;
    let mut numbers = version.trim_start_matches('v').split('.');
    let mut next = || numbers.next()?.parse::<u32>().ok();
    ((next()?, next()?) >= (18, 3)).then_some(version)
}

/// Installs Node.js and npm where they are missing.
pub(super) fn need_node() -> Result<()> {
    if node().is_none() {
        apt_install(&["nodejs", "npm"])?;
        ensure!(
            node().is_some(),
            "node 18.3 or newer and npm are needed, and apt has none"
        );
    }
    Ok(())
}

/// Installs Python with virtual environments where they are missing.
pub(super) fn need_python() -> Result<()> {
    let able = || answer("python3", &["-c", "import venv, ensurepip"]).is_some();
    if !able() {
        apt_install(&["python3", "python3-venv"])?;
        ensure!(able(), "python3 with `venv` is needed, and apt has none");
    }
    Ok(())
}

/// Whether there is a Java that Spark 4 runs on: 17 or newer.
pub(super) fn java() -> bool {
    // It says `openjdk 17.0.15 2025-04-15`.
    let version = answer("java", &["--version"]).unwrap_or_default();
    let major = version.split([' ', '.']).nth(1).map(str::parse::<u32>);
    matches!(major, Some(Ok(17..)))
}

/// Installs Java where it is missing.
pub(super) fn need_java() -> Result<()> {
    if !java() {
        apt_install(&["openjdk-17-jre-headless"])?;
        ensure!(java(), "Java 17 or newer is needed, and apt has none");
    }
    Ok(())
}

/// Installs MariaDB's server and client, without the packages that would start it as a service.
pub(super) fn need_mariadb() -> Result<()> {
    let able = || {
        ["/usr/sbin/mariadbd", "mariadb"]
            .iter()
            .all(|command| answer(command, &["--help"]).is_some())
    };
    if !able() {
        apt_install(&["mariadb-server-core", "mariadb-client-core"])?;
        ensure!(
            able(),
            "MariaDB's server and client are needed, and apt has none"
        );
    }
    Ok(())
}

/// Installs openssl where it is missing: tests make their certificates with it.
pub(super) fn need_openssl() -> Result<()> {
    let able = || answer("openssl", &["version"]).is_some();
    if !able() {
        apt_install(&["openssl"])?;
        ensure!(able(), "openssl is needed, and apt has none");
    }
    Ok(())
}

/// MariaDB's login plugins. Debian has them in the package that would start a service, so it is
/// unpacked and not installed.
pub(super) fn need_mariadb_plugins(root: &Path) -> Result<()> {
    let directory = root.join("mariadb/plugin");
    if directory.join("auth_ed25519.so").exists() {
        println!("  {:<16} plugins of mariadb-server", "mariadb");
        return Ok(());
    }
    println!("  {:<16} plugins of mariadb-server: unpacking …", "mariadb");
    unpack("mariadb-server", &root.join("mariadb"), |unpacked| {
        fs::rename(unpacked.join("usr/lib/mysql/plugin"), &directory)
            .context("the package mariadb-server has no plugins where they are looked for")
    })
}

/// Unpacks a package of Debian's below `directory`, without installing it, and lets `take` take what it
/// wants of it.
fn unpack(package: &str, directory: &Path, take: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let unpacked = directory.join("unpacked");
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(&unpacked)?;
    apt_update()?;
    // Anybody may download, so without `sudo`.
    run_quietly(
        Command::new("apt-get")
            .args(["download", package])
            .current_dir(&unpacked),
    )?;
    for package in fs::read_dir(&unpacked)? {
        let mut unpack = Command::new("dpkg-deb");
        unpack.arg("--extract").arg(package?.path()).arg(&unpacked);
        run_quietly(&mut unpack)?;
    }
    take(&unpacked)?;
    fs::remove_dir_all(&unpacked)?;
    Ok(())
}

/// What posts to servers, and a server that only answers: unpacked, because as a package it would be
/// started.
pub(super) fn need_wrk_and_nginx(root: &Path) -> Result<()> {
    let wrk = || Command::new("wrk").arg("--version").output().is_ok();
    if !wrk() {
        apt_install(&["wrk"])?;
        ensure!(wrk(), "wrk is needed, and apt has none");
    }
    let directory = root.join("nginx");
    if !directory.join("nginx").exists() {
        println!("  {:<16} nginx: unpacking …", "nginx");
        unpack("nginx", &directory, |unpacked| {
            fs::rename(unpacked.join("usr/sbin/nginx"), directory.join("nginx"))
                .context("the package nginx has no program where it is looked for")
        })?;
    }
    Ok(())
}

/// Adds rustfmt and clippy where Rust came without them.
pub(super) fn rust_components() -> Result<()> {
    for (command, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if answer("cargo", &[command, "--version"]).is_none() {
            println!("  {component:<16} from rustup: installing …");
            run_quietly(Command::new("rustup").args(["component", "add", component]))
                .with_context(|| format!("`cargo {command}` is needed"))?;
        }
    }
    Ok(())
}

fn apt_install(packages: &[&str]) -> Result<()> {
    println!("  {:<16} {}: installing …", "apt", packages.join(" "));
    apt_update()?;
    let install = ["install", "--yes", "--no-install-recommends"];
    run_quietly(apt_get().args(install).args(packages)).with_context(|| {
        format!(
            "install {} by hand, then run `cargo xtask setup` again",
            packages.join(" and ")
        )
    })
}

/// Brings the lists of packages up to date; they may be missing or old. Once is enough.
fn apt_update() -> Result<()> {
    static UPDATED: OnceLock<()> = OnceLock::new();
    if UPDATED.get().is_none() {
        run_quietly(apt_get().arg("update"))?;
        UPDATED.get_or_init(|| ());
    }
    Ok(())
}

fn apt_get() -> Command {
    let root = answer("id", &["-u"]).is_some_and(|id| id == "0");
    let mut command = if root {
        Command::new("apt-get")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["--preserve-env=DEBIAN_FRONTEND", "apt-get"]);
        sudo
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}
