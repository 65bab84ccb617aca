//! The users table: all SQL about users.

use secrecy::SecretString;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};
use tracing::instrument;

use crate::account::{Email, Username, key_of};
use crate::database::Database;
use crate::error::Error;

/// A user, as clients see one.
#[derive(Clone, Debug)]
pub struct User {
    /// The integer primary key.
    pub id: i64,
    /// The name as it was registered. Other programs may have left it out.
    pub username: Option<String>,
    /// The e-mail address as it was registered. Other programs may have left it out.
    pub email: Option<String>,
    /// Whether the user is kept from logging in.
    pub disabled: bool,
}

/// Who may be meant by a name at log-in, and what every check of a password has to cost.
#[derive(Debug)]
pub struct Candidate {
    /// The user with the hash of the password, if there is one. Other programs may have left the hash out.
    pub user: Option<(User, Option<SecretString>)>,
    /// The highest cost of a stored hash.
    pub highest_cost: Option<u32>,
}

/// The users in the database.
#[derive(Clone)]
pub struct Users {
    database: Database,
}

impl Users {
    /// The users in this database.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// Adds a user, under an id that nobody ever had.
    ///
    /// Fails with [`Error::UsernameTaken`] or [`Error::EmailTaken`] if another one has the name, without regard to case.
    #[instrument(name = "users.add", skip_all, fields(otel.kind = "client", db.system.name = "sqlite", db.operation.name = "INSERT"))]
    pub async fn add(
        &self,
        username: &Username,
        email: &Email,
        hashed_password: &str,
    ) -> Result<User, Error> {
        let doing = "adding a user";
        // Committed by itself: the end of a statement that returns a row is not looked at, and there a full disk is told.
        let mut transaction = self
            .database
            .writer
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(Error::database(doing))?;
        let user = sqlx::query_as(
            "INSERT INTO users (id, username, email, hashed_password, username_key, email_key)
             SELECT 1 + max(highest, (SELECT ifnull(max(id), 0) FROM users)), ?, ?, ?, ?, ? FROM user_ids
             RETURNING id, username, email, disabled",
        )
        .bind(username.as_str())
        .bind(email.as_str())
        .bind(hashed_password)
        .bind(key_of(username.as_str()))
        .bind(key_of(email.as_str()))
        .fetch_one(&mut *transaction)
        .await
        .map_err(|error| match taken(&error) {
            Some(column) if column.contains("users.username") => Error::UsernameTaken,
            Some(_) => Error::EmailTaken,
            None => Error::database(doing)(error),
        })?;
        let committed = transaction.commit().await;
        committed.map_err(Error::database(doing))?;
        Ok(user)
    }

    /// Fails as [`add`](Self::add) would, before the work of a hash. Another request can still be faster.
    #[instrument(name = "users.check_free", skip_all, fields(otel.kind = "client", db.system.name = "sqlite", db.operation.name = "SELECT"))]
    pub async fn check_free(&self, username: &Username, email: &Email) -> Result<(), Error> {
        let (username_taken, email_taken): (bool, bool) = sqlx::query_as(
            "SELECT EXISTS (SELECT 1 FROM users WHERE username = ?1 OR username_key = ?2),
                    EXISTS (SELECT 1 FROM users WHERE email = ?3 OR email_key = ?4)",
        )
        .bind(username.as_str())
        .bind(key_of(username.as_str()))
        .bind(email.as_str())
        .bind(key_of(email.as_str()))
        .fetch_one(&self.database.readers)
        .await
        .map_err(Error::database("looking for a name"))?;
        match (username_taken, email_taken) {
            (true, _) => Err(Error::UsernameTaken),
            (_, true) => Err(Error::EmailTaken),
            (false, false) => Ok(()),
        }
    }

    /// The user with this id.
    #[instrument(name = "users.by_id", skip_all, fields(otel.kind = "client", db.system.name = "sqlite", db.operation.name = "SELECT"))]
    pub async fn by_id(&self, id: i64) -> Result<Option<User>, Error> {
        sqlx::query_as(
            "SELECT id, username, email, disabled
             FROM users WHERE id = ?",
        )
        .bind(id)
        .fetch_optional(&self.database.readers)
        .await
        .map_err(Error::database("reading a user by id"))
    }

