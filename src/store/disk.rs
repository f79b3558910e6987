//! The file behind a store.
//!
//! One table holds the log: a row for each change, whose row id is the revision. What is live is the newest row
//! of each key, so there is no second table that could contradict it. A row that was superseded stays as long as
//! watchers may ask for it, except under a secret prefix, where it is overwritten at once.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use crate::store::published::{Beginning, Past};
use crate::store::writes::{Write, Written};
use crate::store::{Entry, OpenError, Options, StoreError};

/// Marks a file as ours: "KELO".
const APPLICATION_ID: i32 = 0x4B45_4C4F;

/// Step `n` leads from schema version `n` to `n + 1`. Steps are only ever added.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE log (
        revision INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        value BLOB,                 -- of a deletion: the last value, absent when it was a secret
        deleted INTEGER NOT NULL,
        created INTEGER NOT NULL,   -- the revision that created the key
        previous INTEGER NOT NULL   -- the revision that this one supersedes, 0 for a creation
    ) STRICT;
    CREATE TABLE state (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        revision INTEGER NOT NULL,  -- the highest one that may have been seen outside
        floor INTEGER NOT NULL,     -- the log is complete above this revision
        clean INTEGER NOT NULL      -- whether the last owner closed the file
    ) STRICT;
    INSERT INTO state VALUES (1, 1, 1, 1);
"];

/// How far the revision jumps when the last owner did not close the file: further than the writes that a disk
/// which acknowledged them too early can have lost.
const RESTART_STEP: u64 = 1_000_000;

/// No store that worked gets here; it leaves room for many restarts below what a row id can hold.
const LARGEST_REVISION: u64 = 1 << 62;

/// How long another process may hold the file until that is a refusal, and how often it is looked at.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// How many superseded rows one commit removes at most, beside those that it adds.
const COMPACTION_STEP: usize = 1_024;

/// The open file; owned by the writer thread.
#[derive(Debug)]
pub(super) struct Disk {
    connection: Connection,
    path: PathBuf,
    secret_prefixes: Vec<String>,
    /// Rows that are in the file only for the sake of the past, oldest first.
    superseded: VecDeque<Superseded>,
    /// A secret was removed from the table, but the write-ahead log may still hold it.
    scrub: bool,
    // Held as long as the file is open; the system releases it however this process ends.
    _lock: File,
}

#[derive(Debug, Clone, Copy)]
struct Superseded {
    /// When the history no longer reaches back to this revision, nobody needs the row.
    at: u64,
    row: u64,
}

impl Disk {
    /// Opens or creates the file at `path`, takes it for this process, and reads what it holds.
    pub(super) fn open(path: &Path, options: &Options) -> Result<(Self, Beginning), OpenError> {
        let lock = prepare(path)?;
        let database = |attempted| {
            let path = path.to_owned();
            move |source: rusqlite::Error| match source.sqlite_error_code() {
                Some(ErrorCode::NotADatabase) => OpenError::Foreign { path },
                Some(ErrorCode::DatabaseCorrupt) => OpenError::Damaged { path, detail: source.to_string() },
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Locked { path },
                Some(ErrorCode::DiskFull) => OpenError::Full { path },
                _ => OpenError::Database { attempted, path, source },
            }
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(database("open"))?;
        // Exclusive: no other program can write beside us, and no shared memory file is needed.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(database("lock"))?;
        let version = version(&connection, path, MIGRATIONS.len()).map_err(database("read"))??;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(database("configure"))?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(database("configure"))?;
        let secure = !options.secret_prefixes.is_empty();
        connection.pragma_update(None, "secure_delete", secure).map_err(database("configure"))?;
        migrate(&mut connection, version, MIGRATIONS).map_err(database("migrate"))?;

        let mut disk = Self {
            connection,
            path: path.to_owned(),
            secret_prefixes: options.secret_prefixes.clone(),
            superseded: VecDeque::new(),
            // Also moves the note that the file is in use out of the log, so that a log that loses its content loses
            // no more than what was written since.
            scrub: true,
            _lock: lock,
        };
        let (mut beginning, clean) = disk.load().map_err(database("read"))??;
        let reserve = Reserve::of(path);
        match disk.begin(&mut beginning, clean) {
            Ok(()) => {
                disk.scrub();
                reserve.fill();
            }
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) && reserve.release() => {
                tracing::warn!(path = %path.display(), "The disk is full; the store goes on with what it had in reserve");
                disk.begin(&mut beginning, clean).map_err(database("write to"))?;
                disk.scrub();
            }
            Err(error) => return Err(database("write to")(error)),
        }
        Ok((disk, beginning))
    }

