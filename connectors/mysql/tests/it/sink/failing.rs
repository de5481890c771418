//! What is left when processes, connections and servers die.

use serde_json::json;
use tidegate_core::{Commit, Epoch, ErrorKind, Lineage, Recovery, RunId, SinkConfig, WriterId};
use tidegate_testkit::suites::{Hand, context};

use super::cut::{Cut, Cutting};
use super::{Site, config, named};

#[tokio::test]
async fn a_server_that_dies_between_prepare_and_commit_loses_nothing() {
    let mut site = Site::new();
    site.sql("CREATE TABLE t (id BIGINT, name TEXT)");
    let rows = named(&[(1, "a"), (2, "b")]);
    let sink = site.open(json!({}), &rows.schema()).await.unwrap();
    let (prepared, _) = site.prepare(sink.as_ref(), 1, &[rows]).await;
    site.restart();
    let cx = site.cx.common();
    let commit = site.commit(&cx, 1, &prepared);
    // Its old connections are dead, which it notices by itself.
    sink.commit(&commit).await.unwrap();
    sink.commit(&commit).await.unwrap();
    assert_eq!(site.sql("SELECT * FROM t ORDER BY id"), "1\ta\n2\tb\n");
    assert_eq!(site.staging(), "");
}

#[tokio::test]
async fn a_commit_whose_connection_is_lost_is_done_once() {
    let server = super::server();
    for mode in ["insert", "replace"] {
        for (statement, cut) in [
            ("COMMIT", Cut::Before),
            ("COMMIT", Cut::After),
            ("INSERT INTO", Cut::After),
            ("REPLACE INTO", Cut::After),
            ("DROP TABLE", Cut::Before),
            ("DROP TABLE", Cut::After),
        ] {
            let site = Site::on(server.clone());
            site.sql("CREATE TABLE t (id BIGINT, name TEXT); INSERT INTO t VALUES (0, 'old')");
            let rows = named(&[(1, "a"), (2, "b")]);
            let proxy = Cutting::before(site.server.port());
            let config = config(&proxy.url(&site.database), json!({ "mode": mode }));
            let input = site.input(&rows.schema());
            let sink = config.open(&site.cx.sink(vec![input])).await.unwrap();
            let (mut prepared, _) = site.prepare(sink.as_ref(), 1, &[rows]).await;
            if mode == "replace" {
                prepared.extend(sink.conclude(&prepared).await.unwrap());
            }
            proxy.at(statement, cut);
            let cx = site.cx.common();
            let commit = site.commit(&cx, 1, &prepared);
            let error = sink.commit(&commit).await.unwrap_err();
            assert!(proxy.done());
            assert_eq!(error.kind(), ErrorKind::Transient, "{error:?}");
            // The lock that the lost connection held is given up when the server notices.
            sink.commit(&commit).await.unwrap();
            let old = if mode == "insert" { "0\told\n" } else { "" };
            assert_eq!(
                site.sql("SELECT * FROM t ORDER BY id"),
                format!("{old}1\ta\n2\tb\n"),
                "{mode}: {statement} {cut:?}"
            );
            assert_eq!(site.staging(), "");
        }
    }
}

#[tokio::test]
async fn a_writer_whose_connection_is_lost_leaves_nothing() {
    let site = Site::on(super::server());
    site.sql("CREATE TABLE t (id BIGINT, name TEXT)");
    let rows = named(&[(1, "a")]);
    let proxy = Cutting::before(site.server.port());
    let config = config(&proxy.url(&site.database), json!({}));
    let input = site.input(&rows.schema());
    let sink = config.open(&site.cx.sink(vec![input])).await.unwrap();
    for (statement, cut) in [
        ("CREATE TABLE `", Cut::After),
        ("INSERT INTO", Cut::After),
        ("COMMIT", Cut::After),
    ] {
        proxy.at(statement, cut);
        let id = WriterId {
            epoch: Epoch(1),
            executor: 0,
            index: 0,
        };
        let epoch = sink.epoch(id.epoch).await.unwrap();
        let mut writer = Hand::open(&epoch, id).await.unwrap();
        let error = writer.write(0, rows.clone()).await.unwrap_err();
        assert!(proxy.done());
        assert_eq!(error.kind(), ErrorKind::Transient, "{error:?}");
        drop(writer);
        epoch.abandon().await;
    }
    let begun = site.cx.journal().begun();
    assert_eq!(begun.len(), 3);
    let recovery = Recovery {
        keep: &[],
        begun: &begun,
    };
    sink.recover(&recovery).await.unwrap();
    assert_eq!(site.staging(), "");
    assert!(site.write(sink.as_ref(), 2, &[rows]).await.is_empty());
    assert_eq!(site.sql("SELECT * FROM t"), "1\ta\n");
}

