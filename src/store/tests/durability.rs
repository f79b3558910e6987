//! What the disk keeps, what it must not keep, and what happens when it fails.

use std::os::unix::fs::PermissionsExt as _;

use futures::future::join_all;

use super::*;

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_crash() {
    let place = Place::new();
    let store = place.open();
    put(&store, "a", "1").await;
    let revision = put(&store, "b", "1").await;
    put(&store, "b", "2").await;
    delete(&store, "a").await;
    crash(store);
    let store = place.open();
    assert_eq!(text(&store, "a"), None);
    let entry = store.get("b").unwrap();
    assert_eq!((&entry.value[..], entry.created), (&b"2"[..], revision));
    let restarted = store.revision();
    assert_eq!(
        store.watch("", restarted - 1).map(drop).unwrap_err(),
        WatchError::Compacted { floor: restarted },
        "the past is not told from a log that may have lost its end"
    );
    assert_eq!(put(&store, "a", "3").await, restarted + 1);
}

/// A power cut can leave a write-ahead log that ends anywhere. Whatever is left must be a state that there once was,
/// and new revisions must lie beyond all that anybody saw.
#[tokio::test]
async fn a_torn_log_gives_an_earlier_state_and_no_other() {
    let random = &mut fastrand::Rng::with_seed(3);
    let place = Place::new();
    let store = place.open();
    let mut states = vec![Vec::new()];
    for number in 0..60 {
        let key = format!("k/{}", random.u8(..6));
        match random.u8(..4) {
            0 => drop(apply(&store, &key, Change::Delete { last: None }).await.unwrap()),
            _ => drop(put(&store, &key, &format!("{number}").repeat(random.usize(1..3_000))).await),
        }
        states.push(store.list("", None, None).entries);
    }
    let highest = store.revision();
    let wal_path = place.path.with_extension("db-wal");
    let (file, wal) = (std::fs::read(&place.path).unwrap(), std::fs::read(&wal_path).unwrap());
    assert!(wal.len() > 100_000, "the log is what is torn here");
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..40 {
        let torn = Place::new();
        std::fs::create_dir(torn.path.parent().unwrap()).unwrap();
        std::fs::write(&torn.path, &file).unwrap();
        let mut wal = wal.clone();
        wal.truncate(if round == 0 { wal.len() } else { random.usize(..wal.len()) });
        if let Some(byte) = wal.last_mut().filter(|_| round % 2 == 1) {
            *byte ^= 0x55;
        }
        std::fs::write(torn.path.with_extension("db-wal"), wal).unwrap();
        let reopened = torn.open();
        let entries = reopened.list("", None, None).entries;
        let state = states.iter().rposition(|state| *state == entries);
        seen.insert(
            state.unwrap_or_else(|| panic!("round {round} gives a state that never was: {entries:?}")),
        );
        assert!(reopened.revision() > highest);
        assert!(put(&reopened, "k/1", "new").await > highest);
    }
    assert!(seen.contains(&(states.len() - 1)), "the whole log gives the last state");
    assert!(seen.len() > 10, "the log was torn in many places: {seen:?}");
}

#[tokio::test]
async fn a_clean_restart_keeps_the_past() {
    let place = Place::new();
    let store = place.open();
    let first = put(&store, "a", "1").await;
    put(&store, "a", "2").await;
    delete(&store, "a").await;
    let told = |store: &Store| -> Vec<Event> {
        let mut watch = store.watch("", first - 1).unwrap();
        std::iter::from_fn(|| watch.try_next()).collect()
    };
    let before = told(&store);
    drop(store);
    assert_eq!(told(&place.open()), before);
}