    /// The user who logs in by this name: the exact user name first, then in lower case, then the e-mail the same way.
    #[instrument(name = "users.by_login", skip_all, fields(otel.kind = "client", db.system.name = "sqlite", db.operation.name = "SELECT"))]
    pub async fn by_login(&self, name: &str) -> Result<Candidate, Error> {
        let row: Option<WithHash> = sqlx::query_as(
            "SELECT id, username, email, disabled, hashed_password
             FROM users WHERE username = ?1 OR username_key = ?2 OR email = ?1 OR email_key = ?2
             ORDER BY username IS ?1 DESC, username_key IS ?2 DESC, email IS ?1 DESC, id LIMIT 1",
        )
        .bind(name)
        .bind(key_of(name))
        .fetch_optional(&self.database.readers)
        .await
        .map_err(Error::database("reading a user by name"))?;
        // The index users_hash_cost has this very condition.
        let highest_cost: Option<String> = sqlx::query_scalar(
            "SELECT max(substr(hashed_password, 5, 2)) FROM users
             WHERE length(hashed_password) = 60 AND hashed_password GLOB '$2[abxy]$[0-3][0-9]$*'
               AND substr(hashed_password, 8) NOT GLOB '*[^./A-Za-z0-9]*' AND substr(hashed_password, 5, 2) BETWEEN '04' AND '31'",
        )
        .fetch_one(&self.database.readers)
        .await
        .map_err(Error::database("reading the highest cost"))?;
        Ok(Candidate {
            user: row.map(|row| (row.user, row.hashed_password.map(SecretString::from))),
            highest_cost: highest_cost.and_then(|cost| cost.parse().ok()),
        })
    }

    /// Whether a user is still there with this very hash, and enabled.
    #[instrument(name = "users.still_may_log_in", skip_all, fields(otel.kind = "client", db.system.name = "sqlite", db.operation.name = "SELECT"))]
    pub async fn still_may_log_in(&self, id: i64, hashed_password: &str) -> Result<bool, Error> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM users WHERE id = ? AND hashed_password = ? AND NOT disabled)",
        )
        .bind(id)
        .bind(hashed_password)
        .fetch_one(&self.database.readers)
        .await
        .map_err(Error::database("reading a user again"))
    }

    /// All users, by id.
    pub async fn all(&self) -> Result<Vec<User>, Error> {
        sqlx::query_as(
            "SELECT id, username, email, disabled
             FROM users ORDER BY id",
        )
        .fetch_all(&self.database.readers)
        .await
        .map_err(Error::database("listing the users"))
    }

    /// Stores another hash, unless the stored one has changed meanwhile from `expected`.
    #[instrument(name = "users.replace_hash", skip_all, fields(otel.kind = "client", db.system.name = "sqlite", db.operation.name = "UPDATE"))]
    pub async fn replace_hash(
        &self,
        id: i64,
        expected: &str,
        hashed_password: &str,
    ) -> Result<(), Error> {
        sqlx::query("UPDATE users SET hashed_password = ? WHERE id = ? AND hashed_password = ?")
            .bind(hashed_password)
            .bind(id)
            .bind(expected)
            .execute(&self.database.writer)
            .await
            .map_err(Error::database("storing a hash at today's cost"))?;
        Ok(())
    }

    /// Gives a user another password.
    pub async fn set_hash(&self, id: i64, hashed_password: &str) -> Result<(), Error> {
        sqlx::query("UPDATE users SET hashed_password = ? WHERE id = ?")
            .bind(hashed_password)
            .bind(id)
            .execute(&self.database.writer)
            .await
            .map_err(Error::database("storing a password"))?;
        Ok(())
    }

    /// Keeps a user from logging in, or lets the user log in again.
    pub async fn set_disabled(&self, id: i64, disabled: bool) -> Result<(), Error> {
        sqlx::query("UPDATE users SET disabled = ? WHERE id = ?")
            .bind(disabled)
            .bind(id)
            .execute(&self.database.writer)
            .await
            .map_err(Error::database("changing a user"))?;
        Ok(())
    }

    /// Deletes a user. The id is never given again.
    pub async fn delete(&self, id: i64) -> Result<(), Error> {
        sqlx::query("DELETE FROM users WHERE id = ?")
            .bind(id)
            .execute(&self.database.writer)
            .await
            .map_err(Error::database("deleting a user"))?;
        Ok(())
    }
}

// By hand, since sqlx's macros build SQLite a second time, for the compiler.
impl FromRow<'_, SqliteRow> for User {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            username: row.try_get("username")?,
            email: row.try_get("email")?,
            disabled: row.try_get("disabled")?,
        })
    }
}

struct WithHash {
    user: User,
    hashed_password: Option<String>,
}

impl FromRow<'_, SqliteRow> for WithHash {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            user: User::from_row(row)?,
            hashed_password: row.try_get("hashed_password")?,
        })
    }
}

/// What SQLite says of the index that already has the value.
fn taken(error: &sqlx::Error) -> Option<&str> {
    let error = error.as_database_error()?;
    error.is_unique_violation().then(|| error.message())
}
