//! Copies of the database: one that is taken while the server writes, and one that takes the place of a database.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tempfile::NamedTempFile;
use time::macros::format_description;
use transcription_common::clock;
use transcription_common::files::folder_of;
use transcription_common::settings::say;

use crate::config::DatabaseSettings;
use crate::database::{
    ServeLock, UseLock, beside, check_integrity, connect, migrate, primary_code,
};

/// Standard input or output, where a file is asked for.
const STANDARD: &str = "-";
/// Added to the ids when the old database cannot tell which were given: users who registered after the backup had some.
const ID_GAP: i64 = 1_000_000;

/// Writes a copy of the database as it is at this moment.
///
/// SQLite makes it (`VACUUM INTO`) within one read transaction, so that writers go on meanwhile. It is checked before it
/// gets its name. Fails if there is a file of this name.
pub async fn write(file: PathBuf, settings: DatabaseSettings) -> anyhow::Result<()> {
    let database = &settings.database_url.path;
    let to_standard = file.as_os_str() == STANDARD;
    // Where the database is there is room, also in a container whose other folders cannot be written.
    let folder = folder_of(if to_standard { database } else { &file });
    let copy = NamedTempFile::new_in(folder)
        .with_context(|| format!("the folder {} cannot be written", folder.display()))?;
    let mut connection = connect(database).await?;
    sqlx::query("VACUUM INTO ?")
        .bind(text_of(copy.path())?)
        .execute(&mut connection)
        .await
        .context("copying the database")?;
    connection.close().await.context("closing the database")?;
    check(copy.path()).await.context("the copy")?;
    if to_standard {
        let mut copied = copy.reopen().context("reading the copy")?;
        let mut output = io::stdout().lock();
        io::copy(&mut copied, &mut output).context("writing the copy to standard output")?;
        return output
            .flush()
            .context("writing the copy to standard output");
    }
    copy.as_file().sync_all().context("writing the copy")?;
    let size_bytes = copy.as_file().metadata().context("reading the copy")?.len();
    let shown = file.display();
    copy.persist_noclobber(&file)
        .map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => {
                anyhow::anyhow!(
                    "{shown} is there already: give a new name, or - for standard output"
                )
            }
            _ => anyhow::anyhow!("{shown} cannot be written: {}", error.error),
        })?;
    sync_folder(folder)?;
    say(&format!("Backed up to {shown}: {size_bytes} bytes."))
}

/// Puts a backup in the place of the database. The old file stays beside it, under a name with the time.
///
/// Ids that users had who registered after the backup was taken are not given again: the old database tells which; if it
/// cannot be read or never had a user, a million ids are left out.
///
/// Fails, and changes nothing, while a server has the database or if the backup is damaged.
pub async fn restore(file: PathBuf, settings: DatabaseSettings) -> anyhow::Result<()> {
    let url = settings.database_url;
    if url.create {
        let folder = folder_of(&url.path);
        fs::create_dir_all(folder)
            .with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    }
    let was_there = fs::metadata(&url.path).is_ok_and(|old| old.len() > 0);
    let _serve_lock = ServeLock::take(&url)?;
    let _use_lock = UseLock::take(&url)?;
    // Where the file itself is, and not a link to it.
    let path = url.path.canonicalize().context("finding the database")?;
    let folder = folder_of(&path);
    let mut copy = NamedTempFile::new_in(folder)
        .with_context(|| format!("the folder {} cannot be written", folder.display()))?;
    read_into(&mut copy, &file)?;
    check(copy.path())
        .await
        .with_context(|| format!("{} is not restored", name_of(&file)))?;

    let highest_before = if was_there {
        // One that never had a user is that of a new cluster, say, whose bucket has the folders of users who came after the backup.
        settle(&path).await?.filter(|highest| *highest > 0)
    } else {
        None
    };
    let mut connection = connect(copy.path()).await?;
    migrate(&mut connection)
        .await
        .context("the schema of the backup cannot be brought up to date")?;
    let highest = raise_ids(&mut connection, highest_before).await?;
    let users: i64 = sqlx::query_scalar("SELECT count(*) FROM users")
        .fetch_one(&mut connection)
        .await
        .context("counting the users")?;
    connection.close().await.context("closing the backup")?;
    copy.as_file().sync_all().context("writing the backup")?;

    let kept = keep(&path, was_there)?;
    if let Err(error) = copy.persist(&path) {
        move_journals(&kept, &path)?;
        return Err(error.error).context("putting the backup in the place of the database");
    }
    sync_folder(folder)?;
    let kept = if was_there {
        format!(" The old database is kept as {}.", kept.display())
    } else {
        String::new()
    };
    say(&format!(
        "Restored {users} users to {}. The next new user gets an id above {highest}.{kept}",
        url.path.display()
    ))
}

async fn check(path: &Path) -> anyhow::Result<()> {
    let mut connection = connect(path).await?;
    let checked = check_integrity(&mut connection).await;
    let closed = connection.close().await;
    checked?;
    closed.context("closing the file")
}

