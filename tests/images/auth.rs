//! The image of the auth service.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use reqwest::StatusCode;
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;
use transcription_lab::docker::{Container, Docker, Network, Volume};
use transcription_tests::auth::{account, credentials};
use transcription_tests::client::{PASSWORD, http, post};
use transcription_tests::images::{CONFINED, engine, image};
use transcription_tests::stack::SIGNING_KEY;

const PORT: u16 = 8001;

/// Starts the service with a port that this machine reaches, and these arguments of `docker run` more.
async fn start(docker: &Arc<Docker>, network: &str, args: &[&str]) -> Container {
    let own = ["--network", network, "--publish", "127.0.0.1::8001"];
    let image = image("auth-service");
    Container::start(docker, &[&CONFINED[..], &own, args, &[&image]].concat()).await
}

#[tokio::test]
async fn the_auth_service_keeps_its_users_on_the_volume() {
    let docker = engine().await;
    let network = Network::make(&docker).await;
    let volume = Volume::make(&docker).await;
    let key = format!("JWT_SECRET_KEY={SIGNING_KEY}");
    let mount = format!("{}:/app/data", volume.name());
    let args = ["--env", &key, "--volume", &mount];
    let http = http();

    let first = start(&docker, network.name(), &args).await;
    first.wait_until_healthy().await;
    let url = first.url(PORT).await;
    let registered = post(&http, &format!("{url}/register"), &account("ada")).await;
    let processes = docker
        .run(&["top", first.name(), "-eo", "uid,gid,pid"])
        .await;
    let backup = first.exec(&["auth-service", "backup", "-"]).await;
    let code = first.stop().await;
    let second = start(&docker, network.name(), &args).await;
    second.wait_until_healthy().await;
    let url = second.url(PORT).await;
    let token = post(
        &http,
        &format!("{url}/login"),
        &credentials("ada", PASSWORD),
    )
    .await;

    assert_eq!(registered.status, StatusCode::CREATED, "{registered:?}");
    let owner = processes.lines().nth(1).unwrap().split_whitespace();
    assert_eq!(owner.take(2).collect::<Vec<_>>(), ["65532", "65532"]);
    assert!(backup.stdout.starts_with(b"SQLite format 3"), "{backup:?}");
    assert_eq!(code, 0);
    assert_eq!(token.status, StatusCode::OK, "{token:?}");
}

#[tokio::test]
async fn the_auth_service_starts_with_no_more_than_a_key() {
    let docker = engine().await;
    let network = Network::make(&docker).await;
    let folder = TempDir::new().unwrap();
    // The process starts itself again with what is in it.
    let settings = folder.path().join("settings");
    fs::write(
        &settings,
        format!("JWT_SECRET_KEY='{SIGNING_KEY}'\nREGISTRATION=closed\n"),
    )
    .unwrap();
    fs::set_permissions(&settings, Permissions::from_mode(0o644)).unwrap();
    let mount = format!("{}:/app/.env:ro", settings.display());

    let container = start(&docker, network.name(), &["--volume", &mount]).await;
    container.wait_until_healthy().await;
    let url = container.url(PORT).await;
    let refused = post(&http(), &format!("{url}/register"), &account("ada")).await;

    refused.assert_problem(403, "registration_closed");
    assert_eq!(container.stop().await, 0);
}

/// SQLite sorted them in a temporary file, and there is no folder for one: "disk I/O error".
#[tokio::test]
async fn an_old_database_of_many_users_is_brought_up_to_date_on_a_read_only_root() {
    let docker = engine().await;
    let network = Network::make(&docker).await;
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let users = 20_000;
    old_database(&data.join("auth.db"), users).await;
    // The container's user is not this one.
    fs::set_permissions(&data, Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(data.join("auth.db"), Permissions::from_mode(0o666)).unwrap();
    let key = format!("JWT_SECRET_KEY={SIGNING_KEY}");
    let mount = format!("{}:/app/data", data.display());

    let container = start(
        &docker,
        network.name(),
        &["--env", &key, "--volume", &mount],
    )
    .await;
    container.wait_until_healthy().await;
    let backup = container
        .exec(&["auth-service", "backup", "/app/data/copy.db"])
        .await;
    let listed = container.exec(&["auth-service", "user", "list"]).await;

    assert!(backup.status.success(), "{backup:?}");
    assert_eq!(
        listed.stdout.split(|byte| *byte == b'\n').count(),
        users + 2
    );
}

/// A database of the old backend with this many users.
async fn old_database(path: &Path, users: usize) {
    let url = format!("sqlite://{}?mode=rwc", path.display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    for statement in [
        "CREATE TABLE users (id INTEGER NOT NULL PRIMARY KEY, username VARCHAR, email VARCHAR, hashed_password VARCHAR)",
        "CREATE UNIQUE INDEX ix_users_username ON users (username)",
        "CREATE UNIQUE INDEX ix_users_email ON users (email)",
    ] {
        sqlx::query(statement)
            .execute(&mut connection)
            .await
            .unwrap();
    }
    let insert = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
        INSERT INTO users SELECT n, 'User' || n, 'user' || n || '@example.com',
            '$2b$12$' || substr('abcdefghijklmnopqrstuvABCDEFGHIJKLMNOPQRSTUVWXYZ01234567', 1, 53) FROM numbers";
    let users = i64::try_from(users).unwrap();
    sqlx::query(insert)
        .bind(users)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}