#[tokio::test]
async fn the_file_does_not_grow_with_the_number_of_writes() {
    let place = Place::new();
    let options = Options { history_events: 20, ..Options::default() };
    let store = place.open_with(options.clone());
    for number in 0..2_000 {
        put(&store, &format!("k/{}", number % 5), &"x".repeat(2_000)).await;
    }
    delete(&store, "k/0").await;
    for _ in 0..40 {
        put(&store, "k/1", "x").await;
    }
    drop(store);
    let rows: i64 = rusqlite::Connection::open(&place.path)
        .unwrap()
        .query_row("SELECT count(*) FROM log", (), |row| row.get(0))
        .unwrap();
    assert!(rows <= 30, "{rows} rows for 4 entries and 20 events");
    assert!(place.path.metadata().unwrap().len() < 1_000_000);
    let store = place.open_with(options);
    assert_eq!(store.list("", None, None).entries.len(), 4);
}

#[tokio::test]
async fn a_superseded_secret_leaves_the_disk_at_once() {
    let place = Place::new();
    let options = Options { secret_prefixes: vec!["secrets/".to_owned()], ..Options::default() };
    let store = place.open_with(options.clone());
    let start = store.revision();
    let on_disk = |needle: &str| {
        let folder = place.path.parent().unwrap().read_dir().unwrap();
        let files = folder.map(|file| std::fs::read(file.unwrap().path()).unwrap());
        files.into_iter().any(|bytes| bytes.windows(needle.len()).any(|window| window == needle.as_bytes()))
    };
    put(&store, "secrets/a", "hunter1-small").await;
    put(&store, "secrets/b", &"hunter2-large".repeat(2_000)).await;
    put(&store, "plain", "no-secret-1").await;
    assert!(on_disk("hunter1") && on_disk("hunter2"), "a live secret is stored");

    put(&store, "secrets/a", "replaced").await;
    delete(&store, "secrets/b").await;
    put(&store, "plain", "no-secret-2").await;
    assert!(!on_disk("hunter1") && !on_disk("hunter2"));
    assert!(on_disk("no-secret-1"), "the past of other keys is kept");
    let mut watch = store.watch("secrets/", start).unwrap();
    assert_eq!(watch.try_next().unwrap().value.as_deref(), Some(&b"hunter1-small"[..]), "memory remembers");

    drop(store);
    let store = place.open_with(options);
    assert!(matches!(store.watch("secrets/", start), Err(WatchError::Compacted { .. })));
    assert!(matches!(store.watch("", start), Err(WatchError::Compacted { .. })));
    assert!(store.watch("plain", start).is_ok(), "others need not begin anew");
    assert_eq!(text(&store, "secrets/a").as_deref(), Some("replaced"));
    let current = store.revision();
    let mut watch = store.watch("secrets/", current).unwrap();
    put(&store, "secrets/a", "again").await;
    assert_eq!(watch.next().await.unwrap().previous.as_deref(), Some(&b"replaced"[..]));
}

#[test]
fn the_files_are_private() {
    let place = Place::new();
    let _store = place.open();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let folder = place.path.parent().unwrap();
    assert_eq!(mode(folder), 0o700);
    for file in folder.read_dir().unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_second_owner_is_refused() {
    let place = Place::new();
    let store = place.open();
    let refusal = Store::open(&place.path, Options::default()).map(drop).unwrap_err();
    assert!(matches!(refusal, OpenError::Locked { .. }), "{refusal:?}");
    assert!(refusal.to_string().ends_with("store.db is in use by another process"), "{refusal}");
    drop(store);
    place.open();
}

#[test]
fn what_a_killed_owner_was_about_to_start_is_waited_for() {
    let place = Place::new();
    drop(place.open());
    let mut lock = place.path.clone().into_os_string();
    lock.push(".lock");
    let held = std::fs::File::open(lock).unwrap();
    held.try_lock().unwrap();
    let child = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(200));
        drop(held);
    });
    place.open();
    child.join().unwrap();
}