fn read_into(copy: &mut NamedTempFile, file: &Path) -> anyhow::Result<()> {
    let mut input: Box<dyn Read> = if file.as_os_str() == STANDARD {
        Box::new(io::stdin().lock())
    } else {
        let opened = File::open(file);
        Box::new(opened.with_context(|| format!("{} cannot be opened", file.display()))?)
    };
    let size_bytes =
        io::copy(&mut input, copy).with_context(|| format!("{} cannot be read", name_of(file)))?;
    anyhow::ensure!(size_bytes > 0, "{} is empty", name_of(file));
    Ok(())
}

/// Brings everything of the old database into its one file, and gives the highest id that it ever gave. Nothing if it is no
/// database any more: then it is kept as it is.
///
/// Fails if another program has it open: what that one writes from now on would be lost.
async fn settle(path: &Path) -> anyhow::Result<Option<i64>> {
    let mut connection = match connect(path).await {
        Err(error) if error.downcast_ref().is_some_and(is_unreadable) => return Ok(None),
        connection => connection?,
    };
    let settled = settle_by(&mut connection).await;
    let _ = connection.close().await;
    match settled {
        Err(error) if is_unreadable(&error) => Ok(None),
        Err(error) if is_busy(&error) => anyhow::bail!(
            "another program has the database {} open: end that first",
            path.display()
        ),
        settled => settled
            .map(Some)
            .context("bringing the old database into one file"),
    }
}

async fn settle_by(connection: &mut SqliteConnection) -> sqlx::Result<i64> {
    let in_use = highest(connection, "SELECT ifnull(max(id), 0) FROM users").await?;
    // The old backend's file has no table of ours.
    let deleted = match highest(connection, "SELECT highest FROM user_ids").await {
        Err(error) if is_unreadable(&error) => 0,
        deleted => deleted?,
    };
    // Leaving WAL takes the file alone: it is refused as long as anybody else has it open, also without reading or writing. A
    // file of the old backend is not in WAL; there only a transaction of another program can be seen.
    for statement in [
        "PRAGMA journal_mode = DELETE",
        "BEGIN EXCLUSIVE",
        "ROLLBACK",
    ] {
        sqlx::raw_sql(statement).execute(&mut *connection).await?;
    }
    Ok(in_use.max(deleted))
}

async fn highest(connection: &mut SqliteConnection, query: &'static str) -> sqlx::Result<i64> {
    sqlx::query_scalar(query).fetch_one(connection).await
}

/// No database, a damaged one, or one without the table (SQLite's `NOTADB`, `CORRUPT` and `ERROR`).
fn is_unreadable(error: &sqlx::Error) -> bool {
    [1, 11, 26].contains(&primary_code(error))
}

/// SQLite's `BUSY` and `LOCKED`.
fn is_busy(error: &sqlx::Error) -> bool {
    [5, 6].contains(&primary_code(error))
}

/// `before` is the highest id that the database before gave, if that is known.
async fn raise_ids(connection: &mut SqliteConnection, before: Option<i64>) -> anyhow::Result<i64> {
    let query = "SELECT max(highest, (SELECT ifnull(max(id), 0) FROM users)) FROM user_ids";
    let of_backup = highest(connection, query)
        .await
        .context("reading the ids of the backup")?;
    let highest = match before {
        Some(before) => before.max(of_backup),
        None => of_backup.saturating_add(ID_GAP),
    };
    sqlx::query("UPDATE user_ids SET highest = ?")
        .bind(highest)
        .execute(connection)
        .await
        .context("keeping the ids")?;
    Ok(highest)
}

/// Gives the old file a second name, so that there is a database at every moment, and moves away what SQLite left beside
/// it: a journal must never meet another database than its own.
fn keep(path: &Path, was_there: bool) -> anyhow::Result<PathBuf> {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let time = clock::now().format(&format).context("writing the time")?;
    let kept = beside(path, &format!(".before-restore-{time}"));
    if was_there {
        fs::hard_link(path, &kept)
            .with_context(|| format!("the old database cannot be kept as {}", kept.display()))?;
    }
    move_journals(path, &kept)?;
    Ok(kept)
}

/// Moves what SQLite left beside a database to another name of it.
fn move_journals(from: &Path, to: &Path) -> anyhow::Result<()> {
    for suffix in ["-wal", "-shm", "-journal"] {
        match fs::rename(beside(from, suffix), beside(to, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).context("moving the old database's journal");
            }
            _ => {}
        }
    }
    sync_folder(folder_of(from))
}

/// A rename is on the disk when its folder is.
fn sync_folder(folder: &Path) -> anyhow::Result<()> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.with_context(|| format!("writing the folder {}", folder.display()))
}

fn text_of(path: &Path) -> anyhow::Result<&str> {
    path.to_str()
        .with_context(|| format!("the name {} is not UTF-8", path.display()))
}

fn name_of(file: &Path) -> String {
    if file.as_os_str() == STANDARD {
        "standard input".to_owned()
    } else {
        file.display().to_string()
    }
}
