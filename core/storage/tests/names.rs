//! Names that other programs trip over: each file is read, or said to be left out.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use tidegate_core::ErrorKind;
use tidegate_storage::{Access, Location, Names, Pattern, Storage};

fn put(root: &Path, key: &str) {
    let path = root.join(key);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, key).unwrap();
}

async fn pattern(text: &str, base: &Path) -> Pattern {
    let pattern = Pattern::parse(text, base, &Access::default()).await;
    pattern.unwrap()
}

/// What the files hold that are found, which is their paths: so they are read, too.
async fn found(text: &str, base: &Path) -> Vec<String> {
    let pattern = pattern(text, base).await;
    let mut found = Vec::new();
    for file in pattern.list().await.unwrap() {
        let bytes = pattern.storage().read(&file, 0..file.size).await.unwrap();
        let known = pattern.storage().head(&file.key).await.unwrap();
        assert_eq!(known, file);
        found.push(String::from_utf8(bytes.to_vec()).unwrap());
    }
    found
}

async fn open(path: &Path) -> Storage {
    let location = Location::parse(path.to_str().unwrap(), Path::new("/")).unwrap();
    Storage::open(&location, &Access::default()).await.unwrap()
}

/// What is left out below a directory, with the reasons.
async fn left_out(path: &Path) -> Vec<(String, String)> {
    let listing = open(path).await.listing("", Names::Visible).await.unwrap();
    let root = format!("{}/", path.display());
    let mut left_out: Vec<_> = listing
        .left_out
        .into_iter()
        .map(|one| (one.path.replace(&root, ""), one.reason))
        .collect();
    left_out.sort();
    left_out
}

#[tokio::test]
async fn a8_a_name_that_is_there_is_taken_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let odd = [
        "sales[1].csv",
        "what?.csv",
        "all*.csv",
        "{a,b}.csv",
        "[!x].csv",
        "[x.csv",
        "100%.csv",
        "a%20b.csv",
        "a b.csv",
        " x ",
        "~x.csv",
        "a#1",
        "x.",
        "-r.csv",
        "a\\b.csv",
        "it's \"so\".csv",
    ];
    for name in odd {
        put(root, name);
        put(root, &format!("in {name}/a.csv"));
    }
    put(root, "sales1.csv");
    put(root, "allx.csv");
    for name in odd {
        assert_eq!(found(name, root).await, [name], "{name}");
        let directory = format!("in {name}");
        let file = format!("{directory}/a.csv");
        assert_eq!(found(&directory, root).await, [file.as_str()], "{name}");
        assert_eq!(found(&file, root).await, [file.as_str()], "{name}");
        let inside = format!("{directory}/*.csv");
        assert_eq!(found(&inside, root).await, [file.as_str()], "{name}");
        let around = format!("{directory}/../{name}");
        assert_eq!(found(&around, root).await, [name], "{name}");
        let url = open(root).await.url(name);
        assert_eq!(found(&url, Path::new("/")).await, [name], "{url}");
    }
    // Without the file itself it is a pattern.
    fs::remove_file(root.join("sales[1].csv")).unwrap();
    assert_eq!(found("sales[1].csv", root).await, ["sales1.csv"]);
    assert_eq!(found("sales[[]1].csv", root).await, Vec::<String>::new());
}

#[tokio::test]
async fn a8_the_directory_of_the_pipeline_file_is_no_pattern() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("sales[1] {x}?*");
    for key in [
        "sales1 {x}ab/in/a.csv",
        "sales[1] {x}?*/in/b.csv",
        "sales[1] {x}?*/in/c.csv",
    ] {
        put(dir.path(), key);
    }
    for (text, count) in [
        ("in/*.csv", 2),
        ("in/b.csv", 1),
        ("in", 2),
        ("./in/../in/**/*", 2),
    ] {
        assert_eq!(found(text, &base).await.len(), count, "{text}");
    }
    assert_eq!(found("../sales1 *b/in/*", &base).await.len(), 1);
    // A directory that isn't there yet isn't looked for elsewhere either.
    assert!(found("in/a.csv", &base).await.is_empty());
}

#[tokio::test]
async fn a8_percent_encoded_characters_of_a_url_are_no_wildcards() {
    let dir = tempfile::tempdir().unwrap();
    for name in [
        "s[1].csv",
        "s1.csv",
        "s*.csv",
        "sx.csv",
        "s?y.csv",
        "s[[]1].csv",
    ] {
        put(dir.path(), name);
    }
    let url = |name: &str| format!("file://{}/{name}", dir.path().display());
    let base = Path::new("/");
    assert_eq!(found(&url("s%5B1%5D.csv"), base).await, ["s[1].csv"]);
    assert_eq!(found(&url("s%2a.csv"), base).await, ["s*.csv"]);
    assert_eq!(found(&url("s%3F*.csv"), base).await, ["s?y.csv"]);
    assert_eq!(
        found(&url("s%5b*.csv"), base).await,
        ["s[1].csv", "s[[]1].csv"]
    );
    fs::remove_file(dir.path().join("s[1].csv")).unwrap();
    assert!(found(&url("s%5B1%5D.csv"), base).await.is_empty());
}

