//! Random operations on a store and on the simplest thing that could be right, compared after every step.

use std::collections::BTreeMap;

use super::*;

/// Every state there ever was, by revision.
#[derive(Default)]
struct Model {
    states: BTreeMap<u64, State>,
    events: Vec<Event>,
}

type State = BTreeMap<String, (Bytes, u64, u64)>;

impl Model {
    fn now(&self) -> State {
        self.states.values().next_back().cloned().unwrap_or_default()
    }

    fn at(&self, revision: u64) -> State {
        self.states.range(..=revision).next_back().map(|(_, state)| state.clone()).unwrap_or_default()
    }

    fn put(&mut self, key: &str, value: &Bytes, revision: u64) {
        let mut state = self.now();
        let before = state.get(key).cloned();
        let created = before.as_ref().map_or(revision, |(_, _, created)| *created);
        state.insert(key.to_owned(), (value.clone(), revision, created));
        self.states.insert(revision, state);
        let previous = before.map(|(value, _, _)| value);
        let event =
            Event { revision, key: key.into(), value: Some(value.clone()), previous, deleted_value: None };
        self.events.push(event);
    }

    fn delete(&mut self, key: &str, last: Option<Bytes>, revision: u64) {
        let mut state = self.now();
        let (value, _, _) = state.remove(key).expect("the key is there");
        self.states.insert(revision, state);
        let deleted_value = last.or_else(|| Some(value.clone()));
        let event = Event { revision, key: key.into(), value: None, previous: Some(value), deleted_value };
        self.events.push(event);
    }
}

fn listed(state: &State, prefix: &str, after: Option<&str>, limit: Option<usize>, revision: u64) -> Page {
    let all: Vec<Entry> = state
        .iter()
        .filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after))
        .map(|(key, (value, revision, created))| Entry {
            key: key.as_str().into(),
            value: value.clone(),
            revision: *revision,
            created: *created,
        })
        .collect();
    let entries: Vec<Entry> = all.iter().take(limit.unwrap_or(usize::MAX)).cloned().collect();
    Page { revision, remaining: all.len() - entries.len(), entries }
}

const KEYS: [&str; 7] = ["a/1", "a/2", "a/2/x", "ab/1", "b/1", "b/2", "c"];
const PREFIXES: [&str; 6] = ["", "a/", "a", "b/", "c", "d"];

async fn step(store: &Store, model: &mut Model, random: &mut fastrand::Rng) {
    let key = KEYS[random.usize(..KEYS.len())];
    let before = model.now().get(key).cloned();
    let length = if random.u8(..8) == 0 { 20_000 } else { random.usize(..40) };
    let mut value: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
    if random.bool() {
        // What is alike is kept packed.
        value.extend((0..200_u8).rev());
    }
    let value = Bytes::from(value);
    let change = match random.u8(..10) {
        0 => Change::Keep,
        1 | 2 => Change::Delete { last: None },
        3 => Change::Delete { last: Some(value.clone()) },
        _ => Change::Put(value.clone()),
    };
    let highest = store.revision();
    let committed = store
        .mutate(key, |entry, revision| Ok::<_, Infallible>((change.clone(), (entry.cloned(), revision))))
        .await
        .unwrap();
    let (entry, revision) = committed.outcome;
    assert_eq!(entry.map(|entry| (entry.value, entry.revision, entry.created)), before);
    match change {
        Change::Put(value) => model.put(key, &value, revision),
        Change::Delete { last } if before.is_some() => model.delete(key, last, revision),
        Change::Delete { .. } | Change::Keep => {
            assert_eq!(committed.revision, before.map_or(0, |(_, revision, _)| revision));
            assert_eq!(store.revision(), highest, "nothing was written");
            return;
        }
    }
    assert_eq!(committed.revision, revision);
    assert_eq!(store.revision(), revision);
    assert!(revision > highest);
}

fn compare(store: &Store, model: &Model, random: &mut fastrand::Rng, floor: u64) {
    let prefix = PREFIXES[random.usize(..PREFIXES.len())];
    let after = random.bool().then(|| KEYS[random.usize(..KEYS.len())]);
    let limit = random.bool().then(|| random.usize(..4));
    let now = store.revision();
    assert_eq!(store.list(prefix, after, limit), listed(&model.now(), prefix, after, limit, now));
    for key in KEYS {
        let expected = model.now().get(key).cloned();
        assert_eq!(store.get(key).map(|entry| (entry.value, entry.revision, entry.created)), expected);
    }

    let past = random.u64(floor.saturating_sub(5)..=now);
    let expected_events = model.events.iter().filter(|event| event.revision > past);
    let expected_events: Vec<&Event> =
        expected_events.filter(|event| event.key.starts_with(prefix)).collect();
    match (store.list_at(past, prefix, after, limit), store.watch(prefix, past)) {
        (Ok(page), Ok(mut watch)) => {
            assert!(past >= floor);
            assert_eq!(page, listed(&model.at(past), prefix, after, limit, past));
            let events: Vec<Event> = std::iter::from_fn(|| watch.try_next()).collect();
            assert_eq!(events.iter().collect::<Vec<_>>(), expected_events);
            assert_eq!(watch.progress(), now);
        }
        (Err(list), Err(watch)) => {
            assert_eq!(list, watch);
            assert_eq!(list, WatchError::Compacted { floor });
            assert!(past < floor);
        }
        (list, watch) => panic!("list and watch disagree at {past}: {list:?}, {watch:?}"),
    }
}

/// Returns the revision from which on the past is there when the last `kept` events are.
fn floor(model: &Model, kept: usize, restarted_at: u64) -> u64 {
    let dropped = model.events.len().saturating_sub(kept);
    let by_count = if dropped == 0 { 1 } else { model.events[dropped - 1].revision };
    by_count.max(restarted_at)
}

#[tokio::test]
async fn a_store_in_memory_does_what_the_model_does() {
    for seed in 0..20 {
        let random = &mut fastrand::Rng::with_seed(seed);
        let options = Options { history_events: 15, ..Options::default() };
        let store = Store::memory_with(&options);
        let mut model = Model::default();
        for _ in 0..200 {
            step(&store, &mut model, random).await;
            compare(&store, &model, random, floor(&model, 15, 1));
        }
    }
}

#[tokio::test]
async fn a_store_on_disk_does_what_the_model_does_through_restarts_and_crashes() {
    for seed in 0..4 {
        let random = &mut fastrand::Rng::with_seed(seed);
        let options = Options { history_events: 25, ..Options::default() };
        let place = Place::new();
        let mut store = place.open_with(options.clone());
        let mut model = Model::default();
        let mut restarted_at = 1;
        for _ in 0..300 {
            match random.u8(..60) {
                0 => {
                    let before = store.revision();
                    drop(store);
                    store = place.open_with(options.clone());
                    assert_eq!(store.revision(), before, "a clean restart changes nothing");
                }
                1 => {
                    let before = store.revision();
                    crash(store);
                    store = place.open_with(options.clone());
                    restarted_at = store.revision();
                    assert!(restarted_at > before + 100_000, "no revision may come twice");
                }
                _ => step(&store, &mut model, random).await,
            }
            compare(&store, &model, random, floor(&model, 25, restarted_at));
        }
    }
}
