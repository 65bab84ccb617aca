//! Whether a file is a whole database of users.

use anyhow::Context;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::{MIGRATIONS, primary_code};

/// SQLite's code for a statement that does not fit the schema: there is no such index, or it is for other rows.
const SQLITE_ERROR: u32 = 1;
/// Our indexes that are for some rows, and for which, also as earlier migrations made them. Never what a file says of its own: its
/// schema may have anything in it.
const PARTIAL_INDEXES: [(&str, &str); 4] = [
    ("users_username_key", "username_key IS NOT NULL"),
    ("users_email_key", "email_key IS NOT NULL"),
    (
        "users_hash_cost",
        "length(hashed_password) = 60 AND substr(hashed_password, 5, 2) BETWEEN '04' AND '31'",
    ),
    (
        "users_hash_cost",
        "length(hashed_password) = 60 AND hashed_password GLOB '$2[abxy]$[0-3][0-9]$*'
         AND substr(hashed_password, 8) NOT GLOB '*[^./A-Za-z0-9]*' AND substr(hashed_password, 5, 2) BETWEEN '04' AND '31'",
    ),
];

/// Fails if this is not SQLite's own work in good order, with a table `users` in it and nothing that acts by itself but ours.
pub async fn check_integrity(connection: &mut SqliteConnection) -> anyhow::Result<()> {
    let found: String = sqlx::query_scalar("PRAGMA integrity_check(1)")
        .fetch_one(&mut *connection)
        .await
        .context("it is no SQLite database, or a damaged one")?;
    anyhow::ensure!(found == "ok", "it is damaged: {found}");
    sqlx::query("SELECT id, username, email, hashed_password FROM users LIMIT 1")
        .fetch_optional(&mut *connection)
        .await
        .context("it has no users in it")?;
    for (name, condition) in PARTIAL_INDEXES {
        check_partial_index(connection, name, condition).await?;
    }
    check_triggers(connection).await
}

/// A trigger would go on in the restored database, and change what users are stored later.
async fn check_triggers(connection: &mut SqliteConnection) -> anyhow::Result<()> {
    let query = "SELECT name, ifnull(sql, '') FROM sqlite_schema WHERE type IN ('trigger', 'view')";
    let found: Vec<(String, String)> = sqlx::query_as(query)
        .fetch_all(connection)
        .await
        .context("it is damaged: reading its schema")?;
    for (name, sql) in found {
        // SQLite keeps a trigger as it was written.
        let is_ours = MIGRATIONS
            .iter()
            .any(|(_, migration)| migration.contains(&format!("{sql};")));
        anyhow::ensure!(
            is_ours,
            "it has a trigger or a view that this release does not make: {name:?}. Restore a backup by the release that made it"
        );
    }
    Ok(())
}

/// SQLite's own check counts the entries of an index that is for all rows, and not of one that is for some (`pPartIdxWhere` in its
/// `pragma.c`, 3.51). File and journal that were copied one after another can differ in nothing else: then users are missing.
///
/// Tells whether there is such an index to check.
async fn check_partial_index(
    connection: &mut SqliteConnection,
    name: &'static str,
    condition: &'static str,
) -> anyhow::Result<bool> {
    let query = format!(
        "SELECT (SELECT count(*) FROM users INDEXED BY {name} WHERE {condition})
              = (SELECT count(*) FROM users NOT INDEXED WHERE {condition})"
    );
    let counted: sqlx::Result<bool> = sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_one(connection)
        .await;
    if let Err(error) = &counted
        && primary_code(error) == SQLITE_ERROR
    {
        return Ok(false);
    }
    let fits = counted.with_context(|| format!("it is damaged: counting {name}"))?;
    anyhow::ensure!(
        fits,
        "it is damaged: wrong number of entries in index {name}"
    );
    Ok(true)
}

#[cfg(test)]
mod tests {
    use sqlx::Connection;

    use super::*;

    #[tokio::test]
    async fn each_partial_index_of_each_migration_is_checked() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        for (name, migration) in MIGRATIONS {
            sqlx::raw_sql(migration)
                .execute(&mut connection)
                .await
                .unwrap();

            let mut found: Vec<String> = sqlx::query_scalar(
                "SELECT name FROM pragma_index_list('users') WHERE partial ORDER BY name",
            )
            .fetch_all(&mut connection)
            .await
            .unwrap();

            let mut checked = Vec::new();
            for (name, condition) in PARTIAL_INDEXES {
                if check_partial_index(&mut connection, name, condition)
                    .await
                    .unwrap()
                {
                    checked.push(name.to_owned());
                }
            }
            checked.sort();
            checked.dedup();
            found.sort();
            assert_eq!(checked, found, "{name}");
        }
    }
}
