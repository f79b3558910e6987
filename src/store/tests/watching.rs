//! What a watcher can rely on.

use super::*;

fn keys(watch: &mut Watch) -> Vec<(u64, String)> {
    std::iter::from_fn(|| watch.try_next()).map(|event| (event.revision, event.key.to_string())).collect()
}

#[tokio::test]
async fn a_watch_resumes_where_it_ended() {
    let store = Store::memory().unwrap();
    let first = put(&store, "a/1", "x").await;
    let mut watch = store.watch("a/", first).unwrap();
    let second = put(&store, "a/1", "y").await;
    put(&store, "b/1", "other").await;
    let event = watch.next().await.unwrap();
    assert_eq!((event.revision, event.previous.as_deref()), (second, Some(&b"x"[..])));
    drop(watch);

    let third = delete(&store, "a/1").await;
    let mut watch = store.watch("a/", second).unwrap();
    let event = watch.next().await.unwrap();
    assert_eq!(event.revision, third);
    assert_eq!((event.value, event.deleted_value.as_deref()), (None, Some(&b"y"[..])));
    assert!(watch.try_next().is_none());
}

#[tokio::test]
async fn a_watch_below_the_floor_or_beyond_the_present_is_refused() {
    let store = Store::memory_with(&Options { history_events: 2, ..Options::default() });
    let mut revisions = Vec::new();
    for value in ["1", "2", "3", "4"] {
        revisions.push(put(&store, "a", value).await);
    }
    let floor = revisions[1];
    assert_eq!(store.watch("", floor - 1).map(drop).unwrap_err(), WatchError::Compacted { floor });
    assert_eq!(keys(&mut store.watch("", floor).unwrap()).len(), 2);
    let current = revisions[3];
    assert_eq!(store.watch("", current + 1).map(drop).unwrap_err(), WatchError::Future { current });
}

#[tokio::test]
async fn the_history_is_bounded_in_bytes_too() {
    let store = Store::memory_with(&Options { history_bytes: 10_000, ..Options::default() });
    for _ in 0..20 {
        put(&store, "a", &"x".repeat(1_000)).await;
    }
    let Err(WatchError::Compacted { floor }) = store.watch("", 1).map(drop) else {
        panic!("the first events are kept although they exceed the limit");
    };
    let kept = store.revision() - floor;
    assert!((5..10).contains(&kept), "{kept} events of 1,000 bytes and overhead");
}

#[tokio::test]
async fn a_slow_watcher_is_cut_off_and_the_others_are_not() {
    let store = Store::memory_with(&Options { watch_queue: 10, ..Options::default() });
    let start = store.revision();
    let mut slow = store.watch("", start).unwrap();
    let mut quick = store.watch("", start).unwrap();
    for number in 0..30 {
        put(&store, "a", &number.to_string()).await;
        assert!(quick.try_next().is_some());
    }
    assert!(slow.lagged() && slow.cut().is_cancelled());
    assert_eq!(slow.progress(), start, "what was not delivered counts for nothing");
    assert!(
        slow.next().await.is_none(),
        "what waited is dropped: a watcher that never looks again holds nothing"
    );
    assert_eq!(slow.progress(), start);
    let rest = keys(&mut store.watch("", start).unwrap());
    assert_eq!(rest.len(), 30, "it can go on from there");
    assert!(!quick.lagged() && !quick.cut().is_cancelled());
}

#[tokio::test]
async fn what_waits_for_a_watcher_is_bounded_in_bytes_too() {
    let store = Store::memory_with(&Options { watch_bytes: 10_000, ..Options::default() });
    let mut watch = store.watch("", store.revision()).unwrap();
    let large = "x".repeat(20_000);
    put(&store, "a", &large).await;
    assert!(watch.next().await.is_some(), "one event may be as large as it likes");
    for number in 0..100 {
        put(&store, &format!("b/{number}"), &"x".repeat(1_000)).await;
        assert!(watch.try_next().is_some(), "what was taken does not count");
    }
    let mut waiting = 0;
    while !watch.lagged() {
        put(&store, &format!("c/{waiting}"), &"x".repeat(1_000)).await;
        waiting += 1;
    }
    assert!((6..11).contains(&waiting), "{waiting} events of 1,000 bytes and overhead");
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn a_scan_is_of_one_state_and_makes_values_as_it_goes() {
    let store = Store::memory().unwrap();
    for key in ["a/1", "a/2", "a/3", "b/1"] {
        put(&store, key, "x").await;
    }
    let mut scan = store.scan("a/", Some("a/1"));
    let revision = store.revision();
    put(&store, "a/3", "y").await;
    delete(&store, "a/2").await;
    assert_eq!((scan.revision(), scan.len()), (revision, 2));
    let seen: Vec<(String, Bytes)> =
        scan.by_ref().map(|entry| (entry.key.to_string(), entry.value)).collect();
    let x = |key: &str| (key.to_owned(), Bytes::from("x"));
    assert_eq!(seen, [x("a/2"), x("a/3")]);
    let again = store.scan_at(revision, "a/", None).unwrap().with_keys(|key| key.ends_with('2'));
    assert_eq!(again.map(|entry| entry.key.to_string()).collect::<Vec<_>>(), ["a/2"]);
}

#[tokio::test]
async fn progress_follows_the_store_only_when_everything_was_seen() {
    let store = Store::memory().unwrap();
    let mut watch = store.watch("a/", store.revision()).unwrap();
    put(&store, "b/1", "x").await;
    assert_eq!(watch.progress(), store.revision(), "nothing of the watcher's own is outstanding");
    let mine = put(&store, "a/1", "x").await;
    put(&store, "b/1", "y").await;
    assert!(watch.progress() < mine);
    watch.next().await.unwrap();
    assert_eq!(watch.progress(), store.revision());
}

#[tokio::test]
async fn closing_ends_a_watch_after_its_last_event() {
    let place = Place::new();
    let store = place.open();
    let mut watch = store.watch("", store.revision()).unwrap();
    let revision = put(&store, "a", "x").await;
    store.close();
    assert_eq!(watch.next().await.unwrap().revision, revision);
    assert!(watch.next().await.is_none());
    assert!(!watch.lagged());
    assert!(matches!(try_put(&store, "a", "y").await, Err(StoreError::Closed)));
    assert_eq!(text(&store, "a").as_deref(), Some("x"), "reading goes on");
    let mut late = store.watch("", revision - 1).unwrap();
    assert_eq!(late.next().await.unwrap().revision, revision);
    assert!(late.next().await.is_none(), "a watch that begins now ends too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_watchers_that_come_at_any_time_see_every_revision_once() {
    let place = Place::new();
    let store = place.open();
    let start = store.revision();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let store = store.clone();
            async move {
                for number in 0..50 {
                    put(&store, &format!("{}/{writer}", number % 2), "x").await;
                }
            }
        })
        .collect();
    let end = start + 400;
    let watchers = (0..40).map(|number| {
        let store = store.clone();
        async move {
            let mut seen = Vec::new();
            let mut after = start;
            // Some come late, and each leaves and comes back once.
            tokio::time::sleep(std::time::Duration::from_micros(number * 100)).await;
            for part in [100, 300] {
                let mut watch = store.watch("", after).unwrap();
                for _ in 0..part {
                    let event = watch.next().await.unwrap();
                    after = event.revision;
                    seen.push(event.revision);
                }
            }
            seen
        }
    });
    let (seen, _) = futures::join!(futures::future::join_all(watchers), futures::future::join_all(writers));
    for revisions in seen {
        assert_eq!(revisions, (start + 1..=end).collect::<Vec<_>>());
    }
}
