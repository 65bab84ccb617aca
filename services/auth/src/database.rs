//! The SQLite file: how it is opened, brought up to date and kept for one server.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use sqlx::error::DatabaseError;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, SqlSafeStr};
use tokio::time::timeout;
use tracing::warn;

use crate::account::key_of;
use crate::config::DatabaseUrl;
use crate::ownership;

mod integrity;

pub use self::integrity::check_integrity;

/// How long a statement waits for another process (a `user add`, say) that writes.
const BUSY_LIMIT: Duration = Duration::from_secs(5);
/// How long a request waits for a connection.
const POOL_LIMIT: Duration = Duration::from_secs(10);
/// How long the readiness probe waits.
const READY_LIMIT: Duration = Duration::from_secs(2);
const READERS: u32 = 4;

/// The file, opened: one connection that writes, several that read.
#[derive(Clone)]
pub struct Database {
    pub(crate) writer: SqlitePool,
    pub(crate) readers: SqlitePool,
}

impl Database {
    /// Opens the file, or makes it, and brings its schema up to date. Other processes may have it open too.
    pub async fn open(url: &DatabaseUrl) -> anyhow::Result<Self> {
        let path = &url.path;
        let shown = path.display();
        if url.create {
            make_private(path).map_err(|error| cannot_be_made(path, &error))?;
        }
        let options = options(path)
            .journal_mode(SqliteJournalMode::Wal)
            // An answered registration survives a power cut, not only a crash.
            .synchronous(SqliteSynchronous::Full);
        // A connection is tested when it comes back to its pool, and no network can end it meanwhile: another test before its next use would
        // be a round trip to its thread for each statement.
        //
        // SQLite has one writer at a time: waiting for our own connection is fair, waiting for the file's lock is not.
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(POOL_LIMIT)
            .test_before_acquire(false)
            .after_release(|connection, _| Box::pin(is_usable(connection)))
            .connect_with(options.clone())
            .await
            .map_err(|error| cannot_be_opened(path, &error))?;
        bring_up_to_date(&writer)
            .await
            .with_context(|| format!("the schema of {shown} cannot be brought up to date"))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(POOL_LIMIT)
            .test_before_acquire(false)
            .connect_with(options.read_only(true))
            .await
            .with_context(|| format!("the database {shown} cannot be opened for reading"))?;
        Ok(Self { writer, readers })
    }

    /// Whether the database answers, within 2 s.
    pub async fn answers(&self) -> Result<(), String> {
        let query = sqlx::query("SELECT id FROM users LIMIT 1").fetch_optional(&self.readers);
        match timeout(READY_LIMIT, query).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                warn!(%error, "not ready: the database does not answer; are its file and its folder there, and the disk not full?");
                Err("it does not answer.".to_owned())
            }
            Err(_) => {
                let limit_seconds = READY_LIMIT.as_secs();
                warn!(
                    limit_seconds,
                    "not ready: the database did not answer in time"
                );
                Err(format!("it did not answer within {limit_seconds} s."))
            }
        }
    }

    /// Writes out what is pending and closes the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Whether a connection can be used again, or has to make place for a new one.
///
/// A full disk makes SQLite roll a transaction back by itself. sqlx does not hear of that: it goes on counting the transaction,
/// and refuses to begin any other on this connection.
async fn is_usable(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    // After the rollback that may still be on its way to the connection's thread.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

/// One connection to a file that is there, as it is: for copying and checking.
pub async fn connect(path: &Path) -> anyhow::Result<SqliteConnection> {
    let shown = path.display();
    anyhow::ensure!(path.exists(), "there is no database {shown}");
    options(path)
        .connect()
        .await
        .with_context(|| format!("the database {shown} cannot be opened"))
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_LIMIT)
        // Not in a temporary file: a container has no folder for those, and the migration of many users needs one.
        .pragma("temp_store", "memory")
}

/// SQLite's primary result code (<https://sqlite.org/rescode.html>), which is the lowest byte of what sqlx gives; 0 if the error
/// is none of SQLite's.
pub fn primary_code(error: &sqlx::Error) -> u32 {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.and_then(|code| code.parse::<u32>().ok())
        .unwrap_or_default()
        & 0xff
}