#[tokio::test]
async fn a8_a_pattern_that_finds_nothing_says_how_to_mean_its_characters() {
    let dir = tempfile::tempdir().unwrap();
    let hint = async |text: &str| {
        let error = pattern(text, dir.path()).await.expect("here").await;
        error.unwrap_err().hint_text().unwrap().to_owned()
    };
    assert!(hint("sales[1].csv").await.contains("[[]"));
    assert!(hint("~/x.csv").await.contains('~'));
    assert!(!hint("x/*.csv").await.contains("[[]"));
}

#[tokio::test]
async fn a9_names_that_end_in_a_number_sign_and_digits_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let all = [
        "in/a#12/b#3",
        "in/b#x",
        "in/extract",
        "in/extract#1",
        "in/extract#2",
    ];
    for key in all {
        put(dir.path(), key);
    }
    assert_eq!(found("in", dir.path()).await, all);
    assert_eq!(found("in/**/*", dir.path()).await, all);
    assert_eq!(found("in/extract#1", dir.path()).await, [all[3]]);
    assert_eq!(found("in/*#[12]", dir.path()).await, all[3..]);
    let storage = open(dir.path()).await;
    assert_eq!(storage.list_directory("in").await.unwrap().len(), 4);
    storage.delete(&["in/extract#1".to_owned()]).await.unwrap();
    assert_eq!(storage.list_directory("in").await.unwrap().len(), 3);
}

#[tokio::test]
async fn c8_an_odd_neighbour_hides_nothing_and_is_named_where_it_is_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    put(root, "a.csv");
    put(root, "sub/b.csv");
    fs::write(root.join("Icon\r"), "x").unwrap();
    fs::write(root.join(OsStr::from_bytes(b"b\xff.csv")), "x").unwrap();
    fs::create_dir(root.join(OsStr::from_bytes(b"d\xff"))).unwrap();
    symlink("nothing", root.join("dangling.csv")).unwrap();
    symlink("itself.csv", root.join("itself.csv")).unwrap();
    symlink("..", root.join("sub/up")).unwrap();
    let _socket = UnixListener::bind(root.join("socket.csv")).unwrap();
    for text in ["*.csv", "**/*.csv", ".", "a.csv", "[a]*", "a.c*"] {
        let found = found(text, root).await;
        assert_eq!(found[0], "a.csv", "{text}");
    }
    let reasons = left_out(root).await;
    let named = |name: &str| {
        let mut of = reasons.iter().filter(|(path, _)| path == name);
        of.next().map_or("", |(_, reason)| reason.as_str())
    };
    assert!(named("Icon\r").contains("control"));
    assert!(named("b\u{fffd}.csv").contains("UTF-8"));
    assert!(named("d\u{fffd}").contains("UTF-8"));
    assert!(named("dangling.csv").contains("link to nothing"));
    assert!(!named("itself.csv").is_empty());
    assert!(named("sub/up").contains("link to a directory"));
    assert!(named("socket.csv").contains("socket"));
    assert_eq!(reasons.len(), 7, "{reasons:?}");

    let error = pattern("dangling.csv", root).await.expect("here").await;
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("link to nothing") && error.contains("target: nothing"),
        "{error}"
    );

    let error = pattern("Ic*", root).await.expect("here").await.unwrap_err();
    assert!(error.to_string().contains("Icon\\r"), "{error}");
    let error = pattern("a*.json", root).await.expect("here").await;
    assert!(!error.unwrap_err().to_string().contains("left out"));
    let error = pattern("socket.csv", root).await.list().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

#[tokio::test]
async fn c8_links_that_lead_in_circles_are_followed_once() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    put(root, "a/x.csv");
    put(root, "b/y.csv");
    symlink("../b", root.join("a/to_b")).unwrap();
    symlink("../a", root.join("b/to_a")).unwrap();
    symlink("a", root.join("again")).unwrap();
    assert_eq!(found("a", root).await, ["b/y.csv", "a/x.csv"]);
    assert_eq!(left_out(&root.join("a")).await.len(), 1);
    // Twice the same directory is no circle.
    assert_eq!(found("*/x.csv", root).await.len(), 2);
}

