//! A short `cargo xtask fuzz values`, always with the same cases.

use std::process::Command;

use tidegate_testkit::servers::python;

use super::support::{Site, workspace};

#[test]
fn random_tables_come_back_and_random_sql_means_one_thing() {
    let site = Site::new();
    let output = Command::new(python("readers"))
        .arg("-B")
        .arg(workspace().join("xtask/src/fuzz/values.py"))
        .arg(env!("CARGO_BIN_EXE_tidegate"))
        .args(["--seed", "2026", "--cases", "24", "--keep"])
        .arg(site.path("found"))
        .output()
        .expect("the readers' Python");
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
