//! Clients of the auth service: they register, log in, fail to, and ask who they are.

use std::time::Duration;

use futures_util::future::join_all;
use rand::RngExt;
use serde_json::{Value, json};
use transcription_tests::auth::{account, credentials};
use transcription_tests::client::PASSWORD;

use crate::notes::Route;
use crate::people::Worker;
use crate::wire::{self, Manner, Reply};

pub const REGISTER: Route = Route::auth("POST", "/register");
pub const LOGIN: Route = Route::auth("POST", "/login");
pub const TOKEN: Route = Route::auth("POST", "/token");
const ME: Route = Route::auth("GET", "/me");

/// Between two requests of one client.
const PAUSE: Duration = Duration::from_millis(15);
/// The service remembers who failed at which name, so there are only so many.
const UNKNOWN_NAMES: u32 = 5;
/// More than wait for a core at once.
const CROWD: usize = 250;
const CROWD_PAUSE: Duration = Duration::from_secs(9);

/// Makes accounts, good ones and others, and uses them.
pub async fn make_accounts(mut worker: Worker) {
    while worker.goes_on() {
        let name = format!("user{}", worker.shared.number());
        let good = account(&name);
        let Some(registered) = post(&worker, REGISTER, &good).await else {
            worker.pause(PAUSE).await;
            continue;
        };
        if registered.status == 201 {
            worker.shared.notes.register(name.clone());
            use_account(&worker, &name).await;
        }
        match worker.random.random_range(0..30) {
            0 => drop(post(&worker, REGISTER, &good).await),
            1 => drop(post(&worker, REGISTER, &with(&good, "email", "no address")).await),
            2 => drop(
                post(
                    &worker,
                    REGISTER,
                    &with(&good, "confirm_password", "another"),
                )
                .await,
            ),
            3 => drop(post(&worker, REGISTER, &with(&good, "password", "short")).await),
            4 => drop(broken(&worker, REGISTER).await),
            _ => {}
        }
        worker.pause(PAUSE).await;
    }
}

async fn use_account(worker: &Worker, name: &str) {
    let logged_in = post(worker, LOGIN, &credentials(name, PASSWORD)).await;
    let token = logged_in.map(|reply| reply.body["access_token"].clone());
    if let Some(Value::String(token)) = token {
        me(worker, &token).await;
        me(worker, &token).await;
    }
}

/// Logs in in every way there is.
pub async fn log_in(mut worker: Worker, token: String) {
    let mut number = 0_u32;
    while worker.goes_on() {
        number += 1;
        // Those who were registered first can always be found.
        let known = format!("speaker{}", number % 4);
        let unknown = format!("nobody{}", number % UNKNOWN_NAMES);
        match worker.random.random_range(0..10) {
            0..=2 => drop(post(&worker, LOGIN, &credentials(&known, PASSWORD)).await),
            3 => drop(post(&worker, LOGIN, &credentials(&known, "wrong")).await),
            4 => drop(post(&worker, LOGIN, &credentials(&unknown, PASSWORD)).await),
            5 => drop(post(&worker, LOGIN, &json!({"username": known})).await),
            6 => drop(broken(&worker, LOGIN).await),
            7 => {
                grant(
                    &worker,
                    &[
                        ("grant_type", "password"),
                        ("username", &known),
                        ("password", PASSWORD),
                    ],
                )
                .await;
            }
            8 => {
                grant(
                    &worker,
                    &[
                        ("grant_type", "password"),
                        ("username", &unknown),
                        ("password", "wrong"),
                    ],
                )
                .await;
            }
            _ => grant(&worker, &[("grant_type", "client_credentials")]).await,
        }
        match worker.random.random_range(0..4) {
            0 => me(&worker, "no token").await,
            1 => me(&worker, "").await,
            _ => me(&worker, &token).await,
        }
        worker.pause(PAUSE).await;
    }
}

/// Hangs up in the middle of a log-in, or before it is answered.
pub async fn leave(mut worker: Worker) {
    let body = credentials("speaker0", PASSWORD).to_string();
    while worker.goes_on() {
        let url = worker.shared.auth();
        let head = format!(
            "POST /login HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let is_whole = worker.random.random_range(0..2) == 0;
        let manner = if is_whole {
            let after = Duration::from_micros(worker.random.random_range(0..3_000));
            Manner::Leaving { after }
        } else {
            let bytes = worker.random.random_range(1..body.len());
            Manner::Stopping { bytes }
        };
        let notes = &worker.shared.notes;
        match wire::send(&url, &head, body.as_bytes(), manner).await {
            Ok(Some(reply)) => notes.answer(LOGIN, reply.status, &reply.body),
            Ok(None) if is_whole => notes.hear_nothing(),
            Ok(None) => notes.broke(format!("POST /login, {manner:?}: no answer")),
            Err(error) => notes.broke(format!("POST /login, {manner:?}: {error}")),
        }
        worker.pause(PAUSE * 10).await;
    }
}

/// Logs in more often at once than the service lets wait, now and then.
pub async fn come_in_crowds(worker: Worker) {
    let body = credentials("speaker1", PASSWORD);
    while worker.goes_on() {
        worker.pause(CROWD_PAUSE).await;
        let all = (0..CROWD).map(|_| post(&worker, LOGIN, &body));
        join_all(all).await;
    }
}

fn with(account: &Value, field: &str, value: &str) -> Value {
    let mut account = account.clone();
    account[field] = json!(value);
    account
}

async fn post(worker: &Worker, route: Route, body: &Value) -> Option<Reply> {
    let url = format!("{}{}", worker.shared.auth(), route.template);
    worker.ask(route, worker.http.post(url).json(body)).await
}

async fn broken(worker: &Worker, route: Route) -> Option<Reply> {
    let url = format!("{}{}", worker.shared.auth(), route.template);
    let request = worker.http.post(url);
    let request = request.header("content-type", "application/json");
    worker.ask(route, request.body("{\"username\": ")).await
}

async fn grant(worker: &Worker, form: &[(&str, &str)]) {
    let url = format!("{}/token", worker.shared.auth());
    worker.ask(TOKEN, worker.http.post(url).form(form)).await;
}

async fn me(worker: &Worker, token: &str) {
    let request = worker.http.get(format!("{}/me", worker.shared.auth()));
    let request = if token.is_empty() {
        request
    } else {
        request.bearer_auth(token)
    };
    worker.ask(ME, request).await;
}