#[tokio::test]
async fn c8_a_directory_that_may_not_be_listed_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "in/a.csv");
    put(dir.path(), "in/locked/b.csv");
    let locked = dir.path().join("in/locked");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    // For the superuser nothing is locked.
    if fs::read_dir(&locked).is_err() {
        assert_eq!(found("in", dir.path()).await, ["in/a.csv"]);
        assert_eq!(found("in/*.csv", dir.path()).await, ["in/a.csv"]);
        let left_out = left_out(&dir.path().join("in")).await;
        assert_eq!(left_out[0].0, "locked");
        let error = pattern("in/locked/*", dir.path()).await.list().await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Auth);
    }
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn partitions_that_begin_with_an_underscore_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let all = ["t/_op=delete/a.csv", "t/_op=insert/_x=1/b.csv", "t/c.csv"];
    for key in all
        .into_iter()
        .chain(["t/.x=1/d.csv", "t/_tmp/e.csv", "t/_SUCCESS"])
    {
        put(dir.path(), key);
    }
    assert_eq!(found("t", dir.path()).await, all);
    assert_eq!(found("t/**/*.csv", dir.path()).await, all);
    assert_eq!(
        found("t/*/*.csv", dir.path()).await,
        ["t/_op=delete/a.csv", "t/_tmp/e.csv"]
    );
}

#[tokio::test]
async fn pipes_devices_and_files_made_when_they_are_read_are_refused_with_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo.csv");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.unwrap().success());
    let mut refused = vec![fifo.to_str().unwrap(), "/dev/zero"];
    if cfg!(target_os = "linux") {
        refused.push("/proc/self/status");
    }
    for path in refused {
        let error = pattern(path, Path::new("/")).await.list().await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
        assert!(
            error.hint_text().unwrap().contains("to a file"),
            "{error:?}"
        );
    }
    // What is empty is empty.
    fs::write(dir.path().join("empty.csv"), "").unwrap();
    assert_eq!(found("empty.csv", dir.path()).await, [""]);
}

/// A directory that is there and can't be listed: what a process that has ended leaves of its network.
#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_directory_that_fails_hides_no_others_and_is_left_out() {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let process = std::path::PathBuf::from(format!("/proc/{}", child.id()));
    while fs::read_dir(process.join("net")).is_ok_and(|mut entries| entries.all(|one| one.is_ok()))
    {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let error = pattern("net/*", &process).await.list().await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Internal);
    let pattern = pattern("n[es][t]*/*t", &process).await;
    let files = pattern.list().await.unwrap();
    assert_eq!(files, []);
    let error = pattern.expect("here").await.unwrap_err().to_string();
    assert!(error.contains("can't be listed"), "{error}");
    child.wait().unwrap();
}

#[tokio::test]
async fn nothing_behind_a_link_is_ones_own_or_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for key in ["real/a=1/x", "real/a=2/x", "real/x", "precious/x"] {
        put(root, key);
    }
    // What is written to may be a link itself.
    symlink("real", root.join("out")).unwrap();
    symlink("../precious", root.join("real/link")).unwrap();
    symlink("../../precious", root.join("real/a=2/link")).unwrap();
    symlink("../precious/x", root.join("real/y")).unwrap();
    let storage = open(&root.join("out")).await;
    let own = async |key: &str, deep: bool| {
        let files = storage.list_own(key, deep, |_| true).await.unwrap();
        let keys = files.into_iter().map(|file| file.key);
        keys.collect::<Vec<_>>()
    };
    assert_eq!(own("", true).await, ["a=1/x", "a=2/x", "x"]);
    assert_eq!(own("", false).await, ["x"]);
    assert_eq!(own("a=2", false).await, ["a=2/x"]);
    assert_eq!(own("link", false).await, Vec::<String>::new());
    assert_eq!(own("a=2/link", true).await, Vec::<String>::new());
    for (key, link) in [
        ("link/x", Some("link")),
        ("a=2/link/b/x", Some("a=2/link")),
        ("a=2/x", None),
        ("y", None),
    ] {
        let found = storage.link_above(key).await.unwrap();
        assert_eq!(found.as_deref(), link, "{key}");
    }

    // What was listed before a directory became a link, and what others have listed.
    let keys = ["link/x", "a=2/link/x", "a=1/x", "a=2/x", "y"];
    storage.delete(&keys.map(str::to_owned)).await.unwrap();
    assert!(root.join("precious/x").exists());
    assert!(root.join("real/link").is_symlink());
    assert!(!root.join("real/a=1").exists());
    assert!(!root.join("real/a=2/x").exists());
    assert_eq!(own("", true).await, ["x"]);
}