    /// Makes `writes` durable, all or none, and removes rows that nobody needs above `floor`.
    pub(super) fn commit(&mut self, writes: &[Write], floor: u64) -> Result<(), StoreError> {
        let mut superseded = Vec::new();
        let removable = self.superseded.iter().take_while(|row| row.at <= floor);
        let removed: Vec<u64> =
            removable.take(COMPACTION_STEP + 2 * writes.len()).map(|row| row.row).collect();
        let mut redacted = false;
        let result = write(&mut self.connection, |transaction| {
            for write in writes {
                let secret = is_secret(&self.secret_prefixes, &write.key);
                insert(transaction, write, secret)?;
                let previous = write.previous.as_ref().map(|entry| entry.revision);
                match previous {
                    Some(row) if secret => {
                        remove(transaction, row)?;
                        redacted = true;
                    }
                    Some(row) => superseded.push(Superseded { at: write.revision, row }),
                    None => {}
                }
                if matches!(write.written, Written::Deleted { .. }) {
                    superseded.push(Superseded { at: write.revision, row: write.revision });
                }
            }
            for row in &removed {
                remove(transaction, *row)?;
            }
            let last = writes.last().map_or(0, |write| write.revision);
            transaction
                .prepare_cached("UPDATE state SET revision = max(revision, ?1), floor = max(floor, ?2)")?
                .execute((number(last), number(floor)))?;
            Ok(())
        });
        result.map_err(|source| self.failure(source))?;
        self.superseded.drain(..removed.len());
        self.superseded.extend(superseded);
        self.scrub |= redacted;
        self.scrub();
        Ok(())
    }

    /// Notes that nothing is lost and that the next start may go on where this one ends.
    pub(super) fn finish(mut self) -> Result<(), StoreError> {
        self.scrub();
        let result = write(&mut self.connection, |transaction| {
            transaction.execute("UPDATE state SET clean = 1", ()).map(drop)
        });
        result.map_err(|source| self.failure(source))?;
        let Self { connection, path, .. } = self;
        connection.close().map_err(|(_, source)| StoreError::Write { path, source: Arc::new(source) })
    }

    /// Caps the size of the file, so that a test can fill the disk.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: u32) {
        self.connection.pragma_update(None, "max_page_count", pages).unwrap();
    }

    /// Empties the write-ahead log if it may hold a removed secret. What fails now is tried again later.
    fn scrub(&mut self) {
        if self.scrub {
            let busy = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get(0));
            self.scrub = busy.unwrap_or(1_i64) != 0;
        }
    }

    fn failure(&self, source: rusqlite::Error) -> StoreError {
        let path = self.path.clone();
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::Full { path },
            _ => StoreError::Write { path, source: Arc::new(source) },
        }
    }

    /// Reads the state and the whole log.
    fn load(&mut self) -> rusqlite::Result<Result<(Beginning, bool), OpenError>> {
        let (revision, floor, clean): (u64, u64, bool) =
            self.connection.query_row("SELECT revision, floor, clean FROM state", (), |row| {
                Ok((unsigned(row.get(0)?), unsigned(row.get(1)?), row.get(2)?))
            })?;
        if revision > LARGEST_REVISION {
            let detail = format!("the revision {revision} is impossible");
            return Ok(Err(OpenError::Damaged { path: self.path.clone(), detail }));
        }
        let mut beginning = Beginning { revision, floor, ..Beginning::default() };
        let mut statement = self
            .connection
            .prepare("SELECT revision, key, value, deleted, created, previous FROM log ORDER BY revision")?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            let record = Record {
                revision: unsigned(row.get(0)?),
                key: Arc::from(row.get_ref(1)?.as_str()?),
                value: row.get::<_, Option<Vec<u8>>>(2)?.map(Bytes::from),
                deleted: row.get(3)?,
                created: unsigned(row.get(4)?),
                previous: unsigned(row.get(5)?),
            };
            let secret = is_secret(&self.secret_prefixes, &record.key);
            if let Err(detail) = record.add_to(&mut beginning, &mut self.superseded, secret) {
                return Ok(Err(OpenError::Damaged { path: self.path.clone(), detail }));
            }
        }
        Ok(Ok((beginning, clean)))
    }

    /// Takes note that the file is in use. After an unclean end the revision jumps and the past is dropped. When it
    /// fails, nothing has happened.
    fn begin(&mut self, beginning: &mut Beginning, clean: bool) -> rusqlite::Result<()> {
        let (revision, floor) = if clean {
            (beginning.revision, beginning.floor)
        } else {
            (beginning.revision + RESTART_STEP, beginning.revision + RESTART_STEP)
        };
        let superseded = &self.superseded;
        write(&mut self.connection, |transaction| {
            for superseded in superseded.iter().filter(|_| !clean) {
                remove(transaction, superseded.row)?;
            }
            let state = (number(revision), number(floor));
            transaction.execute("UPDATE state SET revision = ?1, floor = ?2, clean = 0", state).map(drop)
        })?;
        if !clean {
            (beginning.revision, beginning.floor) = (revision, floor);
            beginning.history.clear();
            self.superseded.clear();
        }
        Ok(())
    }
}