#[tokio::test]
async fn a_process_of_the_past_changes_nothing() {
    let site = Site::on(super::server());
    site.sql("CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT)");
    let rows = named(&[(1, "first")]);
    let upsert = json!({ "mode": "upsert" });
    let fenced = site.open(upsert.clone(), &rows.schema()).await.unwrap();
    let (first, _) = site
        .prepare(fenced.as_ref(), 1, std::slice::from_ref(&rows))
        .await;
    let successor = site.open(upsert, &rows.schema()).await.unwrap();
    let cx = site.cx.common();
    let commit = site.commit(&cx, 1, &first);
    successor.commit(&commit).await.unwrap();
    let second = named(&[(1, "second")]);
    site.write(successor.as_ref(), 2, &[second]).await;
    fenced.commit(&commit).await.unwrap();
    assert_eq!(site.sql("SELECT * FROM t"), "1\tsecond\n");
}

#[tokio::test]
async fn another_state_of_the_same_pipeline_is_refused() {
    let site = Site::on(super::server());
    site.sql("CREATE TABLE t (id BIGINT, name TEXT)");
    let rows = named(&[(1, "a")]);
    let sink = site.open(json!({}), &rows.schema()).await.unwrap();
    site.write(sink.as_ref(), 1, std::slice::from_ref(&rows))
        .await;
    let (prepared, _) = site
        .prepare(sink.as_ref(), 2, std::slice::from_ref(&rows))
        .await;

    let mut other = site.cx.sink(vec![site.input(&rows.schema())]);
    other.common.lineage = Lineage::new();
    let error = site.config(json!({})).open(&other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.hint_text().unwrap().contains("--state"), "{error:?}");
    let cx = site.cx.common();
    let commit = Commit {
        lineage: other.common.lineage,
        run: RunId::new(),
        ..site.commit(&cx, 2, &prepared)
    };
    let error = sink.commit(&commit).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(site.sql("SELECT COUNT(*) FROM t"), "1\n");
}

#[tokio::test]
async fn two_pipelines_write_into_one_table() {
    let site = Site::on(super::server());
    site.sql("CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT)");
    let upsert = json!({ "mode": "upsert" });
    let rows = named(&[(1, "ours")]);
    let ours = site.open(upsert.clone(), &rows.schema()).await.unwrap();
    let other = Site {
        server: site.server.clone(),
        database: site.database.clone(),
        cx: context(),
    };
    let theirs = other.open(upsert, &rows.schema()).await.unwrap();
    let (one, _) = site.prepare(ours.as_ref(), 1, &[rows]).await;
    let rows = named(&[(1, "theirs"), (2, "theirs")]);
    let (two, _) = other.prepare(theirs.as_ref(), 1, &[rows]).await;
    let (our_cx, their_cx) = (site.cx.common(), other.cx.common());
    theirs
        .commit(&other.commit(&their_cx, 1, &two))
        .await
        .unwrap();
    ours.commit(&site.commit(&our_cx, 1, &one)).await.unwrap();
    assert_eq!(
        site.sql("SELECT * FROM t ORDER BY id"),
        "1\tours\n2\ttheirs\n"
    );
    assert_eq!(site.sql("SELECT COUNT(*) FROM _tidegate_markers"), "2\n");
    assert_eq!(site.staging(), "");
}

#[tokio::test]
async fn a_key_that_came_in_between_stops_the_commit_and_loses_nothing() {
    let site = Site::on(super::server());
    site.sql("CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT)");
    let rows = named(&[(1, "ours"), (2, "ours")]);
    let sink = site.open(json!({}), &rows.schema()).await.unwrap();
    let (prepared, _) = site.prepare(sink.as_ref(), 1, &[rows]).await;
    site.sql("INSERT INTO t VALUES (2, 'theirs')");
    let cx = site.cx.common();
    let commit = site.commit(&cx, 1, &prepared);
    let error = sink.commit(&commit).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(
        error.hint_text().unwrap().contains("remove that one"),
        "{error:?}"
    );
    assert_eq!(site.sql("SELECT * FROM t"), "2\ttheirs\n");
    // As the hint says.
    site.sql("DELETE FROM t");
    sink.commit(&commit).await.unwrap();
    assert_eq!(
        site.sql("SELECT * FROM t ORDER BY id"),
        "1\tours\n2\tours\n"
    );
}
