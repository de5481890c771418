//! The state store by itself.

use tidegate_core::{ComponentId, Epoch, ErrorKind, Token};
use tidegate_runtime::state::{Change, SqliteStore, StateStore};

fn begun(epoch: u64) -> Change {
    Change::Begun {
        sink: ComponentId::new("out").unwrap(),
        epoch: Epoch(epoch),
        token: Token::encode(&epoch).unwrap(),
    }
}

#[tokio::test]
async fn whoever_was_taken_over_from_changes_nothing_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let first = SqliteStore::open(folder.path()).unwrap();
    let old = first.acquire("p").await.unwrap();
    first.apply("p", old, begun(1)).await.unwrap();

    let second = SqliteStore::open(folder.path()).unwrap();
    assert_eq!(
        second.acquire("p").await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    // As if the first one's lock had been lost with its machine.
    std::fs::remove_file(folder.path().join("p.lock")).unwrap();
    let new = second.acquire("p").await.unwrap();
    assert!(new > old);

    assert_eq!(
        first.apply("p", old, begun(2)).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    assert_eq!(
        first.verify("p", old).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    second.apply("p", new, begun(3)).await.unwrap();
    let state = second.load("p").await.unwrap().unwrap();
    assert_eq!(state.journal.len(), 2);
    assert_eq!(state.epoch, Epoch(3), "an epoch's number is used once");
}

#[tokio::test]
async fn values_are_set_only_by_who_knows_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let (one, two) = (
        serde_json::json!({"left": 1}),
        serde_json::json!({"left": 2}),
    );
    assert!(
        store
            .compare_and_set_value("p", "c", "k", None, &one)
            .await
            .unwrap()
    );
    assert!(
        !store
            .compare_and_set_value("p", "c", "k", None, &two)
            .await
            .unwrap()
    );
    assert!(
        store
            .compare_and_set_value("p", "c", "k", Some(&one), &two)
            .await
            .unwrap()
    );
    assert_eq!(store.get_value("p", "c", "k").await.unwrap(), Some(two));
    assert_eq!(store.get_value("p", "other", "k").await.unwrap(), None);
}

#[tokio::test]
async fn a_state_of_another_version_or_no_state_at_all_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("state.db"),
        "this is no database, whatever its name says",
    )
    .unwrap();
    let error = SqliteStore::open(folder.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.hint_text().unwrap().contains("--state"));
}