/// A file beside the store that takes up room for the day on which the disk is full: a start has to write a little, and
/// only a daemon that has started lets anybody see and delete what there is.
struct Reserve {
    path: PathBuf,
}

/// How many pieces of how many bytes are held in reserve: more than the write-ahead log can ask for when it is moved into
/// the table, what a start writes, and some deletions after it.
const RESERVE: usize = 8;
const RESERVE_PIECE: usize = 1 << 20;

impl Reserve {
    fn of(store: &Path) -> Self {
        let mut path = store.as_os_str().to_owned();
        path.push(".reserve");
        Self { path: PathBuf::from(path) }
    }

    /// Takes the room up, unless it is taken already. Without room there is no reserve.
    fn fill(&self) {
        let size = u64::try_from(RESERVE * RESERVE_PIECE).unwrap_or(u64::MAX);
        if fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() == size) {
            return;
        }
        // File systems that pack what they hold would make nothing of zeros.
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut noise = Vec::with_capacity(RESERVE_PIECE);
        while noise.len() < RESERVE_PIECE {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            noise.extend_from_slice(&state.to_le_bytes());
        }
        let filled = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&self.path)
            .and_then(|mut file| (0..RESERVE).try_for_each(|_| file.write_all(&noise)));
        if let Err(error) = filled {
            tracing::debug!(%error, path = %self.path.display(), "Nothing can be held in reserve");
            self.release();
        }
    }

    /// Gives the room back; `false` when there was none.
    fn release(&self) -> bool {
        fs::remove_file(&self.path).is_ok()
    }
}

/// A row of the log.
struct Record {
    revision: u64,
    key: Arc<str>,
    value: Option<Bytes>,
    deleted: bool,
    created: u64,
    previous: u64,
}

impl Record {
    /// Replays this row; rows come in the order of revisions. Fails with what contradicts what.
    fn add_to(
        self,
        beginning: &mut Beginning,
        superseded: &mut VecDeque<Superseded>,
        secret: bool,
    ) -> Result<(), String> {
        let Self { revision, key, value, deleted, created, previous } = self;
        if revision > beginning.revision {
            let known = beginning.revision;
            return Err(format!("revision {revision} is beyond the last known one, {known}"));
        }
        let write = if deleted {
            Write { revision, key, written: Written::Deleted { last: value }, previous: None }
        } else {
            let value = value.ok_or_else(|| format!("revision {revision} has no value"))?;
            let entry = Entry { key: Arc::clone(&key), value, revision, created };
            Write { revision, key, written: Written::Put(entry), previous: None }
        };
        let before = match &write.written {
            Written::Put(entry) => beginning.entries.insert(entry),
            Written::Deleted { .. } => {
                superseded.push_back(Superseded { at: revision, row: revision });
                beginning.entries.remove(&write.key)
            }
        };
        if let Some(before) = &before {
            superseded.push_back(Superseded { at: revision, row: before.revision });
        }
        let known = before.as_ref().map_or(0, |entry| entry.revision);
        let redacted = matches!(write.written, Written::Deleted { last: None });
        if known != previous || redacted {
            // The event cannot be told again, so the past begins after it.
            let floor = if secret { &mut beginning.secret_floor } else { &mut beginning.floor };
            *floor = revision.max(*floor);
        }
        if revision > beginning.floor {
            let write = Write { previous: before, ..write };
            beginning.history.push(Past { event: write.event(), previous: write.previous });
        } else {
            beginning.history.clear();
            if !secret {
                beginning.entries.pack(&write.key, revision);
            }
        }
        Ok(())
    }
}

/// Makes the folder and the file private, and takes the file for this process.
fn prepare(path: &Path) -> Result<File, OpenError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Prepare { path, source }
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        // A folder that exists is somebody's choice and keeps its mode; the files are private in any case.
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed(folder))?;
    }
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock_path = PathBuf::from(lock_path);
    let private = |path: &Path| {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.set_permissions(Permissions::from_mode(0o600)).map(|()| file)
    };
    let lock = private(&lock_path).map_err(failed(&lock_path))?;
    match take(&lock) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => return Err(failed(&lock_path)(source)),
    }
    // SQLite gives its own files the mode of the database.
    private(path).map_err(failed(path))?;
    Ok(lock)
}

/// Takes the lock, for which a dead owner may have to be waited: what it was about to start when it was killed holds
/// the lock with it, until the program of that child begins.
fn take(lock: &File) -> Result<(), TryLockError> {
    let begun = Instant::now();
    loop {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_PATIENCE => thread::sleep(LOCK_PAUSE),
            taken => return taken,
        }
    }
}

