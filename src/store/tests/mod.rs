//! Tests of the store as a whole, each on a store in memory, on disk, or both.

mod durability;
mod model;
mod watching;

use std::convert::Infallible;
use std::sync::atomic::Ordering;

use super::*;

/// Writes `value` to `key` and returns the revision.
async fn put(store: &Store, key: &str, value: &str) -> u64 {
    try_put(store, key, value).await.expect("the write is stored")
}

async fn try_put(store: &Store, key: &str, value: &str) -> Result<u64, StoreError> {
    let value = Bytes::copy_from_slice(value.as_bytes());
    apply(store, key, Change::Put(value)).await
}

async fn delete(store: &Store, key: &str) -> u64 {
    apply(store, key, Change::Delete { last: None }).await.expect("the deletion is stored")
}

async fn apply(store: &Store, key: &str, change: Change) -> Result<u64, StoreError> {
    match store.mutate(key, |_, _| Ok::<_, Infallible>((change, ()))).await {
        Ok(committed) => Ok(committed.revision),
        Err(MutateError::Refused(never)) => match never {},
        Err(MutateError::Storage(error)) => Err(error),
    }
}

fn text(store: &Store, key: &str) -> Option<String> {
    store.get(key).map(|entry| String::from_utf8_lossy(&entry.value).into_owned())
}

/// A folder with one store in it.
struct Place {
    _folder: tempfile::TempDir,
    path: std::path::PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data").join("store.db");
        Self { _folder: folder, path }
    }

    fn open(&self) -> Store {
        self.open_with(Options::default())
    }

    fn open_with(&self, options: Options) -> Store {
        Store::open(&self.path, options).unwrap()
    }
}

/// Ends `store` as a killed process would: what is durable stays, nothing is closed properly.
fn crash(store: Store) {
    store.owner.inner.crash.store(true, Ordering::Release);
    drop(store);
}

/// Caps the size of the file; the cap holds from the next commit on.
fn limit_pages(store: &Store, pages: u32) {
    store.owner.inner.page_limit.store(pages, Ordering::Release);
}

const UNLIMITED: u32 = 1 << 30;
