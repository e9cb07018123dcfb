use roost_model::{Change, Kind, MetaRow, Row};
use roost_types::{Event, EventKind, Timestamp};

use super::{Store, StoreError, fill};
use crate::testing::TempDir;

fn event(id: u64) -> Change {
    Change::Put(Row::Event(Event {
        id,
        at: Timestamp(id.cast_signed()),
        kind: EventKind::ControllerStarted,
        subject: "/v1/".to_owned(),
        message: format!("event {id}"),
    }))
}

fn meta(revision: u64) -> Change {
    Change::Put(Row::Meta(MetaRow { revision }))
}

#[tokio::test]
async fn what_was_committed_is_there_after_opening_again_and_the_last_word_counts() {
    let dir = TempDir::new();
    let store = Store::open(dir.path()).await.unwrap();
    store.commit(&[meta(1), event(9), event(10), meta(2)], Timestamp(5)).await.unwrap();
    store.commit(&[Change::Delete(Kind::Event, "9".to_owned())], Timestamp(6)).await.unwrap();
    store.close().await;
    drop(store);

    let rows = Store::open(dir.path()).await.unwrap().load().await.unwrap();
    let Change::Put(tenth) = event(10) else { unreachable!() };
    assert_eq!(rows, [Row::Meta(MetaRow { revision: 2 }), tenth]);
}

#[tokio::test]
async fn only_the_newest_events_are_kept_and_they_load_in_order_of_number() {
    let dir = TempDir::new();
    let store = Store::open(dir.path()).await.unwrap();
    for start in (1..=10_240).step_by(512) {
        let batch: Vec<Change> = (start..start + 512).map(event).collect();
        store.commit(&batch, Timestamp(0)).await.unwrap();
    }
    let numbers: Vec<u64> = store
        .load()
        .await
        .unwrap()
        .into_iter()
        .map(|row| match row {
            Row::Event(event) => event.id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(numbers, (241..=10_240).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_second_controller_on_the_same_state_is_refused_by_name() {
    let dir = TempDir::new();
    let first = Store::open(dir.path()).await.unwrap();
    let error = Store::open(dir.path()).await.err().unwrap();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    drop(first);
    Store::open(dir.path()).await.unwrap();
}

#[tokio::test]
async fn sqlite_is_new_enough_not_to_lose_a_wal() {
    let dir = TempDir::new();
    let version = Store::open(dir.path()).await.unwrap().sqlite_version().await.unwrap();
    let numbers: Vec<u32> = version.split('.').map(|part| part.parse().unwrap()).collect();
    assert!(numbers >= vec![3, 51, 3], "{version}");
}

#[tokio::test]
async fn a_full_database_says_so_and_changes_nothing() {
    let dir = TempDir::new();
    let store = Store::open(dir.path()).await.unwrap();
    store.commit(&[meta(1)], Timestamp(0)).await.unwrap();
    fill(&store.pool()).await;
    let batch: Vec<Change> = (1..500).map(event).chain([meta(2)]).collect();
    let error = store.commit(&batch, Timestamp(0)).await.unwrap_err();
    assert!(matches!(error, StoreError::Full(_)), "{error:?}");
    assert_eq!(error.problem().status, 507);
    assert_eq!(store.load().await.unwrap(), [Row::Meta(MetaRow { revision: 1 })]);
}