#[test]
fn the_file_of_a_newer_program_is_refused_and_left_alone() {
    let place = Place::new();
    drop(place.open());
    let connection = rusqlite::Connection::open(&place.path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let before = std::fs::read(&place.path).unwrap();
    let refusal = Store::open(&place.path, Options::default()).map(drop).unwrap_err();
    assert!(matches!(refusal, OpenError::Newer { found: 99, known: 1, .. }), "{refusal:?}");
    assert!(refusal.to_string().contains("schema version 99"), "{refusal}");
    assert_eq!(std::fs::read(&place.path).unwrap(), before);
}

#[test]
fn a_log_that_contradicts_itself_is_refused() {
    let place = Place::new();
    drop(place.open());
    let connection = rusqlite::Connection::open(&place.path).unwrap();
    connection.execute("INSERT INTO log VALUES (77, 'a', 'x', 0, 77, 0)", ()).unwrap_err();
    connection.execute("INSERT INTO log VALUES (77, 'a', x'00', 0, 77, 0)", ()).unwrap();
    drop(connection);
    let refusal = Store::open(&place.path, Options::default()).map(drop).unwrap_err();
    assert!(matches!(refusal, OpenError::Damaged { .. }), "{refusal:?}");
}

#[tokio::test]
async fn a_full_disk_fails_writes_and_nothing_else() {
    let place = Place::new();
    let store = place.open();
    put(&store, "a", "kept").await;
    let before = store.revision();
    let mut watch = store.watch("", before).unwrap();

    limit_pages(&store, 1);
    let error = try_put(&store, "a", &"x".repeat(100_000)).await.unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(error.to_string().starts_with("the store is full"), "{error}");
    assert_eq!(text(&store, "a").as_deref(), Some("kept"));
    assert_eq!(store.revision(), before);
    assert!(watch.try_next().is_none(), "nobody hears of a write that failed");
    assert!(store.is_open() && !store.is_writable());

    limit_pages(&store, UNLIMITED);
    let after = put(&store, "a", "written").await;
    assert!(store.is_writable());
    assert!(after > before + 1, "the revision of the failed write is not used again");
    let event = watch.next().await.unwrap();
    assert_eq!((event.revision, event.previous.as_deref()), (after, Some(&b"kept"[..])));
    crash(store);
    assert_eq!(text(&place.open(), "a").as_deref(), Some("written"));
}

/// While one commit is on its way to fail, others decide on what it would have written.
#[tokio::test]
async fn what_was_decided_on_a_failed_write_fails_with_it() {
    let place = Place::new();
    let store = place.open();
    put(&store, "a", "0").await;
    limit_pages(&store, 1);
    for round in 0..20 {
        let large = "x".repeat(100_000);
        let writes = join_all((0..5).map(|_| try_put(&store, "a", &large)));
        // Each of these sees either the durable value or a staged one, never a mixture.
        let answers = join_all((0..20).map(|_| {
            store.mutate("a", |entry, _| {
                let staged = entry.is_some_and(|entry| entry.value.len() > 1);
                if round % 2 == 0 { Ok((Change::Keep, staged)) } else { Err(staged) }
            })
        }));
        let (writes, answers) = futures::join!(writes, answers);
        assert!(writes.iter().all(|write| matches!(write, Err(StoreError::Full { .. }))), "{writes:?}");
        for answer in answers {
            match answer {
                Ok(Committed { outcome: staged, .. }) | Err(MutateError::Refused(staged)) => {
                    assert!(!staged, "an answer stands on a write that never happened");
                }
                Err(MutateError::Storage(StoreError::Full { .. })) => {}
                Err(MutateError::Storage(error)) => panic!("{error}"),
            }
        }
        assert_eq!(text(&store, "a").as_deref(), Some("0"));
    }
    limit_pages(&store, UNLIMITED);
    put(&store, "a", "1").await;
}

#[tokio::test]
async fn increments_by_many_at_once_are_all_counted() {
    let place = Place::new();
    let store = place.open();
    let increment = |_| async {
        let number = |entry: &Entry| String::from_utf8_lossy(&entry.value).parse::<u32>().unwrap();
        store
            .mutate("counter", |entry, _| {
                let next = entry.map_or(0, number) + 1;
                Ok::<_, Infallible>((Change::Put(next.to_string().into()), next))
            })
            .await
            .unwrap()
            .outcome
    };
    let mut results = join_all((0..500).map(increment)).await;
    results.sort_unstable();
    assert_eq!(results, (1..=500).collect::<Vec<u32>>());
    crash(store);
    assert_eq!(text(&place.open(), "counter").as_deref(), Some("500"));
}

#[tokio::test]
async fn what_was_prepared_on_another_state_is_prepared_again() {
    let store = Store::memory().unwrap();
    put(&store, "counter", "1").await;
    for (changed, expected) in [(None, 1), (Some("counter"), 2), (Some("beside"), 2), (Some("other"), 1)] {
        let mut looks = Vec::new();
        let prepare = |entry: Option<&Entry>, beside: Option<&Entry>| {
            if let (Some(key), true) = (changed, looks.is_empty()) {
                futures::executor::block_on(put(&store, key, "7"));
            }
            looks.push((entry.map(|entry| entry.revision), beside.map(|entry| entry.revision)));
            Ok::<_, Infallible>(entry.map_or(0, |entry| entry.value.len()))
        };
        let finish = |size: usize, entry: Option<&Entry>, revision: u64| {
            let seen = entry.map(|entry| entry.revision);
            Ok((Change::Put(Bytes::from(vec![b'x'; size + 1])), (seen, revision)))
        };
        let before = store.get("counter").unwrap().value.len();
        let committed = store.mutate_prepared("counter", "beside", prepare, finish).await.unwrap();
        assert_eq!(looks.len(), expected, "{changed:?}: {looks:?}");
        assert_eq!(looks.last().unwrap().0, committed.outcome.0, "it stands on the entry that is replaced");
        let size = if changed == Some("counter") { 2 } else { before + 1 };
        assert_eq!(store.get("counter").unwrap().value.len(), size, "{changed:?}");
        assert_eq!(store.get("counter").unwrap().revision, committed.revision);
    }
}

/// Counted in commits, since time depends on the machine.
#[tokio::test]
async fn writes_that_come_together_share_commits() {
    let place = Place::new();
    let store = place.open();
    let keys: Vec<String> = (0..1_000).map(|number| format!("k/{number}")).collect();
    join_all(keys.iter().map(|key| put(&store, key, "x"))).await;
    let commits = store.owner.inner.commits.load(Ordering::Acquire);
    assert!(commits < 500, "{commits} commits for 1,000 writes");
}

#[tokio::test]
async fn a_value_beyond_the_limit_is_refused() {
    let store = Store::memory_with(&Options { value_limit: 10, ..Options::default() });
    let error = try_put(&store, "a", "12345678901").await.unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { bytes: 11, limit: 10, .. }), "{error:?}");
    put(&store, "a", "1234567890").await;
}

#[tokio::test]
async fn a_view_shows_what_is_not_durable_yet() {
    let place = Place::new();
    let store = place.open();
    let first = put(&store, "a/1", "x");
    let second = store.mutate_seeing("b", |view, _, _| {
        let seen = (view.get("a/1").is_some(), view.any("a/"), view.any("c/"));
        Ok::<_, Infallible>((Change::Keep, seen))
    });
    let (_, seen) = futures::join!(first, second);
    assert_eq!(seen.unwrap().outcome, (true, true, false));
}

#[tokio::test]
async fn a_panic_in_a_decision_harms_nobody_else() {
    let store = Store::memory().unwrap();
    let shared = store.clone();
    let panicking = tokio::task::LocalSet::new();
    let outcome = panicking
        .run_until(async move {
            tokio::task::spawn_local(async move {
                shared.mutate::<(), ()>("a", |_, _| panic!("in the decision")).await.is_ok()
            })
            .await
        })
        .await;
    assert!(outcome.unwrap_err().is_panic());
    put(&store, "a", "x").await;
    assert_eq!(text(&store, "a").as_deref(), Some("x"));
}
