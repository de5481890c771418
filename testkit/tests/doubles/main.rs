//! Every check of a suite has a broken double that it must catch, and that it alone catches: a
//! small correct component with exactly one defect.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod catalogs;
mod sinks;
mod sources;
mod transforms;

use tidegate_testkit::suites::Report;

/// The double's one defect fails one check, and the suite says why.
fn caught(report: &Report, check: &'static str) {
    assert_eq!(report.failures(), [check], "{report}");
    assert!(!report.failed[0].why.is_empty());
}

/// A check without a double is worse than none.
fn all_have_doubles(names: Vec<&'static str>, doubles: impl IntoIterator<Item = &'static str>) {
    let doubles: std::collections::BTreeSet<_> = doubles.into_iter().collect();
    let names: std::collections::BTreeSet<_> = names.into_iter().collect();
    assert_eq!(names, doubles);
}
