//! Whether a file is a whole database of users.

use anyhow::Context;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::primary_code;

/// SQLite's code for a statement that it does not understand.
const SQLITE_ERROR: u32 = 1;

/// Fails if this is not SQLite's own work in good order, with a table `users` in it.
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
    check_partial_indexes(connection).await
}

/// SQLite's own check counts the entries of an index that is for all rows, and not of one that is for some (`pPartIdxWhere` in its
/// `pragma.c`, 3.51). File and journal that were copied one after another can differ in nothing else: then users are missing.
async fn check_partial_indexes(connection: &mut SqliteConnection) -> anyhow::Result<()> {
    let indexes: Vec<(String, String)> = sqlx::query_as(
        "SELECT name, sql FROM sqlite_schema
         JOIN pragma_index_list('users') AS listed USING (name) WHERE type = 'index' AND listed.partial",
    )
    .fetch_all(&mut *connection)
    .await
    .context("reading the indexes")?;
    for (name, sql) in indexes {
        let Some(condition) = condition_of(&sql) else {
            continue;
        };
        let quoted = name.replace('"', "\"\"");
        // The condition comes from the file, as it stands there: SQLite took it for one when the index was made, and computes it with
        // every row that is written.
        let query = format!(
            "SELECT (SELECT count(*) FROM users INDEXED BY \"{quoted}\" WHERE {condition}\n)
                  = (SELECT count(*) FROM users NOT INDEXED WHERE {condition}\n)"
        );
        let counted: sqlx::Result<bool> = sqlx::query_scalar(AssertSqlSafe(query))
            .fetch_one(&mut *connection)
            .await;
        match counted {
            // A name or a comment that has the word in it: no index of ours, and no sign of damage.
            Err(error) if primary_code(&error) == SQLITE_ERROR => {}
            counted => {
                let fits = counted.with_context(|| format!("it is damaged: counting {name}"))?;
                anyhow::ensure!(
                    fits,
                    "it is damaged: wrong number of entries in index {name}"
                );
            }
        }
    }
    Ok(())
}

/// What follows `WHERE` in the statement that made an index. No expression before it can have that word by itself.
fn condition_of(sql: &str) -> Option<&str> {
    const WORD: &str = "where";
    let is_apart =
        |before: &str| before.ends_with(|letter: char| letter.is_whitespace() || letter == ')');
    let mut words = sql.char_indices().map(|(at, _)| sql.split_at(at));
    words.find_map(|(before, from)| {
        let word = from.get(..WORD.len())?;
        let after = &from[WORD.len()..];
        let is_it = word.eq_ignore_ascii_case(WORD)
            && is_apart(before)
            && after.starts_with(|letter: char| letter.is_whitespace() || letter == '(');
        is_it.then_some(after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_all_that_follows_the_word() {
        for (sql, condition) in [
            (
                "CREATE INDEX i ON users (id)\n    WHERE id > 1 AND 'where ' <> ''",
                Some(" id > 1 AND 'where ' <> ''"),
            ),
            (
                "CREATE INDEX nowhere ON users (somewhere)where(id)",
                Some("(id)"),
            ),
            ("CREATE INDEX i ON users (id)", None),
        ] {
            assert_eq!(condition_of(sql), condition, "{sql}");
        }
    }
}
