//! An auth service with its own database, and what its clients and its operator do with it.

use std::path::PathBuf;
use std::process::{Command, Output};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

use crate::client::{Answer, PASSWORD, http, post};
use crate::files::binary;
use crate::process::{Process, run, start_at_free_port, wait_until_answered};
use crate::stack::{Environment, SIGNING_KEY};

/// A running service.
pub struct Auth {
    /// The running program.
    pub process: Process,
    /// Its address.
    pub url: String,
    /// Its settings.
    pub environment: Environment,
    /// Its working directory, with the database in it.
    pub folder: TempDir,
    /// A client, which keeps its connections.
    pub http: Client,
}

impl Auth {
    /// Starts a service with a new database.
    pub async fn start() -> Self {
        Self::start_with([]).await
    }

    /// Starts a service with a new database and further settings.
    pub async fn start_with<const N: usize>(settings: [(&'static str, &str); N]) -> Self {
        Self::start_in(TempDir::new().unwrap(), settings).await
    }

    /// Starts a service on the database in this folder, if there is one.
    pub async fn start_in<const N: usize>(
        folder: TempDir,
        settings: [(&'static str, &str); N],
    ) -> Self {
        let mut environment = environment(&folder, settings);
        let (process, url) = start(&folder, &mut environment).await;
        Self {
            process,
            url,
            environment,
            folder,
            http: http(),
        }
    }

    /// Starts it again on the same database, with changed settings, after it has ended.
    pub async fn restart<const N: usize>(&mut self, settings: [(&'static str, &str); N]) {
        let settings = settings.map(|(name, value)| (name, value.to_owned()));
        self.environment.extend(settings);
        (self.process, self.url) = start(&self.folder, &mut self.environment).await;
    }

    /// Starts it again on the same database by a script for the shell, which finds the program in `$0`.
    pub async fn restart_by(&mut self, script: &str) {
        let mut command = Command::new("sh");
        command
            .env_clear()
            .envs(&self.environment)
            .current_dir(self.folder.path())
            .args(["-c", script])
            .arg(binary("auth-service"));
        self.process = Process::start(&mut command, self.folder.path().join("log"));
        wait_until_answered(&self.url, &mut self.process).await;
    }

    /// The database's file.
    pub fn database(&self) -> PathBuf {
        self.folder.path().join("auth.db")
    }

    /// The program with other arguments, in the same folder and with the same settings.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary("auth-service"));
        command
            .env_clear()
            .envs(&self.environment)
            .current_dir(self.folder.path())
            .args(args);
        command
    }

    /// Runs the program with other arguments to its end.
    pub async fn run(&self, args: &[&str], input: &str) -> Output {
        run(self.command(args), input).await
    }

    /// Runs the program with other arguments; what it prints.
    pub async fn succeed(&self, args: &[&str], input: &str) -> String {
        let output = self.run(args, input).await;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the program with other arguments; the one line with which it fails.
    pub async fn fail(&self, args: &[&str], input: &str) -> String {
        let output = self.run(args, input).await;
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {line}");
        assert_eq!(line.lines().count(), 1, "{line}");
        line.trim_end().to_owned()
    }

    /// Posts JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        post(&self.http, &format!("{}{path}", self.url), body).await
    }

    /// Gets an address.
    pub async fn get(&self, path: &str) -> Answer {
        let request = self.http.get(format!("{}{path}", self.url));
        Answer::of(request.send().await.unwrap()).await
    }

    /// Registers `name` with [`PASSWORD`] and gives the id.
    pub async fn register(&self, name: &str) -> i64 {
        let answer = self.try_register(name).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.json["id"].as_i64().unwrap()
    }

    /// Tries to register `name` with [`PASSWORD`].
    pub async fn try_register(&self, name: &str) -> Answer {
        self.post("/register", &account(name)).await
    }

    /// Tries to log in.
    pub async fn login(&self, name: &str, password: &str) -> Answer {
        self.post("/login", &credentials(name, password)).await
    }

    /// Logs in with [`PASSWORD`] and gives the token.
    pub async fn token(&self, name: &str) -> String {
        let answer = self.login(name, PASSWORD).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.json["access_token"].as_str().unwrap().to_owned()
    }

    /// Asks who the token's user is.
    pub async fn me(&self, token: &str) -> Answer {
        let request = self.http.get(format!("{}/me", self.url)).bearer_auth(token);
        Answer::of(request.send().await.unwrap()).await
    }

    /// The value of a counter, for example `auth_logins_total{result="ok"}`.
    pub async fn count(&self, name: &str) -> u64 {
        let text = self.get("/metrics").await.text;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in:\n{text}"))
            .parse()
            .unwrap()
    }

    /// Changes the database behind the service's back.
    pub async fn sql(&self, statement: &'static str) {
        let mut connection = self.connect().await;
        sqlx::query(statement)
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    }

    /// The hash that is stored for a user.
    pub async fn stored_hash(&self, name: &str) -> String {
        let mut connection = self.connect().await;
        let hash = sqlx::query_scalar("SELECT hashed_password FROM users WHERE username = ?")
            .bind(name)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        hash
    }

    async fn connect(&self) -> SqliteConnection {
        let url = format!("sqlite://{}", self.database().display());
        SqliteConnection::connect(&url).await.unwrap()
    }
}

/// Fails to log in until it has to wait, which is not at once on a machine that stalls for longer than the wait. Gives how often it
/// failed, and the answer that says to wait.
pub async fn fail_until_throttled(fail: impl AsyncFn() -> Answer) -> (u32, Answer) {
    for failures in 0..30 {
        let answer = fail().await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            return (failures, answer);
        }
    }
    panic!("30 failures, and no wait");
}

/// What a user of this name registers with.
pub fn account(name: &str) -> Value {
    json!({"username": name, "email": format!("{name}@example.com"), "password": PASSWORD})
}

/// What a user logs in with.
pub fn credentials(name: &str, password: &str) -> Value {
    json!({"username_or_email": name, "password": password})
}

fn environment<const N: usize>(
    folder: &TempDir,
    settings: [(&'static str, &str); N],
) -> Environment {
    let database = folder.path().join("auth.db");
    let mut environment = Environment::from([
        ("DATABASE_URL", format!("sqlite:///{}", database.display())),
        ("JWT_SECRET_KEY", SIGNING_KEY.to_owned()),
        // The least that bcrypt takes: most tests are not about its cost.
        ("BCRYPT_COST", "4".to_owned()),
    ]);
    let settings = settings.map(|(name, value)| (name, value.to_owned()));
    environment.extend(settings);
    environment
}

/// Starts the program at a port that is free; the program and its address, which the environment names too.
async fn start(folder: &TempDir, environment: &mut Environment) -> (Process, String) {
    let (process, url) = start_at_free_port(|address| {
        let mut command = Command::new(binary("auth-service"));
        command
            .env_clear()
            .envs(&*environment)
            .env("LISTEN_ADDR", address)
            .current_dir(folder.path());
        Process::start(&mut command, folder.path().join("log"))
    })
    .await;
    let address = url.trim_start_matches("http://").to_owned();
    environment.insert("LISTEN_ADDR", address);
    (process, url)
}