/// Returns the schema version of the file, if it is ours and this program knows it.
fn version(connection: &Connection, path: &Path, known: usize) -> rusqlite::Result<Result<usize, OpenError>> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    let path = path.to_owned();
    if application == 0 && version == 0 && tables == 0 {
        return Ok(Ok(0));
    }
    if application != i64::from(APPLICATION_ID) {
        return Ok(Err(OpenError::Foreign { path }));
    }
    match usize::try_from(version) {
        Ok(version) if version <= known => Ok(Ok(version)),
        _ => {
            let found = u32::try_from(version).unwrap_or(u32::MAX);
            let known = u32::try_from(known).unwrap_or(u32::MAX);
            Ok(Err(OpenError::Newer { path, found, known }))
        }
    }
}

/// Brings the schema from `version` to the newest one, completely or not at all.
fn migrate(connection: &mut Connection, version: usize, migrations: &[&str]) -> rusqlite::Result<()> {
    if version == migrations.len() {
        return Ok(());
    }
    write(connection, |transaction| {
        for step in migrations.iter().skip(version) {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", i64::try_from(migrations.len()).unwrap_or(i64::MAX))
    })
}

/// Runs `steps` in one transaction that is rolled back when any of them fails.
fn write(
    connection: &mut Connection,
    steps: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    steps(&transaction)?;
    transaction.commit()
}

fn insert(transaction: &Transaction<'_>, write: &Write, secret: bool) -> rusqlite::Result<()> {
    let previous = write.previous.as_ref();
    let (value, deleted, created) = match &write.written {
        Written::Put(entry) => (Some(&entry.value), false, entry.created),
        Written::Deleted { last } => {
            let last = last.as_ref().or(previous.map(|entry| &entry.value)).filter(|_| !secret);
            (last, true, previous.map_or(0, |entry| entry.created))
        }
    };
    transaction.prepare_cached("INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute((
        number(write.revision),
        &*write.key,
        value.map(|value| &value[..]),
        deleted,
        number(created),
        number(previous.map_or(0, |entry| entry.revision)),
    ))?;
    Ok(())
}

fn remove(transaction: &Transaction<'_>, row: u64) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM log WHERE revision = ?1")?.execute((number(row),)).map(drop)
}

pub(super) fn is_secret(prefixes: &[String], key: &str) -> bool {
    prefixes.iter().any(|prefix| key.starts_with(prefix.as_str()))
}

fn number(revision: u64) -> i64 {
    i64::try_from(revision).expect("because revisions grow by one, or by the restart step, from 1")
}

/// Reads a revision; a negative one, which only damage can produce, becomes one that no check accepts.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> (tempfile::TempDir, PathBuf, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let connection = Connection::open(&path).unwrap();
        (folder, path, connection)
    }

    #[test]
    fn a_migration_happens_completely_or_not_at_all() {
        let (_folder, path, mut connection) = file();
        let first = "CREATE TABLE one (number INTEGER)";
        migrate(&mut connection, 0, &[first]).unwrap();
        assert!(matches!(version(&connection, &path, 1), Ok(Ok(1))));

        migrate(&mut connection, 1, &[first, "CREATE TABLE two (number INTEGER)", "nonsense"]).unwrap_err();
        assert!(matches!(version(&connection, &path, 3), Ok(Ok(1))), "the version is unchanged");
        connection.execute("SELECT * FROM two", ()).expect_err("the step before the fault is undone");

        migrate(
            &mut connection,
            1,
            &[first, "CREATE TABLE two (number INTEGER)", "INSERT INTO two VALUES (7)"],
        )
        .unwrap();
        let number: i64 = connection.query_row("SELECT number FROM two", (), |row| row.get(0)).unwrap();
        assert_eq!(number, 7);
        let newer = version(&connection, &path, 2).unwrap();
        assert!(matches!(newer, Err(OpenError::Newer { found: 3, known: 2, .. })), "{newer:?}");
    }

    #[test]
    fn the_database_of_somebody_else_is_refused_and_left_alone() {
        let (_folder, path, connection) = file();
        connection.execute_batch("CREATE TABLE theirs (number INTEGER)").unwrap();
        drop(connection);
        let before = std::fs::read(&path).unwrap();
        let refusal = Disk::open(&path, &Options::default()).map(drop).unwrap_err();
        assert!(matches!(refusal, OpenError::Foreign { .. }), "{refusal:?}");
        assert_eq!(std::fs::read(&path).unwrap(), before);

        std::fs::write(&path, "This is a text, and a long one at that. ".repeat(200)).unwrap();
        let refusal = Disk::open(&path, &Options::default()).map(drop).unwrap_err();
        assert!(matches!(refusal, OpenError::Foreign { .. }), "{refusal:?}");
    }
}
