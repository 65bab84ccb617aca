//! The users table: all SQL of the service.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::account::{Email, Username, key_of};
use crate::config::DatabaseUrl;
use crate::error::Error;

/// How long a statement waits for another process (a backup, say) that holds the file.
const BUSY_LIMIT: Duration = Duration::from_secs(5);
/// How long a request waits for a connection.
const POOL_LIMIT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;

/// A user, as clients see one.
#[derive(Clone, Debug)]
pub struct User {
    /// The integer primary key.
    pub id: i64,
    /// The name as it was registered.
    pub username: String,
    /// The e-mail address as it was registered.
    pub email: String,
}

/// A user with the hash of the password.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user.
    pub user: User,
    /// The bcrypt hash.
    pub hashed_password: SecretString,
}

/// The users in SQLite: one connection that writes, several that read.
#[derive(Clone)]
pub struct Users {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Users {
    /// Opens the file, or makes it, and brings its schema up to date.
    pub async fn open(url: &DatabaseUrl) -> anyhow::Result<Self> {
        let shown = url.path.display();
        if url.create {
            make_private(&url.path)
                .with_context(|| format!("the database {shown} cannot be made"))?;
        }
        let options = SqliteConnectOptions::new()
            .filename(&url.path)
            .journal_mode(SqliteJournalMode::Wal)
            // An answered registration survives a power cut, not only a crash.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_LIMIT);
        // SQLite has one writer at a time: waiting for our own connection is fair, waiting for the file's lock is not.
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(POOL_LIMIT)
            .connect_with(options.clone())
            .await
            .with_context(|| format!("the database {shown} cannot be opened"))?;
        migrations()
            .run(&writer)
            .await
            .with_context(|| format!("the schema of {shown} cannot be brought up to date"))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(POOL_LIMIT)
            .connect_with(options.read_only(true))
            .await
            .with_context(|| format!("the database {shown} cannot be opened for reading"))?;
        Ok(Self { writer, readers })
    }

    /// Adds a user.
    ///
    /// Fails with [`Error::UsernameTaken`] or [`Error::EmailTaken`] if another one has the name, without regard to case.
    pub async fn add(
        &self,
        username: &Username,
        email: &Email,
        hashed_password: &str,
    ) -> Result<User, Error> {
        let inserted: Result<UserRow, _> = sqlx::query_as(
            "INSERT INTO users (username, email, hashed_password, username_key, email_key)
             VALUES (?, ?, ?, ?, ?) RETURNING id, username, email",
        )
        .bind(username.as_str())
        .bind(email.as_str())
        .bind(hashed_password)
        .bind(key_of(username.as_str()))
        .bind(key_of(email.as_str()))
        .fetch_one(&self.writer)
        .await;
        match inserted {
            Ok(row) => Ok(row.into()),
            Err(error) => Err(match taken(&error) {
                Some(column) if column.contains("users.username") => Error::UsernameTaken,
                Some(_) => Error::EmailTaken,
                None => anyhow::Error::new(error).context("adding a user").into(),
            }),
        }
    }

    /// The user with this id.
    pub async fn by_id(&self, id: i64) -> Result<Option<User>, Error> {
        let row: Option<UserRow> =
            sqlx::query_as("SELECT id, username, email FROM users WHERE id = ?")
                .bind(id)
                .fetch_optional(&self.readers)
                .await
                .context("reading a user by id")?;
        Ok(row.map(User::from))
    }

    /// The user who logs in by this name: the exact user name first, then in lower case, then the e-mail the same way.
    pub async fn by_login(&self, name: &str) -> Result<Option<Credentials>, Error> {
        let row: Option<(i64, String, String, String)> = sqlx::query_as(
            "SELECT id, username, email, hashed_password FROM users
             WHERE username = ?1 OR username_key = ?2 OR email = ?1 OR email_key = ?2
             ORDER BY username = ?1 DESC, username_key IS ?2 DESC, email = ?1 DESC, id LIMIT 1",
        )
        .bind(name)
        .bind(key_of(name))
        .fetch_optional(&self.readers)
        .await
        .context("reading a user by name")?;
        Ok(
            row.map(|(id, username, email, hashed_password)| Credentials {
                user: (id, username, email).into(),
                hashed_password: SecretString::from(hashed_password),
            }),
        )
    }

    /// Writes out what is pending and closes the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

impl Credentials {
    /// The hash, for the check alone.
    pub fn hash(&self) -> String {
        self.hashed_password.expose_secret().to_owned()
    }
}

/// Id, user name and e-mail address, as the table has them.
type UserRow = (i64, String, String);

impl From<UserRow> for User {
    fn from((id, username, email): UserRow) -> Self {
        Self {
            id,
            username,
            email,
        }
    }
}

/// The steps of the schema, in order. Listed here and not by `sqlx::migrate!`, since sqlx's macros build SQLite a second
/// time, for the compiler.
fn migrations() -> Migrator {
    let users = Migration::new(
        1,
        "users".into(),
        MigrationType::Simple,
        include_str!("../migrations/0001_users.sql").into_sql_str(),
        false,
    );
    Migrator::with_migrations(vec![users])
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

/// What SQLite says of the index that already has the value.
fn taken(error: &sqlx::Error) -> Option<&str> {
    let error = error.as_database_error()?;
    error.is_unique_violation().then(|| error.message())
}