/// In one transaction, begun as a writer: two processes that start at once do it one after the other.
async fn bring_up_to_date(writer: &SqlitePool) -> anyhow::Result<()> {
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    migrate(&mut transaction).await?;
    transaction.commit().await?;
    Ok(())
}

/// Brings a schema up to date and fills the keys of rows that other programs inserted.
pub async fn migrate(connection: &mut SqliteConnection) -> anyhow::Result<()> {
    migrations().run(&mut *connection).await?;
    fill_keys(connection).await
}

/// Rows of the old backend have no keys. Of two that differ only in case, the one with the lowest id gets the key.
async fn fill_keys(connection: &mut SqliteConnection) -> anyhow::Result<()> {
    let rows: Vec<(i64, Option<String>, Option<String>)> = sqlx::query_as(
        "SELECT id, username, email FROM users WHERE username_key IS NULL OR email_key IS NULL ORDER BY id",
    )
    .fetch_all(&mut *connection)
    .await?;
    for (id, username, email) in rows {
        sqlx::query(
            "UPDATE OR IGNORE users SET username_key = ? WHERE id = ? AND username_key IS NULL",
        )
        .bind(username.as_deref().map(key_of))
        .bind(id)
        .execute(&mut *connection)
        .await?;
        sqlx::query("UPDATE OR IGNORE users SET email_key = ? WHERE id = ? AND email_key IS NULL")
            .bind(email.as_deref().map(key_of))
            .bind(id)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// The steps of the schema, in order. Listed here and not by `sqlx::migrate!`, since sqlx's macros build SQLite a second
/// time, for the compiler.
const MIGRATIONS: [(&str, &str); 3] = [
    ("users", include_str!("../migrations/0001_users.sql")),
    (
        "ids and states",
        include_str!("../migrations/0002_ids_and_states.sql"),
    ),
    (
        "hash cost",
        include_str!("../migrations/0003_hash_cost.sql"),
    ),
];

fn migrations() -> Migrator {
    let steps = MIGRATIONS
        .into_iter()
        .zip(1..)
        .map(|((name, sql), version)| {
            let sql = sql.into_sql_str();
            Migration::new(version, name.into(), MigrationType::Simple, sql, false)
        });
    let mut migrator = Migrator::with_migrations(steps.collect());
    // A newer release only added to the schema: going back to this one works.
    migrator.set_ignore_missing(true);
    migrator
}

/// Makes an empty file for its owner alone, if there is none: it is going to hold the hashes of passwords. SQLite gives
/// the files it makes beside it the same mode.
fn make_private(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    options.open(path).map(drop)
}

/// The right to serve a database. It ends with the process, however that ends.
#[derive(Debug)]
pub struct ServeLock {
    _file: File,
}

impl ServeLock {
    /// Takes the right.
    ///
    /// Fails with a sentence if another process has it. The lock is on a file beside the database: closing a second handle
    /// of the database itself would let go of SQLite's own locks.
    pub fn take(url: &DatabaseUrl) -> anyhow::Result<Self> {
        let shown = url.path.display();
        let file = lock_file(url, ".lock")?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => anyhow::bail!(
                "the database {shown} is served by another process: stop that one first, or set DATABASE_URL to another file"
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("the database {shown} cannot be locked"))
            }
        }
    }
}

/// The right to change a database beside its server. Commands share it; `restore`, which puts another file in its place, has it
/// alone: what a command writes meanwhile would be lost.
#[derive(Debug)]
pub struct UseLock {
    _file: File,
}

impl UseLock {
    /// Shares the right with other commands; waits for a `restore` that has it.
    pub fn share(url: &DatabaseUrl) -> anyhow::Result<Self> {
        let file = lock_file(url, ".use.lock")?;
        file.lock_shared().context("locking the database")?;
        Ok(Self { _file: file })
    }

    /// Takes the right alone.
    ///
    /// Fails with a sentence if a command has it.
    pub fn take(url: &DatabaseUrl) -> anyhow::Result<Self> {
        let file = lock_file(url, ".use.lock")?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => anyhow::bail!(
                "another command changes the database {}: wait for it",
                url.path.display()
            ),
            Err(TryLockError::Error(error)) => Err(error).context("locking the database"),
        }
    }
}

/// A file beside the database, which is made if there is none.
fn lock_file(url: &DatabaseUrl, suffix: &str) -> anyhow::Result<File> {
    if url.create {
        make_private(&url.path).map_err(|error| cannot_be_made(&url.path, &error))?;
    }
    // Two names of one file have one lock.
    let path = url.path.canonicalize().map_err(|error| {
        anyhow::anyhow!(
            "the database {} cannot be opened ({error}): set DATABASE_URL to the file that is meant",
            url.path.display()
        )
    })?;
    let path = beside(&path, suffix);
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    options.open(&path).map_err(|error| {
        let advice = of_permissions(&url.path, &error).unwrap_or_else(|| {
            "let the user that the service runs as write in that folder".to_owned()
        });
        anyhow::anyhow!(
            "the lock {} beside the database cannot be made ({error}): {advice}",
            path.display()
        )
    })
}

/// A sentence for the person who started the program.
fn cannot_be_made(path: &Path, error: &io::Error) -> anyhow::Error {
    let shown = path.display();
    let by_kind = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "let the user that the service runs as write to it and to its folder, or set DATABASE_URL to another file"
        }
        io::ErrorKind::IsADirectory => "set DATABASE_URL to a file in it",
        _ => "set DATABASE_URL to a file in a folder that can be written",
    };
    let advice = of_permissions(path, error).unwrap_or_else(|| by_kind.to_owned());
    anyhow::anyhow!("the database {shown} cannot be made or opened for writing ({error}): {advice}")
}

/// What to do, if the reason is whose the file is.
fn of_permissions(path: &Path, error: &io::Error) -> Option<String> {
    let is_refused = error.kind() == io::ErrorKind::PermissionDenied;
    is_refused.then(|| ownership::remedy(path)).flatten()
}

/// A sentence for the person who started the program.
fn cannot_be_opened(path: &Path, error: &sqlx::Error) -> anyhow::Error {
    let shown = path.display();
    let of_sqlite = error.as_database_error();
    // SQLite's codes for a damaged file and for one that never was its own (https://sqlite.org/rescode.html).
    let is_unusable = of_sqlite
        .and_then(DatabaseError::code)
        .is_some_and(|code| ["11", "26"].contains(&code.as_ref()));
    // The library repeats itself otherwise.
    let why = of_sqlite.map_or_else(|| error.to_string(), |error| error.message().to_owned());
    let advice = if is_unusable {
        "set DATABASE_URL to the right file, or bring a backup back with: auth-service restore FILE"
    } else {
        "look at the file, its folder and the space on the disk"
    };
    anyhow::anyhow!("the database {shown} cannot be opened ({why}): {advice}")
}

/// `auth.db` and `.lock` become `auth.db.lock`.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use sqlx::Row;
    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn a_commit_is_on_the_disk_and_who_waits_for_another_process_waits_for_seconds() {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite:///{}/auth.db", folder.path().display());
        let database = Database::open(&url.parse().unwrap()).await.unwrap();
        let mut writer = database.writer.acquire().await.unwrap();

        assert_eq!(pragma(&mut writer, "PRAGMA journal_mode").await, "wal");
        // FULL.
        assert_eq!(pragma(&mut writer, "PRAGMA synchronous").await, "2");
        assert_eq!(pragma(&mut writer, "PRAGMA busy_timeout").await, "5000");
        let mut reader = database.readers.acquire().await.unwrap();
        assert_eq!(pragma(&mut reader, "PRAGMA busy_timeout").await, "5000");
        // MEMORY.
        assert_eq!(pragma(&mut writer, "PRAGMA temp_store").await, "2");
        let write = sqlx::query("DELETE FROM users").execute(&mut *reader).await;
        assert!(write.is_err(), "readers only read");
    }

    async fn pragma(connection: &mut SqliteConnection, query: &'static str) -> String {
        let row = sqlx::query(query).fetch_one(connection).await.unwrap();
        let text = row.try_get_unchecked::<String, _>(0);
        text.unwrap()
    }
}
